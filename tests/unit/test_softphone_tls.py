"""SIP over TLS and SRTP: framing, trust, keys, and a call that nobody on the wire can hear."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from clinic.secrets import certificate_of
from clinicpbx import certificates
from softphone import sdp, srtp
from softphone.client import Pool, PoolError
from softphone.tls import Framer, FramingError

ONE = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 4\r\n\r\nbody"
TWO = b"SIP/2.0 200 OK\r\nl: 0\r\n\r\n"


def test_messages_are_cut_out_of_a_stream_wherever_it_is_broken() -> None:
    stream = b"\r\n\r\n" + ONE + TWO + b"\r\n" + ONE
    for size in (1, 2, 7, 30, len(stream)):
        framer, found = Framer(), []
        for start in range(0, len(stream), size):
            found += framer.feed(stream[start : start + size])
        assert found == [ONE, TWO, ONE], size


def test_a_double_line_end_is_a_ping_and_a_single_one_is_none() -> None:
    framer = Framer()
    assert framer.feed(b"\r\n\r\n") == [] and framer.pings == 1
    assert framer.feed(ONE + b"\r\n" + ONE) == [ONE, ONE] and framer.pings == 1


@pytest.mark.parametrize(
    "nonsense",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"A\r\nContent-Length: -1\r\n\r\n", b"A\r\nContent-Length: 99999999\r\n\r\n",
     b"x" * 70000],
)  # fmt: skip
def test_a_stream_without_usable_lengths_is_given_up(nonsense: bytes) -> None:
    with pytest.raises(FramingError):
        Framer().feed(nonsense)


def test_a_key_is_written_as_it_is_read() -> None:
    key = srtp.fresh(3)
    assert srtp.read(str(key)) == key
    assert "inline" not in repr(key)


@pytest.mark.parametrize(
    "line",
    ["1 F8_128_HMAC_SHA1_80 inline:" + "A" * 40, "1 AES_CM_128_HMAC_SHA1_80 inline:short", "", "1 2",
     "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|2^20|1:4", "x AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40],
)  # fmt: skip
def test_keys_that_we_cannot_use_are_no_keys(line: str) -> None:
    assert srtp.read(line) is None


def test_srtp_without_a_usable_key_is_refused() -> None:
    offer = sdp.build("10.0.0.1", 4000, session=1, version=1, crypto=srtp.fresh())
    read = sdp.parse(offer)
    assert read.secure and read.crypto
    with pytest.raises(sdp.SdpError):
        sdp.parse(offer.replace(srtp.SUITE.encode(), b"AES_256_CM_HMAC_SHA1_80"))


def test_an_answer_keeps_the_protocol_that_was_offered() -> None:
    plain = sdp.build("10.0.0.1", 4000, session=1, version=1, crypto=srtp.fresh(2)).replace(b"SAVP", b"AVP")
    offer = sdp.parse(plain)
    answer = sdp.build("10.0.0.2", 4002, session=1, version=1, offer=offer, crypto=srtp.fresh(2))
    assert b"RTP/AVP" in answer and b"a=crypto:2 " in answer


def test_forged_repeated_and_plain_packets_are_not_opened() -> None:
    left, right = srtp.Guard(), srtp.Guard()
    one, other = srtp.fresh(), srtp.fresh()
    left.use(one, other)
    right.use(other, one)
    packet = bytes.fromhex("8008000100000000deadbeef") + bytes(160)
    sealed = left.seal(packet)
    assert sealed != packet and right.open(sealed) == packet
    assert right.open(sealed) is None, "repeated"
    assert right.open(packet) is None, "plain"
    again = bytearray(left.seal(packet[:3] + b"\x02" + packet[4:]))
    again[20] ^= 1
    assert right.open(bytes(again)) is None, "forged"
    right.use(other, one)  # as at a hold: the same keys again
    assert right.open(left.seal(packet[:3] + b"\x03" + packet[4:])) is not None


def signed(*addresses: str) -> str:
    """An authority; its certificate is all that telephones need."""
    return certificate_of(certificates.authority("test", dt.datetime.now(dt.UTC)))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    path: Path = tmp_path_factory.mktemp("softphone")
    with Pool.start(path / "pool.sock", log=path / "log") as started:
        yield started


def agent(pool: Pool, ip: str, **options: Any) -> str:
    return pool.add_agent(ip, 15061, t1=0.025, **options)


def test_telephones_that_speak_srtp_hear_each_other_and_the_wire_hears_nothing(pool: Pool) -> None:
    agent(pool, "127.0.0.51", user="s1", srtp=True)
    agent(pool, "127.0.0.52", user="s2", srtp=True)
    call = pool.call("s1", "sip:s2@127.0.0.52:15061", tone=440)
    far = pool.wait_incoming("s2", 3)
    far.answer(tone=620)
    call.wait_answered(3)
    assert call.wait_tone(620, 3) and far.wait_tone(440, 3)
    assert call.refresh()["rtp"]["srtp"] and not call.info["wire_tones"]["heard"]
    assert call.hold() == 200 and call.resume() == 200
    assert call.wait_tone(620, 3), "the same keys go on after a hold"
    far.hangup()


def test_plain_audio_is_heard_on_the_wire_and_refused_by_who_asks_for_srtp(pool: Pool) -> None:
    agent(pool, "127.0.0.53", user="p1")
    agent(pool, "127.0.0.54", user="p2")
    agent(pool, "127.0.0.55", user="s3", srtp=True)
    call = pool.call("p1", "sip:p2@127.0.0.54:15061", tone=440)
    far = pool.wait_incoming("p2", 3)
    far.answer(tone=620)
    assert call.wait_answered(3).wait_tone(620, 3)
    assert "620" in call.refresh()["wire_tones"]["heard"]
    call.hangup()
    for one, other in (("p1", "s3@127.0.0.55"), ("s3", "p2@127.0.0.54")):
        refused = pool.call(one, f"sip:{other}:15061").wait_ended(3)
        assert refused.info["status"] == 488


def test_a_server_of_another_authority_is_not_spoken_to(pool: Pool) -> None:
    """The far agent's own certificate is signed by nobody, as an impostor's would be."""
    agent(pool, "127.0.0.56", user="t1", transport="tls", authority=signed())
    agent(pool, "127.0.0.57", user="t2", transport="tls", authority=signed(), server="127.0.0.56:15061", password="x")
    failed = pool.register(["t2"], timeout=5)["failed"]
    assert failed["t2"][0] == "failed"
    assert any("certificate verify failed" in event.get("error", "") for event in pool.events("t2"))
    assert not pool.invites("t1")


def test_tls_needs_an_authority_that_is_a_certificate(pool: Pool) -> None:
    for wrong in ({"transport": "tls"}, {"transport": "tls", "authority": "none"}, {"authority": signed()}):
        with pytest.raises(PoolError):
            agent(pool, "127.0.0.58", user="wrong", **wrong)


def test_messages_by_tls_reach_a_server_and_come_back_on_the_same_connection() -> None:
    """Against a registrar whose certificate is the authority's, as the PBX's is."""
    import asyncio
    import ssl
    import tempfile

    from softphone.agent import Agent
    from softphone.message import parse, reply, token

    now = dt.datetime.now(dt.UTC)
    ca = certificates.authority("test", now)
    server = certificates.server(ca, IPv4Address("127.0.0.59"), "pbx", now)

    async def run() -> tuple[str, str]:
        seen: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            framer = Framer()
            while data := await reader.read(4096):
                for message in map(parse, framer.feed(data)):
                    seen.append(message.get("contact") + message.via)
                    writer.write(reply(message, 200, token()).build())
            writer.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(server)
            file.flush()
            context.load_cert_chain(file.name)
        listener = await asyncio.start_server(serve, "127.0.0.59", 15061, ssl=context)
        telephone = Agent(
            "127.0.0.60", 15061, user="t9", password="x", server="127.0.0.59:15061", transport="tls",
            authority=certificate_of(ca),
        )  # fmt: skip
        await telephone.open()
        state = await telephone.registration.register(timeout=5)
        telephone.close()
        listener.close()
        return state, seen[0]

    state, seen = asyncio.run(run())
    assert state == "registered"
    assert seen.startswith("<sip:t9@127.0.0.60:15061;transport=tls>") and "SIP/2.0/TLS 127.0.0.60:15061" in seen
