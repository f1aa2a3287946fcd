"""Tones: G.711 tables, tone frames made once, and recognition by the Goertzel algorithm.

Each side of a test call sends a frequency of its own, so "who hears whom" is read off the spectrum.
A window is 200 ms, so multiples of 5 Hz do not leak into each other: 425 Hz (the Russian ring-back) is not 440 Hz.
A tone is heard in a window when it carries at least a tenth of the window's power and is louder than -45 dBFS.
"""

from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from math import cos, log10, pi, sin
from operator import mul

RATE = 8000
FRAME = 160  # samples in 20 ms
WINDOW = 1600  # samples in 200 ms
PLAN = (425, 440, 620, 770, 1000, 1150, 1300, 1500)  # recognised by default
SHARE = 0.1
FLOOR_DB = -45.0
FULL_SCALE = 32768.0
_ALAW_ENDS = (0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF, 0x1FFF, 0x3FFF, 0x7FFF)


def linear_to_alaw(sample: int) -> int:
    """G.711 A-law of a 16-bit sample."""
    mask = 0xD5 if sample >= 0 else 0x55
    size = sample if sample >= 0 else -sample - 1
    segment = next((index for index, end in enumerate(_ALAW_ENDS) if size <= end), 7)
    mantissa = size >> 4 if segment < 2 else size >> (segment + 3)
    return ((segment << 4) | (mantissa & 0x0F)) ^ mask


def alaw_to_linear(code: int) -> int:
    code ^= 0x55
    segment, value = (code >> 4) & 7, (code & 0x0F) << 4
    value = value + 8 if segment == 0 else (value + 0x108) << (segment - 1)
    return value if code & 0x80 else -value


def linear_to_ulaw(sample: int) -> int:
    """G.711 mu-law of a 16-bit sample."""
    sign = 0x80 if sample < 0 else 0
    size = min(abs(sample), 32635) + 0x84
    segment = size.bit_length() - 8
    return ~(sign | (segment << 4) | ((size >> (segment + 3)) & 0x0F)) & 0xFF


def ulaw_to_linear(code: int) -> int:
    code = ~code & 0xFF
    value = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return -value if code & 0x80 else value


DECODE = {
    8: tuple(float(alaw_to_linear(code)) for code in range(256)),
    0: tuple(float(ulaw_to_linear(code)) for code in range(256)),
}
SILENCE = {8: b"\xd5" * FRAME, 0: b"\xff" * FRAME}


@cache
def frames(freq: int, codec: int, level_db: float = -10.0) -> tuple[bytes, ...]:
    """One second of a sine as 50 ready payloads; an integer frequency joins up at the end of the second."""
    encode = linear_to_alaw if codec == 8 else linear_to_ulaw
    peak = FULL_SCALE * 10 ** (level_db / 20)
    data = bytes(encode(int(peak * sin(2 * pi * freq * n / RATE))) for n in range(RATE))
    return tuple(data[start : start + FRAME] for start in range(0, RATE, FRAME))


def power(samples: Sequence[float], freq: float, rate: int = RATE) -> float:
    """Power of the sinusoid at `freq` in the samples, in the samples' units squared (Goertzel)."""
    coefficient = 2 * cos(2 * pi * freq / rate)
    before = earlier = 0.0
    for sample in samples:
        before, earlier = sample + coefficient * before - earlier, before
    size = len(samples)
    return 2 * (before * before + earlier * earlier - coefficient * before * earlier) / (size * size)


def heard_in(samples: Sequence[float], freqs: Iterable[int], rate: int = RATE) -> dict[int, float]:
    """The frequencies heard in one window, with their level in dBFS (a full-scale sine is 0)."""
    total = sum(map(mul, samples, samples)) / len(samples)
    floor = FULL_SCALE**2 / 2 * 10 ** (FLOOR_DB / 10)
    if total < floor:
        return {}
    heard = {}
    for freq in freqs:
        found = power(samples, freq, rate)
        if found >= SHARE * total and found >= floor:
            heard[freq] = round(10 * log10(found / (FULL_SCALE**2 / 2)), 1)
    return heard


class Listener:
    """Recognises tones in a stream of G.711 payloads; `count` windows so far, `last` the latest ones."""

    __slots__ = ("_buffer", "count", "freqs", "hits", "last", "levels", "total")

    def __init__(self, freqs: tuple[int, ...] = PLAN) -> None:
        self.freqs = freqs
        self._buffer: array[float] = array("d")
        self.total = 0  # windows ever, never reset: waiters measure from it
        self.last: list[tuple[int, dict[int, float]]] = []  # (number of the window, tones in it), at most 50
        self.reset()

    def reset(self) -> None:
        self.count = 0
        self.hits: dict[int, int] = {}
        self.levels: dict[int, float] = {}

    def feed(self, payload: bytes, codec: int) -> bool:
        """True when this payload completed a window."""
        self._buffer.extend(map(DECODE[codec].__getitem__, payload))
        if len(self._buffer) < WINDOW:
            return False
        window, self._buffer = self._buffer[:WINDOW], self._buffer[WINDOW:]
        heard = heard_in(window, self.freqs)
        self.count += 1
        self.total += 1
        for freq, level in heard.items():
            self.hits[freq] = self.hits.get(freq, 0) + 1
            self.levels[freq] = self.levels.get(freq, 0.0) + level
        self.last.append((self.total, heard))
        if len(self.last) > 50:
            del self.last[:10]
        return True

    def report(self) -> dict[str, object]:
        """`{"windows": n, "heard": {"620": {"fraction": 0..1, "level_db": dBFS}}}`"""
        return {
            "windows": self.count,
            "heard": {
                str(freq): {
                    "fraction": round(hits / self.count, 3),
                    "level_db": round(self.levels[freq] / hits, 1),
                }
                for freq, hits in sorted(self.hits.items())
            },
        }
