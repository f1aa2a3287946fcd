"""Run code and programs inside a named network namespace, and list or remove namespaces.

Python has os.setns from 3.12 only, so the call goes through libc. A network namespace belongs to a
thread: only the calling thread moves, and `entered` always moves it back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class CommandError(RuntimeError):
    """A system program failed; the text names it and its complaint."""


def path(namespace: str) -> Path:
    return FOLDER / namespace


def exists(namespace: str) -> bool:
    return path(namespace).exists()


def listed(prefix: str) -> list[str]:
    """Names of the namespaces that begin with `prefix`, sorted."""
    return sorted(p.name for p in FOLDER.glob(f"{prefix}*")) if FOLDER.is_dir() else []


def move_to(namespace: str | Path) -> None:
    """Move the calling thread, for good. Raises OSError when the namespace is gone or we are not root."""
    handle = os.open(path(namespace) if isinstance(namespace, str) else namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def entered(namespace: str) -> Iterator[None]:
    """The calling thread, and processes it starts, are in `namespace` within the block."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        move_to(namespace)
        try:
            yield
        finally:
            _setns(before)
    finally:
        os.close(before)


def run(argv: Sequence[str], *, namespace: str | None = None, text: str | None = None, timeout: float = 30) -> str:
    """Run a program to its end and return its output. Raises CommandError with the program's own words."""
    with entered(namespace) if namespace else contextlib.nullcontext():
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise CommandError(f"{' '.join(argv[:6])} failed ({done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout


def ip_batch(lines: Sequence[str], *, namespace: str | None = None, force: bool = False) -> None:
    """Give many commands to one `ip` process. `force` goes on after a failed line and reports nothing."""
    if not lines:
        return
    argv = ["ip", *(["-force"] if force else []), "-batch", "-"]
    with contextlib.suppress(CommandError) if force else contextlib.nullcontext():
        run(argv, namespace=namespace, text="\n".join(lines) + "\n", timeout=60)


def pids(namespace: str) -> list[int]:
    """Processes whose main thread lives in the namespace, without ourselves."""
    try:
        inode = path(namespace).stat().st_ino
    except OSError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if (entry / "ns/net").stat().st_ino == inode:
                    found.append(int(entry.name))
    return found


def _setns(handle: int) -> None:
    if _libc.setns(handle, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
