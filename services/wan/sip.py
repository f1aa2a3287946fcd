"""SIP as far as the watchdog speaks it: OPTIONS as a probe, REGISTER for bindings. Pure. RFC 3261, 3581, 8760."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

_PAIR = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HOST = re.compile(r"sips?:(?:[^@>;,]*@)?([0-9.]+)")
_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}


@dataclass(frozen=True)
class Answer:
    """A response: its code and reason, its CSeq number and Call-ID, the address it was sent to (`received`), and the
    hosts of its contacts: of a registrar's 200, all that are bound."""

    code: int
    reason: str
    number: int
    call: str
    seen: str
    headers: Mapping[str, str]
    contacts: tuple[str, ...] = ()


def options(server: str, port: int, user: str, address: str, own: int, tag: str, number: int) -> bytes:
    """A request as short as one may be: it is sent every second. `tag` names the asker in branch, tag and Call-ID."""
    return (
        f"OPTIONS sip:{server}:{port} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {address}:{own};rport;branch=z9hG4bK{tag}{number}\r\n"
        f"From: <sip:{user}@{server}>;tag={tag}\r\nTo: <sip:{server}>\r\nCall-ID: {tag}\r\n"
        f"CSeq: {number} OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


EVERY = "*"


def register(
    server: str, port: int, user: str, address: str, own: int, tag: str, number: int, *, contact: str = "",
    expires: int = 0, authorization: str = "",
) -> bytes:  # fmt: skip
    """REGISTER without a contact asks for the bindings; with EVERY it removes them all (RFC 3261 10.2.2)."""
    more = f"Contact: {contact}\r\nExpires: {expires}\r\n" if contact else ""
    return (
        f"REGISTER sip:{server}:{port} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {address}:{own};rport;branch=z9hG4bK{tag}{number}\r\n"
        f"From: <sip:{user}@{server}>;tag={tag}\r\nTo: <sip:{user}@{server}>\r\nCall-ID: {tag}\r\n"
        f"CSeq: {number} REGISTER\r\nMax-Forwards: 70\r\n{more}{authorization}Content-Length: 0\r\n\r\n"
    ).encode()


def answer(data: bytes) -> Answer | None:
    """The response in a datagram; None for anything else."""
    head, _, _ = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("utf-8", "replace").split("\r\n")
    status = re.fullmatch(r"SIP/2\.0 (\d{3}) ?(.*)", first)
    if not status:
        return None
    headers: dict[str, str] = {}
    contacts: list[str] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name = _COMPACT.get(name.strip().lower(), name.strip().lower())
            headers.setdefault(name, value.strip())
            if name == "contact":
                contacts += _HOST.findall(value)
    number = re.match(r"(\d{1,9}) ", headers.get("cseq", ""))
    if not number:
        return None
    seen = re.search(r";\s*received=([0-9.]+)", headers.get("via", ""))
    return Answer(
        int(status[1]), status[2][:80], int(number[1]), headers.get("call-id", ""), seen[1] if seen else "", headers,
        tuple(contacts),
    )  # fmt: skip


def authorization(
    challenge: str, method: str, uri: str, user: str, password: str, *, proxy: bool = False, count: int = 1
) -> str:
    """The header that answers a Digest challenge; empty for a scheme or an algorithm that we do not speak.

    `count`: how often this challenge's nonce is used, this time included.
    """
    scheme, _, rest = challenge.partition(" ")
    said = {name.lower(): quoted or plain for name, quoted, plain in _PAIR.findall(rest)}
    algorithm = said.get("algorithm", "MD5")
    make = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}.get(algorithm.upper())
    if scheme.lower() != "digest" or make is None or "nonce" not in said:
        return ""

    def h(text: str) -> str:
        return make(text.encode()).hexdigest()

    realm, nonce = said.get("realm", ""), said["nonce"]
    one, two = h(f"{user}:{realm}:{password}"), h(f"{method}:{uri}")
    fields = f'username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", algorithm={algorithm}'
    if "auth" in said.get("qop", "").replace(" ", "").split(","):
        own = secrets.token_hex(8)
        response = h(f"{one}:{nonce}:{count:08x}:{own}:auth:{two}")
        fields += f', qop=auth, nc={count:08x}, cnonce="{own}"'
    else:
        response = h(f"{one}:{nonce}:{two}")
    if "opaque" in said:
        fields += f', opaque="{said["opaque"]}"'
    name = "Proxy-Authorization" if proxy else "Authorization"
    return f'{name}: Digest {fields}, response="{response}"\r\n'
