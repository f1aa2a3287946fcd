"""clinic-provisioning: answers nginx on the socket that systemd hands over, until SIGTERM.

    python3 -m services.provisioning.main

systemd holds the socket, so a restart refuses no telephone. The index is read again when the deploy has replaced it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.ledger.notify import notify

from . import control
from .core import Index, Request, decide
from .events import Events
from .http import Connection
from .store import Store

INDEX, STATE = Path("/etc/clinicpbx/provisioning.json"), Path("/var/lib/clinic-provisioning/provisioning.sqlite3")
LOOK, TOLD = 0.25, 10.0
"""Seconds between two looks at the index and two writes, and between two signs of life."""
_FIRST_FD = 3  # sd_listen_fds(3)


class Service:
    def __init__(self, index: Path = INDEX, store: Store | None = None, events: Events | None = None) -> None:
        self.path, self.store, self.events = index, store or Store(STATE), events or Events()
        self.index: Index
        self.served = 0
        self._seen: tuple[int, int] = (0, 0)
        self._applied = asyncio.Condition()
        self._news = False
        self.refresh()

    def refresh(self) -> None:
        """Read the index again if it changed. One without sense leaves the last in force, and is fatal at the start."""
        status = self.path.stat()
        mark = (status.st_ctime_ns, status.st_ino)  # a deploy's files have no other time
        if mark == self._seen:
            return
        try:
            self.index = Index.load(json.loads(self.path.read_text(encoding="utf-8")))
        except (KeyError, TypeError, ValueError) as error:
            if not self._seen[0]:
                raise
            say(f"{self.path} is no index, the one before it stays: {error}", 3)
        else:
            self.store.keep(self.index.phones)
        self._seen = mark
        self._news = True

    def answer(self, request: Request) -> tuple[int, str]:
        """Decide, take it down, and never give what cannot be read."""
        now = time.time()
        found = decide(request, self.index, self.store.doors, now)
        if found.file and not os.access(found.file, os.R_OK):
            say(f"{found.file} cannot be read: deploy again", 3)
            return 503, ""
        self.served += 1
        self.store.note(request, found, self.index, now)
        self.events.tell(request, found, self.index, now)
        self._news |= any(event.kind == "applied" for event in found.events)
        return found.status, found.file

    def status(self) -> dict[str, Any]:
        return self.store.status(self.index, time.time())

    def applied(self, wanted: Mapping[str, str]) -> bool:
        known = self.store.known
        return all(mac in known and (known[mac].applied or {}).get("version") == v for mac, v in wanted.items())

    async def wait(self, wanted: Mapping[str, str], seconds: float) -> None:
        """Until all of these versions are applied, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._applied:
                await self._applied.wait_for(lambda: self.applied(wanted))

    async def run(self, listening: socket.socket) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await control.serve(self)
        await loop.create_unix_server(lambda: Connection(self.answer), sock=listening)
        notify(READY="1", STATUS=f"{len(self.index.phones)} telephones")
        told = time.monotonic()
        while not stopping.is_set():
            with contextlib.suppress(OSError):  # between a rename and the next
                self.refresh()
            self.store.save()
            if self._news:
                self._news = False
                async with self._applied:
                    self._applied.notify_all()
            if time.monotonic() - told >= TOLD:
                told = time.monotonic()
                notify(WATCHDOG="1", STATUS=f"{len(self.index.phones)} telephones, {self.served} requests")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK)
        notify(STOPPING="1")
        self.store.save()


def say(text: str, level: int = 6) -> None:
    """To the journal, with the level as sd-daemon(3) has it."""
    print(f"<{level}>{text}", file=sys.stderr, flush=True)


async def _main() -> None:
    if os.environ.get("LISTEN_FDS") != "1":
        raise SystemExit("clinic-provisioning is started by systemd: systemctl start clinic-provisioning.socket")
    await Service().run(socket.socket(fileno=_FIRST_FD))


if __name__ == "__main__":
    asyncio.run(_main())
