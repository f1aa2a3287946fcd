"""DHCP packets byte by byte, and the client against a server that answers, refuses, or says nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.handset import dhcp, packet
from lab.handset.packet import Lease, Packet, PacketError

MAC = bytes.fromhex("c074ad3a2510")
# An ACK as RFC 2131 has it, written by hand: 10.77.20.138 for two hours, option 66 in two parts as RFC 3396 allows.
FIXED = (
    "02 01 06 00" "deadbeef" "0000 8000" "00000000" "0a4d148a" "0a4d140a" "00000000"
    "c074ad3a2510" + "00" * 10 + "00" * 64 + "00" * 128
)  # fmt: skip
OPTIONS = (
    "63825363" "350105" "36040a4d140a" "330400001c20" "3a0400000258" "0104ffffff00" "2a040a4d140a"
    "420768747470733a2f" "42112f31302e37372e32302e31302f662f782f00" "8402" "3230" "ff"
)  # fmt: skip
ACK = bytes.fromhex((FIXED + OPTIONS).replace(" ", ""))


def test_an_ack_is_read_as_it_stands_on_the_wire() -> None:
    found = packet.parse(ACK)
    assert (found.op, found.xid, found.mac, found.kind, found.broadcast) == (2, 0xDEADBEEF, MAC, packet.ACK, True)
    lease = Lease.of(found)
    assert lease == Lease(
        IPv4Address("10.77.20.138"), IPv4Address("10.77.20.10"), 7200, 600, "https://10.77.20.10/f/x/",
        mask=IPv4Address("255.255.255.0"), vlan="20",
    )  # fmt: skip


def test_a_discover_is_what_a_server_expects() -> None:
    data = packet.build(packet.discover(0x11223344, MAC, dhcp.ASKED, "yealink", IPv4Address("10.77.20.138")))
    assert data[:12] == bytes.fromhex("01010600 11223344 0000 8000".replace(" ", ""))
    assert data[28:34] == MAC and data[236:240] == packet.COOKIE and len(data) >= 300
    again = packet.parse(data)
    assert again.options[packet.CLIENT] == b"\x01" + MAC and again.text(packet.VENDOR_CLASS) == "yealink"
    assert again.address(packet.REQUESTED) == IPv4Address("10.77.20.138")
    assert {66, 132, 160} <= set(again.options[packet.WANTED])


def test_a_renewal_names_its_address_in_the_header_and_no_server() -> None:
    asked = packet.parse(packet.build(packet.renewal(7, MAC, IPv4Address("10.77.20.138"), dhcp.ASKED, "x")))
    assert asked.client == IPv4Address("10.77.20.138") and not asked.broadcast
    assert packet.SERVER not in asked.options and packet.REQUESTED not in asked.options


def test_options_may_go_on_in_the_header_fields() -> None:
    """Option overload, which some servers use when a long address does not fit."""
    header = bytearray(ACK[:236])
    header[108:236] = (b"\x42\x09https://x" + b"\xff").ljust(128, b"\0")
    found = packet.parse(bytes(header) + packet.COOKIE + b"\x34\x01\x01\x35\x01\x05\xff")
    assert found.text(66) == "https://x" and found.kind == packet.ACK


@pytest.mark.parametrize(
    "data",
    [b"", ACK[:200], ACK[:236] + b"xxxx" + ACK[240:], b"\x03" + ACK[1:], ACK[:240] + b"\x35\x09\x01",
     ACK[:240] + b"\x35", ACK[:1] + b"\x06" + ACK[2:]],
)  # fmt: skip
def test_what_is_no_packet_is_refused(data: bytes) -> None:
    with pytest.raises(PacketError):
        packet.parse(data)


def test_an_ack_without_server_or_time_is_no_lease() -> None:
    for options in ("350105ff", "350105 36040a4d140a ff", "350105 330400001c20 ff"):
        with pytest.raises(PacketError):
            Lease.of(packet.parse(ACK[:240] + bytes.fromhex(options.replace(" ", ""))))


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail_otherwise(tail: bytes) -> None:
    with contextlib.suppress(PacketError):
        Lease.of(packet.parse(ACK[:240] + tail))


@given(st.dictionaries(st.integers(1, 254).filter(lambda code: code != packet.OVERLOAD), st.binary(max_size=600)))
def test_what_is_built_is_read_again(options: dict[int, bytes]) -> None:
    made = Packet(2, 5, MAC, options, yours=IPv4Address("10.0.0.1"))
    assert packet.parse(packet.build(made)) == made


Rule = Callable[[Packet], Packet | None]


async def against(rule: Rule, ask: Callable[[dhcp.Client], asyncio.Future[Lease]]) -> tuple[Lease, list[Packet]]:
    """A client on loopback and a server that answers by `rule`; what it was asked."""
    loop, heard = asyncio.get_running_loop(), []
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    server.bind(("127.0.0.1", 0))
    client = dhcp.Client(dhcp.Ends("lo", ("127.0.0.1", 0), server.getsockname()))
    home = client._socket.getsockname()

    def serve() -> None:
        asked = packet.parse(server.recv(2000))
        heard.append(asked)
        if answer := rule(asked):
            server.sendto(packet.build(answer), home)

    loop.add_reader(server, serve)
    client.open()
    try:
        return await asyncio.wait_for(ask(client), 10), heard
    finally:
        loop.remove_reader(server)
        server.close()
        client.close()


def answer(asked: Packet, kind: int, **changed: object) -> Packet:
    options = {
        packet.KIND: bytes((kind,)), packet.SERVER: bytes((127, 0, 0, 1)), packet.LEASE_SECONDS: bytes((0, 0, 28, 32)),
        packet.TFTP_SERVER: b"https://x/f/y/",
    }  # fmt: skip
    values: dict[str, object] = {"xid": asked.xid, "mac": asked.mac, "yours": IPv4Address("127.0.0.9")}
    return Packet(2, options=options, **values | changed)  # type: ignore[arg-type]


def server(asked: Packet) -> Packet:
    return answer(asked, packet.OFFER if asked.kind == packet.DISCOVER else packet.ACK)


def lease(client: dhcp.Client) -> asyncio.Future[Lease]:
    return asyncio.ensure_future(client.lease(MAC, "yealink"))


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dhcp, "FIRST", 0.05)
    monkeypatch.setattr(dhcp, "LONGEST", 0.1)


def test_a_telephone_gets_its_lease_in_four_packets() -> None:
    found, heard = asyncio.run(against(server, lease))
    assert found.address == IPv4Address("127.0.0.9") and found.boot == "https://x/f/y/" and found.renew == 3600
    assert [one.kind for one in heard] == [packet.DISCOVER, packet.REQUEST]
    assert heard[1].address(packet.REQUESTED) == found.address


def test_many_telephones_share_one_socket_and_none_takes_another_ones_answer() -> None:
    macs = [bytes((2, 0, 0, 0, n // 256, n % 256)) for n in range(300)]

    def serve(asked: Packet) -> Packet:
        return answer(asked, server(asked).kind, yours=IPv4Address(int(IPv4Address("10.0.0.0")) + asked.mac[5]))

    async def all_of_them(client: dhcp.Client) -> Lease:
        found = await asyncio.gather(*(client.lease(mac, "x") for mac in macs))
        assert [int(one.address) & 255 for one in found] == [mac[5] for mac in macs]
        return found[0]

    asyncio.run(against(serve, lambda client: asyncio.ensure_future(all_of_them(client))))


@pytest.mark.parametrize("changed", [{"xid": 1}, {"mac": bytes(6)}, {"op": 1}])
def test_an_answer_for_somebody_else_is_not_taken(changed: dict[str, object]) -> None:
    first: list[Packet] = []

    def serve(asked: Packet) -> Packet:
        if not first:
            first.append(asked)
            found = answer(asked, packet.OFFER, **{k: v for k, v in changed.items() if k != "op"})
            return Packet(int(str(changed.get("op", 2))), found.xid, found.mac, found.options, yours=found.yours)
        return server(asked)

    _, heard = asyncio.run(against(serve, lease))
    assert [one.kind for one in heard] == [packet.DISCOVER, packet.DISCOVER, packet.REQUEST]


def test_silence_and_refusal_are_answered_by_asking_again() -> None:
    def serve(asked: Packet) -> Packet | None:
        count.append(asked.kind)
        if len(count) == 1:
            return None
        return answer(asked, packet.NAK) if len(count) == 3 else server(asked)

    count: list[int] = []
    asyncio.run(against(serve, lease))
    assert count == [packet.DISCOVER, packet.DISCOVER, packet.REQUEST, packet.DISCOVER, packet.REQUEST]


def test_a_renewal_keeps_the_lease_and_a_nak_ends_it() -> None:
    held = Lease(IPv4Address("127.0.0.9"), IPv4Address("127.0.0.1"), 60, 30)

    def renew(client: dhcp.Client) -> asyncio.Future[Lease]:
        return asyncio.ensure_future(client.renew(MAC, "yealink", held))

    found, heard = asyncio.run(against(server, renew))
    assert found.address == held.address and heard[0].client == held.address
    with pytest.raises(dhcp.RefusedError):
        asyncio.run(against(lambda asked: answer(asked, packet.NAK), renew))
    with pytest.raises(TimeoutError):
        asyncio.run(against(lambda asked: None, renew))
