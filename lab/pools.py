"""A softphone pool as a part of the lab: the daemon in its namespace, its pid file, socket and log."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinicpbx.errors import ClinicError
from lab import process, state
from lab.components import launch
from lab.topology import namespace
from softphone.client import Pool, PoolError

Agents = list[dict[str, Any]]


@dataclass(frozen=True)
class Daemon:
    """The pool of namespace `space` (`phones` or `pstn`) of a lab."""

    lab: int
    space: str

    @property
    def program(self) -> list[str]:
        return ["softphone.pool"]

    @property
    def folder(self) -> Path:
        return state.run_folder(self.lab) / self.space

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def pid(self) -> int | None:
        return process.recall(self.folder / "pid")

    def start(self) -> bool:
        """Whether it was started now; nothing happens when it runs. Raises ClinicError with its log's end."""
        if self.pid:
            return False
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in (self.socket, self.folder / "loaded"):
            old.unlink(missing_ok=True)
        launch(
            ["-m", *self.program, "--socket", str(self.socket), "--log", str(self.folder / "log")],
            namespace=namespace(self.lab, self.space),
            pid_file=self.folder / "pid",
            log=self.folder / "out",
            ready=self.socket,
        )
        return True

    def stop(self) -> None:
        """Hang up what talks, then end the daemon. Not running is no error."""
        if pid := self.pid:
            with contextlib.suppress(PoolError), self.client() as pool:
                pool.shutdown()
            process.stop(pid)
        (self.folder / "pid").unlink(missing_ok=True)

    def client(self) -> Pool:
        """A client of the running pool. Raises ClinicError when it does not run."""
        if not self.pid:
            raise ClinicError(
                f"the pool {self.space} of lab {self.lab} does not run",
                remedy=f"clinicpbx lab up --lab {self.lab}",
            )
        return Pool(self.socket, connect_timeout=5)

    def is_loaded(self, what: object) -> bool:
        """Whether the running pool was loaded with exactly this. Only a digest is kept: it may hold passwords."""
        mark = self.folder / "loaded"
        return self.pid is not None and mark.exists() and mark.read_text() == _digest(what)

    def set_loaded(self, what: object) -> None:
        handle = os.open(self.folder / "loaded", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(_digest(what))

    def status(self) -> str:
        """One line for people; never raises."""
        if not self.pid:
            return "stopped"
        try:
            with self.client() as pool:
                stats = pool.stats()
        except (PoolError, ClinicError) as error:
            return f"running, but does not answer: {error}"
        agents, registered = stats["agents"], stats["registered"]
        return f"running, {agents} agents, {registered} registered, {stats['calls_active']} calls"


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
