"""Refusals at the telephones' provisioning, as far as people are told of them. Pure.

Strangers are banned and told of with the bans. Here it is about telephones: one that is refused is never banned, and
somebody who has a telephone's credentials is told of wherever he is. Lines are services/provisioning/events.py's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .core import HOUR, MOST, Alert

KINDS = ("refused", "strange-agent")
CAUSES = ("address", "agent", "other", "enumeration", "path", "closed", "password", "token", "method")
"""What the service says why; anything else is told of in its own word."""
FORGETFUL = ("closed", "password", "token")
"""What a telephone does that was reset or whose password is old. It must not hide what only an attacker does."""
AN_HOUR = 30
"""Alerts an hour at most: whoever can write any address on a packet must not fill a pager."""


class Doors:
    """An alert an hour for each address, one more for an attack. `dump` and the constructor carry it over a restart."""

    def __init__(self, told: Mapping[str, float] | None = None, last: Iterable[float] = ()) -> None:
        self.told, self.last = dict(told or {}), list(last)

    def dump(self) -> dict[str, Any]:
        return {"told": self.told, "last": self.last}

    def add(self, line: str) -> Alert | None:
        """The alert that a line of the log makes, if people are not told already."""
        event = _refusal(line)
        if event is None:
            return None
        kind = "forgetful" if event["what"] in FORGETFUL else "attack"
        at, key = event["at"], f"{event['address']} {kind}"
        self.told = {k: t for k, t in self.told.items() if at - t < HOUR}
        self.last = [t for t in self.last if at - t < HOUR]
        if key in self.told or len(self.told) >= MOST or len(self.last) >= AN_HOUR:
            return None
        self.told[key] = at
        self.last.append(at)
        return Alert("provisioning", at, {k: event[k] for k in ("address", "ext", "of", "what")})


def _refusal(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
        found = {name: str(event[name]) for name in ("address", "ext", "of", "what")} | {"at": float(event["at"])}
    except (ValueError, KeyError, TypeError):
        return None
    return found if event["kind"] in KINDS and (found["ext"] or found["of"]) else None
