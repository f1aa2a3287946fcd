"""The control machine's cache: content-addressed, shared between clones and runs, safe to interrupt.

Every directory in it is made under a temporary name and renamed when whole, so a name that exists is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from clinicpbx.errors import ClinicError

Progress = Callable[[str], None]
"""Takes one line for the engineer to read."""


def quiet(_line: str) -> None:
    """A Progress that says nothing."""


def root() -> Path:
    """The cache directory, made on first use, readable by root only (it holds the bundle's signing key)."""
    path = Path(os.environ.get("CLINICPBX_CACHE", "/var/cache/clinicpbx"))
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def sha256(path: Path) -> str:
    """The hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(*parts: str | bytes) -> str:
    """A short name (16 hex digits) for content; the parts are length-prefixed, so their borders count."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


@contextlib.contextmanager
def lock(name: str, progress: Progress = quiet, timeout: float = 3600) -> Iterator[None]:
    """Hold the cache's lock `name`: a second run waits for the first and then finds its result."""
    path = root() / f".{name}.lock"
    deadline = time.monotonic() + timeout
    with path.open("w") as handle:
        waiting = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise ClinicError(
                        f"another run has held {path} for {timeout:.0f} s",
                        remedy="see what it does with `fuser -v` on that file, then run again",
                    ) from None
                if not waiting:
                    progress(f"waiting for another run that is making the {name}")
                waiting = True
                time.sleep(0.5)
        yield


@contextlib.contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """A work directory that becomes `target` when the block ends well, and is removed when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.*"):  # an interrupted run; the caller holds the lock
        remove_tree(stale)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    work.chmod(0o755)
    try:
        yield work
        if target.exists():
            remove_tree(target)
        work.rename(target)
    except BaseException:
        remove_tree(work)
        raise


def remove_tree(path: Path) -> None:
    """Remove a tree, refusing while anything is mounted under it: a bind mount must never be emptied."""
    prefix = f"{path.resolve()}/"
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if inside := [mount for mount in mounts if mount.startswith(prefix)]:
        raise ClinicError(f"{inside[0]} is still mounted", remedy=f"umount {inside[0]} and run again")
    shutil.rmtree(path)


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 1800,
) -> str:
    """Run a program to its end and give its standard output; with `log`, all its output goes to that file.

    Raises ClinicError with `what` failed and the last lines it said.
    """
    data = None if stdin is None else stdin.encode()
    return run_bytes(command, what=what, log=log, env=env, stdin=data, timeout=timeout).decode()


def run_bytes(
    command: Sequence[str | Path],
    *,
    what: str,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float = 1800,
) -> bytes:
    """As `run`, in bytes."""
    words = [str(word) for word in command]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    sink = log.open("ab") if log else None
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=sink or subprocess.PIPE,
            stderr=subprocess.STDOUT if sink else subprocess.PIPE,
            env=environment,
            start_new_session=True,  # so that a timeout or Ctrl-C ends what it started, too
        )
    except FileNotFoundError:
        remedy = "scripts/setup installs what the control machine needs"
        raise ClinicError(f"{what}: the program {words[0]} is missing", remedy=remedy) from None
    finally:
        if sink:
            sink.close()
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise ClinicError(
            f"{what}: no end after {timeout:.0f} s", remedy="run again: finished parts are kept"
        ) from None
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()
    if process.returncode:
        said = log.read_bytes() if log else (out or b"") + (err or b"")
        tail = "\n    ".join(said.decode("utf-8", "replace").strip().splitlines()[-12:])
        where = f" (whole log: {log})" if log else ""
        message = f"{what} failed with status {process.returncode}{where}\n    {tail}"
        raise ClinicError(message, remedy="see the lines above")
    return out or b""
