"""What happened, as lines of JSON: people's history, and what the guard makes alerts of. No secret is ever in one."""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .core import Answer, Index, Request

LOG = Path("/var/log/clinic-provisioning/events.log")
AGAIN = 60.0
"""Seconds within which the same refusal is one line."""
REMEMBERED = 2000
WARNINGS = ("refused", "strange-agent")


class Events:
    """Appends to the log. A full disk loses the line, never the answer."""

    def __init__(self, path: Path = LOG) -> None:
        self.path = path
        self._told: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def tell(self, request: Request, answer: Answer, index: Index, now: float) -> None:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows(request, answer, index, now)]
        if lines:
            self.write("".join(lines))

    def write(self, text: str) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as log:
                log.write(text)
        except OSError as error:
            print(f"<3>{self.path}: {error}", file=sys.stderr, flush=True)

    def rows(self, request: Request, answer: Answer, index: Index, now: float) -> Iterator[dict[str, Any]]:
        """`ext`: whose address it is, `of`: whose credentials. A stranger who has neither is in the access log only."""
        owner = index.owners.get(request.address)
        for event in answer.events:
            about = index.phones.get(event.mac)
            if owner is None and about is None:
                continue
            row: dict[str, Any] = {
                "at": round(now, 3), "kind": event.kind, "address": request.address,
                "ext": owner.ext if owner else "", "of": about.ext if about else "", "mac": event.mac,
            }  # fmt: skip
            if event.kind == "fetched" and about:
                row |= {"door": event.what, "version": about.version, "agent": request.agent[:200]}
            elif event.kind == "applied":
                row["version"] = event.what
            elif event.kind in WARNINGS:
                row |= {"what": event.what, "agent": request.agent[:200]}
            if self._is_news(event.kind, row, now):
                yield row

    def _is_news(self, kind: str, row: dict[str, Any], now: float) -> bool:
        """A telephone reads its phonebook every day: a version is applied once. A refusal is told once a minute."""
        lasting = kind == "applied"
        if not lasting and kind not in WARNINGS:
            return True
        key = (kind, row["address"], row["mac"], row.get("version" if lasting else "what", ""))
        before = self._told.pop(key, None)
        self._told[key] = now if before is None or now - before >= AGAIN else before
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return before is None or (not lasting and now - before >= AGAIN)
