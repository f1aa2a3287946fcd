"""Numbers: ranges, groups, parking, the queue, and what they must leave free."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from clinic.mistakes import Finding, Path
from clinic.model import Clinic
from clinic.rules.common import group_entries, repeated
from clinic.types import NumberRange


def _ranges(clinic: Clinic) -> list[tuple[Path, NumberRange, str]]:
    """(path, range, owner) of every block of numbers."""
    numbering = clinic.numbering
    blocks: list[tuple[Path, NumberRange, str]] = [
        (("numbering", "groups"), numbering.groups, "the groups"),
        (("numbering", "parking"), numbering.parking, "the parking places"),
    ]
    return blocks + [(("departments", s, "range"), d.range, f"department {s}") for s, d in clinic.departments.items()]


def _numbers(clinic: Clinic) -> list[tuple[Path, str]]:
    """Single numbers outside the people: the queue's and the groups'."""
    return [(("call_centre", "number"), clinic.call_centre.number), *((p, n) for p, n, _ in group_entries(clinic))]


def ranges_overlap(clinic: Clinic) -> Iterator[Finding]:
    for (_, one, owner), (path, other, _) in combinations(_ranges(clinic), 2):
        if one.overlaps(other):
            yield Finding(path, str(other), f"the range overlaps {one} of {owner}", "Give each block its own numbers")


def one_length(clinic: Clinic) -> Iterator[Finding]:
    """Phones dial without waiting only when every internal number has the same length."""
    width = next(iter(clinic.departments.values())).range.width
    rule, remedy = (
        f"all internal numbers have the same length, here {width} digits",
        f"Write a number of {width} digits",
    )
    for path, block, _ in _ranges(clinic):
        if block.width != width:
            yield Finding(path, str(block), rule, remedy)
    for path, number in _numbers(clinic):
        if len(number) != width:
            yield Finding(path, number, rule, remedy)


def number_clashes(clinic: Clinic) -> Iterator[Finding]:
    """A group's, the queue's or a parking number may belong to nobody else. People are held by their ranges."""
    entries = [(("call_centre", "number"), clinic.call_centre.number, "the operators' queue")]
    yield from repeated(
        [*entries, *group_entries(clinic)],
        "the number already belongs to {owner}",
        "Give it a free number of `numbering.groups`",
    )


def groups_in_range(clinic: Clinic) -> Iterator[Finding]:
    for path, number, _ in group_entries(clinic):
        if number not in clinic.numbering.groups:
            yield Finding(
                path,
                number,
                f"a group's number lies in {clinic.numbering.groups}",
                "Take a free number of that range or widen `numbering.groups`",
            )


def queue_number_free(clinic: Clinic) -> Iterator[Finding]:
    number = clinic.call_centre.number
    for _, block, owner in _ranges(clinic)[1:]:
        if number in block:
            yield Finding(
                ("call_centre", "number"),
                number,
                f"the queue's number lies in {block} of {owner}",
                f"Take a free number of {clinic.numbering.groups}",
            )


def parking_places(clinic: Clinic) -> Iterator[Finding]:
    parking = clinic.numbering.parking
    if parking.last - parking.first < 1:
        yield Finding(
            ("numbering", "parking"),
            str(parking),
            "parking needs a number to park and at least one place",
            f"Widen it, as {parking.first}-{parking.first + 20}",
        )
    elif parking.last - parking.first > 200:
        yield Finding(("numbering", "parking"), str(parking), "parking has at most 200 places", "Narrow the range")


def first_digits(clinic: Clinic) -> Iterator[Finding]:
    """8 begins a call to the city and 0 a call abroad (810, 00): an internal number there makes the dialling wait."""
    for path, block, _ in _ranges(clinic):
        digits = {f"{n:0{block.width}d}"[0] for n in (block.first, block.last)}
        for digit in sorted(digits & {"0", "8"}):
            yield Finding(
                path,
                str(block),
                f"internal numbers do not begin with {digit}, which begins outside calls",
                "Choose numbers that begin with 1 to 7",
            )
    number = clinic.call_centre.number
    if number[0] in "08":
        yield Finding(
            ("call_centre", "number"),
            number,
            f"internal numbers do not begin with {number[0]}, which begins outside calls",
            "Choose a number that begins with 1 to 7",
        )


def emergency_not_shadowed(clinic: Clinic) -> Iterator[Finding]:
    """Nobody in need waits for a dialling timeout, or reaches a colleague."""
    for emergency in clinic.emergency.numbers:
        rule = f"it shadows the emergency number {emergency}"
        for path, block, _ in _ranges(clinic):
            hidden = _first_shadow(block, emergency)
            if hidden:
                yield Finding(
                    path,
                    str(block),
                    f"{rule}, which {hidden} begins with" if hidden != emergency else rule,
                    "Move the range; nothing may begin with an emergency number",
                )
        for path, number in _numbers(clinic):
            if number.startswith(emergency) or emergency.startswith(number):
                yield Finding(path, number, rule, "Choose another number")
    for index, person in enumerate(clinic.people):
        for emergency in clinic.emergency.numbers:
            if person.ext.startswith(emergency) or emergency.startswith(person.ext):
                yield Finding(
                    ("people", index, "ext"),
                    person.ext,
                    f"it shadows the emergency number {emergency}",
                    "Choose another extension",
                )


def _first_shadow(block: NumberRange, emergency: str) -> str:
    """The first number of the block that begins with the emergency number, or begins it."""
    if block.width >= len(emergency):
        scale = 10 ** (block.width - len(emergency))
        low, high = int(emergency) * scale, (int(emergency) + 1) * scale - 1
    else:
        low = high = int(emergency[: block.width])
    first = max(low, block.first)
    return f"{first:0{block.width}d}" if first <= min(high, block.last) else ""


def emergency_complete(clinic: Clinic) -> Iterator[Finding]:
    numbers = clinic.emergency.numbers
    if "112" not in numbers:
        yield Finding(
            ("emergency", "numbers"), ", ".join(numbers), "112 is an emergency number in every network", 'Add "112"'
        )
    yield from repeated(
        ((("emergency", "numbers", i), n, n) for i, n in enumerate(numbers)), "the number is listed twice", "Remove one"
    )


def known_country(clinic: Clinic) -> Iterator[Finding]:
    """`clinic.numbering.plan` knows Russia's destinations only; another country's would be barred wrongly."""
    if clinic.numbering.country != "RU":
        yield Finding(
            ("numbering", "country"),
            clinic.numbering.country,
            "only Russia's numbering plan is built in",
            "Write RU, or add the country's plan to clinic/numbering.py",
        )


RULES = (
    ranges_overlap,
    one_length,
    number_clashes,
    groups_in_range,
    queue_number_free,
    parking_places,
    first_digits,
    emergency_not_shadowed,
    emergency_complete,
    known_country,
)
