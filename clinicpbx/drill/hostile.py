"""Hostile SIP: handmade messages after known weaknesses, and seeded mutations of valid ones. Pure; sends nothing.

Each message is whole bytes for one datagram, or for a TLS stream. `Peer` says who sends it and to whom, because
a PBX that cannot find the sender answers nothing and proves nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

LARGEST = 65_507  # octets that one UDP datagram over IPv4 can hold
METHODS = ("INVITE", "REGISTER", "OPTIONS", "SUBSCRIBE", "MESSAGE", "REFER", "PUBLISH", "NOTIFY", "INFO", "UPDATE",
           "PRACK", "CANCEL", "ACK", "BYE", "FROBNICATE")  # fmt: skip
SDP = (
    "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 20998 RTP/AVP 8 101\r\n"
    "a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n"
)


@dataclass(frozen=True)
class Peer:
    """`own` is the sender's "ip:port", `target` the PBX's address, `user` who it says it is, `to` who it asks for."""

    own: str
    target: str
    user: str
    to: str
    transport: str = "UDP"


@dataclass(frozen=True)
class Message:
    """`name` says what is wrong with it, for the report and to find it again."""

    name: str
    data: bytes


def message(
    peer: Peer, method: str, tag: str, *, body: str = "", content: str = "", change: dict[str, str] | None = None,
    extra: tuple[str, ...] = (), length: str | None = None,
) -> bytes:  # fmt: skip
    """A valid request, but for `change` (header to value; empty drops it), `extra` lines and a `length` of our own."""
    headers = {
        "Via": f"SIP/2.0/{peer.transport} {peer.own};branch=z9hG4bK{tag};rport",
        "Max-Forwards": "70",
        "From": f"<sip:{peer.user}@{peer.own}>;tag={tag}",
        "To": f"<sip:{peer.to}@{peer.target}>",
        "Call-ID": f"{tag}@{peer.own}",
        "CSeq": f"1 {method}",
        "Contact": f"<sip:{peer.user}@{peer.own}>",
    }
    if content or body:
        headers["Content-Type"] = content or "application/sdp"
    headers["Content-Length"] = str(len(body.encode())) if length is None else length
    headers |= change or {}
    lines = [f"{method} sip:{peer.to}@{peer.target} SIP/2.0", *(f"{k}: {v}" for k, v in headers.items() if v), *extra]
    return ("\r\n".join([*lines, "", ""]) + body).encode(errors="surrogateescape")


def corpus(peer: Peer, tag: str) -> list[bytes]:
    """One valid request of every method, those with a body with one."""
    host, bodies = peer.own.partition(":")[0], {"INVITE", "UPDATE", "PRACK"}
    found = []
    for number, method in enumerate(METHODS):
        body = SDP.format(host=host) if method in bodies else ""
        extra: tuple[str, ...] = ()
        if method in ("SUBSCRIBE", "NOTIFY"):
            extra = ("Event: message-summary", "Expires: 60", "Subscription-State: active")
        if method == "REFER":
            extra = (f"Refer-To: <sip:{peer.to}@{peer.target}>",)
        found.append(message(peer, method, f"{tag}c{number}", body=body, extra=extra))
    return found


def _authorizations(peer: Peer) -> Iterator[tuple[str, str]]:
    digest = f'Digest username="{peer.user}",realm="asterisk",uri="sip:{peer.target}"'
    yield "digest without a value", "Digest"
    yield "digest of commas", "Digest " + "," * 4000
    yield "digest with an open quote", f'{digest},nonce="'
    yield "digest with an empty nonce", f'{digest},nonce="",response=""'
    yield "digest with a huge response", f'{digest},nonce="a",response="{"f" * 9000}"'
    yield "digest with a huge user", f'Digest username="{"u" * 9000}",realm="asterisk",nonce="a",response="b"'
    yield "digest of an unknown algorithm", f'{digest},nonce="a",response="b",algorithm=FROB-512'
    yield "digest with a short SHA-256", f'{digest},nonce="a",response="b",algorithm=SHA-256'
    yield "digest with a negative count", f'{digest},nonce="a",response="b",qop=auth,nc=-1,cnonce="c"'
    yield "digest with a qop of its own", f'{digest},nonce="a",response="b",qop="auth,auth-int,%s%n"'
    yield "basic", "Basic " + "QUFB" * 500
    yield "an unknown scheme", "Frob a=b"
    yield "digest with formats", 'Digest username="%n%n%n%s",realm="%n",nonce="%s",response="%x"'


def _bodies(host: str) -> Iterator[tuple[str, str]]:
    head = f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    line = "m=audio 20998 RTP/AVP 8\r\n"
    yield "SDP of thousands of media", head + line * 2000
    yield "SDP of thousands of codecs", head + "m=audio 20998 RTP/AVP " + " ".join(map(str, range(6000))) + "\r\n"
    yield "SDP of thousands of attributes", head + line + "a=rtpmap:8 PCMA/8000\r\n" * 2000
    yield "SDP with a huge format", head + line + "a=fmtp:8 " + "x" * 30_000 + "\r\n"
    yield "SDP with a negative port", head + "m=audio -1 RTP/AVP 8\r\n"
    yield "SDP with a huge port", head + "m=audio 99999999999999999999/4294967296 RTP/AVP 8\r\n"
    yield "SDP with a codec of 4294967295", head + "m=audio 20998 RTP/AVP 4294967295 -1\r\na=rtpmap:-1 X/0\r\n"
    yield "SDP with a clock of nothing", head + line + "a=rtpmap:8 PCMA/0\r\na=ptime:0\r\na=maxptime:-1\r\n"
    yield "SDP without media", head
    yield "SDP without connection", "v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\n" + line
    yield "SDP of half a line", head + "m=audio"
    yield "SDP of thousands of candidates", head + line + "a=candidate:1 1 UDP 1 127.0.0.1 9 typ host\r\n" * 1000
    yield "SDP with a hostile crypto", head + line + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 9000 + "\r\n"
    yield "SDP with zeroes", head + "m=audio 20998 RTP/AVP 8\0\0\0\r\n"


def _headers(peer: Peer) -> Iterator[tuple[str, dict[str, str]]]:
    for value in ("-1", "4294967296", "99999999999999999999", "0x10", "5", ""):
        yield f"Content-Length {value or 'absent'}", {"Content-Length": value}
    for value in ("4294967295 OPTIONS", "99999999999999999999 OPTIONS", "-1 OPTIONS", "OPTIONS", "1 INVITE"):
        yield f"CSeq {value}", {"CSeq": value}
    for header in ("Via", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards"):
        yield f"no {header}", {header: ""}
    bad = {
        "of nulls": "\0" * 64,
        "of formats": "%n%s%x" * 200,
        "giant": f"<sip:{'a' * 20_000}@{peer.target}>",
        "of invalid UTF-8": "\udcff\udcfe\udcc0\udc80 <sip:x@y>",
        "of deep parameters": f"<sip:x@{peer.own}" + ";a=b" * 4000 + ">",
        "of quotes": '"' * 999 + "\\",
        "of brackets": "<" * 999 + "sip:x" + ">" * 999,
        "of a huge port": f"<sip:x@{peer.target}:99999999999>",
        "of IPv6": "<sip:x@[::ffff:[::1]]>",
    }
    for header in ("Via", "From", "To", "Contact", "Route", "Record-Route", "Call-ID", "Max-Forwards"):
        for name, value in bad.items():
            yield f"{header} {name}", {header: value}


def handmade(peer: Peer, tag: str) -> list[Message]:
    """Every weakness that we know by name, once."""
    host = peer.own.partition(":")[0]
    whole = message(peer, "INVITE", f"{tag}w", body=SDP.format(host=host))
    found = [Message(f"truncated at {cut}", whole[:cut]) for cut in range(1, len(whole), max(1, len(whole) // 24))]
    padding = "x" * (LARGEST - len(message(peer, "OPTIONS", f"{tag}o", body=" ", content="text/plain")) - 8)
    found += [
        Message("oversized", message(peer, "OPTIONS", f"{tag}o", body=padding, content="text/plain")[:LARGEST]),
        Message("giant header", message(peer, "OPTIONS", f"{tag}g", extra=("X-Giant: " + "x" * 60_000,))),
        Message("thousands of headers", message(peer, "OPTIONS", f"{tag}t", extra=("X-A: b",) * 5000)),
        Message("thousands of Via", message(peer, "OPTIONS", f"{tag}v", extra=(f"Via: SIP/2.0/UDP {host}",) * 1500)),
        Message("nulls", b"\0" * 2000),
        Message("nothing", b""),
        Message("line ends", b"\r\n" * 2000),
        Message("a response nobody asked for", b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n"),
        Message("a status of 9999", b"SIP/2.0 9999 \r\n\r\n"),
        Message("voice mail overflow", message(
            peer, "NOTIFY", f"{tag}m", content="application/simple-message-summary",
            extra=("Event: message-summary", "Subscription-State: active"),
            body="Messages-Waiting: yes\r\nVoice-Message: " + "9" * 9000 + "/-1 (4294967296/-99999999999)\r\n",
        )),
    ]  # fmt: skip
    numbered: list[tuple[str, bytes]] = []
    for name, header in _authorizations(peer):
        for method in ("REGISTER", "INVITE"):
            data = message(peer, method, f"{tag}a{len(numbered)}", extra=(f"Authorization: {header}",))
            numbered.append((f"{method} {name}", data))
    for name, body in _bodies(host):
        numbered.append((name, message(peer, "INVITE", f"{tag}b{len(numbered)}", body=body)))
    for name, change in _headers(peer):
        numbered.append((name, message(peer, "OPTIONS", f"{tag}h{len(numbered)}", change=change)))
    numbered += [(f"{m} out of dialog", d) for m, d in zip(METHODS, corpus(peer, f"{tag}d"), strict=True)]
    return found + [Message(name, data[:LARGEST]) for name, data in numbered]


def mutations(peer: Peer, seed: int, count: int) -> Iterator[Message]:
    """`count` messages, each a valid one with one to eight changes; the same for the same seed and peer."""
    dice = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    for number in range(count):
        valid = corpus(peer, f"m{seed}x{number}")
        data = bytearray(valid[number % len(valid)])
        for _ in range(dice.randint(1, 8)):
            _change(data, dice)
        yield Message(f"mutation {number} of seed {seed}", bytes(data[:LARGEST]))


def _change(data: bytearray, dice: random.Random) -> None:
    if not data:
        data.append(dice.randrange(256))
        return
    at, size = dice.randrange(len(data)), dice.choice((1, 2, 8, 40, 200))
    match dice.randrange(5):
        case 0:
            data[at] ^= 1 << dice.randrange(8)
        case 1:
            del data[at : at + size]
        case 2:
            data[at:at] = data[at : at + size] * dice.choice((1, 2, 20))
        case 3:
            data[at:at] = dice.randbytes(size)
        case _:
            data[at:at] = dice.choice(
                (b"\0", b"\r\n", b"\r\n\r\n", b"%n", b"\xff\xfe", b"-1", b"4294967296", b";", b'"')
            )
