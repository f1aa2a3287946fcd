"""What the guard remembers: how far it read, what it told, and what is still to be sent. One transaction each time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOM = 500
"""Messages that wait at most; beyond that the oldest go unsent, and the journal says so."""
_TABLES = """
CREATE TABLE IF NOT EXISTS memory (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Waiting:
    """One message for one target (its name; the URL is nowhere on disk but in the alerts file)."""

    id: int
    target: str
    title: str
    body: str


class Store:
    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path)
        self.database.executescript(_TABLES)

    def load(self) -> dict[str, Any]:
        return {name: json.loads(value) for name, value in self.database.execute("SELECT name, value FROM memory")}

    def save(
        self, memory: Mapping[str, Any], messages: Iterable[tuple[str, str]] = (), targets: Iterable[str] = ()
    ) -> int:
        """Remember and queue in one step; a crash leaves both or none. -> messages lost for want of room"""
        rows = [(target, title, body) for title, body in messages for target in targets]
        with self.database:
            self.database.executemany(
                "INSERT OR REPLACE INTO memory VALUES (?, ?)", [(k, json.dumps(v)) for k, v in memory.items()]
            )
            self.database.executemany("INSERT INTO outbox (target, title, body) VALUES (?, ?, ?)", rows)
            lost = self.database.execute(
                "DELETE FROM outbox WHERE id NOT IN (SELECT id FROM outbox ORDER BY id DESC LIMIT ?)", (ROOM,)
            )
            return lost.rowcount

    def first(self, target: str) -> Waiting | None:
        """The oldest message for a target."""
        found = self.database.execute("SELECT * FROM outbox WHERE target = ? ORDER BY id LIMIT 1", (target,)).fetchone()
        return Waiting(*found) if found else None

    def done(self, one: Waiting) -> None:
        with self.database:
            self.database.execute("DELETE FROM outbox WHERE id = ?", (one.id,))

    def forget_others(self, targets: Iterable[str]) -> None:
        """Messages for targets that are no more."""
        names = list(targets)
        with self.database:
            self.database.execute(
                f"DELETE FROM outbox WHERE target NOT IN ({','.join('?' * len(names))})",  # noqa: S608 - marks only
                names,
            )

    def waiting(self) -> dict[str, int]:
        return dict(self.database.execute("SELECT target, count(*) FROM outbox GROUP BY target").fetchall())
