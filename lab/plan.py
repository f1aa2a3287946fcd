"""`LabPlan`: what the lab must know of a clinic, as frozen values. Pure: no I/O.

`LabPlan.from_clinic` reads the typed description; tests build plans directly. The addresses that the
description does not have (the engineer's workstation, the far ends of the uplinks, the public network)
are the lab's own and are derived in `lab.topology`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clinic.model import Clinic


@dataclass(frozen=True)
class UplinkPlan:
    """An internet channel: `address` is the PBX's, `gateway` its router's LAN side, `external` the NAT's."""

    name: str
    address: IPv4Interface
    gateway: IPv4Address
    external: IPv4Address


@dataclass(frozen=True)
class TrunkPlan:
    """A provider's SBC. `by_address`: it calls the clinic's public address without a registration."""

    name: str
    server: IPv4Address
    by_address: bool = False


@dataclass(frozen=True)
class Segment:
    """One layer-2 network of the clinic: a Proxmox bridge and VLAN tag, carried by one Linux bridge `device`."""

    name: str
    bridge: str
    vlan: int
    device: str


@dataclass(frozen=True)
class HypervisorPlan:
    api: IPv4Address
    port: int
    node: str
    token: str
    storage: str
    image_storage: str


@dataclass(frozen=True)
class LabPlan:
    """Everything the lab builds from. Segments are in the order management, voice, uplinks."""

    uplinks: tuple[UplinkPlan, ...]
    trunks: tuple[TrunkPlan, ...]
    voice: IPv4Network
    phones_from: IPv4Address
    phones_to: IPv4Address
    management: IPv4Network
    pbx: tuple[IPv4Address, IPv4Address]
    segments: tuple[Segment, ...]
    hypervisor: HypervisorPlan
    vmid: int
    anchors: tuple[IPv4Address, ...] = ()
    quarantine: tuple[IPv4Address, IPv4Address] | None = None

    @classmethod
    def from_clinic(cls, clinic: Clinic) -> LabPlan:
        """The plan of a described clinic. Rules such as non-overlapping networks were checked before."""
        nets, hyper, unknown = clinic.networks, clinic.hypervisor, clinic.provisioning.quarantine
        wanted = [("management", nets.management.bridge, nets.management.vlan)]
        wanted.append(("voice", nets.voice.bridge, nets.voice.vlan))
        wanted += [(uplink.name, uplink.bridge, uplink.vlan) for uplink in clinic.uplinks]
        return cls(
            uplinks=tuple(UplinkPlan(u.name, u.address, u.gateway, u.external_address) for u in clinic.uplinks),
            trunks=tuple(TrunkPlan(t.name, t.server, t.auth == "address") for t in clinic.trunks),
            voice=nets.voice.cidr,
            phones_from=nets.voice.phones_from,
            phones_to=nets.voice.phones_to,
            management=nets.management.cidr,
            pbx=(nets.management.pbx, nets.voice.pbx),
            segments=segments(wanted),
            hypervisor=HypervisorPlan(
                hyper.api, hyper.port, hyper.node, hyper.token, hyper.storage, hyper.image_storage
            ),
            vmid=hyper.vm.id,
            anchors=clinic.wan.anchors,
            quarantine=(unknown.first, unknown.last) if unknown else None,
        )


def segments(wanted: list[tuple[str, str, int]]) -> tuple[Segment, ...]:
    """Give every (network, bridge, vlan) its Linux bridge: the bridge's own name when it carries one VLAN
    only, else `<bridge>v<vlan>`, as Proxmox VE names it."""
    shared = [bridge for _, bridge, _ in wanted]
    return tuple(
        Segment(name, bridge, vlan, bridge if shared.count(bridge) == 1 else vlan_device(bridge, vlan))
        for name, bridge, vlan in wanted
    )


def vlan_device(bridge: str, vlan: int) -> str:
    """A device name for one VLAN of a bridge, within the kernel's 15 characters."""
    suffix = f"v{vlan}"
    return bridge[: 15 - len(suffix)] + suffix
