"""Phones: their MACs, cables, models and consoles."""

from __future__ import annotations

from collections.abc import Iterator

from clinic.mistakes import Finding
from clinic.model import Clinic
from clinic.phones import MODELS
from clinic.rules.common import repeated, unknown


def duplicate_macs(clinic: Clinic) -> Iterator[Finding]:
    yield from repeated(
        ((("people", i, "phone", "mac"), p.phone.mac, f"{p.ext} {p.name}") for i, p in enumerate(clinic.people)),
        "the MAC address already belongs to the phone of {owner}",
        "Read the label on the back of both phones",
    )


def duplicate_sockets(clinic: Clinic) -> Iterator[Finding]:
    yield from repeated(
        ((("people", i, "phone", "socket"), p.phone.socket, f"{p.ext} {p.name}") for i, p in enumerate(clinic.people)),
        "the wall socket is already used by {owner}",
        "Every phone has a dedicated line; trace the cable",
    )


def duplicate_ports(clinic: Clinic) -> Iterator[Finding]:
    yield from repeated(
        (
            (("people", i, "phone", "port"), f"{p.phone.switch} port {p.phone.port}", f"{p.ext} {p.name}")
            for i, p in enumerate(clinic.people)
        ),
        "the switch port is already used by {owner}",
        "Every phone has a dedicated line; read the patch panel",
    )


def known_switches(clinic: Clinic) -> Iterator[Finding]:
    for i, person in enumerate(clinic.people):
        switch = clinic.switches.get(person.phone.switch)
        if switch is None:
            yield unknown(("people", i, "phone", "switch"), person.phone.switch, "switches", clinic.switches, "switch")
        elif person.phone.port > switch.ports:
            yield Finding(
                ("people", i, "phone", "port"),
                str(person.phone.port),
                f"switch {person.phone.switch} has {switch.ports} ports",
                "Correct the port, or the switch's `ports`",
            )


def known_models(clinic: Clinic) -> Iterator[Finding]:
    for i, person in enumerate(clinic.people):
        if person.phone.model not in MODELS:
            near = [m for m in MODELS if m[:3] == person.phone.model[:3].upper()] or list(MODELS)
            yield Finding(
                ("people", i, "phone", "model"),
                person.phone.model,
                "no such phone model",
                f"Use one of: {', '.join(near)}; or add it to clinic/phones.py",
            )


def consoles_fit(clinic: Clinic) -> Iterator[Finding]:
    for i, person in enumerate(clinic.people):
        model = MODELS.get(person.phone.model)
        if model and person.phone.consoles > model.max_consoles:
            can = f"carries at most {model.max_consoles} consoles" if model.max_consoles else "carries no console"
            yield Finding(
                ("people", i, "phone", "consoles"),
                str(person.phone.consoles),
                f"a {model.name} {can}",
                "Remove consoles or choose GRP2615 or GXP2170",
            )


RULES = (
    duplicate_macs,
    duplicate_sockets,
    duplicate_ports,
    known_switches,
    known_models,
    consoles_fit,
)
