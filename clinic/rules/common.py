"""What several rules need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clinic.mistakes import Finding, Path
from clinic.model import Clinic


def repeated(entries: Iterable[tuple[Path, str, str]], rule: str, remedy: str) -> Iterator[Finding]:
    """Findings for values met before. `entries` are (path, value, owner); `{owner}` in the texts is the first."""
    first: dict[str, str] = {}
    for path, value, owner in entries:
        if value in first:
            yield Finding(path, value, rule.format(owner=first[value]), remedy.format(owner=first[value]))
        first.setdefault(value, owner)


def unknown(path: Path, value: str, section: str, known: Iterable[str], what: str) -> Finding:
    """A name that the section does not have."""
    names = sorted(known)
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return Finding(path, value, f"no such {what}", f"Use one of: {listed}; or add it under `{section}`", section)


def group_numbers(clinic: Clinic) -> dict[str, Path]:
    """Every hunt group's number and where it is written; the first writer wins."""
    numbers: dict[str, Path] = {}
    for path, number, _ in group_entries(clinic):
        numbers.setdefault(number, path)
    return numbers


def group_entries(clinic: Clinic) -> list[tuple[Path, str, str]]:
    """(path, number, owner) of all groups: those written by the engineer, then the departments' own."""
    entries: list[tuple[Path, str, str]] = [
        (("groups", i, "number"), g.number, f"group {g.name}") for i, g in enumerate(clinic.groups)
    ]
    entries += [
        (("departments", slug, "group"), d.group, f"department {slug}")
        for slug, d in clinic.departments.items()
        if d.group
    ]
    return entries
