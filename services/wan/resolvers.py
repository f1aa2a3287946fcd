"""Whether the clinic's DNS servers answer. Calls need none; alerts and updates do, so people are told."""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
from collections.abc import Iterator
from typing import Any

from .core import Track

ROW = 3


class Resolvers:
    """Each is asked for the root's name servers (RFC 1035) whenever `ask` is called. Whatever it answers, it lives."""

    def __init__(self, addresses: list[str]) -> None:
        self.tracks = {address: Track(least=1.0) for address in addresses}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self._told: set[str] = set()

    def ask(self, now: float) -> None:
        for address, track in self.tracks.items():
            track.expire(now)
            number = secrets.randbits(16)
            track.sent(number, now)
            question = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack("!HH", 2, 1)
            with contextlib.suppress(OSError):
                self.socket.sendto(question, (address, 53))

    def hear(self, now: float) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, (address, _) = self.socket.recvfrom(2048)
                if address in self.tracks and len(data) >= 12:
                    self.tracks[address].answered(struct.unpack_from("!H", data)[0], now)

    def alive(self) -> dict[str, bool]:
        return {address: track.known and track.row < ROW for address, track in self.tracks.items()}

    def news(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Told when the last one of those that ever answered is silent, and when one answers again."""
        known = [address for address, track in self.tracks.items() if track.known]
        silent = bool(known) and all(self.tracks[address].row >= ROW for address in known)
        if silent and not self._told:
            self._told = set(known)
            yield "dns-down", {"resolvers": known}
        elif self._told and not silent:
            self._told = set()
            yield "dns-up", {"resolvers": known}
