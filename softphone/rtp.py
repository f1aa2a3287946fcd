"""Reception statistics of one RTP stream: packets, loss, jitter (RFC 3550 appendix A), longest gap.

Arrival times are the kernel's, so a busy test machine does not look like a lossy network.
"""

import struct
from dataclasses import dataclass, field

HEADER = struct.Struct("!BBHII")


@dataclass(slots=True)
class Reception:
    """Counts since the start, or since `reset`. Times in ms; `max_gap_at` in epoch seconds."""

    packets: int = 0
    octets: int = 0
    duplicates: int = 0
    reordered: int = 0
    invalid: int = 0
    jitter_ms: float = 0.0
    max_gap_ms: float = 0.0
    max_gap_at: float = 0.0
    sources: list[str] = field(default_factory=list)
    last_arrival: float = 0.0
    first_arrival: float = 0.0
    streams: int = 0
    _ssrc: int | None = None
    _first: int = 0
    _highest: int = 0
    _unique: int = 0
    _lost_before: int = 0
    _transit: float | None = None
    _resume: bool = False

    def reset(self) -> None:
        """Start counting afresh, without taking the pause until the next packet for a gap."""
        self.__init__()  # type: ignore[misc]

    @property
    def lost(self) -> int:
        expected = self._highest - self._first + 1 if self._ssrc is not None else 0
        return self._lost_before + max(0, expected - self._unique)

    def pause(self) -> None:
        """A hold begins or ends: the silence that follows is meant, so neither gap nor loss is counted across it.

        Asterisk goes on counting sequence numbers while it sends nothing to a held telephone.
        """
        self.last_arrival = 0.0
        self._resume = True
        self._transit = None

    def add(self, sequence: int, timestamp: int, ssrc: int, size: int, arrival: float, source: str) -> bool:
        """Count one packet that arrived at `arrival` (epoch s); False when it is a duplicate."""
        if ssrc != self._ssrc or self._resume:
            self._lost_before = self.lost
            self.streams += ssrc != self._ssrc
            self._resume = False
            self._ssrc, self._first, self._highest, self._unique = ssrc, sequence, sequence - 1, 0
            self._transit = None
        step = (sequence - self._highest + 0x8000) % 0x10000 - 0x8000
        if step == 0 and self._unique:
            self.duplicates += 1
            return False
        if step > 0:
            self._highest += step
        else:
            self.reordered += 1
        self.packets += 1
        self._unique += 1
        self.octets += size
        if source not in self.sources and len(self.sources) < 20:
            self.sources.append(source)
        if self.last_arrival:
            gap = (arrival - self.last_arrival) * 1000
            if gap > self.max_gap_ms:
                self.max_gap_ms, self.max_gap_at = gap, self.last_arrival
        else:
            self.first_arrival = self.first_arrival or arrival
        self.last_arrival = arrival
        transit = arrival * 1000 - timestamp / 8
        if self._transit is not None and abs(transit - self._transit) < 1000:
            self.jitter_ms += (abs(transit - self._transit) - self.jitter_ms) / 16
        self._transit = transit
        return True

    def report(self) -> dict[str, object]:
        lost = self.lost
        return {
            "packets": self.packets, "lost": lost, "duplicates": self.duplicates, "reordered": self.reordered,
            "loss_percent": round(100 * lost / (lost + self.packets), 2) if self.packets else 0.0,
            "jitter_ms": round(self.jitter_ms, 2), "gap_ms_max": round(self.max_gap_ms, 1),
            "gap_max_at": self.max_gap_at, "first_at": self.first_arrival, "last_at": self.last_arrival,
            "streams": self.streams, "sources": list(self.sources), "invalid": self.invalid,
        }  # fmt: skip
