"""DHCP packets (RFC 2131, 2132, 3396) as a telephone needs them. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address

COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = range(1, 8)
MASK, ROUTER, TIME_SERVERS, VENDOR_INFO, REQUESTED = 1, 3, 42, 43, 50
LEASE_SECONDS, OVERLOAD, KIND, SERVER, WANTED, LARGEST = 51, 52, 53, 54, 55, 57
RENEW_SECONDS, VENDOR_CLASS, CLIENT, TFTP_SERVER, VLAN, PRIORITY, CUSTOM = 58, 60, 61, 66, 132, 133, 160
_FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_BROADCAST = 0x8000
_ANY = IPv4Address(0)
SMALLEST = 300  # BOOTP's length: some servers and relays drop less


class PacketError(ValueError):
    """No DHCP packet, or one that contradicts itself."""


@dataclass(frozen=True)
class Packet:
    """`mac` is the client's, 6 bytes. `kind`, option 53, is 0 when the packet has none."""

    op: int
    xid: int
    mac: bytes
    options: dict[int, bytes] = field(default_factory=dict)
    client: IPv4Address = _ANY
    yours: IPv4Address = _ANY
    broadcast: bool = True

    @property
    def kind(self) -> int:
        value = self.options.get(KIND, b"")
        return value[0] if len(value) == 1 else 0

    def address(self, option: int) -> IPv4Address | None:
        value = self.options.get(option, b"")
        return IPv4Address(value[:4]) if len(value) >= 4 else None

    def seconds(self, option: int) -> int | None:
        value = self.options.get(option, b"")
        return int.from_bytes(value) if len(value) == 4 else None

    def text(self, option: int) -> str:
        """A string option; vendors' servers end it with a NUL byte at times."""
        return self.options.get(option, b"").rstrip(b"\0").decode("ascii", "replace").strip()


def build(packet: Packet) -> bytes:
    """The packet as it goes on the wire; options longer than 255 bytes are split (RFC 3396)."""
    flags = _BROADCAST if packet.broadcast else 0
    fixed = _FIXED.pack(
        packet.op, 1, 6, 0, packet.xid, 0, flags, packet.client.packed, packet.yours.packed, bytes(4), bytes(4),
        packet.mac.ljust(16, b"\0"), b"", b"",
    )  # fmt: skip
    options = b""
    for code, value in packet.options.items():
        for start in range(0, max(len(value), 1), 255):
            part = value[start : start + 255]
            options += bytes((code, len(part))) + part
    return (fixed + COOKIE + options + b"\xff").ljust(SMALLEST, b"\0")


def parse(data: bytes) -> Packet:
    """PacketError for what is no DHCP packet of an Ethernet client."""
    if len(data) < _FIXED.size + 4 or data[_FIXED.size : _FIXED.size + 4] != COOKIE:
        raise PacketError("too short, or without DHCP's cookie")
    op, hardware, length, _, xid, _, flags, client, yours, _, _, mac, name, file = _FIXED.unpack_from(data)
    if op not in (1, 2) or hardware != 1 or length != 6:
        raise PacketError("not of an Ethernet card")
    options: dict[int, bytes] = {}
    _read(data[_FIXED.size + 4 :], options)
    overload = options.get(OVERLOAD, b"\0")[:1]
    if overload in (b"\x01", b"\x03"):
        _read(file, options)
    if overload in (b"\x02", b"\x03"):
        _read(name, options)
    return Packet(op, xid, mac[:6], options, IPv4Address(client), IPv4Address(yours), bool(flags & _BROADCAST))


def _read(field: bytes, options: dict[int, bytes]) -> None:
    place = 0
    while place < len(field):
        code = field[place]
        if code == 255:
            return
        if code == 0:
            place += 1
            continue
        if place + 1 >= len(field) or place + 2 + field[place + 1] > len(field):
            raise PacketError(f"option {code} goes on beyond its field")
        length = field[place + 1]
        options[code] = options.get(code, b"") + field[place + 2 : place + 2 + length]
        place += 2 + length


@dataclass(frozen=True)
class Lease:
    """What a telephone learnt. `seconds` of the lease, `renew` after so many; `boot`: option 66, `custom`: 160."""

    address: IPv4Address
    server: IPv4Address
    seconds: int
    renew: int
    boot: str = ""
    custom: str = ""
    mask: IPv4Address | None = None
    vlan: str = ""

    @classmethod
    def of(cls, ack: Packet) -> Lease:
        """From an ACK. PacketError when it lacks what a lease needs."""
        server, seconds = ack.address(SERVER), ack.seconds(LEASE_SECONDS)
        if server is None or not seconds or ack.yours == _ANY:
            raise PacketError("an ACK without address, server or time")
        renew = ack.seconds(RENEW_SECONDS) or seconds // 2
        boot, custom = ack.text(TFTP_SERVER), ack.text(CUSTOM)
        return cls(ack.yours, server, seconds, max(1, renew), boot, custom, ack.address(MASK), ack.text(VLAN))


def discover(xid: int, mac: bytes, wanted: bytes, vendor: str, last: IPv4Address | None = None) -> Packet:
    """`wanted`: the options asked for; `last`: the address of the last lease, if any."""
    options = {KIND: bytes((DISCOVER,)), CLIENT: b"\x01" + mac, LARGEST: (1500).to_bytes(2)}
    if last is not None:
        options[REQUESTED] = last.packed
    return Packet(1, xid, mac, options | {VENDOR_CLASS: vendor.encode(), WANTED: wanted})


def request(offer: Packet, wanted: bytes, vendor: str) -> Packet:
    """Take an offer. PacketError when it does not name its server."""
    server = offer.address(SERVER)
    if server is None:
        raise PacketError("an offer without a server")
    options = {
        KIND: bytes((REQUEST,)), CLIENT: b"\x01" + offer.mac, REQUESTED: offer.yours.packed, SERVER: server.packed,
        LARGEST: (1500).to_bytes(2), VENDOR_CLASS: vendor.encode(), WANTED: wanted,
    }  # fmt: skip
    return Packet(1, offer.xid, offer.mac, options)


def renewal(xid: int, mac: bytes, address: IPv4Address, wanted: bytes, vendor: str) -> Packet:
    """In RENEWING the address is in `ciaddr`, and neither it nor the server is an option (RFC 2131 section 4.3.2)."""
    options = {KIND: bytes((REQUEST,)), CLIENT: b"\x01" + mac, VENDOR_CLASS: vendor.encode(), WANTED: wanted}
    return Packet(1, xid, mac, options, client=address, broadcast=False)
