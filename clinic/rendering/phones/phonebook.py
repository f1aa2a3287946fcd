"""The telephones' phonebook: one a department, with those that it may see. Names and numbers, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clinic.model import Clinic
from clinic.rendering.phones.writing import document, tag, text

_GROUPS = {"ru": "Группы", "en": "Groups"}


@dataclass(frozen=True, slots=True)
class Entry:
    """`name` is a surname with the rest behind a blank, or a group's name."""

    name: str
    number: str
    person: bool


def phonebooks(clinic: Clinic) -> dict[str, bytes]:
    """Department to its phonebook in Grandstream's form; under `<department>.yealink` in Yealink's."""
    out: dict[str, bytes] = {}
    made: dict[tuple[str, ...], tuple[bytes, bytes]] = {}  # most departments see the same
    for slug in clinic.departments:
        seen = visible(clinic, slug)
        if seen not in made:
            sections = list(_sections(clinic, seen))
            made[seen] = _grandstream(sections), _yealink(clinic, sections)
        out[slug], out[f"{slug}.yealink"] = made[seen]
    return out


def visible(clinic: Clinic, reader: str) -> tuple[str, ...]:
    """The departments whose people `reader` finds: its own, those open to all, and those open to it."""
    return tuple(
        slug for slug, d in clinic.departments.items() if d.phonebook is None or reader in (slug, *d.phonebook)
    )


def _sections(clinic: Clinic, seen: tuple[str, ...]) -> Iterator[tuple[str, list[Entry]]]:
    """(a group's name, its entries by name): the hunt groups first, then each department."""
    groups = [Entry(clinic.call_centre.name, clinic.call_centre.number, False)]
    groups += [Entry(g.name, g.number, False) for g in clinic.groups]
    groups += [Entry(d.name, d.group, False) for s, d in clinic.departments.items() if d.group and s in seen]
    yield _GROUPS[clinic.language], sorted(groups, key=lambda e: e.name)
    for slug in seen:
        people = [Entry(p.name, p.ext, True) for p in clinic.members(slug)]
        yield clinic.departments[slug].name, sorted(people, key=lambda e: (e.name, e.number))


def _grandstream(sections: list[tuple[str, list[Entry]]]) -> bytes:
    """Source: Grandstream's XML phonebook guide. A name's case is part of the format."""
    out = [tag("pbgroup", tag("id", str(n)), tag("name", text(name))) + "\n" for n, (name, _) in enumerate(sections, 1)]
    for n, (_, entries) in enumerate(sections, 1):
        for entry in entries:
            last, _, first = entry.name.partition(" ") if entry.person else (entry.name, "", "")
            number = tag("Phone", tag("phonenumber", text(entry.number)), tag("accountindex", "1"), type="Work")
            names = tag("FirstName", text(first)) + tag("LastName", text(last))
            out.append(tag("Contact", names, number, tag("Group", str(n))) + "\n")
    return document(tag("AddressBook", "\n", *out))


def _yealink(clinic: Clinic, sections: list[tuple[str, list[Entry]]]) -> bytes:
    """Source: Yealink's remote phonebook template."""
    menus = [
        f'<Menu Name="{text(name)}">\n'
        + "".join(tag("Unit", Name=e.name, Phone1=e.number, Phone2="", Phone3="") + "\n" for e in entries)
        + "</Menu>\n"
        for name, entries in sections
    ]
    return document(tag("YealinkIPPhoneBook", "\n", tag("Title", text(clinic.name)), "\n", *menus))
