"""What the guard reads: a log through its rotations, and Asterisk's database without ever locking it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
_KEYS = "SELECT key, value FROM astdb WHERE key GLOB '/toll/*' OR key GLOB '/registrar/contact/*'"
LONGEST = 1 << 16
"""Bytes of a line; what is longer is cut into pieces, which are no lines that anybody knows."""


@dataclass
class Follower:
    """One log. `head` names the file by its first line (never twice the same), `at` is how much of it is read.

    Without a head the log was never read: it begins at its end, for what is old was no news to anybody.
    """

    path: Path
    head: str | None = None
    at: int = 0
    _descriptor: int = -1
    _inode: int = 0

    def load(self, saved: Mapping[str, Any] | None) -> None:
        if saved:
            self.head, self.at = saved["head"], saved["at"]

    def dump(self) -> dict[str, Any]:
        return {"head": self.head, "at": self.at}

    def lines(self) -> list[str]:
        """What was written since the last call, whole lines only, at most CHUNK bytes; [] when there is nothing."""
        if self._descriptor < 0 and not self._open():
            return []
        found = self._read()
        if not found and _inode(self.path) not in (0, self._inode):
            os.close(self._descriptor)  # rotated, and read to its end
            self._descriptor, self.head, self.at = -1, "", 0
            return self.lines()
        return found

    def _open(self) -> bool:
        """The file that was being read, wherever it is now, else the log itself from its beginning."""
        places = [self.path]
        if self.head:
            ours = re.compile(re.escape(self.path.name) + r"(\.\d+|-\d+)")
            with contextlib.suppress(FileNotFoundError):
                places += sorted(p for p in self.path.parent.iterdir() if ours.fullmatch(p.name))
        for place in places:
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                if not self.head or head(descriptor) == self.head:
                    return self._take(descriptor)
                os.close(descriptor)
        lost, self.head, self.at = bool(self.head), "", 0  # what comes will be read from its beginning
        return lost and self._open()

    def _take(self, descriptor: int) -> bool:
        self._descriptor, self._inode = descriptor, os.fstat(descriptor).st_ino
        if self.head is None:
            self.head, self.at = head(descriptor), os.fstat(descriptor).st_size
        return True

    def _read(self) -> list[str]:
        if os.fstat(self._descriptor).st_size < self.at:
            self.at = 0  # somebody emptied it
        data = os.pread(self._descriptor, CHUNK, self.at)
        end = data.rfind(b"\n") + 1
        if not end and len(data) >= LONGEST:
            end = len(data)
        self.at += end
        self.head = self.head or head(self._descriptor)
        return data[:end].decode("utf-8", "replace").split("\n")[:-1] if end else []


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def head(descriptor: int) -> str:
    """The file's name for itself; empty while its first line is being written."""
    line, end, _ = os.pread(descriptor, LONGEST, 0).partition(b"\n")
    return hashlib.sha256(line).hexdigest()[:32] if end else ""


class Database:
    """Asterisk's AstDB. A reader's lock would fail Asterisk's own commit, so the file is copied and read as a copy."""

    def __init__(self, path: Path) -> None:
        self.path, self._seen = path, (0, 0)

    def changed(self) -> dict[str, str] | None:
        """Keys of calls' money and of registrations when the file changed since the last call, else None.

        A torn copy counts as unchanged.
        """
        try:
            status = self.path.stat()
            mark = (status.st_mtime_ns, status.st_size)
            if mark == self._seen or Path(f"{self.path}-journal").exists():
                return None
            data = self.path.read_bytes()
            after = self.path.stat()
        except OSError:
            return None
        if (after.st_mtime_ns, after.st_size) != mark:
            return None
        try:
            with contextlib.closing(sqlite3.connect(":memory:")) as copy:
                copy.deserialize(data)
                rows = copy.execute(_KEYS).fetchall()
        except sqlite3.Error:
            return None
        self._seen = mark
        return {str(key): str(value) for key, value in rows}
