"""What the service remembers of each telephone, in memory and in SQLite: its first door, what it fetched and applied.

Memory answers; `save` writes what changed. A crash loses a quarter of a second: the next fetch says it again.
"""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .core import QUIET, Answer, Door, Index, Phone, Request

KEPT = 5
"""Refusals kept of each telephone, the newest."""
MOST = 200
"""Strangers' addresses kept; the one that was quiet longest is forgotten."""


@dataclass
class Known:
    """`fetched` {version, at, address, agent}, `applied` {version, at}, `refused` [{at, address, what}]."""

    door: Door = field(default_factory=Door)
    password: str = ""
    fetched: dict[str, Any] | None = None
    applied: dict[str, Any] | None = None
    refused: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, text: str) -> Known:
        data = json.loads(text)
        return cls(**{**data, "door": Door(**data["door"])})


class Doors(Mapping[str, Door]):
    """The doors alone, as `core.decide` asks for them."""

    def __init__(self, known: Mapping[str, Known]) -> None:
        self._known = known

    def __getitem__(self, mac: str) -> Door:
        return self._known[mac].door

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


class Store:
    def __init__(self, path: Path | str) -> None:
        self.database = sqlite3.connect(path)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("CREATE TABLE IF NOT EXISTS phones (mac TEXT PRIMARY KEY, state TEXT NOT NULL)")
        rows = self.database.execute("SELECT mac, state FROM phones")
        self.known: dict[str, Known] = {mac: Known.load(state) for mac, state in rows}
        self.strangers: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.doors = Doors(self.known)
        self._changed: set[str] = set()

    def keep(self, phones: Mapping[str, Phone]) -> None:
        """Exactly these telephones are known: a new one has an open door, and one that left is forgotten.

        Of one whose password was renewed the former is remembered, unless it is the one that never was in use.
        """
        for mac in self.known.keys() - phones.keys():
            del self.known[mac]
            self._changed.add(mac)
        for mac, phone in phones.items():
            known = self.known.setdefault(mac, Known())
            if known.password != phone.password:
                known.door = replace(known.door, former=known.door.former or known.password)
                known.password = phone.password
                self._changed.add(mac)
        self.save()

    def note(self, request: Request, answer: Answer, index: Index, now: float) -> None:
        """Take down what a decision means."""
        at = round(now, 3)
        for event in answer.events:
            known = self.known.get(event.mac)
            if known is None:
                continue
            self._changed.add(event.mac)
            if event.kind == "fetched":
                known.fetched = {"version": index.phones[event.mac].version, "at": at, "address": request.address,
                                 "agent": request.agent[:200]}  # fmt: skip
            elif event.kind == "applied":
                known.applied = {"version": event.what, "at": at}
            elif event.kind == "first-door-used":
                known.door = replace(known.door, used=True)
            elif event.kind == "second-door-used":
                known.door = Door(closed=True, former=known.door.former)
            elif event.kind == "renewed":
                known.door = replace(known.door, former="")
        if answer.reason not in QUIET:
            self._refusal(request, answer, index, at)

    def _refusal(self, request: Request, answer: Answer, index: Index, at: float) -> None:
        """By the telephone whose credentials they were, else by the one at whose address, else a stranger's."""
        row = {"at": at, "address": request.address, "what": answer.reason}
        owner = index.owners.get(request.address)
        for mac in {answer.events[0].mac, owner.mac if owner else ""} & self.known.keys():
            self.known[mac].refused = [*self.known[mac].refused, row][-KEPT:]
            self._changed.add(mac)
        if owner is None:
            before = self.strangers.pop(request.address, {"count": 0})
            self.strangers[request.address] = {**row, "count": before["count"] + 1}
            while len(self.strangers) > MOST:
                self.strangers.popitem(last=False)

    def open(self, mac: str, until: float) -> None:
        self._door(mac, Door(until=until, former=self.known[mac].door.former))

    def close(self, mac: str) -> None:
        self._door(mac, Door(closed=True, former=self.known[mac].door.former))

    def _door(self, mac: str, door: Door) -> None:
        self.known[mac].door = door
        self._changed.add(mac)
        self.save()

    def save(self) -> None:
        if not self._changed:
            return
        gone = [(mac,) for mac in self._changed if mac not in self.known]
        rows = [(mac, json.dumps(asdict(self.known[mac]))) for mac in self._changed if mac in self.known]
        with self.database:
            self.database.executemany("DELETE FROM phones WHERE mac = ?", gone)
            self.database.executemany("INSERT OR REPLACE INTO phones VALUES (?, ?)", rows)
        self._changed.clear()

    def status(self, index: Index, now: float) -> dict[str, Any]:
        """What `clinic-phones status` says: of every telephone of the index, and of strangers."""
        phones = {
            mac: {
                "ext": phone.ext, "address": phone.address, "wanted": phone.version,
                "first": "open" if self.known[mac].door.open(now) else "closed",
                "fetched": self.known[mac].fetched, "applied": self.known[mac].applied,
                "refused": self.known[mac].refused,
            }
            for mac, phone in index.phones.items()
        }  # fmt: skip
        return {"phones": phones, "strangers": [{**row, "address": a} for a, row in self.strangers.items()]}
