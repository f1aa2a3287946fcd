"""Tones, RTP statistics and recordings; each recognition with a control that it can fail."""

import struct
import time
import wave
from array import array
from math import pi, sin
from pathlib import Path

import pytest

from softphone import tones
from softphone.behaviour import Behaviour, Rule, choose, from_json
from softphone.rtp import Reception
from softphone.wav import WavError, find_tones


def test_g711_tables_agree_with_the_standard_and_with_themselves() -> None:
    assert (tones.linear_to_alaw(0), tones.linear_to_ulaw(0)) == (0xD5, 0xFF)
    assert (tones.alaw_to_linear(0xD5), tones.alaw_to_linear(0xAA), tones.ulaw_to_linear(0x80)) == (8, 32256, 32124)
    for sample in range(-32768, 32768, 97):
        for encode, decode in (
            (tones.linear_to_alaw, tones.alaw_to_linear), (tones.linear_to_ulaw, tones.ulaw_to_linear),
        ):  # fmt: skip
            assert abs(decode(encode(sample)) - sample) <= max(20, abs(sample) // 16)


@pytest.mark.parametrize("codec", [8, 0])
@pytest.mark.parametrize("freq", tones.PLAN)
def test_each_tone_of_the_plan_is_heard_and_no_other(freq: int, codec: int) -> None:
    listener = tones.Listener()
    for payload in tones.frames(freq, codec):
        listener.feed(payload, codec)
    assert listener.count == 5 and listener.hits == {freq: 5}
    assert abs(listener.levels[freq] / 5 + 10) < 0.5  # sent at -10 dBFS


def test_silence_and_a_tone_outside_the_plan_are_not_heard() -> None:
    for payloads in ([tones.SILENCE[8]] * 50, tones.frames(900, 8), tones.frames(430, 8), tones.frames(440, 8, -60.0)):
        listener = tones.Listener()
        for payload in payloads:
            listener.feed(payload, 8)
        assert listener.count == 5 and not listener.hits


def test_two_tones_at_once_are_both_heard() -> None:
    window = [8000 * sin(2 * pi * 440 * n / 8000) + 4000 * sin(2 * pi * 620 * n / 8000) for n in range(tones.WINDOW)]
    assert set(tones.heard_in(window, tones.PLAN)) == {440, 620}


def test_reception_counts_loss_duplicates_order_and_gaps() -> None:
    reception = Reception()
    numbers = [65534, 65535, 0, 1, 1, 4, 3, 5]  # wraps; 2 is lost, 1 comes twice, 4 and 3 change places
    for index, number in enumerate(numbers):
        reception.add(number, number * 160, 1, 160, 100 + index * 0.02 + (0.5 if index > 5 else 0), "a:1")
    assert (reception.packets, reception.lost, reception.duplicates, reception.reordered) == (7, 1, 1, 1)
    assert 519 < reception.max_gap_ms < 521
    reception.add(1000, 0, 2, 160, 110, "b:2")  # a new stream is no loss
    assert (reception.lost, reception.streams, reception.sources) == (1, 2, ["a:1", "b:2"])


def test_a_pause_is_neither_gap_nor_loss() -> None:
    reception = Reception()
    reception.add(1, 160, 1, 160, 100.0, "a")
    reception.pause()
    reception.add(50, 8000, 1, 160, 160.0, "a")
    reception.add(52, 8320, 1, 160, 160.02, "a")
    assert reception.max_gap_ms < 21 and (reception.lost, reception.streams) == (1, 1)


def write_wav(path: Path, seconds: float, *channels: tuple[int, ...]) -> None:
    """Each channel is the sum of its tones."""
    data = array("h")
    for n in range(int(seconds * 8000)):
        data.extend(sum(int(6000 * sin(2 * pi * freq * n / 8000)) for freq in channel) for channel in channels)
    with wave.open(str(path), "wb") as writer:
        writer.setparams((len(channels), 2, 8000, 0, "NONE", ""))
        writer.writeframes(data.tobytes())


def test_a_recording_holds_both_sides_mixed_or_in_stereo(tmp_path: Path) -> None:
    write_wav(tmp_path / "mono.wav", 2, (440, 620))
    write_wav(tmp_path / "stereo.wav", 2, (440,), (620,))
    assert find_tones(tmp_path / "mono.wav").missing([440, 620]) == []
    stereo = find_tones(tmp_path / "stereo.wav")
    assert stereo.channels == ({440: 1.0}, {620: 1.0}) and stereo.seconds == 2.0


def test_a_recording_without_the_tone_is_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "one.wav", 1, (440,))
    assert find_tones(tmp_path / "one.wav").missing([440, 620]) == [620]
    (tmp_path / "bad.wav").write_bytes(b"RIFF" + struct.pack("<I", 4) + b"WAVE")
    for path in (tmp_path / "bad.wav", tmp_path / "absent.wav"):
        with pytest.raises(WavError):
            find_tones(path)


def test_a_minute_of_recording_is_read_in_under_a_second_of_processor_time(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "long.wav"), "wb") as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", ""))
        second = array("h", (int(6000 * sin(2 * pi * 440 * n / 8000)) for n in range(8000)))
        writer.writeframes(second.tobytes() * 60)
    started = time.process_time()
    assert find_tones(tmp_path / "long.wav").missing([440]) == []
    assert time.process_time() - started < 1


def test_behaviour_rules_choose_the_first_match_and_refuse_nonsense() -> None:
    busy = Behaviour("busy")
    rules = [Rule("re:7916\\d{7}", Behaviour("answer")), Rule("7*", busy)]
    default = Behaviour("reject", code=404)
    assert [choose(rules, number, default).action for number in ("79161234567", "7495", "8")] == [
        "answer",
        "busy",
        "reject",
    ]
    for bad in (
        {"action": "dance"},
        {"action": "busy", "foo": 1},
        {"action": "reject", "code": 200},
        {"action": "redirect"},
    ):
        with pytest.raises(ValueError, match="behaviour"):
            from_json(bad)
