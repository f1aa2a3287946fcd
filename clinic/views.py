"""The clinic as rows, for tables and JSON: people, groups, call flow, ports, telephones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clinic.keys import buttons, pages
from clinic.leases import addresses
from clinic.model import Clinic
from clinic.people import Role

Row = dict[str, str]


def people(clinic: Clinic) -> list[Row]:
    return [
        {
            "ext": person.ext,
            "name": person.name,
            "department": person.department,
            "role": person.role.value,
            "specialty": person.specialty or "",
            "room": person.room or "",
            "class": clinic.class_of(person).value,
            "phone": person.phone.model,
        }
        for person in sorted(clinic.people, key=lambda p: p.ext)
    ]


def groups(clinic: Clinic) -> list[Row]:
    """The operators' queue, the groups the engineer wrote, and the departments' own."""
    centre = clinic.call_centre
    operators = clinic.with_role(Role.OPERATOR)
    rows = [_group(centre.number, centre.name, centre.strategy, f"{centre.ring_seconds} s", [p.ext for p in operators])]
    rows += [_group(g.number, g.name, g.strategy, f"{g.ring_seconds} s", g.members) for g in clinic.groups]
    for slug, department in clinic.departments.items():
        if department.group:
            rows.append(_group(department.group, department.name, "all", "", [p.ext for p in clinic.members(slug)]))
    return rows


def _group(number: str, name: str, strategy: str, ring: str, members: Sequence[str]) -> Row:
    return {"number": number, "name": name, "strategy": strategy, "ring": ring, "members": " ".join(members)}


def flow(clinic: Clinic) -> list[Row]:
    """What a caller to each public number meets, stage after stage."""
    names = {g["number"]: g["name"] for g in groups(clinic)}
    rows = []
    for number, (trunk, did) in clinic.dids.items():
        row = {"number": number, "trunk": trunk.name if trunk.enabled else f"{trunk.name} (off)", "to": "", "hours": "",
               "operators": "", "receptions": ""}  # fmt: skip
        if did.flow:
            path = clinic.flows[did.flow]
            centre = clinic.call_centre
            receptions = [p.ext for p in clinic.with_role(Role.RECEPTION, path.department)]
            row["to"] = path.name
            row["hours"] = "; ".join(f"{day} {opening}" for day, opening in clinic.hours[path.hours].week.items())
            row["operators"] = f"{centre.number}, up to {centre.max_wait_seconds} s"
            row["receptions"] = f"{' '.join(receptions)}, {path.reception_ring_seconds} s"
        elif did.to:
            person = clinic.by_ext.get(did.to)
            row["to"] = f"{did.to} {person.name if person else names.get(did.to, '')}"
        rows.append(row)
    return rows


def ports(clinic: Clinic) -> list[Row]:
    """Every phone's cable, in the order of the patch panel."""
    order = list(clinic.switches)
    return [
        {
            "switch": person.phone.switch,
            "port": str(person.phone.port),
            "socket": person.phone.socket,
            "ext": person.ext,
            "name": person.name,
            "mac": person.phone.mac,
            "phone": person.phone.model,
        }
        for person in sorted(clinic.people, key=lambda p: (order.index(p.phone.switch), p.phone.port))
    ]


def phones(clinic: Clinic) -> list[Row]:
    """Every telephone as it will configure itself: its fixed address, its buttons, its console's pages."""
    given = addresses(clinic)
    rows = []
    for person in sorted(clinic.people, key=lambda p: p.ext):
        rows.append(
            {
                "ext": person.ext,
                "name": person.name,
                "phone": person.phone.model,
                "mac": person.phone.mac,
                "address": str(given[person.ext]) if clinic.provisioning.dhcp else "",
                "encrypted": "yes" if clinic.encrypts(person) else "",
                "keys": str(len(buttons(clinic, person))),
                "pages": str(len(pages(clinic, person)) or ""),
            }
        )
    return rows


VIEWS: dict[str, Callable[[Clinic], list[Row]]] = {
    "people": people,
    "groups": groups,
    "flow": flow,
    "ports": ports,
    "phones": phones,
}
