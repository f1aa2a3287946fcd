"""The keys of every telephone: a role's few lines of the description become buttons with numbers and labels. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from clinic import labels
from clinic.model import Clinic
from clinic.people import Key, Person, Role
from clinic.phones import Model

PAGE = 20  # keys of a console's page: GBX20, GXP2200EXT, EXP43 and EXP50 alike
# Which groups a kind of key may be multiplied by.
ALLOWED = {
    "blf": ("operators", "supervisors", "receptions", "own-receptions", "department", "places"),
    "transfer": ("operators", "supervisors", "receptions", "own-receptions", "department", "departments"),
    "park": ("places",),
    "queue-pause": ("reasons",),
}
_WORDS = {
    "ru": {"line": "Линия", "park": "Парковка", "place": "Место", "login": "В очереди", "pause": "Пауза"},
    "en": {"line": "Line", "park": "Park", "place": "Place", "login": "In queue", "pause": "Pause"},
}


class Mode(StrEnum):
    """What pressing a button does. A LAMP shows the state of its number and dials it."""

    LINE = "line"
    LAMP = "lamp"
    DIAL = "dial"
    TRANSFER = "transfer"
    PARK = "park"


@dataclass(frozen=True, slots=True)
class Button:
    """One button. `label` is not yet cut to the display; `person` says that it is a person's full name."""

    mode: Mode
    number: str
    label: str
    person: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a telephone's buttons are. None is a place left empty, so that a console's pages begin where they must."""

    line_keys: tuple[Button, ...]
    multi_keys: tuple[Button, ...]
    console: tuple[Button | None, ...]


def buttons(clinic: Clinic, person: Person) -> tuple[Button, ...]:
    """All buttons of a telephone but its console's pages. Every telephone has at least its own line.

    Rows may overlap, as the receptions and their department: the first button of a kind and number is the only one.
    """
    keys = person.phone.keys or clinic.provisioning.keys.get(person.role, ())
    every = [button for key in keys for button in expanded(clinic, person, key)]
    lines = [button for button in every if button.mode is Mode.LINE]
    others = {(button.mode, button.number): button for button in reversed(every) if button.mode is not Mode.LINE}
    made = (*lines, *reversed(others.values()))
    if lines:
        return made
    return (Button(Mode.LINE, "", _WORDS[clinic.language]["line"]), *made)


def expanded(clinic: Clinic, person: Person, key: Key) -> Iterator[Button]:
    """The buttons of one key of the description: one, or one for each member of `of`."""
    words = _WORDS[clinic.language]
    match key.kind:
        case "line":
            yield Button(Mode.LINE, "", key.label or words["line"])
        case "queue":
            yield Button(Mode.LAMP, clinic.call_centre.number, key.label or clinic.call_centre.name)
        case "queue-login":
            yield Button(Mode.LAMP, f"*11{person.ext}", key.label or words["login"])
        case "queue-pause" if key.of is None and not key.value:
            yield Button(Mode.LAMP, f"*13{person.ext}", key.label or words["pause"])
        case "queue-pause":
            reasons = clinic.call_centre.pause_reasons
            for digit in islice(reasons, key.first) if key.of else [key.value]:
                yield Button(Mode.DIAL, f"*13{digit}", key.label or reasons.get(digit, digit))
        case "park" if key.of is None:
            first = clinic.numbering.parking.numbers()[0]
            yield Button(Mode.PARK, key.value or first, key.label or words["park"])
        case "blf" | "park":
            yield from _each(clinic, person, key, Mode.LAMP)
        case "transfer":
            yield from _each(clinic, person, key, Mode.TRANSFER)
        case "speed-dial":
            yield Button(Mode.DIAL, key.value, key.label or _name(clinic, key.value)[0])


def _each(clinic: Clinic, person: Person, key: Key, mode: Mode) -> Iterator[Button]:
    for number in islice(_members(clinic, person, key), key.first):
        label, named = _name(clinic, number)
        yield Button(mode, number, key.label or label, named and not key.label)


def _members(clinic: Clinic, person: Person, key: Key) -> Iterator[str]:
    people: tuple[Person, ...] = ()
    match key.of:
        case None:
            yield key.value
        case "places":
            yield from clinic.numbering.parking.numbers()[1:]
        case "departments":
            yield from (d.group for d in clinic.departments.values() if d.group)
        case "operators":
            people = clinic.with_role(Role.OPERATOR)
        case "supervisors":
            people = clinic.with_role(Role.SUPERVISOR)
        case "receptions":
            people = clinic.with_role(Role.RECEPTION)
        case "own-receptions":
            people = clinic.with_role(Role.RECEPTION, person.department)
        case "department":
            people = clinic.members(person.department)
        case "reasons":
            pass
    yield from (other.ext for other in people if other.ext != person.ext)


def _name(clinic: Clinic, number: str) -> tuple[str, bool]:
    """(what a number is called, whether that is a person's name)."""
    if number in clinic.by_ext:
        return clinic.by_ext[number].name, True
    parking = clinic.numbering.parking
    if number in parking:
        return f"{_WORDS[clinic.language]['place']} {int(number) - parking.first}", False
    if number == clinic.call_centre.number:
        return clinic.call_centre.name, False
    groups = {d.group: d.name for d in clinic.departments.values() if d.group}
    groups |= {g.number: g.name for g in clinic.groups}
    return groups.get(number, number), False


def pages(clinic: Clinic, person: Person) -> tuple[tuple[Button, ...], ...]:
    """The console's pages, one a department: its group, its receptions, then as many of its people as fit."""
    if not person.phone.consoles:
        return ()
    return tuple(
        _page(clinic, person, slug)
        for slug in clinic.provisioning.consoles.get(person.role, ())
        if slug in clinic.departments
    )


def _page(clinic: Clinic, person: Person, slug: str) -> tuple[Button, ...]:
    department = clinic.departments[slug]
    members = sorted(clinic.members(slug), key=lambda p: (p.role is not Role.RECEPTION, p.ext))
    group = [Button(Mode.TRANSFER, department.group, department.name)] if department.group else []
    lamps = (Button(Mode.LAMP, p.ext, p.name, True) for p in members if p.ext != person.ext)
    return (*group, *islice(lamps, PAGE - len(group)))


def layout(clinic: Clinic, person: Person, model: Model) -> Layout:
    """Lines on line keys; other buttons on the keys beside the display, then on line keys, then on a console's.

    What does not fit is left out: clinic.rules.phones has refused it before.
    """
    every = buttons(clinic, person)
    lines = [b for b in every if b.mode is Mode.LINE][: model.line_keys]
    others = [b for b in every if b.mode is not Mode.LINE]
    multi, rest = others[: model.multi_keys], others[model.multi_keys :]
    free = model.line_keys - len(lines) if model.line_keys_multi else 0
    shown = pages(clinic, person)
    console: list[Button | None] = []
    for page in shown:
        console += [*page, *[None] * (PAGE - len(page))]
    room = min(person.phone.consoles, model.max_consoles) * model.console_keys
    if not shown:
        console += rest[free:]
    console = console[:room]
    apart = _apart([*lines, *others, *console], model.label_chars)
    line_keys, multi_keys, keys = ([apart.get(b, b) for b in part] for part in ([*lines, *rest[:free]], multi, console))
    return Layout(tuple(b for b in line_keys if b), tuple(b for b in multi_keys if b), tuple(keys))


def _apart(every: Iterable[Button | None], limit: int) -> dict[Button | None, Button]:
    """Buttons of people whose labels another person's button has too, with labels that name their extension."""
    found: dict[str, set[Button]] = {}
    for button in every:
        if button and button.person:
            found.setdefault(labels.of_person(button.label, limit), set()).add(button)
    return {
        button: Button(button.mode, button.number, labels.of_namesake(button.label, button.number, limit))
        for same in found.values() if limit and len({button.number for button in same}) > 1
        for button in same
    }  # fmt: skip
