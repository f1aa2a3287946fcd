"""`Clinic`: the whole description, frozen. Cross-checks live in clinic.rules; reading YAML in clinic.loading."""

from __future__ import annotations

from functools import cached_property
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field

from clinic.callflow import CallCentre, Did, Flow, Hours, Prompt
from clinic.network import Hypervisor, Networks, Uplink, Wan
from clinic.people import Department, Group, Person, Role
from clinic.provisioning import Provisioning
from clinic.toll import Toll
from clinic.trunks import Emergency, Recording, Trunk
from clinic.types import Frozen, Range, ServiceClass, Slug
from clinic.updates import Updates


class Numbering(Frozen):
    """Numbers that belong to no person."""

    groups: Range
    parking: Range = Field(description="First number parks a call, the others are its places")
    area_code: str = Field(pattern=r"^[0-9]{3,5}$", description="City code, for seven-digit local dialling")
    country: Literal["RU", "KZ", "BY"] = "RU"


class Forwarding(Frozen):
    """Call forwarding by staff. The forwarded leg may reach at most this class, whoever set it."""

    highest_class: ServiceClass = ServiceClass.MOBILE


class Switch(Frozen):
    """An access switch that phones are patched to."""

    model: str
    ports: Annotated[int, Field(ge=4, le=52)] = 48
    location: str = ""
    management: str | None = None


class Engineer(Frozen):
    """Someone who may log in to the PBX."""

    name: Slug
    ssh_key: str = Field(pattern=r"^(ssh-ed25519|ecdsa-sha2-nistp256|ssh-rsa) [A-Za-z0-9+/=]+( .*)?$")


class Clinic(Frozen):
    """One clinic. Every list keeps the order the engineer wrote, because order means preference."""

    name: str = Field(min_length=1, max_length=80)
    timezone: str
    language: Literal["ru", "en"] = "ru"
    numbering: Numbering
    departments: dict[Slug, Department] = Field(min_length=1)
    people: tuple[Person, ...] = Field(min_length=1)
    groups: tuple[Group, ...] = ()
    switches: dict[Slug, Switch]
    networks: Networks
    resolvers: tuple[IPv4Address, ...] = Field(
        (), max_length=3, description="DNS servers; alerts need them, calls do not"
    )
    uplinks: tuple[Uplink, ...] = Field(min_length=1, max_length=4)
    wan: Wan = Wan()
    trunks: tuple[Trunk, ...] = Field(min_length=1)
    emergency: Emergency = Emergency()
    hours: dict[Slug, Hours] = Field(min_length=1)
    prompts: dict[Slug, Prompt]
    call_centre: CallCentre
    flows: dict[Slug, Flow] = Field(min_length=1)
    forwarding: Forwarding = Forwarding()
    toll: Toll = Toll()
    alerts: tuple[Slug, ...] = Field((), description="Where alerts go; each name's Apprise URL is a secret")
    recording: Recording = Recording()
    updates: Updates = Updates()
    provisioning: Provisioning = Provisioning()
    hypervisor: Hypervisor
    engineers: tuple[Engineer, ...] = ()

    @cached_property
    def by_ext(self) -> dict[str, Person]:
        return {p.ext: p for p in self.people}

    def with_role(self, role: Role, department: str | None = None) -> tuple[Person, ...]:
        return tuple(p for p in self.people if p.role is role and department in (None, p.department))

    def class_of(self, person: Person) -> ServiceClass:
        return person.service_class or self.departments[person.department].service_class

    def encrypts(self, person: Person) -> bool:
        """Whether the person's department requires SIP over TLS and SRTP."""
        return self.departments[person.department].encryption == "required"

    @cached_property
    def dids(self) -> dict[str, tuple[Trunk, Did]]:
        return {d.number: (t, d) for t in self.trunks for d in t.dids}

    def members(self, department: str) -> tuple[Person, ...]:
        return tuple(p for p in self.people if p.department == department)
