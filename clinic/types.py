"""Scalar types of the description, each refusing what the field's standard refuses."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Frozen(BaseModel):
    """Base of every part of the description: immutable, and unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


def _mac(value: str) -> str:
    digits = re.sub(r"[^0-9A-Fa-f]", "", value)
    if len(digits) != 12 or not re.fullmatch(r"[0-9A-Fa-f:.\-]+", value):
        raise ValueError("a MAC address has 12 hexadecimal digits, as c0:74:ad:00:00:01")
    if int(digits[1], 16) & 1:
        raise ValueError("a multicast MAC address cannot belong to a phone or network card")
    return ":".join(digits[i : i + 2].lower() for i in range(0, 12, 2))


def _digits(value: Any) -> Any:
    """YAML reads 2001 as an integer; an extension is a string of digits."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Extension = Annotated[
    str,
    BeforeValidator(_digits),
    Field(
        pattern=r"^[0-9]{3,6}$",
        description="Internal number: 3 to 6 digits",
        # An editor's YAML sees 2001 as an integer.
        json_schema_extra={"type": ["string", "integer"], "pattern": "^[0-9]{3,6}$"},
    ),
]
Mac = Annotated[
    str,
    AfterValidator(_mac),
    Field(
        description="MAC address, as c0:74:ad:00:00:01",
        json_schema_extra={"pattern": "^[0-9A-Fa-f]{2}([:.-]?[0-9A-Fa-f]{2}){5}$"},
    ),
]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$", description="Short name: a-z, 0-9 and hyphens")]
Seconds = Annotated[int, Field(ge=0, le=3600)]
Percent = Annotated[int, Field(ge=0, le=100)]


class ServiceClass(StrEnum):
    """Class of service: what a person may dial. Each class includes those before it."""

    INTERNAL = "internal"
    LOCAL = "local"
    MOBILE = "mobile"
    NATIONAL = "national"
    INTERNATIONAL = "international"

    @property
    def rank(self) -> int:
        return list(ServiceClass).index(self)

    def includes(self, other: ServiceClass) -> bool:
        return other.rank <= self.rank


class NumberRange(Frozen):
    """A closed range of extensions of equal length, written `2000-2099`."""

    first: int
    last: int
    width: int

    @classmethod
    def parse(cls, text: str) -> NumberRange:
        match = re.fullmatch(r"\s*([0-9]{3,6})\s*-\s*([0-9]{3,6})\s*", text)
        if not match or len(match[1]) != len(match[2]) or int(match[1]) > int(match[2]):
            raise ValueError("a range is written first-last with equally long numbers, as 2000-2099")
        return cls(first=int(match[1]), last=int(match[2]), width=len(match[1]))

    def __contains__(self, extension: str) -> bool:
        return len(extension) == self.width and self.first <= int(extension) <= self.last

    def overlaps(self, other: NumberRange) -> bool:
        return self.width == other.width and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{self.first:0{self.width}d}-{self.last:0{self.width}d}"

    def numbers(self) -> tuple[str, ...]:
        return tuple(f"{n:0{self.width}d}" for n in range(self.first, self.last + 1))


def _range(value: Any) -> Any:
    return NumberRange.parse(value) if isinstance(value, str) else value


Range = Annotated[
    NumberRange,
    BeforeValidator(_range, json_schema_input_type=Annotated[str, Field(pattern=r"^[0-9]{3,6}-[0-9]{3,6}$")]),
]
