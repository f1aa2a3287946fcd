"""What is printed for the walls and the switch cabinet: a label a telephone, and each switch's ports. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from clinic.model import Clinic
from clinic.people import Person


@dataclass(frozen=True)
class Label:
    """One telephone's: what is on its underside and at its socket. Nothing secret."""

    ext: str
    name: str
    short: str
    department: str
    slug: str
    room: str
    socket: str
    switch: str
    port: int
    model: str
    mac: str


@dataclass(frozen=True)
class Panel:
    """A switch's front: `upper` has the odd ports, `lower` the even ones, as cabinets have them; None: nothing there.

    `labels` are those of its telephones, by port.
    """

    name: str
    model: str
    location: str
    ports: int
    upper: tuple[tuple[int, Label | None], ...]
    lower: tuple[tuple[int, Label | None], ...]
    labels: tuple[Label, ...]


WORDS = {
    "ru": {
        "labels": "Наклейки телефонов", "map": "Порты коммутаторов", "room": "каб.", "port": "порт",
        "socket": "розетка",
        "ext": "номер", "name": "имя", "department": "отдел", "model": "модель", "mac": "MAC", "free": "свободно",
        "phones": "телефонов", "of": "из", "ports": "портов", "switch": "коммутатор",
    },
    "en": {
        "labels": "Telephone labels", "map": "Switch ports", "room": "room", "port": "port",
        "socket": "socket",
        "ext": "ext.", "name": "name", "department": "department", "model": "model", "mac": "MAC", "free": "free",
        "phones": "telephones", "of": "of", "ports": "ports", "switch": "switch",
    },
}  # fmt: skip
"""Staff read these sheets, so they are in the clinic's language."""


def labels(clinic: Clinic, people: Collection[Person] | None = None) -> tuple[Label, ...]:
    """In the order of a walk through the building: by switch, then by port."""
    order = list(clinic.switches)
    found = sorted(clinic.people if people is None else people,
                   key=lambda p: (order.index(p.phone.switch), p.phone.port))  # fmt: skip
    return tuple(_label(clinic, person) for person in found)


def panels(clinic: Clinic) -> tuple[Panel, ...]:
    """Every switch, those without a telephone too."""
    known = labels(clinic)
    found = []
    for name, switch in clinic.switches.items():
        mine = tuple(label for label in known if label.switch == name)
        at = {label.port: label for label in mine}
        rows = [tuple((n, at.get(n)) for n in range(first, switch.ports + 1, 2)) for first in (1, 2)]
        found.append(Panel(name, switch.model, switch.location, switch.ports, rows[0], rows[1], mine))
    return tuple(found)


def _label(clinic: Clinic, person: Person) -> Label:
    words = person.name.split()
    short = " ".join([words[0], "".join(f"{word[0]}." for word in words[1:])]).strip()
    phone = person.phone
    return Label(
        person.ext, person.name, short, clinic.departments[person.department].name, person.department,
        person.room or "", phone.socket, phone.switch, phone.port, phone.model, phone.mac,
    )  # fmt: skip
