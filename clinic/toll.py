"""What calls out may cost: countries that are open, tariffs, caps, hours and PINs. The dial plan enforces all of it.

Money is in the clinic's currency with two decimals; the dial plan counts in hundredths. A day is the clinic's own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import phonenumbers
from pydantic import AfterValidator, Field

from clinic.types import Frozen, Slug


def _country(code: str) -> str:
    if code not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("a country is written as in ISO 3166, as BY or KZ")
    return code


def _zone(code: str) -> str:
    return code if code in DOMESTIC else _country(code)


DOMESTIC = ("local", "mobile", "national")
Country = Annotated[
    str, AfterValidator(_country), Field(pattern=r"^[A-Z]{2}$", description="ISO 3166 code of a country, as BY")
]
Zone = Annotated[
    str,
    AfterValidator(_zone),
    Field(pattern=r"^(local|mobile|national|[A-Z]{2})$", description="local, mobile, national or a country"),
]
Money = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=9, decimal_places=2)]
Tariffs = dict[Zone, Money]


class Caps(Frozen):
    """Limits of one person, one trunk or the whole clinic. What is left out is not limited."""

    calls: Annotated[int, Field(ge=0, le=100)] | None = Field(default=None, description="Calls abroad at once")
    minutes: Annotated[int, Field(ge=0, le=100_000)] | None = Field(default=None, description="Minutes abroad a day")
    money: Money | None = Field(default=None, description="Money a day, every call that has a price")


class Toll(Frozen):
    """Calls that cost money. Without this section everything abroad stays closed and nothing is counted."""

    countries: tuple[Country, ...] = Field(default=(), description="Allow-list; every other country is closed")
    hours: Slug | None = Field(default=None, description="When calls abroad are open; always if none")
    billing_seconds: Annotated[int, Field(ge=1, le=60)] = Field(default=60, description="Step providers charge in")
    longest_call_minutes: Annotated[int, Field(ge=1, le=600)] = Field(
        default=60, description="A call that has a price is ended after that"
    )
    person: Caps = Caps()
    trunk: Caps = Caps()
    clinic: Caps = Caps()
