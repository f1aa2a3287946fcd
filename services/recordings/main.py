"""clinic-recordings: one round of the disk guard, started every minute by its timer.

    clinic-recordings [--dry] [CONFIG]      CONFIG defaults to /etc/clinicpbx/recordings.json

Prints what it did as JSON, also to status.json for monitoring. Exit 0 all well, 1 recording is off for want of a disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import core

CONFIG = Path("/etc/clinicpbx/recordings.json")
STATUS = Path("/var/lib/clinic-recordings/status.json")
OURS = "disk"  # the switch's value when this guard put it; an engineer's own value is left alone


def main(arguments: list[str]) -> int:
    """Entry point; see the module's text."""
    dry = "--dry" in arguments
    names = [word for word in arguments if word != "--dry"]
    settings = json.loads((Path(names[0]) if names else CONFIG).read_text())
    root = Path(settings.pop("root"))
    policy, switch = core.Policy(**settings), _switch()
    at = disk(root)
    decision = core.decide(scan(root), at, policy, time.time(), switch == OURS)
    if not dry:
        _set_switch(switch, decision.pause)  # first: nothing below may keep a full disk recording
        for recording in decision.delete:
            with contextlib.suppress(FileNotFoundError):
                (root / recording.path).unlink()
        if at.mounted or not policy.own_disk:
            _prune(root)
    report = {
        "time": int(time.time()), "expired": len(decision.expired), "early": len(decision.early),
        "freed_bytes": sum(item.size for item in decision.delete), "free_percent": round(decision.free_percent, 2),
        "recording": not decision.pause, "reason": decision.reason, "dry": dry,
    }  # fmt: skip
    text = json.dumps(report)
    print(text)
    if not dry and STATUS.parent.is_dir():
        fresh = STATUS.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(STATUS)
    return int(decision.pause)


def disk(root: Path) -> core.Disk:
    """Free space as a user without privileges sees it."""
    at = os.statvfs(root)
    return core.Disk(at.f_blocks * at.f_frsize, at.f_bavail * at.f_frsize, root.is_mount())


def scan(root: Path) -> Iterator[core.Recording]:
    """Recordings, the oldest first: year/month/day in order of name, files of a day by their last write. A day is read
    only when it is asked for. Symbolic links are not followed."""
    for day in _days(root):
        found = []
        for entry in os.scandir(day):
            if entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    at = entry.stat(follow_symlinks=False)
                    path = str(Path(entry.path).relative_to(root))
                    found.append(core.Recording(path, at.st_blocks * 512, at.st_mtime))
        yield from sorted(found, key=lambda item: item.modified)


def _days(root: Path) -> list[Path]:
    folders = [root]
    for _ in range(3):
        folders = [
            Path(entry.path)
            for folder in folders
            for entry in sorted(os.scandir(folder), key=lambda item: item.name)
            if entry.is_dir(follow_symlinks=False) and entry.name.isdigit()
        ]
    return folders


def _prune(root: Path) -> None:
    """Remove folders of days long past that are empty."""
    for day in _days(root):
        if time.time() - day.stat().st_mtime > core.DAY:
            for folder in (day, day.parent, day.parent.parent):
                try:
                    folder.rmdir()
                except OSError:  # not empty
                    break


def _switch() -> str | None:
    """The value of recording/off; None when it is not set or Asterisk does not run."""
    found = _asterisk("database get recording off")
    return found.partition("Value:")[2].strip() if "Value:" in found else None


def _set_switch(before: str | None, pause: bool) -> None:
    if pause and before is None:
        _asterisk(f"database put recording off {OURS}")
    elif not pause and before == OURS:
        _asterisk("database del recording off")


def _asterisk(command: str) -> str:
    try:
        return subprocess.run(
            ["/usr/sbin/asterisk", "-rx", command], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
