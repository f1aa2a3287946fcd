"""The day's purses of calls that cost money, read from the PBX's AstDB and set against the description's caps.

Keys, written by templates/asterisk/dialplan/toll.conf.j2 below the family `toll`: day; money/<scope> in hundredths;
seconds/<scope> abroad; closed/<scope>/<what>, full/<scope>, locked/<ext>: epoch seconds. Pure.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo

from clinic.model import Clinic
from clinicpbx.errors import ClinicError

WHATS = ("international", "money")


@dataclass(frozen=True)
class Purse:
    """One scope's day: `money` and `minutes` abroad spent, their caps (None: not limited), and what is closed since."""

    scope: str
    who: str
    money: float
    money_cap: float | None
    minutes: float
    minutes_cap: int | None
    closed: dict[str, str]
    full: str | None


def keys(answer: str) -> dict[str, str]:
    """`database show toll` as Asterisk's CLI prints it, to keys without the family."""
    found = (re.match(r"/toll/(\S+)\s*: (.*)$", line) for line in answer.splitlines())
    return {m[1]: m[2].strip() for m in found if m}


def status(clinic: Clinic, found: Mapping[str, str], now: dt.datetime) -> dict[str, Any]:
    """`day`, `purses` (those in use, closed or of trunks and clinic) and `locked` PINs. Empty purses on a new day."""
    zone = ZoneInfo(clinic.timezone)
    day = f"{now.astimezone(zone):%Y%m%d}"
    counted = found.get("day") == day
    scopes = {"clinic": None, **{f"trunk-{t.name}": None for t in clinic.trunks if t.enabled}}
    for key in found:
        kind, _, rest = key.partition("/")
        if kind in ("closed", "full") or (kind in ("money", "seconds") and counted and found[key] != "0"):
            scopes.setdefault(rest.partition("/")[0])
    purses = [_purse(clinic, found, scope, day if counted else "", zone) for scope in scopes]
    today = [p for p in purses if p.closed or p.money or p.minutes or p.full or not p.scope.startswith("person-")]
    locked = {k.partition("/")[2]: _time(v, zone) for k, v in found.items() if k.startswith("locked/")}
    return {
        "day": f"{now.astimezone(zone):%Y-%m-%d}",
        "purses": [asdict(p) for p in today],
        "locked": locked,
        "closed": any(p.closed for p in today),
    }


def _purse(clinic: Clinic, found: Mapping[str, str], scope: str, day: str, zone: ZoneInfo) -> Purse:
    kind, _, name = scope.partition("-")
    caps = getattr(clinic.toll, kind)
    person = clinic.by_ext.get(name)
    closed = {}
    for what in WHATS:
        since = found.get(f"closed/{scope}/{what}")
        if since and (what == "international" or _day(since, zone) == day):  # money closes for a day only
            closed[what] = _time(since, zone)
    full = found.get(f"full/{scope}")
    return Purse(
        scope=scope,
        who=person.name if person else "",
        money=int(found.get(f"money/{scope}", 0)) / 100 if day else 0.0,
        money_cap=None if caps.money is None else float(caps.money),
        minutes=int(found.get(f"seconds/{scope}", 0)) / 60 if day else 0.0,
        minutes_cap=caps.minutes,
        closed=closed,
        full=_time(full, zone) if full and day and _day(full, zone) == day else None,
    )


def to_delete(found: Mapping[str, str], scopes: Iterable[str]) -> list[str]:
    """Keys that go so that these scopes begin the day anew. `all` is every scope; an extension also means its PIN.

    ClinicError for a scope of which nothing is known.
    """
    gone: list[str] = []
    for scope in scopes:
        name = f"person-{scope}" if scope.isdigit() else scope
        ext = name.removeprefix("person-")
        mine = [
            key
            for key in found
            if key != "day"
            and (scope == "all" or key.split("/")[1] == name or key in (f"locked/{ext}", f"wrong/{ext}"))
        ]
        if not mine and scope != "all":
            known = sorted({key.split("/")[1] for key in found if key != "day"})
            raise ClinicError(
                f"Nothing is counted or closed for `{scope}`.",
                remedy=f"one of: {', '.join(known) or 'none today'}; or all",
            )
        gone += mine
    return sorted(set(gone))


def _day(epoch: str, zone: ZoneInfo) -> str:
    return f"{dt.datetime.fromtimestamp(_seconds(epoch), zone):%Y%m%d}"


def _time(epoch: str, zone: ZoneInfo) -> str:
    return dt.datetime.fromtimestamp(_seconds(epoch), zone).isoformat(timespec="seconds")


def _seconds(epoch: str) -> int:
    digits = epoch.partition(":")[0]
    return int(digits) if digits.isdigit() else 0
