"""Hunt groups."""

from __future__ import annotations

from collections.abc import Iterator

from clinic.mistakes import Finding
from clinic.model import Clinic
from clinic.rules.common import repeated


def known_members(clinic: Clinic) -> Iterator[Finding]:
    for i, group in enumerate(clinic.groups):
        for j, member in enumerate(group.members):
            if member not in clinic.by_ext:
                yield Finding(
                    ("groups", i, "members", j),
                    member,
                    "a group rings people, and nobody has this extension",
                    "Correct the number or remove it",
                    "people",
                )


def members_once(clinic: Clinic) -> Iterator[Finding]:
    for i, group in enumerate(clinic.groups):
        yield from repeated(
            ((("groups", i, "members", j), m, m) for j, m in enumerate(group.members)),
            f"group {group.number} already rings this extension",
            "Remove one of the two",
        )


def departments_with_people(clinic: Clinic) -> Iterator[Finding]:
    for slug, department in clinic.departments.items():
        if department.group and not clinic.members(slug):
            yield Finding(
                ("departments", slug, "group"),
                department.group,
                "the group would ring nobody",
                "Add people to the department or remove its group",
                "people",
            )


RULES = (known_members, members_once, departments_with_people)
