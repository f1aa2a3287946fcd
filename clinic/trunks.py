"""External lines: providers, their numbers and how to dial through them."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import Field

from clinic.callflow import Did
from clinic.public import PublicNumber
from clinic.toll import Tariffs
from clinic.types import Frozen, Slug


class NumberFormat(StrEnum):
    """How a provider writes a number: +7495..., 7495..., or 8495... (8-10... abroad)."""

    PLUS = "plus"
    E164 = "e164"
    NATIONAL = "national"


class Trunk(Frozen):
    """A provider. Order in the list is the order of cost: the first is tried first."""

    name: Slug
    provider: str = Field(description="The company, as on its invoice")
    server: IPv4Address = Field(description="Its SBC; an address, so that calls do not depend on DNS")
    port: Annotated[int, Field(ge=1, le=65_535)] = 5060
    media: tuple[IPv4Network, ...] = Field((), description="Networks its audio comes from, besides the server")
    auth: Literal["registration", "address"] = Field(description="Digest registration, or known by our address")
    username: str | None = Field(None, pattern=r"^[A-Za-z0-9_.+\-]{1,64}$")
    contacts: Literal["every-uplink", "one"] = Field(
        "every-uplink", description="Whether the provider accepts a registration by each uplink at once"
    )
    channels: Annotated[int, Field(ge=1, le=500)] = Field(description="Calls at once, as contracted")
    number_format: NumberFormat = NumberFormat.PLUS
    caller_id: PublicNumber = Field(description="Number shown for outgoing calls")
    caller_id_in: Literal["from", "p-asserted-identity"] = Field(
        "from", description="Where the provider reads the number shown; with the second, From names the account"
    )
    answer_codecs: tuple[Literal["alaw", "ulaw", "g722"], ...] = ("alaw", "ulaw")
    enabled: bool = True
    tariffs: Tariffs = Field(default_factory=dict, description="Price of a minute by zone, in the clinic's currency")
    dids: tuple[Did, ...] = Field(min_length=1)


class Emergency(Frozen):
    """Emergency numbers and the number shown to the emergency service."""

    numbers: tuple[Annotated[str, Field(pattern=r"^[0-9]{2,4}$")], ...] = ("101", "102", "103", "104", "112")


class Recording(Frozen):
    """External calls, both sides; recordings can never fill the system disk."""

    retention_days: Annotated[int, Field(ge=1, le=3650)] = 90
    min_free_percent: Annotated[int, Field(ge=5, le=50)] = 15
