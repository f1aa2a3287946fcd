"""SRTP with keys from the SDP (RFC 3711, RFC 4568): AES_CM_128_HMAC_SHA1_80, which every telephone has."""

import base64
import binascii
import os
from dataclasses import dataclass

from pylibsrtp import Error, Policy, Session

SUITE = "AES_CM_128_HMAC_SHA1_80"
KEY_BYTES = 30  # 16 of key, 14 of salt


@dataclass(frozen=True, slots=True)
class Crypto:
    """One `a=crypto` line: its tag and the key its writer sends with."""

    tag: int
    key: bytes

    def __repr__(self) -> str:
        return f"Crypto({self.tag}, ...)"

    def __str__(self) -> str:
        return f"{self.tag} {SUITE} inline:{base64.b64encode(self.key).decode()}"


def fresh(tag: int = 1) -> Crypto:
    return Crypto(tag, os.urandom(KEY_BYTES))


def read(value: str) -> Crypto | None:
    """What follows `a=crypto:`; None for another suite, several keys (an MKI) or what cannot be read."""
    parts = value.split()
    if len(parts) < 3 or parts[1] != SUITE or not parts[0].isdigit() or not parts[2].startswith("inline:"):
        return None
    coded, _, options = parts[2][7:].partition("|")
    if ":" in options:
        return None
    try:
        key = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return Crypto(int(parts[0]), key) if len(key) == KEY_BYTES else None


class Guard:
    """Both directions of one stream. A key that comes again keeps its session: the packet counters go on."""

    def __init__(self) -> None:
        self._keys = (b"", b"")
        self._out: Session | None = None
        self._in: Session | None = None

    def use(self, own: Crypto, theirs: Crypto) -> None:
        """Send with our key, receive with theirs."""
        if own.key != self._keys[0]:
            self._out = Session(Policy(key=own.key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        if theirs.key != self._keys[1]:
            self._in = Session(Policy(key=theirs.key, ssrc_type=Policy.SSRC_ANY_INBOUND))
        self._keys = (own.key, theirs.key)

    def seal(self, packet: bytes) -> bytes:
        """ValueError before there is a key."""
        if self._out is None:
            raise ValueError("no key yet")
        return bytes(self._out.protect(packet))

    def open(self, packet: bytes) -> bytes | None:
        """The packet in clear; None when it is forged, repeated, plain, or there is no key yet."""
        if self._in is None:
            return None
        try:
            return bytes(self._in.unprotect(packet))
        except Error:
            return None
