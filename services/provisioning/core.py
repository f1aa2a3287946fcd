"""Who gets which file: `decide` says it from the request, what is known of the telephones, and their doors. Pure.

Paths come as they were sent, nothing decoded. Credentials are kept as SHA-256 only: they are random and long.
The first door (`/f/<token>/`) is told by DHCP, so anybody in the voice network may have read it there: it gives its one
telephone's files until that telephone has come by the second (`/p/`, HTTP Basic), whose password no network carries.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from ipaddress import IPv4Network, ip_address
from typing import Any

LONGEST = 200
_PATH = re.compile(r"/[A-Za-z0-9._~+/-]*")
_MAC = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{2}(?:[:-]?[0-9A-Fa-f]{2}){5}(?![0-9A-Fa-f])")
_VERSION = re.compile(r"[0-9a-f]{12}")
QUIET = ("ok", "name", "login")
"""Reasons that are no refusal to tell of: a telephone asks for names that are not there, and asks before it logs in."""


@dataclass(frozen=True)
class Request:
    """What nginx passes on. `path` as it was sent, `address` the client's, headers empty when absent."""

    method: str
    path: str
    address: str
    agent: str = ""
    authorization: str = ""


@dataclass(frozen=True)
class Phone:
    """One telephone: its own `files` and its `books` by the names it asks for; `token` and `password` are SHA-256."""

    mac: str
    ext: str
    address: str
    version: str
    token: str
    password: str
    vendor: str = ""
    family: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    books: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Index:
    """/etc/clinicpbx/provisioning.json. `strict`: telephones have the addresses that our own DHCP gives them."""

    phones: Mapping[str, Phone]
    shared: Mapping[str, str]
    firmware: Mapping[str, str]
    authority: str
    network: IPv4Network
    strict: bool
    tokens: Mapping[str, Phone]
    owners: Mapping[str, Phone]

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Index:
        """KeyError, TypeError or ValueError for what is no index."""
        phones = {mac: Phone(mac=mac, **about) for mac, about in data["phones"].items()}
        return cls(
            phones, data["shared"], data["firmware"], data["authority"], IPv4Network(data["network"]),
            bool(data["strict"]), {p.token: p for p in phones.values()}, {p.address: p for p in phones.values()},
        )  # fmt: skip


@dataclass(frozen=True)
class Door:
    """A first door. `until`: epoch second at which an engineer's opening ends, 0 for the door of a new telephone.

    `former`: SHA-256 of the second door's password before it was renewed. The telephone has no other until it has
    fetched the new one, so it holds until the new one is used.
    """

    closed: bool = False
    until: float = 0.0
    used: bool = False
    former: str = ""

    def open(self, now: float) -> bool:
        return not self.closed and (not self.until or now < self.until)

    def closes(self, now: float) -> bool:
        """Whether the second door's use shuts it: one that was opened again waits for the telephone's reset."""
        return self.open(now) and (self.used or not self.until)


@dataclass(frozen=True)
class Event:
    """What happened. `kind`: refused, strange-agent, first-door-used, second-door-used, fetched, applied, renewed.

    `mac`: the telephone whose credentials or files it is about, empty when no telephone's.
    """

    kind: str
    mac: str = ""
    what: str = ""


@dataclass(frozen=True)
class Answer:
    """An HTTP status, the path of the file for 200, one word why, and what is to be noted."""

    status: int
    file: str = ""
    reason: str = "ok"
    events: tuple[Event, ...] = ()


def decide(request: Request, index: Index, doors: Mapping[str, Door], now: float) -> Answer:
    """The answer to one request. What is not expressly given is refused."""
    if request.method not in ("GET", "HEAD"):
        return _refused(405, "method")
    if not _inside(request.address, index.network):
        return _refused(403, "network")
    parts = split(request.path)
    if parts is None:
        return _refused(403, "path")
    if parts == ["ca.crt"]:
        return Answer(200, index.authority)
    door, rest = parts[0] if parts else "", parts[1:]
    if door == "f" and len(rest) == 2:
        return _first(request, index, doors, now, *rest)
    if door == "p" and len(rest) == 1:
        return _second(request, index, doors, now, rest[0])
    if door in ("b", "w") and len(rest) == 2 and _VERSION.fullmatch(rest[0]):
        return _marker(request, index, doors, door, *rest)
    name = rest[0] if door == "n" and len(rest) == 1 else door if len(parts) == 1 else ""
    return _anybody(request, index, name)


def split(path: str) -> list[str] | None:
    """The parts of a path; None for one that no telephone sends: encoded, hidden, climbing, with a query, too long."""
    if len(path) > LONGEST or not _PATH.fullmatch(path):
        return None
    parts = [part for part in path.split("/") if part]
    return None if any(part.startswith(".") for part in parts) else parts


def digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def macs(text: str) -> set[str]:
    """The MAC addresses a text names, as twelve lower-case digits."""
    return {re.sub("[:-]", "", found).lower() for found in _MAC.findall(text)}


def _first(request: Request, index: Index, doors: Mapping[str, Door], now: float, token: str, name: str) -> Answer:
    phone = index.tokens.get(digest(token))
    if phone is None:
        return _refused(403, "token")
    if wrong := _strange(request, index, phone):
        return wrong
    door = doors.get(phone.mac, Door())
    if name in phone.files:
        if not door.open(now):
            return _refused(403, "closed", phone.mac)
        if request.method == "HEAD":
            return Answer(200, phone.files[name])
        events = [Event("fetched", phone.mac, "first")]
        if not door.used:
            events.insert(0, Event("first-door-used", phone.mac))
        return Answer(200, phone.files[name], events=tuple(events))
    return _not_own(index, phone, name)


def _second(request: Request, index: Index, doors: Mapping[str, Door], now: float, name: str) -> Answer:
    phone, found = _known(request, index, doors)
    if phone is None:
        return found
    if name not in phone.files:
        return _not_own(index, phone, name)
    if request.method == "HEAD":
        return Answer(200, phone.files[name])
    events = [*found.events, Event("fetched", phone.mac, "second")]
    if doors.get(phone.mac, Door()).closes(now):
        events.append(Event("second-door-used", phone.mac))
    return Answer(200, phone.files[name], events=tuple(events))


def _marker(request: Request, index: Index, doors: Mapping[str, Door], door: str, version: str, name: str) -> Answer:
    """Only who has applied a configuration knows the version that its paths name: asking is the proof, found or not."""
    phone, found = _known(request, index, doors)
    if phone is None:
        return found
    events = (*found.events, Event("applied", phone.mac, version)) if request.method == "GET" else ()
    file = (phone.books if door == "b" else index.firmware).get(name)
    return Answer(200, file, events=events) if file else Answer(404, reason="name", events=events)


def _anybody(request: Request, index: Index, name: str) -> Answer:
    """Without a token: what holds no secret. A telephone's file that exists looks like one that does not."""
    if name in index.shared:
        return Answer(200, index.shared[name])
    owner = index.owners.get(request.address)
    others = macs(name) - {owner.mac if owner else ""}
    return _refused(404, "enumeration") if others else Answer(404, reason="name")


def _not_own(index: Index, phone: Phone, name: str) -> Answer:
    if name in index.shared:
        return Answer(200, index.shared[name])
    return _refused(403, "other", phone.mac) if macs(name) - {phone.mac} else Answer(404, reason="name")


def _known(request: Request, index: Index, doors: Mapping[str, Door]) -> tuple[Phone | None, Answer]:
    """The telephone whose name and password these are, and what that means for its former one; else the refusal."""
    if not request.authorization:
        return None, Answer(401, reason="login")
    user, password = _basic(request.authorization)
    phone = index.phones.get(user)
    given, former = digest(password), doors.get(user, Door()).former
    if phone is None or not (compare_digest(given, phone.password) or compare_digest(given, former)):
        return None, _refused(401, "password", user if phone else "")
    if wrong := _strange(request, index, phone):
        return None, wrong
    renewed = bool(former) and given == phone.password
    return phone, Answer(200, events=(Event("renewed", phone.mac),) if renewed else ())


def _strange(request: Request, index: Index, phone: Phone) -> Answer | None:
    """Right credentials in wrong hands: at another address than the telephone's, or of a device that says so itself."""
    if index.strict and request.address != phone.address:
        return _refused(403, "address", phone.mac)
    said = macs(request.agent)
    if said and phone.mac not in said:
        return Answer(403, reason="agent", events=(Event("strange-agent", phone.mac, "agent"),))
    return None


def _basic(header: str) -> tuple[str, str]:
    """User in lower case and password; empty when the header is no Basic."""
    kind, _, encoded = header.partition(" ")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    user, colon, password = text.partition(":")
    return (user.lower(), password) if kind.lower() == "basic" and colon else ("", "")


def _refused(status: int, reason: str, mac: str = "") -> Answer:
    return Answer(status, reason=reason, events=(Event("refused", mac, reason),))


def _inside(address: str, network: IPv4Network) -> bool:
    try:
        return ip_address(address) in network
    except ValueError:
        return False
