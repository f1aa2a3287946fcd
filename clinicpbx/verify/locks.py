"""Locks that checks on different workers share: many may use a provider, one alone may break it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 90.0  # seconds: longer than any lane


class Locks:
    """Files in the run's own folder; the kernel frees them when a worker dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def hold(self, *names: str, alone: bool = False, patience: float = PATIENCE) -> Iterator[None]:
        """Use (`alone=False`) or break (`alone=True`) what the names stand for. TimeoutError when it stays taken."""
        with contextlib.ExitStack() as stack:
            for name in sorted(set(names) - self.held):  # a worker runs one check at a time, so what is held is its own
                stack.callback(os.close, self._take(name, alone, time.monotonic() + patience))
                self.held.add(name)
                stack.callback(self.held.discard, name)
            yield

    def _take(self, name: str, alone: bool, deadline: float) -> int:
        """Whoever waits to break it is next: users who come later wait behind, or there would always be one more."""
        turn = self._lock(f"{name}.turn", alone, name, deadline)
        try:
            return self._lock(name, alone, name, deadline)
        finally:
            os.close(turn)

    def _lock(self, file: str, alone: bool, name: str, deadline: float) -> int:
        handle = os.open(self.folder / file, os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            try:
                fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(handle)
                    raise TimeoutError(f"{name} is taken by another check for too long") from None
                time.sleep(0.05)
