"""Public numbers: what a dialled string means and which class of service it needs.

The dial plan cannot call a library, so `plan()` compiles the country's rules to patterns once, at rendering time, and
`rank_of()` answers the same question in Python. `phonenumbers` says which 80x codes are free; the table of the others
is written by hand, because the library knows who may own a number, not what a clinic pays for it, and a test holds
every pattern against the library.
Source: Russian numbering plan (Order 508 of the Ministry of Communications) and ITU-T E.164: +7 6xx and +7 7xx are
Kazakhstan, +7 840 and +7 940 Abkhazia, so "+7 is domestic" is unsafe.
"""

from __future__ import annotations

from dataclasses import dataclass

import phonenumbers

from clinic.trunks import NumberFormat
from clinic.types import ServiceClass

CLOSED = 9  # a rank no class reaches: premium, shared-cost and unknown destinations


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """One dial-plan pattern over E.164 with the rank of the class of service it needs."""

    pattern: str
    rank: int
    meaning: str


def plan(area_code: str) -> tuple[DestinationRule, ...]:
    """Patterns over `+7...`; Asterisk takes the most specific match, so their order carries no meaning."""
    local, mobile, national, abroad = (
        c.rank for c in (ServiceClass.LOCAL, ServiceClass.MOBILE, ServiceClass.NATIONAL, ServiceClass.INTERNATIONAL)
    )
    tail = "X" * (10 - len(area_code))
    rules = [
        DestinationRule(f"_+7{area_code}{tail}", local, "the clinic's own city"),
        *(DestinationRule(f"_+7{code}XXXXXXX", local, "free-phone") for code in _free_codes()),
        DestinationRule("_+780[1-9]XXXXXXX", CLOSED, "premium and shared-cost"),
        DestinationRule("_+7840XXXXXXX", abroad, "Abkhazia"),
        DestinationRule("_+7940XXXXXXX", abroad, "Abkhazia, mobile"),
        DestinationRule("_+7[67]XXXXXXXXX", abroad, "Kazakhstan"),
        DestinationRule("_+79XXXXXXXXX", mobile, "Russian mobile networks"),
        DestinationRule("_+7[348]XXXXXXXXX", national, "Russian cities"),
        DestinationRule("_+[1-689]X!", abroad, "abroad"),
    ]
    if area_code == "495":
        rules.append(DestinationRule("_+7499XXXXXXX", local, "Moscow's second code"))
    return tuple(rules)


def _free_codes() -> list[str]:
    numbers = {code: phonenumbers.parse(f"+7{code}2345678") for code in map(str, range(800, 810))}
    free = phonenumbers.PhoneNumberType.TOLL_FREE
    return [code for code, number in numbers.items() if phonenumbers.number_type(number) == free]


def matches(pattern: str, number: str) -> bool:
    """Asterisk's pattern language, as far as `plan` uses it (X, sets and a trailing `!`)."""
    i, body = 0, pattern.removeprefix("_")
    n = 0
    while i < len(body):
        if body[i] == "!":
            return True
        if n >= len(number):
            return False
        if body[i] == "[":
            end = body.index("]", i)
            allowed = _expand(body[i + 1 : end])
            i = end
        else:
            allowed = "0123456789" if body[i] == "X" else body[i]
        if number[n] not in allowed:
            return False
        i, n = i + 1, n + 1
    return n == len(number)


def _expand(chars: str) -> str:
    out, i = "", 0
    while i < len(chars):
        if chars[i + 1 : i + 2] == "-":
            out += "".join(chr(c) for c in range(ord(chars[i]), ord(chars[i + 2]) + 1))
            i += 3
        else:
            out, i = out + chars[i], i + 1
    return out


def specificity(pattern: str) -> tuple[int, ...]:
    """Per position the number of characters it allows; the smaller tuple is Asterisk's better match."""
    out: list[int] = []
    i, body = 0, pattern.removeprefix("_")
    while i < len(body):
        if body[i] == "[":
            end = body.index("]", i)
            out.append(len(_expand(body[i + 1 : end])))
            i = end
        else:
            out.append({"X": 10, "!": 100}.get(body[i], 1))
        i += 1
    return tuple(out)


def rank_of(e164: str, area_code: str) -> int:
    """Rank of the class of service that `e164` needs; CLOSED when nobody may dial it."""
    fitting = [r for r in plan(area_code) if matches(r.pattern, e164)]
    return min(fitting, key=lambda r: specificity(r.pattern)).rank if fitting else CLOSED


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
