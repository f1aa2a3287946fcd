"""Public numbers: what a dialled string means and which class of service it needs.

The dial plan cannot call a library, so `plan()` compiles the rules to patterns once, at rendering time, and `rank_of()`
answers the same question in Python. Abroad is an allow-list: a number that no rule matches is closed.

Abroad goes by `phonenumbers` alone (`clinic.abroad`). Russia does not: its table is written by hand and wider than the
library's, because a new area or mobile code missing there would cut patients off, while no provider connects one that
nobody has. So 3xx, 4xx, 81x to 87x and 9xx are open but for the codes of others, and a test holds the table against
the library both ways. Closed under +7: Abkhazia (840 and 940, which the library takes for Russian), 850 (South Ossetia;
no Russian area has it), 810 (reads as the international prefix), 954 (GlobalTel, satellite), 80x other than free-phone,
88x and 89x (no areas), and of Kazakhstan (6xx, 7xx) all but its fixed lines and mobiles when KZ is listed.
Known limit: South Ossetia's mobiles lie within a Russian operator's codes, where no code tells them apart.
Source: Russian numbering plan (Order 508 of the Ministry of Communications), ITU-T E.164.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import phonenumbers

from clinic.abroad import expanded, patterns
from clinic.trunks import NumberFormat
from clinic.types import ServiceClass

CLOSED = 9  # a rank no class reaches: premium, shared-cost and unknown destinations


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """One dial-plan pattern over E.164 with the rank of the class of service it needs and the zone of its tariff.

    `zone` is local, mobile, national or the ISO 3166 code of a country; empty when closed.
    """

    pattern: str
    rank: int
    zone: str
    meaning: str


def plan(area_code: str, countries: Sequence[str] = ()) -> tuple[DestinationRule, ...]:
    """Patterns over E.164; Asterisk takes the most specific match, so their order carries no meaning.

    `countries` is the allow-list (ISO 3166). ValueError for Russia, which is never abroad, and for unknown ones.
    """
    if "RU" in countries:
        raise ValueError("RU: the clinic's own country is not abroad")
    local, mobile, national = (c.rank for c in (ServiceClass.LOCAL, ServiceClass.MOBILE, ServiceClass.NATIONAL))
    tail = "X" * (10 - len(area_code))
    rules = [
        DestinationRule(f"_+7{area_code}{tail}", local, "local", "the clinic's own city"),
        *(DestinationRule(f"_+7{code}XXXXXXX", local, "local", "free-phone") for code in _free_codes()),
        DestinationRule("_+780XXXXXXXX", CLOSED, "", "premium and shared-cost"),
        DestinationRule("_+7810XXXXXXX", CLOSED, "", "the international prefix"),
        DestinationRule("_+7840XXXXXXX", CLOSED, "", "Abkhazia"),
        DestinationRule("_+7850XXXXXXX", CLOSED, "", "South Ossetia"),
        DestinationRule("_+7940XXXXXXX", CLOSED, "", "Abkhazia, mobile"),
        DestinationRule("_+7954XXXXXXX", CLOSED, "", "satellite"),
        DestinationRule("_+79XXXXXXXXX", mobile, "mobile", "Russian mobile networks"),
        DestinationRule("_+7[34]XXXXXXXXX", national, "national", "Russian cities"),
        DestinationRule("_+78[1-7]XXXXXXXX", national, "national", "Russian cities"),
    ]
    if area_code == "495":
        rules.append(DestinationRule("_+7499XXXXXXX", local, "local", "Moscow's second code"))
    abroad = ServiceClass.INTERNATIONAL.rank
    rules += (DestinationRule(p, abroad, country, "abroad") for country in countries for p in patterns(country))
    return tuple(rules)


def _free_codes() -> list[str]:
    numbers = {code: phonenumbers.parse(f"+7{code}2345678") for code in map(str, range(800, 810))}
    free = phonenumbers.PhoneNumberType.TOLL_FREE
    return [code for code, number in numbers.items() if phonenumbers.number_type(number) == free]


def matches(pattern: str, number: str) -> bool:
    """Asterisk's pattern language, as far as `plan` uses it (X, Z, N and sets)."""
    allowed = _positions(pattern)
    return len(allowed) == len(number) and all(n in digits for n, digits in zip(number, allowed, strict=True))


@cache
def _positions(pattern: str) -> tuple[str, ...]:
    """The characters each position allows."""
    out, i, body = [], 0, pattern.removeprefix("_")
    named = {"X": "0123456789", "Z": "123456789", "N": "23456789"}
    while i < len(body):
        end = body.index("]", i) if body[i] == "[" else i
        out.append(expanded(body[i + 1 : end]) if end > i else named.get(body[i], body[i]))
        i = end + 1
    return tuple(out)


def specificity(pattern: str) -> tuple[int, ...]:
    """Per position the number of characters it allows; the smaller tuple is Asterisk's better match."""
    return tuple(len(digits) for digits in _positions(pattern))


def rule_of(e164: str, area_code: str, countries: Sequence[str] = ()) -> DestinationRule | None:
    """The rule that the dial plan goes by for `e164`; None when none matches, which is closed too."""
    fitting = [r for r in _plan(area_code, tuple(countries)) if matches(r.pattern, e164)]
    return min(fitting, key=lambda r: specificity(r.pattern)) if fitting else None


_plan = cache(plan)


def rank_of(e164: str, area_code: str, countries: Sequence[str] = ()) -> int:
    """Rank of the class of service that `e164` needs; CLOSED when nobody may dial it."""
    rule = rule_of(e164, area_code, countries)
    return rule.rank if rule else CLOSED


def spellings(e164: str) -> tuple[str, ...]:
    """Every way a provider may write one of our Russian numbers: +7495..., 7495..., 8495..., 495..."""
    bare = e164.removeprefix("+")
    if bare.startswith("7") and len(bare) == 11:
        return (e164, bare, "8" + bare[1:], bare[1:])
    return (e164, bare)


def dialled_as(form: NumberFormat) -> str:
    """Dial-plan expression that writes ${ARG_E164} (a `+` number) the way a provider wants it."""
    match form:
        case NumberFormat.PLUS:
            return "${e164}"
        case NumberFormat.E164:
            return "${e164:1}"
        case NumberFormat.NATIONAL:
            return '${IF($["${e164:0:2}"="+7"]?8${e164:2}:810${e164:1})}'


def written_as(e164: str, form: NumberFormat) -> str:
    """`e164` as a provider with this number format writes it."""
    match form:
        case NumberFormat.PLUS:
            return e164
        case NumberFormat.E164:
            return e164[1:]
        case NumberFormat.NATIONAL:
            return "8" + e164[2:] if e164.startswith("+7") else "810" + e164[1:]
