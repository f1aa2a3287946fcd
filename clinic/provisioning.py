"""How the clinic's telephones are configured: the description's `provisioning` section.

Sources: Kea's administrator manual for the ranges, the vendors' provisioning guides for resync and firmware.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from clinic.people import Key, Role
from clinic.types import Frozen, Slug

Vendor = Literal["grandstream", "yealink"]
Resync = Literal["resync", "check-sync"]
_RANGE = r"^[0-9.]{7,15}\s*-\s*[0-9.]{7,15}$"


class AddressRange(Frozen):
    """A closed range of addresses, written `10.77.20.11-10.77.20.30`."""

    first: IPv4Address
    last: IPv4Address

    @classmethod
    def parse(cls, text: str) -> AddressRange:
        first, _, last = text.partition("-")
        try:
            made = cls(first=IPv4Address(first.strip()), last=IPv4Address(last.strip()))
        except AddressValueError:
            raise ValueError("a range of addresses is written first-last, as 10.77.20.11-10.77.20.30") from None
        if made.last < made.first:
            raise ValueError("a range of addresses ends after it begins, as 10.77.20.11-10.77.20.30")
        return made

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def overlaps(self, first: IPv4Address, last: IPv4Address) -> bool:
        return self.first <= last and first <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def _range(value: Any) -> Any:
    return AddressRange.parse(value) if isinstance(value, str) else value


Addresses = Annotated[
    AddressRange, BeforeValidator(_range, json_schema_input_type=Annotated[str, Field(pattern=_RANGE)])
]


class Firmware(Frozen):
    """A vendor's firmware file, kept in `inventory/<clinic>/firmware/` and known by its hash."""

    version: str = Field(pattern=r"^[0-9A-Za-z.\-]{1,32}$", description="As the telephone names it, as 1.0.13.30")
    file: str = Field(pattern=r"^[A-Za-z0-9][\w.\-]{0,63}$", description="Name of the file, as grp2614fw.bin")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Its SHA-256, as sha256sum prints it")


def _resync() -> dict[Vendor, Resync]:
    return {"grandstream": "resync", "yealink": "check-sync"}


class Provisioning(Frozen):
    """What all telephones share. Without it, the PBX still serves DHCP and every telephone has its own line."""

    dhcp: bool = Field(default=True, description="Kea on the PBX serves the voice network")
    quarantine: Addresses | None = Field(
        default=None, description="For unknown MAC addresses; without it they get no lease"
    )
    time_server: IPv4Address | None = Field(
        default=None, description="NTP for the telephones; the PBX itself when left out"
    )
    backup_server: IPv4Address | None = Field(default=None, description="Second SIP server of every telephone")
    keys: dict[Role, tuple[Key, ...]] = Field(
        default={}, description="Keys by role; `phone.keys` of a person replaces them"
    )
    consoles: dict[Role, tuple[Slug, ...]] = Field(
        default={}, description="Departments on the console's pages, by role"
    )
    resync: dict[Vendor, Resync] = Field(default_factory=_resync, description="NOTIFY event that a vendor obeys")
    firmware: dict[str, Firmware] = Field(default={}, description="Firmware by model")
    off_minutes: Annotated[int, Field(ge=1, le=1440, description="A telephone off for so long is told of")] = 10

    def event(self, vendor: Vendor) -> Resync:
        return self.resync.get(vendor, _resync()[vendor])
