"""What to delete, and whether recording must pause. Pure: no I/O.

First everything past its retention, then the oldest until the disk has its free share. When even all of them would not
be enough, something else fills the disk: nothing is sacrificed in vain, recording stops, calls go on. It starts again
only when there is MARGIN more than the share, so that it does not flap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DAY = 86_400  # s
MARGIN = 2  # percentage points
QUIET = 300  # s; a file written to within this time belongs to a call that goes on


@dataclass(frozen=True)
class Policy:
    retention_days: int
    min_free_percent: int
    own_disk: bool  # the recordings have a disk of their own, and it must be mounted


@dataclass(frozen=True)
class Disk:
    """Bytes of the file system, and whether the recordings' folder is where it is mounted."""

    total: int
    free: int
    mounted: bool


@dataclass(frozen=True)
class Recording:
    """A file: path below the recordings' folder, bytes on disk, time of the last write (epoch seconds)."""

    path: str
    size: int
    modified: float


@dataclass(frozen=True)
class Decision:
    """`expired` is past its retention, `early` goes before it for want of space. `pause`: recording must be off."""

    expired: tuple[Recording, ...]
    early: tuple[Recording, ...]
    pause: bool
    free_percent: float  # as it will be after the deletion
    reason: str = ""

    @property
    def delete(self) -> tuple[Recording, ...]:
        return self.expired + self.early


def decide(oldest_first: Iterable[Recording], disk: Disk, policy: Policy, now: float, paused: bool) -> Decision:
    """Reads only as many recordings as it needs: none that is younger than the first one worth keeping."""
    if policy.own_disk and not disk.mounted:
        # Behind an empty mount point lies the system disk: nothing may be written or deleted there.
        return Decision((), (), True, percent(disk.free, disk.total), "the recordings' disk is not mounted")
    wanted = policy.min_free_percent + (MARGIN if paused else 0)
    free = disk.free
    expired: list[Recording] = []
    early: list[Recording] = []
    for recording in oldest_first:
        age = now - recording.modified
        if age < QUIET:
            continue
        if age > policy.retention_days * DAY:
            expired.append(recording)
        elif percent(free, disk.total) < wanted:
            early.append(recording)
        else:
            break
        free += recording.size
    short = percent(free, disk.total) < wanted
    if short:
        free -= sum(recording.size for recording in early)
        early = []
    left = percent(free, disk.total)
    reason = (
        f"{left:.1f} % of the disk is free, {wanted} % are wanted, and deleting recordings would not give them"
        if short
        else ""
    )
    return Decision(tuple(expired), tuple(early), short, left, reason)


def percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
