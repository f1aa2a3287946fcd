"""People: extensions, departments, roles, classes of service."""

from __future__ import annotations

from collections.abc import Iterator

from clinic.mistakes import Finding
from clinic.model import Clinic
from clinic.people import Role
from clinic.rules.common import repeated, unknown
from clinic.types import ServiceClass

_REFUSED = "no country is open"
_HIGHEST = f"List the countries in `toll.countries`, or write {ServiceClass.NATIONAL.value} or less"


def duplicate_extensions(clinic: Clinic) -> Iterator[Finding]:
    yield from repeated(
        ((("people", i, "ext"), p.ext, p.name) for i, p in enumerate(clinic.people)),
        "the extension already belongs to {owner}",
        "Give one of them a free number of their department",
    )


def known_departments(clinic: Clinic) -> Iterator[Finding]:
    for i, person in enumerate(clinic.people):
        if person.department not in clinic.departments:
            yield unknown(
                ("people", i, "department"), person.department, "departments", clinic.departments, "department"
            )


def extensions_in_range(clinic: Clinic) -> Iterator[Finding]:
    for i, person in enumerate(clinic.people):
        department = clinic.departments.get(person.department)
        if department and person.ext not in department.range:
            yield Finding(
                ("people", i, "ext"),
                person.ext,
                f"extensions of {person.department} lie in {department.range}",
                "Take a free number of that range, or correct the department",
            )


def doctors_have_specialties(clinic: Clinic) -> Iterator[Finding]:
    for i, person in enumerate(clinic.people):
        if person.role is Role.DOCTOR and not person.specialty:
            yield Finding(("people", i), person.name, "a doctor has a specialty", "Add `specialty`, as Педиатр")


def call_centre_staffed(clinic: Clinic) -> Iterator[Finding]:
    operators = [(i, p) for i, p in enumerate(clinic.people) if p.role is Role.OPERATOR]
    if not operators:
        yield Finding(
            ("people",),
            "0 operators",
            "the call centre has at least one operator",
            "Give someone `role: operator`",
            "people",
        )
    if not clinic.with_role(Role.SUPERVISOR):
        yield Finding(
            ("people",),
            "0 supervisors",
            "someone is told of every missed call",
            "Give someone `role: supervisor`",
            "people",
        )
    for i, person in operators[1:]:
        home = operators[0][1].department
        if person.department != home:
            yield Finding(
                ("people", i, "department"),
                person.department,
                f"operators belong to one department, as the first to {home}",
                f"Write {home}, with an extension of its range, or change the role",
            )


def classes_exist(clinic: Clinic) -> Iterator[Finding]:
    """A description must not promise what the dial plan refuses."""
    abroad = bool(clinic.toll.countries)
    for slug, department in clinic.departments.items():
        if department.service_class is ServiceClass.INTERNATIONAL and not abroad:
            yield Finding(("departments", slug, "class"), department.service_class.value, _REFUSED, _HIGHEST)
    for i, person in enumerate(clinic.people):
        if person.service_class is ServiceClass.INTERNATIONAL and not abroad:
            yield Finding(("people", i, "class"), person.service_class.value, _REFUSED, _HIGHEST)
        if person.pin_class is ServiceClass.INTERNATIONAL and not abroad:
            yield Finding(("people", i, "pin_class"), person.pin_class.value, _REFUSED, _HIGHEST)
        elif (
            person.pin_class
            and clinic.departments.get(person.department)
            and (clinic.class_of(person).includes(person.pin_class))
        ):
            yield Finding(
                ("people", i, "pin_class"),
                person.pin_class.value,
                "a PIN reaches further than the person's own class",
                "Remove it, or write a higher class",
            )
    if not ServiceClass.NATIONAL.includes(clinic.forwarding.highest_class):
        yield Finding(
            ("forwarding", "highest_class"),
            clinic.forwarding.highest_class.value,
            "calls are never forwarded abroad",
            "Write mobile, or national at most",
        )


RULES = (
    duplicate_extensions,
    known_departments,
    extensions_in_range,
    doctors_have_specialties,
    call_centre_staffed,
    classes_exist,
)
