"""Follows one record file through rotation by renaming.

A file is known by the digest of its first line (time and call id, never twice the same), not by its inode: inodes are
used again after a deletion and change when a backup is restored. Inode and path are kept for people.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import core

QUIET = 60.0
"""Seconds after which nobody writes to a renamed file any more (Asterisk has reopened its own)."""
RESCAN = 30.0
"""Seconds between two looks for renamed files with something unread in them."""


@dataclass
class Tail:
    """An open file and how far it is in the database (bytes)."""

    descriptor: int
    path: Path
    inode: int
    head: str = ""
    position: int = 0


@dataclass(frozen=True)
class Read:
    """What a tail has that the database has not, from `position` on."""

    stream: str
    tail: Tail
    position: int
    batch: core.Batch


@dataclass
class Stream:
    """`cdr`, `cel` or `queue_log` at `path`, with the renamed files beside it."""

    name: str
    path: Path
    tails: dict[int, Tail] = field(default_factory=dict)
    _scanned: float = -RESCAN

    def poll(self, known: Mapping[tuple[str, str], int], chunk: int) -> list[Read]:
        """What is unread, the oldest file first, at most `chunk` bytes of each; a newer file waits for the older one.

        `known`: (stream, head) -> position in the database.
        """
        current = _inode(self.path)
        if (current and current not in self.tails) or time.monotonic() - self._scanned >= RESCAN:
            self._scan()
        found: list[Read] = []
        for tail in list(self.tails.values()):
            status = os.fstat(tail.descriptor)
            renamed = tail.inode != current
            quiet = renamed and time.time() - status.st_mtime >= QUIET
            read = self._read(tail, status.st_size, known, chunk, quiet)
            if read:
                if all(read.tail.head != other.tail.head for other in found):  # a copy of a file is that file
                    found.append(read)
                if read.position + read.batch.consumed < status.st_size:
                    break
            elif quiet:
                self._close(tail)
        return found

    def _read(
        self, tail: Tail, size: int, known: Mapping[tuple[str, str], int], chunk: int, final: bool
    ) -> Read | None:
        if size == tail.position and tail.head:
            return None
        head = _head(tail.descriptor, final)
        if not head:
            return None
        tail.head, tail.position = head, known.get((self.name, head), 0)
        if size <= tail.position:
            return None
        data = os.pread(tail.descriptor, chunk, tail.position)
        at_end = tail.position + len(data) >= size
        batch = core.parse(self.name, data, tail.position, final and at_end)
        return Read(self.name, tail, tail.position, batch) if batch.consumed else None

    def _scan(self) -> None:
        """Open what is not open: `name`, `name.1`, `name-20261231`, the oldest first. Compressed ones are not read."""
        self._scanned = time.monotonic()
        ours = re.compile(re.escape(self.path.name) + r"(\.\d+|-\d+)?")
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path.parent) as entries:
            names = [entry for entry in entries if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
            for entry in sorted(names, key=_age):
                with contextlib.suppress(FileNotFoundError):
                    descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                    inode = os.fstat(descriptor).st_ino
                    if inode in self.tails:
                        os.close(descriptor)
                        self.tails[inode].path = Path(entry.path)
                    else:
                        self.tails[inode] = Tail(descriptor, Path(entry.path), inode)

    def forget(self) -> None:
        """Read every position from the database again: it may have moved without us."""
        for tail in self.tails.values():
            tail.head, tail.position = "", 0

    def _close(self, tail: Tail) -> None:
        os.close(tail.descriptor)
        del self.tails[tail.inode]


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _age(entry: os.DirEntry[str]) -> float:
    with contextlib.suppress(FileNotFoundError):
        return entry.stat().st_mtime
    return 0


def _head(descriptor: int, final: bool) -> str:
    """The file's name for itself; empty while its first line is being written."""
    data = os.pread(descriptor, core.LONGEST, 0)
    line, end, _ = data.partition(b"\n")
    return hashlib.sha256(line).hexdigest()[:32] if end or len(data) == core.LONGEST or (line and final) else ""
