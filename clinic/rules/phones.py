"""Phones: their MACs, cables, models, consoles and keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinic.mistakes import Finding
from clinic.model import Clinic
from clinic.people import Key, Role
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


def keys_fit(clinic: Clinic) -> Iterator[Finding]:
    """A phone keeps one line key for its own account even when the description names none."""
    for i, person in enumerate(clinic.people):
        model = MODELS.get(person.phone.model)
        if model is None or not person.phone.keys:
            continue
        path = ("people", i, "phone", "keys")
        lines = max(1, sum(key.kind == "line" for key in person.phone.keys))
        others = sum(key.kind != "line" for key in person.phone.keys)
        consoles = min(person.phone.consoles, model.max_consoles)
        room = model.room_for_keys(lines, consoles)
        if lines > model.line_keys:
            yield Finding(
                path,
                f"{lines} line keys",
                f"a {model.name} has {model.line_keys} line keys",
                "Remove lines or choose a larger model",
            )
        elif others > room:
            yield Finding(
                path,
                f"{others} keys",
                f"a {model.name} with {consoles} consoles has room for {room} keys beside {lines} line(s)",
                "Remove keys, add a console or choose a larger model",
            )


def keys_make_sense(clinic: Clinic) -> Iterator[Finding]:
    for i, person in enumerate(clinic.people):
        for j, key in enumerate(person.phone.keys):
            for rule, remedy, absent in _wrong(clinic, key, person.role):
                yield Finding(("people", i, "phone", "keys", j), key.value or key.kind, rule, remedy, absent)


def _wrong(clinic: Clinic, key: Key, role: Role) -> Iterator[tuple[str, str, str]]:
    parking = clinic.numbering.parking
    place = key.value in parking and int(key.value) != parking.first
    if key.kind == "blf" and key.value not in clinic.by_ext and not place:
        yield "a busy lamp watches a person or a parking place", "Write an existing extension", "people"
    if key.kind == "speed-dial" and not re.fullmatch(r"[+*0-9]{2,20}", key.value):
        yield "a speed dial is a number", "Write digits, as 5000", ""
    if key.kind == "park" and key.value not in ("", str(parking.first)):
        yield f"calls are parked at {parking.first}", f"Write {parking.first}", ""
    if key.kind in ("queue-login", "queue-pause") and role not in (Role.OPERATOR, Role.SUPERVISOR):
        yield "only operators and supervisors log in to the queue", "Remove the key or change the role", ""
    if key.kind == "queue-pause" and key.value not in ("", *clinic.call_centre.pause_reasons):
        reasons = ", ".join(clinic.call_centre.pause_reasons)
        yield "no such pause reason", f"Use one of `call_centre.pause_reasons`: {reasons}", ""


RULES = (
    duplicate_macs,
    duplicate_sockets,
    duplicate_ports,
    known_switches,
    known_models,
    consoles_fit,
    keys_fit,
    keys_make_sense,
)
