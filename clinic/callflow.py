"""What happens to an incoming call: hours, flows, the operators' queue."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from clinic.public import PublicNumber
from clinic.types import Extension, Frozen, Seconds, Slug

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Opening(Frozen):
    """Open from `start` until `end`, local time, the end excluded; written `08:00-20:00`."""

    start: dt.time
    end: dt.time

    @classmethod
    def parse(cls, text: str) -> Opening:
        match = re.fullmatch(r"([0-2]\d):([0-5]\d)-([0-2]\d):([0-5]\d)", text.strip())
        if not match:
            raise ValueError("opening hours are written HH:MM-HH:MM, as 08:00-20:00")
        h1, m1, h2, m2 = (int(g) for g in match.groups())
        if h1 > 23 or h2 > 24 or (h2 == 24 and m2):
            raise ValueError("an hour is 00 to 23 (24:00 may end a day)")
        end = dt.time(23, 59) if h2 == 24 else dt.time(h2, m2)
        if end <= dt.time(h1, m1):
            raise ValueError("opening hours must end after they start, on the same day")
        return cls(start=dt.time(h1, m1), end=end)

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def _opening(value: Any) -> Any:
    return Opening.parse(value) if isinstance(value, str) else value


OpeningText = Annotated[
    Opening,
    BeforeValidator(
        _opening, json_schema_input_type=Annotated[str, Field(pattern=r"^[0-2]\d:[0-5]\d-[0-2]\d:[0-5]\d$")]
    ),
]


class Hours(Frozen):
    """Weekly hours (`mon-fri: 08:00-20:00`), with short days and holidays by date."""

    week: dict[str, OpeningText] = Field(description="Day or day range (mon, mon-fri) to hours")
    short_days: dict[dt.date, OpeningText] = Field(default_factory=dict)
    holidays: tuple[dt.date, ...] = ()

    @model_validator(mode="after")
    def _known_days(self) -> Hours:
        for key in self.week:
            days_of(key)
        return self

    def on(self, day: dt.date) -> Opening | None:
        """Opening of one date, None when the clinic is closed all day."""
        if day in self.holidays:
            return None
        if day in self.short_days:
            return self.short_days[day]
        for key, opening in self.week.items():
            if DAYS[day.weekday()] in days_of(key):
                return opening
        return None


def days_of(key: str) -> tuple[str, ...]:
    """`mon-fri` to its days. ValueError when a day is unknown or the range runs backwards."""
    first, _, last = key.partition("-")
    last = last or first
    if first not in DAYS or last not in DAYS or DAYS.index(first) > DAYS.index(last):
        raise ValueError(f"`{key}` is no day or day range: use mon tue wed thu fri sat sun, as mon-fri")
    return DAYS[DAYS.index(first) : DAYS.index(last) + 1]


class Prompt(Frozen):
    """An announcement: text spoken by the synthesiser, or the clinic's own recording (a WAV beside clinic.yml)."""

    text: str = Field("", max_length=600)
    file: str | None = Field(None, pattern=r"^[\w.\-]+\.wav$")


class Flow(Frozen):
    """The path of a call to one of the clinic's public numbers."""

    name: str
    hours: Slug
    department: Slug = Field(description="Whose receptions take what operators do not answer")
    greeting: Slug = Field(description="Prompt played first")
    closed: Slug = Field(description="Prompt after hours")
    holiday: Slug = Field(description="Prompt on holidays")
    reception_ring_seconds: Annotated[int, Field(ge=5, le=120)] = 20
    apology: Slug = Field(description="Prompt when nobody answered; the call is then recorded as missed")


class CallCentre(Frozen):
    """The operators' queue."""

    number: Extension
    name: str
    strategy: Literal["ringall", "leastrecent", "fewestcalls", "rrmemory", "linear", "random"] = "leastrecent"
    ring_seconds: Annotated[int, Field(ge=5, le=60)] = 12
    wrap_up_seconds: Seconds = 10
    max_wait_seconds: Annotated[int, Field(ge=5, le=600)] = 20
    announce_position_seconds: Annotated[int, Field(ge=0, le=300)] = 15
    service_level_seconds: Seconds = 20
    max_callers: Annotated[int, Field(ge=1, le=500)] = 50
    pause_reasons: dict[Annotated[str, Field(pattern=r"^[1-9]$")], str] = Field(
        description="Digit dialled after the pause code to the reason's name"
    )


class Did(Frozen):
    """A public number and what answers it: exactly one of a flow, an extension or a group."""

    number: PublicNumber
    flow: Slug | None = None
    to: Extension | None = None
