"""Networks, uplinks and the hypervisor that carries the PBX."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Annotated

from pydantic import Field

from clinic.types import Frozen, Mac, Slug


class Network(Frozen):
    """One of the clinic's internal networks, a VLAN of its own."""

    cidr: IPv4Network
    vlan: Annotated[int, Field(ge=1, le=4094)]
    pbx: IPv4Address = Field(description="The PBX's address in it")
    gateway: IPv4Address | None = None
    bridge: str = Field(pattern=r"^[a-z][a-z0-9\-]{1,14}$", description="The hypervisor's bridge")


class PhonePool(Network):
    """The voice network also names the addresses that phones get."""

    phones_from: IPv4Address
    phones_to: IPv4Address


class Networks(Frozen):
    voice: PhonePool
    management: Network


class Uplink(Frozen):
    """An internet channel. Order in the list is the order of preference."""

    name: Slug
    isp: str
    address: IPv4Interface = Field(description="The PBX's address and prefix behind this uplink's router")
    gateway: IPv4Address = Field(description="The router's address on that side")
    external_address: IPv4Address = Field(description="The public address the router's NAT gives")
    vlan: Annotated[int, Field(ge=1, le=4094)]
    bridge: str = Field(pattern=r"^[a-z][a-z0-9\-]{1,14}$")


class Wan(Frozen):
    """How the watchdog judges the uplinks (docs/wan.md)."""

    anchors: tuple[IPv4Address, ...] = Field(
        default=(),
        max_length=4,
        description="Hosts on the internet that answer ping, of owners that do not fail together",
    )
    loss_percent: Annotated[int, Field(ge=5, le=90)] = Field(
        default=20, description="Loss at which calls take the other uplink, where that one is better"
    )
    return_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(
        default=5, description="So long without a fault before calls return to an uplink"
    )


class VirtualMachine(Frozen):
    """The PBX's machine as the hypervisor must build it."""

    id: Annotated[int, Field(ge=100, le=999_999_999)]
    name: str = Field(pattern=r"^[a-z][a-z0-9\-]{0,30}$", description="Host name of the PBX")
    cores: Annotated[int, Field(ge=1, le=64)]
    memory_mib: Annotated[int, Field(ge=1024, le=262_144)]
    disk_gib: Annotated[int, Field(ge=8, le=2048)]
    recordings_gib: Annotated[int, Field(ge=1, le=65_536, description="Second disk, for recordings only")]
    macs: tuple[Mac, ...] = Field(description="Network cards: management, voice, then each uplink in order")
    tags: tuple[Slug, ...] = ("clinic-pbx",)
    start_order: Annotated[int, Field(ge=1, le=99)] = 1


class Hypervisor(Frozen):
    """The clinic's Proxmox VE host."""

    api: IPv4Address
    port: Annotated[int, Field(ge=1, le=65_535)] = 8006
    node: Slug
    token: str = Field(pattern=r"^[^@\s]+@[a-z]+![A-Za-z0-9\-]+$", description="API token id, as deploy@pve!ci")
    storage: Slug = Field(description="Storage for disks")
    image_storage: Slug = Field(description="Storage that allows content type `import`")
    vm: VirtualMachine
