"""clinic-generation: receives, checks, switches, lists and compares generations on the PBX.

    clinic-generation apply DIGEST < tree.tar    receive, check, switch, reload; the live one stays on any problem
    clinic-generation switch DIGEST              back to an earlier one
    clinic-generation binds                      transports whose address only a restart of Asterisk changes
    clinic-generation restart                    restart Asterisk if one is needed; refused while calls are up
    clinic-generation list | files | show DIGEST PATH | check DIGEST

Answers are JSON on standard output. Exit 0 done, 1 refused (the reasons are in `problems`), 2 wrong use. Only `restart`
restarts Asterisk; what apply and switch leave undone without it is in `restart_needed`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import core, live, trial

HOME = Path("/var/lib/clinicpbx/generations")
CURRENT = HOME / "current"
KEPT = 20


def receive(digest: str) -> Path:
    """Unpack standard input to a directory of its own. One that is whole is kept, one that was edited is replaced."""
    target = HOME / digest
    if target.is_dir() and _digest_of(target) == digest:
        return target
    partial = HOME / f".partial-{digest}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o750)
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        archive.extractall(partial, filter="data")
    found = _digest_of(partial)
    if found != digest:
        shutil.rmtree(partial)
        text = f"expected {digest[:12]}, received {found[:12]}"
        raise core.RefusedError([core.Problem("transfer", 0, text, "incomplete")])
    for path in [partial, *partial.rglob("*")]:
        shutil.chown(path, "root", "asterisk")
        path.chmod(0o750 if path.is_dir() else 0o640)
        os.utime(path)
    if target.is_dir():
        edited = HOME / f".edited-{digest}"
        shutil.rmtree(edited, ignore_errors=True)
        target.rename(edited)
        partial.rename(target)
        shutil.rmtree(edited)
    else:
        partial.rename(target)
    return target


def apply(digest: str) -> dict[str, object]:
    """Receive, check and switch. The generation that fails its check is removed."""
    started = time.monotonic()
    target = receive(digest)
    problems = trial.check(target)
    if problems:
        if _current() != digest:
            shutil.rmtree(target)
        raise core.RefusedError(problems)
    checked = time.monotonic()
    result = switch(digest)
    return {**result, "check_seconds": round(checked - started, 2)}


def switch(digest: str) -> dict[str, object]:
    """Point `current` at a generation in one rename and reload; back again if the live Asterisk does not follow."""
    target = HOME / digest
    if not target.is_dir():
        raise core.RefusedError([core.Problem("generations", 0, digest, "no such generation")])
    before = _current()
    _point_at(digest)
    running = live.is_running()
    if running:
        problems = live.reload(target)
        if problems and before and before != digest:
            _point_at(before)
            live.reload(HOME / before)
        if problems:
            raise core.RefusedError(problems)
    _prune()
    return {
        "digest": digest,
        "before": before,
        "reloaded": running,
        "changed": before != digest,
        "restart_needed": live.restart_needed(CURRENT),
    }


def listing() -> dict[str, object]:
    """Generations, newest first, and which one is live."""
    rows = [
        {"digest": p.name, "made": int(p.stat().st_mtime), "files": sum(1 for f in p.rglob("*") if f.is_file())}
        for p in HOME.iterdir()
        if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")
    ]
    return {"current": _current(), "generations": sorted(rows, key=lambda r: -int(str(r["made"])))}


def files(digest: str | None) -> dict[str, str]:
    """Path to SHA-256 of every file of a generation (the live one by default)."""
    root = HOME / (digest or _current() or "none")
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def _digest_of(root: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()):
        data = (root / path).read_bytes()
        total.update(f"{path}\0{len(data)}\0".encode())
        total.update(data)
    return total.hexdigest()


def _current() -> str | None:
    return CURRENT.readlink().name if CURRENT.is_symlink() else None


def _point_at(digest: str) -> None:
    fresh = HOME / ".current-new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(digest)
    fresh.rename(CURRENT)
    # Asterisk skips a file whose time did not change; a switch back must be read too.
    for path in (HOME / digest).rglob("*"):
        os.utime(path)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with (HOME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prune() -> None:
    rows = listing()["generations"]
    assert isinstance(rows, list)  # noqa: S101 - for the type checker
    for row in rows[KEPT:]:
        if row["digest"] != _current():
            shutil.rmtree(HOME / row["digest"])


def main(arguments: list[str]) -> int:
    """Entry point; see the module's text."""
    HOME.mkdir(parents=True, exist_ok=True)
    answer: object
    try:
        match arguments:
            case ["binds"]:
                answer = {"restart_needed": live.restart_needed(CURRENT)}
            case ["list"]:
                answer = listing()
            case ["files", *rest]:
                answer = files(rest[0] if rest else None)
            case ["show", digest, path] if ".." not in path:
                sys.stdout.write((HOME / digest / path).read_text())
                return 0
            case ["check", digest]:
                answer = {"problems": [str(p) for p in trial.check(HOME / digest)]}
            case ["restart"]:
                with _alone():
                    answer = live.restart(CURRENT)
            case [("apply" | "switch") as verb, digest] if digest.isalnum():
                with _alone():
                    answer = apply(digest) if verb == "apply" else switch(digest)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except core.RefusedError as refused:
        json.dump({"problems": [str(p) for p in refused.problems]}, sys.stdout)
        return 1
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
