"""Which telephones are off, and whether it is one telephone or its switch. Pure: contacts and a clock in, alerts out.

Asterisk keeps a registration in AstDB as /registrar/contact/<aor>;@<hash> = {"expiration_time": ..., ...} and removes
it when it has run out (res_pjsip_registrar.c). A telephone is off from then on, and told of when it was off long
enough: by that time the others of a dead switch have run out too, so they are told of together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from .core import SHOWN, Alert

MANY = 3
"""So many telephones of one switch, if they are half of it, are the switch's fault and one alert."""
BLINK = 120.0
"""Seconds: after a longer pause between two looks nobody watched, and the time of being off begins anew."""

_CONTACT = re.compile(r"/registrar/contact/(?P<ext>\w{1,32});@\w+")


def contacts(keys: Mapping[str, str]) -> dict[str, float]:
    """AstDB's keys to extension and the epoch second at which its registration ends, the latest of several."""
    found: dict[str, float] = {}
    for key, value in keys.items():
        if match := _CONTACT.fullmatch(key):
            try:
                until = float(json.loads(value)["expiration_time"])
            except (ValueError, KeyError, TypeError):
                continue
            found[match["ext"]] = max(until, found.get(match["ext"], 0.0))
    return found


class Phones:
    """What is known of each telephone that ever registered. `dump` and the constructor carry it over a restart.

    `seen`: its last registration; `gone`: off since; `told`: told of one by one; `switches`, `all`: told of together.
    """

    def __init__(
        self, seen: Mapping[str, float] | None = None, gone: Mapping[str, float] | None = None,
        told: Collection[str] = (), switches: Collection[str] = (), all: bool = False,
    ) -> None:  # fmt: skip
        self.seen, self.gone = dict(seen or {}), dict(gone or {})
        self.told, self.switches, self.all = set(told), set(switches), all
        self._until: dict[str, float] = {}
        self._looked = 0.0

    def dump(self) -> dict[str, Any]:
        return {**self.standing(), "seen": self.seen}

    def standing(self) -> dict[str, Any]:
        """What has to be stored at once; last registrations alone change every second."""
        known = sorted(self.seen)
        return {"seen": known, "gone": self.gone, "told": sorted(self.told), "switches": sorted(self.switches),
                "all": self.all}  # fmt: skip

    def look(self, until: Mapping[str, float], site: Mapping[str, Any], now: float) -> list[Alert]:
        """`until`: who is registered how long. The alerts that are due at `now`; each is given once."""
        people, wait = site["people"], 60.0 * float(site.get("off_minutes", 10))
        on = {ext for ext, end in until.items() if end > now and ext in people}
        self._count(on, until, people, now)
        alerts = self._back(on, people, now)
        due = [e for e, since in self.gone.items() if now - since >= wait and e not in self.told]
        due = [e for e in due if not self.all and people[e]["switch"] not in self.switches]
        if due and self._everybody(people):
            self.all, self.switches = True, set()
            self.told.clear()
            return [*alerts, Alert("phones-all", now, self._facts("", list(self.gone), list(self.seen)))]
        for switch in sorted({people[ext]["switch"] for ext in due}):
            off, members = self._off(switch, people)
            if _down(off, members):
                self.switches.add(switch)
                self.told -= set(off)
                alerts.append(Alert("phones-switch", now, self._facts(switch, off, members)))
        for ext in sorted(e for e in due if people[e]["switch"] not in self.switches):
            self.told.add(ext)
            alerts.append(Alert("phone-off", now, {"ext": ext, "seen": self.seen[ext]}))
        return alerts

    def _count(self, on: Collection[str], until: Mapping[str, float], people: Collection[str], now: float) -> None:
        self.seen = {ext: at for ext, at in self.seen.items() if ext in people}
        self.gone = {ext: since for ext, since in self.gone.items() if ext in self.seen}
        self.told &= self.seen.keys()
        if not 0 <= now - self._looked <= BLINK:
            self.gone = {ext: since if self._is_told(ext, people) else now for ext, since in self.gone.items()}
        self._looked = now
        for ext in on:
            if until[ext] != self._until.get(ext):
                self._until[ext], self.seen[ext] = until[ext], now
            self.gone.pop(ext, None)
        for ext in self.seen.keys() - set(on):
            self.gone.setdefault(ext, now)

    def _is_told(self, ext: str, people: Any) -> bool:
        return self.all or ext in self.told or people[ext]["switch"] in self.switches

    def _back(self, on: Collection[str], people: Mapping[str, Any], now: float) -> list[Alert]:
        """What works again. Those that are still off when their switch is back are given their time anew."""
        alerts = []
        if self.all and len(self.gone) * 2 < len(self.seen):
            self.all = False
            self.gone = dict.fromkeys(self.gone, now)
            alerts.append(Alert("phones-all-back", now, self._facts("", list(self.gone), list(self.seen))))
        for switch in sorted(self.switches):
            off, members = self._off(switch, people)
            if not _down(off, members):
                self.switches.remove(switch)
                self.gone |= dict.fromkeys(off, now)
                alerts.append(Alert("phones-switch-back", now, self._facts(switch, off, members)))
        for ext in sorted(self.told & set(on)):
            self.told.remove(ext)
            alerts.append(Alert("phone-back", now, {"ext": ext}))
        return alerts

    def _off(self, switch: str, people: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        members = sorted(ext for ext in self.seen if people[ext]["switch"] == switch)
        return [ext for ext in members if ext in self.gone], members

    def _everybody(self, people: Mapping[str, Any]) -> bool:
        """Whether all switches at once are down: then it is none of them."""
        switches = {people[ext]["switch"] for ext in self.seen}
        found = [self._off(switch, people) for switch in switches]
        return len(switches) > 1 and len(self.gone) >= MANY and all(len(off) * 2 >= len(all_) for off, all_ in found)

    def _facts(self, switch: str, off: list[str], members: list[str]) -> dict[str, Any]:
        return {"switch": switch, "off": len(off), "of": len(members), "phones": sorted(off)[:SHOWN]}


def _down(off: Collection[str], members: Collection[str]) -> bool:
    return len(off) >= MANY and len(off) * 2 >= len(members)
