"""Which telephones may be told to configure themselves now, so that nobody who calls meets silence. Pure.

A telephone that applies a new configuration may lose its line for seconds, or minutes if its maker insists on a
reboot. So of a department a quarter is away at once and no more (but one), its receptions one after the other, and
of the operators' queue and of every hunt group somebody stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from clinic.model import Clinic
from clinic.people import Role

SHARE = 4  # one in so many of a department's telephones may be away at once


def most(size: int) -> int:
    """How many of so many telephones may be away at once."""
    return max(1, size // SHARE)


def next_wave(
    clinic: Clinic, pending: Sequence[str], out: Collection[str] = (), away: Collection[str] = ()
) -> tuple[str, ...]:
    """Extensions of `pending`, in its order, that may be told now, while those `out` are still busy with it.

    `away`: telephones that are off. They do not count against a department's quarter, or a broken switch would hold up
    the others; they do count where somebody has to stay. Unless nothing of a group is out: the last one that works
    would otherwise never be told.
    """
    gone, chosen = set(out), []
    circles = [set(circle) for circle in _circles(clinic)]
    for ext in pending:
        if ext not in gone and _fits(clinic, ext, gone) and all(_stays(c, ext, gone, away) for c in circles):
            chosen.append(ext)
            gone.add(ext)
    return tuple(chosen)


def _fits(clinic: Clinic, ext: str, gone: Collection[str]) -> bool:
    person = clinic.by_ext[ext]
    colleagues = clinic.members(person.department)
    if sum(p.ext in gone for p in colleagues) >= most(len(colleagues)):
        return False
    return person.role is not Role.RECEPTION or not any(p.role is Role.RECEPTION and p.ext in gone for p in colleagues)


def _stays(circle: Collection[str], ext: str, gone: Collection[str], away: Collection[str]) -> bool:
    if ext not in circle:
        return True
    return any(e != ext and e not in gone and e not in away for e in circle) or not any(e in gone for e in circle)


def _circles(clinic: Clinic) -> Iterable[Iterable[str]]:
    """Those of whom never all may be away: the queue's operators, and each hunt group that was written by name."""
    yield (p.ext for p in clinic.with_role(Role.OPERATOR))
    for group in clinic.groups:
        yield group.members
