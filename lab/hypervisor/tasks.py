"""Worker tasks: long actions answered with a UPID, run in a thread, polled until `stopped`."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.hypervisor.errors import failed
from lab.process import started_at

Log = Callable[[str], None]


class Tasks:
    """All tasks of a node. Ended ones are kept in files and survive the daemon."""

    def __init__(self, node: str, folder: Path) -> None:
        self._node, self._folder = node, folder
        self._numbers = itertools.count(int(time.time() * 10) & 0xFFFFFF)
        self._start = int(started_at(os.getpid()) or 0)
        self._tasks: dict[str, dict[str, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, kind: str, subject: str, user: str, action: Callable[[Log], None]) -> str:
        """Start `action` in a thread and return the UPID. What it raises becomes the exit status."""
        pid, now = next(self._numbers), int(time.time())
        upid = f"UPID:{self._node}:{pid:08X}:{self._start:08X}:{now:08X}:{kind}:{subject}:{user}:"
        task: dict[str, Any] = {
            "upid": upid, "node": self._node, "pid": pid, "pstart": self._start, "starttime": now,
            "type": kind, "id": subject, "user": user, "status": "running", "log": [],
        }  # fmt: skip
        self._tasks[upid] = task
        threading.Thread(target=self._work, args=(task, action), name=kind, daemon=True).start()
        return upid

    def status(self, upid: str) -> dict[str, Any]:
        return {key: value for key, value in self._find(upid).items() if key != "log"}

    def log(self, upid: str, start: int, limit: int) -> list[dict[str, Any]]:
        lines = [{"n": number, "t": text} for number, text in enumerate(list(self._find(upid)["log"]), 1)]
        return lines[start : start + limit if limit else None] or [{"n": 1, "t": "no content"}]

    def _work(self, task: dict[str, Any], action: Callable[[Log], None]) -> None:
        try:
            action(task["log"].append)
            result = "OK"
        except Exception as error:  # the text is the task's result, whatever went wrong
            result = str(error).strip() or type(error).__name__
        task["log"].append("TASK OK" if result == "OK" else f"TASK ERROR: {result}")
        done = task | {"status": "stopped", "exitstatus": result}
        self._file(task["upid"]).write_text(json.dumps(done))
        self._tasks[task["upid"]] = done

    def _find(self, upid: str) -> dict[str, Any]:
        if len(upid.split(":")) != 9 or "/" in upid or not upid.startswith("UPID:"):
            raise failed(f"unable to parse worker upid '{upid}'")
        if upid not in self._tasks:
            try:
                self._tasks[upid] = json.loads(self._file(upid).read_text())
            except OSError:
                raise failed("no such task") from None
        return self._tasks[upid]

    def _file(self, upid: str) -> Path:
        return self._folder / f"{upid}.json"
