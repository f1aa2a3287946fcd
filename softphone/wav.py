"""Tones in a recording: which frequencies a WAV file holds, per channel, as a fraction of its time.

Proves that a call recording holds both sides. PCM 16 bit, any rate (Asterisk writes 8 kHz).
"""

import sys
import wave
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from softphone.tones import PLAN, heard_in


class WavError(ValueError):
    """The file is no PCM16 WAV recording; the text says why."""


@dataclass(frozen=True, slots=True)
class Tones:
    """`channels[n][freq]` = fraction (0..1) of the recording in which channel n holds freq."""

    seconds: float
    channels: tuple[dict[int, float], ...]

    def fraction(self, freq: int, channel: int | None = None) -> float:
        """In one channel, or in the best one."""
        chosen = self.channels if channel is None else (self.channels[channel],)
        return max((item.get(freq, 0.0) for item in chosen), default=0.0)

    def missing(self, freqs: Iterable[int], minimum: float = 0.5) -> list[int]:
        """The frequencies that fill less than `minimum` of the recording; empty = the recording holds them all."""
        return [freq for freq in freqs if self.fraction(freq) < minimum]


def find_tones(path: str | Path, freqs: Iterable[int] = PLAN) -> Tones:
    """Read the whole file in windows of 200 ms. WavError when it is empty, cut short or in another format."""
    wanted = tuple(freqs)
    try:
        with wave.open(str(path), "rb") as reader:
            channels, width, rate, count = reader.getparams()[:4]
            data = reader.readframes(count)
    except (wave.Error, EOFError, OSError) as error:
        raise WavError(f"{path}: {error or 'file cut short'}") from error
    if width != 2:
        raise WavError(f"{path}: {width * 8}-bit samples, 16 expected")
    samples = array("h")
    samples.frombytes(data[: len(data) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    size = rate // 5
    found = []
    for channel in range(channels):
        track = samples[channel::channels]
        windows = [track[start : start + size] for start in range(0, len(track) - size + 1, size)]
        if not windows:
            raise WavError(f"{path}: shorter than one window of 200 ms")
        hits: dict[int, int] = {}
        for window in windows:
            for freq in heard_in(window, wanted, rate):
                hits[freq] = hits.get(freq, 0) + 1
        found.append({freq: round(number / len(windows), 3) for freq, number in sorted(hits.items())})
    return Tones(round(len(samples) / channels / rate, 2), tuple(found))
