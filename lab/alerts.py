"""The lab's alerts: the sink on the engineer's workstation, and what has come."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lab import process, state
from lab.components import Context, launch
from lab.topology import namespace

PORT = 8099


def url(engineer: str, name: str) -> str:
    """The Apprise URL that a rehearsal uses in the place of a clinic's."""
    return f"json://{engineer}:{PORT}/{name}"


class AlertsComponent:
    """The sink. It needs nothing of the clinic."""

    name = "alerts"

    def start(self, context: Context) -> dict[str, Any]:
        folder = _folder(context.lab)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not process.recall(folder / "pid"):
            (folder / "ready").unlink(missing_ok=True)
            launch(
                ["-m", "lab.sink", str(context.topology.engineer), str(PORT), str(folder)],
                namespace=namespace(context.lab, "eng"),
                pid_file=folder / "pid",
                log=folder / "log",
                ready=folder / "ready",
            )
        return {"alerts": str(folder / "alerts.jsonl")}

    def stop(self, lab: int) -> None:
        file = _folder(lab) / "pid"
        if pid := process.recall(file):
            process.stop(pid)
        file.unlink(missing_ok=True)

    def status(self, lab: int) -> str:
        if not process.recall(_folder(lab) / "pid"):
            return "stopped"
        return f"running, {len(received(lab))} received"


def received(lab: int, since: float = 0.0) -> list[dict[str, Any]]:
    """What came since epoch second `since`: {at, target, title, body}, the oldest first."""
    try:
        lines = (_folder(lab) / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [row for row in map(json.loads, lines) if row["at"] >= since]


def wait(lab: int, wanted: Callable[[dict[str, Any]], bool], since: float, timeout: float) -> dict[str, Any] | None:
    """The first alert that is wanted, or None when none came in time."""
    deadline = time.monotonic() + timeout
    while True:
        found = next((row for row in received(lab, since) if wanted(row)), None)
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


@contextlib.contextmanager
def refusing(lab: int) -> Iterator[None]:
    """Within the block the sink answers 503."""
    mark = _folder(lab) / "refuse"
    mark.touch()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _folder(lab: int) -> Path:
    return state.run_folder(lab) / "alerts"
