"""Keys: that they fit the telephone, that they mean something, that their labels can be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinic.keys import ALLOWED, Mode, buttons, pages
from clinic.labels import of_words, strange
from clinic.mistakes import Finding, Path
from clinic.model import Clinic
from clinic.people import Key, Person, Role
from clinic.phones import MODELS, Model

QUEUE_KINDS = ("queue-login", "queue-pause")


def keys_fit(clinic: Clinic) -> Iterator[Finding]:
    """A phone keeps one line key for its own account even when the description names none."""
    told: set[tuple[Path, str, int]] = set()
    for person, model, path, _ in _keyed(clinic):
        key = (path, model.name, person.phone.consoles)
        for finding in _too_many(clinic, person, model, path):
            if key not in told or path[0] == "people":
                yield finding
            told.add(key)


def _too_many(clinic: Clinic, person: Person, model: Model, path: Path) -> Iterator[Finding]:
    every = buttons(clinic, person)
    lines = sum(b.mode is Mode.LINE for b in every)
    others = len(every) - lines
    consoles = 0 if pages(clinic, person) else min(person.phone.consoles, model.max_consoles)
    room = model.room_for_keys(lines, consoles)
    whose = "" if path[0] == "people" else f", as {person.ext} {person.name} has,"
    if lines > model.line_keys:
        yield Finding(
            path, f"{lines} line keys", f"a {model.name}{whose} has {model.line_keys} line keys",
            "Remove lines or choose a larger model",
        )  # fmt: skip
    elif others > room:
        yield Finding(
            path, f"{others} keys",
            f"a {model.name}{whose} with {consoles} consoles has room for {room} keys beside {lines} line(s)",
            "Remove keys, write `first:` at a row of keys, add a console or choose a larger model",
        )  # fmt: skip


def keys_make_sense(clinic: Clinic) -> Iterator[Finding]:
    for role, keys in clinic.provisioning.keys.items():
        path: Path = ("provisioning", "keys", role.value)
        for j, key in enumerate(keys):
            for rule, remedy, absent in _wrong(clinic, key, role):
                yield Finding((*path, j), key.value or key.of or key.kind, rule, remedy, absent)
    for i, person in enumerate(clinic.people):
        for j, key in enumerate(person.phone.keys):
            for rule, remedy, absent in _wrong(clinic, key, person.role):
                place: Path = ("people", i, "phone", "keys", j)
                yield Finding(place, key.value or key.of or key.kind, rule, remedy, absent)


def _wrong(clinic: Clinic, key: Key, role: Role) -> Iterator[tuple[str, str, str]]:
    parking = clinic.numbering.parking
    if key.of is not None:
        allowed = ALLOWED.get(key.kind, ())
        if key.of not in allowed:
            can = f"of: {', '.join(allowed)}" if allowed else "one key at a time, without `of`"
            yield f"a {key.kind} key is not multiplied by {key.of}", f"Write {can}", ""
        if key.value:
            yield "a key has a value or `of`, not both", "Remove one of the two", ""
    elif key.first is not None:
        yield "`first` limits a row of keys, and this is one", "Add `of`, or remove `first`", ""
    place = key.value in parking and int(key.value) != parking.first
    if key.kind == "blf" and not key.of and key.value not in clinic.by_ext and not place:
        yield "a busy lamp watches a person or a parking place", "Write an existing extension", "people"
    if key.kind == "speed-dial" and not re.fullmatch(r"[+*0-9]{2,20}", key.value):
        yield "a speed dial is a number", "Write digits, as 5000", ""
    if key.kind == "transfer" and not key.of and not re.fullmatch(r"\+?[0-9]{2,20}", key.value):
        yield "a call is transferred to a number", "Write digits, as 5000, or `of: receptions`", ""
    if key.kind == "park" and key.value not in ("", str(parking.first)):
        yield f"calls are parked at {parking.first}", f"Write {parking.first}", ""
    if key.kind == "queue" and key.value not in ("", clinic.call_centre.number):
        yield "there is one queue, the operators'", f"Write {clinic.call_centre.number}, or leave it out", ""
    if key.kind in QUEUE_KINDS and role not in (Role.OPERATOR, Role.SUPERVISOR):
        yield "only operators and supervisors log in to the queue", "Remove the key or change the role", ""
    if key.kind == "queue-pause" and key.value not in ("", *clinic.call_centre.pause_reasons):
        reasons = ", ".join(clinic.call_centre.pause_reasons)
        yield "no such pause reason", f"Use one of `call_centre.pause_reasons`: {reasons}", ""


def labels_can_be_shown(clinic: Clinic) -> Iterator[Finding]:
    """Names made into labels are shortened and, if need be, cut; what somebody wrote for a key is not mutilated."""
    told: set[tuple[Path, int]] = set()
    for _, model, path, keys in _keyed(clinic):
        for j, key in enumerate(keys):
            place: Path = (*path, j, "label")
            if not key.label or not model.label_chars or (place, model.label_chars) in told:
                continue
            told.add((place, model.label_chars))
            if strange(key.label):
                yield Finding(
                    place, key.label, f"the displays have no {' '.join(strange(key.label))}",
                    "Write the label in Cyrillic or Latin letters",
                )  # fmt: skip
            elif of_words(key.label, model.label_chars) is None:
                yield Finding(
                    place, key.label, f"the display of a {model.name} shows {model.label_chars} characters",
                    "Write a shorter label, or leave it out",
                )  # fmt: skip


def _keyed(clinic: Clinic) -> Iterator[tuple[Person, Model, Path, tuple[Key, ...]]]:
    """Everybody with keys and a model that exists."""
    for i, person in enumerate(clinic.people):
        model = MODELS.get(person.phone.model)
        if person.phone.keys:
            path: Path = ("people", i, "phone", "keys")
            keys = person.phone.keys
        else:
            path, keys = ("provisioning", "keys", person.role.value), clinic.provisioning.keys.get(person.role, ())
        if model and keys:
            yield person, model, path, keys


RULES = (keys_fit, keys_make_sense, labels_can_be_shown)
