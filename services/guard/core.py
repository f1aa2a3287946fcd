"""What is worth telling: lines and keys in, alerts out. Pure: no files, no clock, no network.

Source of the security log's format: main/security_events.c of Asterisk 22. A caller chooses the account's name and the
call id, so only lines that are as Asterisk writes them for a known account are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

FAILURES = 5
WINDOW = 60.0
"""So many failures within so many seconds are no typing mistake."""
HOUR = 3600.0
"""Seconds for which one subject is not told of again."""
GATHER = 300.0
"""Seconds between two alerts of bans: a scan from a hundred addresses is one message."""
SETTLED = 2.0
"""Seconds after which a ban has its length: fail2ban makes it longer just after it began."""
MOST = 1000
"""Subjects that are counted at once; the one that was quiet longest is forgotten."""
SHOWN = 10

_EVENTS = ("ChallengeResponseFailed", "InvalidPassword", "FailedACL")
"""A wrong password, and what is refused before a password is looked at: an address or a contact that is not allowed."""
_FAILED = re.compile(
    r"\[(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+-]\d{4})\] SECURITY\[\d+\] res_security_log\.c: "
    rf'SecurityEvent="(?:{"|".join(_EVENTS)})",EventTV="[^"]*",Severity="\w+",Service="PJSIP",'
    r'EventVersion="\d+",AccountID="(?P<account>[\w.+-]{1,64})",SessionID=".*",LocalAddress="IPV[46]/\w+/[^"]*",'
    r'RemoteAddress="IPV[46]/\w+/(?P<address>[0-9A-Fa-f.:]+)/\d+"'
    r'(?:,(?!LocalAddress=|RemoteAddress=)\w+="(?:[^"\\]|\\.)*")*'
)
_CLEAR = re.compile(
    r"\[(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+-]\d{4})\] SECURITY\[\d+\] res_security_log\.c: "
    r'SecurityEvent="SuccessfulAuth",EventTV="[^"]*",Severity="\w+",Service="PJSIP",EventVersion="\d+",'
    r'AccountID="(?P<account>[\w.+-]{1,64})",SessionID=".*",LocalAddress="IPV[46]/(?:UDP|TCP)/[^"]*",'
    r'RemoteAddress="IPV[46]/\w+/(?P<address>[0-9A-Fa-f.:]+)/\d+",UsingPassword="1"'
)
_BAN = re.compile(r"(\d{1,12}) ([a-z][a-z0-9-]{0,30}) ([0-9A-Fa-f.:]{2,45}) (-?\d{1,9}) (\d{1,9})")
_TOLL = re.compile(r"/toll/(?P<kind>closed|full|locked)/(?P<rest>[\w./+-]{1,100})")


@dataclass(frozen=True)
class Failure:
    """One refusal of a known account: epoch second, account, the address it came from."""

    at: float
    account: str
    address: str


@dataclass(frozen=True)
class Ban:
    """What fail2ban did; `seconds` is how long the ban lasts, negative for ever."""

    at: float
    jail: str
    address: str
    seconds: int


@dataclass(frozen=True)
class Alert:
    """Something to tell. `kind`: account, address, clear, bans, closed, full, locked, test, wan-..., phone...;
    `facts`: its words'."""

    kind: str
    at: float
    facts: dict[str, Any] = field(default_factory=dict)


def failure(line: str) -> Failure | None:
    """The refusal of a known account that a line of the security log tells of."""
    if not any(event in line for event in _EVENTS):
        return None
    found = _FAILED.fullmatch(line)
    if not found:
        return None
    return Failure(datetime.fromisoformat(found["at"]).timestamp(), found["account"], found["address"])


def in_clear(line: str) -> Failure | None:
    """A right password that came by UDP or TCP. Where the department requires TLS no telephone of ours does that, and
    Asterisk has no rule against it for REGISTER: whoever has the password could keep the telephone from ringing."""
    found = _CLEAR.fullmatch(line)
    if not found:
        return None
    return Failure(datetime.fromisoformat(found["at"]).timestamp(), found["account"], found["address"])


def ban(line: str) -> Ban | None:
    """A line that fail2ban's action `clinic-tell` wrote: epoch, jail, address, seconds, failures."""
    found = _BAN.fullmatch(line)
    return Ban(float(found[1]), found[2], found[3], int(found[4])) if found else None


WAN_KINDS = ("left", "returned", "down", "up", "no-line", "provider-down", "provider-up", "rejected", "accepted",
             "dns-down", "dns-up", "address", "held", "released")  # fmt: skip


def uplink(line: str) -> Alert | None:
    """What the WAN watchdog wrote (services/wan/events.py), as far as people are told of it."""
    try:
        event = json.loads(line)
        kind, at = event.pop("kind"), float(event.pop("at"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Alert(f"wan-{kind}", at, event) if kind in WAN_KINDS else None


@dataclass
class Subject:
    """One account or address: its failures of the last minute, and what happened since it was told of.

    `others`: the addresses of an account, the accounts of an address, with their counts.
    """

    times: list[float] = field(default_factory=list)
    told: float = 0.0
    count: int = 0
    others: dict[str, int] = field(default_factory=dict)


class Failures:
    """Counts refusals by account and by address. `dump` and `load` carry it over a restart."""

    def __init__(self, subjects: Mapping[str, Subject] | None = None) -> None:
        self.subjects = dict(subjects or {})

    @classmethod
    def load(cls, data: Mapping[str, Mapping[str, Any]]) -> Failures:
        return cls({key: Subject(**value) for key, value in data.items()})

    def dump(self) -> dict[str, dict[str, Any]]:
        return {key: asdict(subject) for key, subject in self.subjects.items()}

    def add(self, one: Failure) -> list[Alert]:
        """What is to be told now. An address is its own subject only when it tries more than one account."""
        found = []
        if said := self._count("account", one.account, one.address, one.at, 1):
            found.append(said)
        if said := self._count("address", one.address, one.account, one.at, 2):
            found.append(said)
        return found

    def used_in_clear(self, one: Failure) -> list[Alert]:
        """The first is told at once: a right password is no typing mistake."""
        said = self._count("clear", one.account, one.address, one.at, 1, 1)
        return [said] if said else []

    def _count(self, kind: str, name: str, other: str, at: float, least: int, failures: int = FAILURES) -> Alert | None:
        key = f"{kind} {name}"
        subject = self.subjects.pop(key, None) or Subject()
        self.subjects[key] = subject  # last in the order: the first is the one that was quiet longest
        while len(self.subjects) > MOST:
            del self.subjects[next(iter(self.subjects))]
        subject.times = [t for t in (*subject.times, at) if t > at - WINDOW][-FAILURES:]
        subject.count += 1
        if other in subject.others or len(subject.others) < SHOWN:
            subject.others[other] = subject.others.get(other, 0) + 1
        if len(subject.times) < failures or len(subject.others) < least or at - subject.told < HOUR:
            return None
        facts = {"name": name, "count": subject.count, "others": dict(subject.others)}
        self.subjects[key] = Subject(subject.times, told=at)
        return Alert(kind, at, facts)


class Bans:
    """Gathers bans: the first is told at once, those of the next minutes together."""

    def __init__(self, told: float = 0.0, waiting: Iterable[Mapping[str, Any]] = ()) -> None:
        self.told, self.waiting = told, [Ban(**one) for one in waiting]

    def dump(self) -> dict[str, Any]:
        return {"told": self.told, "waiting": [asdict(one) for one in self.waiting]}

    def add(self, one: Ban) -> None:
        """A ban that is made longer is the same ban."""
        same = [b for b in self.waiting if (b.jail, b.address) == (one.jail, one.address)]
        self.waiting = [b for b in self.waiting if b not in same] + [one]

    def due(self, now: float) -> Alert | None:
        if not self.waiting or now - self.told < GATHER or now - self.waiting[0].at < SETTLED:
            return None
        facts = {"bans": [asdict(one) for one in self.waiting[:SHOWN]], "count": len(self.waiting)}
        self.told, self.waiting = now, []
        return Alert("bans", now, facts)


def closed(keys: Mapping[str, str], told: Mapping[str, float], now: float) -> tuple[list[Alert], dict[str, float]]:
    """AstDB's `/toll/...` keys and what was told of before -> what is new, and what is told of from now on.

    What is gone is remembered for two days, so that a key seen half-written is not told of twice.
    """
    alerts, known = [], {key: at for key, at in told.items() if now - at < 48 * HOUR}
    for key, value in sorted(keys.items()):
        found = _TOLL.fullmatch(key)
        mark = f"{key}={value}"
        if found and mark not in known:
            moment, _, detail = value.partition(":")
            scope, _, what = found["rest"].partition("/")
            facts = {"scope": scope, "what": what, "detail": detail}
            alerts.append(Alert(found["kind"], float(moment) if moment.isdigit() else now, facts))
        if found:
            known[mark] = now
    return alerts, known
