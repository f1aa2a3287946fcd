"""Tariffs and caps as the dial plan counts them: hundredths of the currency, seconds, and steps of a call."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from clinic.model import Clinic
from clinic.toll import Caps

UNLIMITED = 999_999_999
SMALLEST_SHARE = 4
GIVEN_UP = 30
"""Calls a day that a person may end while they ring and get the step back: a call centre's day, and few enough that
answers which cross the hanging up, billed and not counted, add up to nothing."""
SHORTEST_STEP = 15  # seconds; a provider that charges by the second is paid ahead in slices of about that


@dataclass(frozen=True, slots=True)
class Cap:
    """`money` in hundredths a day, `seconds` abroad a day, `calls` abroad at once."""

    money: int
    seconds: int
    calls: int


@dataclass(frozen=True, slots=True)
class Counted:
    """`step` in seconds; `prices` of a step by trunk and zone; `caps` by kind of scope; `longest` call in seconds;
    `share`: how many calls out one person may have up at once; `given_up`: see GIVEN_UP."""

    step: int
    longest: int
    share: int
    prices: dict[str, dict[str, int]]
    caps: dict[str, Cap]
    given_up: int = GIVEN_UP


def counted(clinic: Clinic) -> Counted:
    toll = clinic.toll
    step = toll.billing_seconds * -(-SHORTEST_STEP // toll.billing_seconds)
    return Counted(
        step=step,
        longest=toll.longest_call_minutes * 60,
        share=max(SMALLEST_SHARE, sum(t.channels for t in clinic.trunks if t.enabled) // 3),
        prices={
            t.name: {zone: _hundredths(price * step / 60) for zone, price in t.tariffs.items()} for t in clinic.trunks
        },
        caps={"person": _cap(toll.person), "trunk": _cap(toll.trunk), "clinic": _cap(toll.clinic)},
    )


def _cap(caps: Caps) -> Cap:
    def known(value: int | None) -> int:
        return UNLIMITED if value is None else value

    return Cap(
        money=UNLIMITED if caps.money is None else _hundredths(caps.money),
        seconds=UNLIMITED if caps.minutes is None else caps.minutes * 60,
        calls=known(caps.calls),
    )


def _hundredths(money: Decimal) -> int:
    """Rounded up: what is counted is never less than what is charged."""
    return int((money * 100).to_integral_value(ROUND_UP))
