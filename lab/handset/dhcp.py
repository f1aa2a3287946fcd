"""A DHCP client for many MAC addresses on one UDP socket; answers are told apart by their transaction number."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from lab.handset import packet
from lab.handset.packet import Lease, Packet, PacketError

CLIENT_PORT, SERVER_PORT = 68, 67
FIRST, LONGEST = 1.0, 4.0  # seconds of patience; a real telephone's are 4 to 64 (RFC 2131 section 4.1)
ASKED = bytes((1, 3, 6, 15, 28, 42, 43, 51, 54, 58, 66, 120, 132, 133, 150, 160))
_IP_PKTINFO = 8  # linux/in.h; Python has no name for it
_ROOM = 4 << 20  # bytes: a thousand answers may come at once


class RefusedError(Exception):
    """The server said NAK: the address is no longer the telephone's."""


@dataclass(frozen=True)
class Ends:
    """Where clients listen and servers are; other than DHCP's own in tests."""

    card: str = "eth0"
    listen: tuple[str, int] = ("0.0.0.0", CLIENT_PORT)  # noqa: S104 - as every DHCP client
    server: tuple[str, int] = ("255.255.255.255", SERVER_PORT)


class Client:
    """One for all telephones of a network card."""

    def __init__(self, ends: Ends | None = None) -> None:
        self.ends = ends or Ends()
        self._waiting: dict[tuple[int, bytes], Callable[[Packet], None]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        for option in (socket.SO_BROADCAST, socket.SO_REUSEADDR):
            self._socket.setsockopt(socket.SOL_SOCKET, option, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.ends.card.encode())
        self._socket.bind(self.ends.listen)

    def open(self) -> None:
        """Listen in the running loop."""
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    async def lease(self, mac: bytes, vendor: str, last: IPv4Address | None = None) -> Lease:
        """DISCOVER, OFFER, REQUEST, ACK, as often as it takes: a telephone without a server asks for ever."""
        patience = FIRST
        while True:
            xid = random.randrange(1 << 32)  # noqa: S311 - tells answers apart, no secret
            with contextlib.suppress(PacketError, RefusedError, TimeoutError):
                offer = await self._ask(packet.discover(xid, mac, ASKED, vendor, last), packet.OFFER, patience)
                return Lease.of(await self._ask(packet.request(offer, ASKED, vendor), packet.ACK, patience))
            last = None
            patience = min(LONGEST, patience * 2)
            await asyncio.sleep(random.uniform(0, patience / 2))  # noqa: S311 - spreads the load, no secret

    async def renew(self, mac: bytes, vendor: str, lease: Lease) -> Lease:
        """From the server itself, as in RENEWING. RefusedError for a NAK, TimeoutError for silence."""
        xid = random.randrange(1 << 32)  # noqa: S311 - tells answers apart, no secret
        asked = packet.renewal(xid, mac, lease.address, ASKED, vendor)
        return Lease.of(await self._ask(asked, packet.ACK, LONGEST, lease))

    async def _ask(self, asked: Packet, wanted: int, patience: float, held: Lease | None = None) -> Packet:
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()

        def heard(found: Packet) -> None:
            if not answer.done():
                if found.kind == wanted:
                    answer.set_result(found)
                elif found.kind == packet.NAK:
                    answer.set_exception(RefusedError("NAK"))

        key = (asked.xid, asked.mac)
        self._waiting[key] = heard
        try:
            self._send(packet.build(asked), held)
            return await asyncio.wait_for(answer, patience)
        finally:
            self._waiting.pop(key, None)

    def _send(self, data: bytes, held: Lease | None) -> None:
        """Broadcast, or with a lease to its server from its address. A full buffer is a lost packet."""
        with contextlib.suppress(OSError):
            if held is None:
                self._socket.sendto(data, self.ends.server)
            else:
                source = struct.pack("=I4s4s", 0, held.address.packed, bytes(4))
                target = (str(held.server), self.ends.server[1])
                self._socket.sendmsg([data], [(socket.IPPROTO_IP, _IP_PKTINFO, source)], 0, target)

    def _readable(self) -> None:
        for _ in range(200):
            try:
                data = self._socket.recv(4096)
            except OSError:
                return
            with contextlib.suppress(PacketError):
                found = packet.parse(data)
                if found.op == 2 and (heard := self._waiting.get((found.xid, found.mac))):
                    heard(found)
