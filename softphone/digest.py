"""Digest authentication: RFC 2617, and RFC 7616's SHA-256, with qop=auth, nonce counts and stale nonces.

Only the answer to a challenge ever leaves this module; the password is in no repr.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

_PAIR = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HASHES: dict[str, Callable[[bytes], "hashlib._Hash"]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False),
    "SHA-256": hashlib.sha256,
}
STRENGTH = ("SHA-256", "SHA-256-SESS", "MD5", "MD5-SESS")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate or Proxy-Authenticate value."""

    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: str = ""  # "auth" or "" (RFC 2069)
    opaque: str | None = None
    stale: bool = False
    proxy: bool = False


@dataclass(slots=True)
class Credentials:
    """A user's name and password, and the count of uses of the present nonce."""

    user: str
    password: str = field(repr=False)
    _nonce: str = field(default="", repr=False)
    _count: int = field(default=0, repr=False)

    def next_count(self, nonce: str) -> int:
        self._count = self._count + 1 if nonce == self._nonce else 1
        self._nonce = nonce
        return self._count


def fields_of(value: str) -> dict[str, str]:
    """The `name="value"` pairs of a Digest header; empty for another scheme."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        return {}
    pairs = _PAIR.findall(rest)
    return {name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else bare for name, quoted, bare in pairs}


def parse_challenge(value: str, *, proxy: bool = False) -> Challenge | None:
    """None when the scheme or algorithm is one we cannot answer."""
    found = fields_of(value)
    algorithm = found.get("algorithm", "MD5").upper()
    offered = [item.strip().lower() for item in found.get("qop", "").split(",") if item.strip()]
    if "nonce" not in found or algorithm not in STRENGTH or (offered and "auth" not in offered):
        return None
    stale = found.get("stale", "").lower() == "true"
    return Challenge(
        found.get("realm", ""), found["nonce"], algorithm, "auth" if offered else "", found.get("opaque"), stale, proxy
    )


def strongest(challenges: list[Challenge]) -> Challenge | None:
    return min(challenges, key=lambda item: STRENGTH.index(item.algorithm), default=None)


def response_hash(
    user: str, realm: str, password: str, method: str, uri: str, nonce: str,
    *, algorithm: str = "MD5", qop: str = "", nc: str = "", cnonce: str = "",
) -> str:  # fmt: skip
    """The `response` value: lower-case hex (RFC 7616 section 3.4.1)."""
    digest = _HASHES[algorithm.removesuffix("-SESS")]

    def h(text: str) -> str:
        return digest(text.encode()).hexdigest()

    ha1 = h(f"{user}:{realm}:{password}")
    if algorithm.endswith("-SESS"):
        ha1 = h(f"{ha1}:{nonce}:{cnonce}")
    ha2 = h(f"{method}:{uri}")
    return h(f"{ha1}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}" if qop else f"{ha1}:{nonce}:{ha2}")


def authorize(
    challenge: Challenge, credentials: Credentials, method: str, uri: str, cnonce: str = ""
) -> tuple[str, str]:
    """The header (name, value) that answers the challenge."""
    nc = f"{credentials.next_count(challenge.nonce):08x}"
    cnonce = cnonce or secrets.token_hex(8)
    answer = response_hash(
        credentials.user, challenge.realm, credentials.password, method, uri, challenge.nonce,
        algorithm=challenge.algorithm, qop=challenge.qop, nc=nc, cnonce=cnonce,
    )  # fmt: skip
    user, realm = (text.replace("\\", "\\\\").replace('"', '\\"') for text in (credentials.user, challenge.realm))
    spelling = challenge.algorithm.replace("-SESS", "-sess")
    value = f'Digest username="{user}", realm="{realm}", nonce="{challenge.nonce}", uri="{uri}", response="{answer}"'
    value += f", algorithm={spelling}"
    if challenge.opaque is not None:
        value += f', opaque="{challenge.opaque}"'
    if challenge.qop or challenge.algorithm.endswith("-SESS"):
        value += f', cnonce="{cnonce}"' + (f", qop={challenge.qop}, nc={nc}" if challenge.qop else "")
    return ("proxy-authorization" if challenge.proxy else "authorization"), value


def verify(value: str, password: str, method: str) -> bool:
    """The server's side (used by test registrars): does this Authorization prove the password?"""
    found = fields_of(value)
    algorithm = found.get("algorithm", "MD5").upper()
    if algorithm not in STRENGTH or not {"username", "realm", "nonce", "uri", "response"} <= found.keys():
        return False
    expected = response_hash(
        found["username"], found["realm"], password, method, found["uri"], found["nonce"],
        algorithm=algorithm, qop=found.get("qop", ""), nc=found.get("nc", ""), cnonce=found.get("cnonce", ""),
    )  # fmt: skip
    return hmac.compare_digest(expected.encode(), found["response"].lower().encode())
