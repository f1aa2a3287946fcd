"""Departments, people and their phones."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from clinic.public import existing
from clinic.types import Extension, Frozen, Mac, Range, ServiceClass, Slug


class Role(StrEnum):
    """What a person does on the telephone; it decides groups, keys and permissions."""

    OPERATOR = "operator"
    RECEPTION = "reception"
    SUPERVISOR = "supervisor"
    CHIEF = "chief"
    DOCTOR = "doctor"
    STAFF = "staff"


class Department(Frozen):
    """A department: its extension range, its hunt group and what its people may dial by default."""

    name: str = Field(min_length=1, max_length=64, description="Name as the staff read it")
    range: Range = Field(description="Extensions of its people")
    service_class: ServiceClass = Field(description="Class of service unless a person has their own", alias="class")
    group: Extension | None = Field(None, description="Hunt group that rings the whole department")
    record: bool = Field(True, description="Record its external calls")
    encryption: Literal["offered", "required"] = Field(
        "offered", description="SIP over TLS and SRTP: offered to its phones, or nothing else accepted"
    )
    phonebook: tuple[Slug, ...] | None = Field(
        None, description="Departments that see its people in the phonebook; everybody when left out"
    )

    model_config = Frozen.model_config | {"populate_by_name": True}


KeyKind = Literal["line", "blf", "speed-dial", "transfer", "park", "queue", "queue-login", "queue-pause"]
Several = Literal[
    "operators", "supervisors", "receptions", "own-receptions", "department", "departments", "places", "reasons"
]


class Key(Frozen):
    """One programmable key of a phone; with `of`, a row of keys, one for each."""

    kind: KeyKind
    value: str = Field("", max_length=32)
    of: Several | None = Field(None, description="A key for each of these, in place of `value`")
    first: Annotated[int, Field(ge=1, le=200)] | None = Field(None, description="Only so many of them")
    label: str = Field("", max_length=32, description="On the display; by default the name of what the key is for")

    @field_validator("value")
    @classmethod
    def _one_spelling(cls, value: str, info: ValidationInfo) -> str:
        """A number to dial that is longer than any extension is a public one; codes hold a `*`."""
        outside = value.startswith("+") or sum(c.isdigit() for c in value) > 6
        dials = info.data.get("kind") in ("speed-dial", "transfer")
        return existing(value, info) if dials and outside and "*" not in value else value


class Phone(Frozen):
    """The device on a person's desk and where its cable ends."""

    model: str = Field(description="Model from clinic.phones.MODELS, as GRP2614")
    mac: Mac
    socket: str = Field(pattern=r"^[A-Z0-9][A-Z0-9.\-/]{1,15}$", description="Wall socket, as 2-214-1")
    switch: Slug = Field(description="Access switch the socket is patched to")
    port: Annotated[int, Field(ge=1, le=52)]
    consoles: Annotated[int, Field(ge=0, le=4, description="Extension consoles attached")] = 0
    keys: tuple[Key, ...] = ()


class Person(Frozen):
    """A member of staff with an extension of their own."""

    ext: Extension
    name: str = Field(min_length=2, max_length=80, description="Full name, Cyrillic as the staff write it")
    department: Slug
    role: Role = Role.STAFF
    specialty: str | None = Field(None, max_length=60, description="A doctor's specialty")
    room: str | None = Field(None, max_length=16)
    service_class: ServiceClass | None = Field(None, alias="class", description="Overrides the department's class")
    pin_class: ServiceClass | None = Field(None, description="Class reached with a personal PIN, for the exceptions")
    phone: Phone

    model_config = Frozen.model_config | {"populate_by_name": True}


class Group(Frozen):
    """A hunt group: one number that rings several people."""

    number: Extension
    name: str = Field(min_length=1, max_length=64)
    members: tuple[Extension, ...] = Field(min_length=1)
    strategy: Literal["all", "linear"] = "all"
    ring_seconds: Annotated[int, Field(ge=5, le=120)] = 25
