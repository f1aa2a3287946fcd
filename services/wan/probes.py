"""The sockets of one uplink: ping to its router and the anchors, SIP to the providers, each by its own card."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import struct
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from . import sip
from .core import Line, Track, due

GATEWAY_EVERY, ANCHOR_EVERY = 0.2, 0.1
"""Seconds between two probes of the router, and of the anchors in turn."""
SIP_LEAST = 0.15
SURE = 3
"""Answers in a row that say so before a new public address is believed."""
SIP = 5060  # Asterisk's port, as templates/asterisk/pjsip.conf.j2
SO_TIMESTAMPNS = 35  # socket(7); Python has no name for it


@dataclass(frozen=True)
class Provider:
    """A provider as it is asked. `user` and `password` are empty for one that knows the clinic by its address."""

    name: str
    server: str
    port: int
    user: str = ""
    password: str = ""
    one: bool = False


class Uplink:
    """An uplink's Line and, while a card has its address, the sockets that ask through it."""

    def __init__(self, described: dict[str, Any], anchors: list[str], providers: list[Provider]) -> None:
        self.name, self.address, self.gateway = described["name"], described["address"], described["gateway"]
        self.expected = described["external"]
        self.providers = providers
        self.line = Line(
            self.name, Track(), {anchor: Track() for anchor in anchors},
            {provider.name: Track(least=SIP_LEAST) for provider in providers}, carrier=False,
        )  # fmt: skip
        self.card, self.port = "", 0
        self.sockets: tuple[socket.socket, ...] = ()
        self._card_number = self._carrier = 0
        self.seen: dict[str, deque[str]] = {}
        """Provider to the addresses it saw us at."""
        self.codes: dict[str, int] = {}
        self.octets = 0
        self._id = secrets.randbits(16)
        self._tag = secrets.token_hex(4)
        self._number = 0
        self._owners: dict[int, Track] = {}
        self._due = {"gateway": 0.0, "anchor": 0.0}
        self._asked: dict[str, float] = {}
        self._turn = 0

    def addresses(self) -> set[str]:
        """Where providers see us now, each for three answers in a row."""
        return {seen[0] for seen in self.seen.values() if len(seen) == SURE and len(set(seen)) == 1}

    def moved(self) -> bool:
        """Whether another card has the address than when the sockets were opened; none has: they are kept."""
        found = card_of(self.address)
        return bool(found) and found != (self.card, self._card_number)

    def open(self) -> None:
        """Sockets of the card that has the address now. What was on its way is lost: the machine stood still."""
        for old in self.sockets:
            old.close()
        if self._carrier:
            os.close(self._carrier)
        self.sockets, self._carrier = (), 0
        self.card, self._card_number = card_of(self.address) or ("", 0)
        self.echo = _bound(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), self.address, self.card)
        self.sip = _bound(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), self.address, self.card)
        self._raw = _bound(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP), self.address, self.card)
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # it only sends
        self.sockets = (self.echo, self.sip, self._raw)
        self.port = self.sip.getsockname()[1]
        self._carrier = os.open(f"/sys/class/net/{self.card}/carrier", os.O_RDONLY | os.O_CLOEXEC)
        for _, track in self.line.tracks():
            track.forget()

    def look(self) -> bool:
        """The card's carrier, as the kernel sees it; whether it changed."""
        before = self.line.carrier
        if not self.sockets:
            return False
        try:
            self.line.carrier = os.pread(self._carrier, 1, 0) == b"1"
        except OSError:  # a card that is down has no carrier to be read
            self.line.carrier = False
        return before != self.line.carrier

    def ask(self, now: float, others: Collection[Line]) -> None:
        """Send what is due. `others`: the other uplinks, whose doubts are ours."""
        if not self.sockets:
            return
        if now >= self._due["gateway"]:
            self._due["gateway"] = now + GATEWAY_EVERY - 0.02
            self._ping(self.gateway, self.line.gateway, now)
        if self.line.anchors and now >= self._due["anchor"]:
            self._due["anchor"] = now + ANCHOR_EVERY - 0.02
            self._turn = (self._turn + 1) % len(self.line.anchors)
            anchor = list(self.line.anchors)[self._turn]
            self._ping(anchor, self.line.anchors[anchor], now)
        wanted = due(self.line, self._asked, others, now)
        for provider in self.providers:
            if provider.name in wanted:
                self._asked[provider.name] = now
                self._options(provider, now)

    def _ping(self, address: str, track: Track, now: float) -> None:
        self._number = self._number % 65535 + 1
        head = struct.pack("!BBHHH", 8, 0, 0, self._id, self._number)
        packet = head[:2] + struct.pack("!H", _checksum(head)) + head[4:]
        self._owners[self._number] = track
        track.sent(self._number, now)
        self._send(self.echo, packet, (address, 0), 20)

    def _options(self, provider: Provider, now: float) -> None:
        self._number = self._number % 65535 + 1
        user = provider.user or "clinic"
        request = sip.options(
            provider.server, provider.port, user, self.address, self.port, self._tag, self._number
        )  # fmt: skip
        track = self.line.providers[provider.name]
        self._owners[self._number] = track
        track.sent(self._number, now)
        self._send(self.sip, request, (provider.server, provider.port), 28)

    def send(self, request: bytes, provider: Provider) -> None:
        """Something else than a probe, by the same socket."""
        if self.sockets:
            self._send(self.sip, request, (provider.server, provider.port), 28)

    def send_as_asterisk(self, request: bytes, provider: Provider) -> None:
        """From Asterisk's own port, so that a registrar that believes the packet's source believes in Asterisk's."""
        if not self.sockets:
            return
        head = struct.pack("!HHHH", SIP, provider.port, 8 + len(request), 0)  # no checksum: RFC 768 allows it
        self._send(self._raw, head + request, (provider.server, 0), 20)

    def _send(self, by: socket.socket, data: bytes, to: tuple[str, int], header: int) -> None:
        self.octets += len(data) + header
        with contextlib.suppress(OSError):  # no route, no carrier: it stays unanswered, which is what counts
            by.sendto(data, to)

    def hear_echo(self, now: float) -> None:
        while True:
            try:
                data, extra, _, (source, _) = self.echo.recvmsg(2048, 64)
            except OSError:
                return
            at = _arrival(extra, now)
            start = (data[0] & 15) * 4
            if len(data) < start + 8:
                continue
            kind, _, _, who, number = struct.unpack_from("!BBHHH", data, start)
            if kind != 0 or who != self._id:
                continue
            self.octets += len(data)
            track = self._owners.get(number)
            if track is None or not self._is(source, track):
                continue
            if track.answered(number, at) and track is not self.line.gateway:
                self.line.row = 0

    def _is(self, source: str, track: Track) -> bool:
        """Only the one that was asked can answer: somebody else's answer proves nothing."""
        return track is (self.line.gateway if source == self.gateway else self.line.anchors.get(source))

    def hear_sip(self, now: float) -> list[tuple[Provider, sip.Answer]]:
        """Answers that belong to no probe."""
        others: list[tuple[Provider, sip.Answer]] = []
        while True:
            try:
                data, extra, _, source = self.sip.recvmsg(4096, 64)
            except OSError:
                return others
            provider = next((p for p in self.providers if (p.server, p.port) == source), None)
            found = sip.answer(data) if provider else None
            if provider is None or found is None:
                continue
            self.octets += len(data) + 28
            track = self.line.providers[provider.name]
            if found.call != self._tag:
                others.append((provider, found))
            elif self._owners.get(found.number) is track and track.answered(found.number, _arrival(extra, now)):
                self.codes[provider.name] = found.code
                if found.seen:
                    self.seen.setdefault(provider.name, deque(maxlen=SURE)).append(found.seen)


def _arrival(extra: list[tuple[int, int, bytes]], now: float) -> float:
    """When the kernel took it, by the monotonic clock: we may look 50 ms later."""
    for _, kind, data in extra:
        if kind == SO_TIMESTAMPNS and len(data) == 16:
            seconds, nanoseconds = struct.unpack("qq", data)
            waited = time.time() - seconds - nanoseconds / 1e9
            return now - waited if 0 <= waited < 1 else now
    return now


def card_of(address: str) -> tuple[str, int] | None:
    """Name and number of the card that carries an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for number, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                found = fcntl.ioctl(probe, 0x8915, struct.pack("256s", name.encode()[:15]))  # SIOCGIFADDR
                if socket.inet_ntoa(found[20:24]) == address:
                    return name, number
    return None


def _bound(made: socket.socket, address: str, card: str) -> socket.socket:
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.encode())
    made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)  # as the calls, so that it is queued with them
    made.bind((address, 0))
    return made


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total = int(sum(struct.unpack(f"!{len(data) // 2}H", data)))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
