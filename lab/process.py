"""Daemons that outlive the program that started them: pid files that cannot name a stranger, and stopping."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def started_at(pid: int) -> str | None:
    """The process's start time in clock ticks since boot, or None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def detach(child: subprocess.Popen[bytes]) -> None:
    """Let a child live on without us: Python warns of a child that nobody waited for, unless told it ended."""
    child.returncode = 0


def remember(file: Path, pid: int) -> None:
    """Write `pid starttime`, so that a recycled pid is never taken for ours."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(f"{pid} {started_at(pid)}\n")
    temporary.replace(file)


def recall(file: Path) -> int | None:
    """The living process that the file names, or None."""
    try:
        pid, start = file.read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if started_at(int(pid)) == start else None


def wait_for(condition: Callable[[], object], timeout: float, step: float = 0.02) -> bool:
    """Whether the condition came true within `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


def stop(pid: int, timeout: float = 5, sign: signal.Signals = signal.SIGTERM) -> None:
    """Ask the process to end, wait, then kill it. Gone already is no error."""
    _reap(pid)
    start = started_at(pid)
    if start is None:
        return
    for number, patience in ((sign, timeout), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_for(lambda: _gone(pid, start), patience):
            return
    raise TimeoutError(f"process {pid} does not end even when killed")


def _gone(pid: int, start: str) -> bool:
    _reap(pid)
    return started_at(pid) != start


def _reap(pid: int) -> None:
    """Collect it when it is our own child; a stranger's child is its parent's business."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
