"""Networks, uplinks, VLANs and addresses."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from itertools import combinations

from clinic.mistakes import Finding, Path
from clinic.model import Clinic
from clinic.rules.common import repeated

# Names that the PBX's own transports and machine's cards already carry.
RESERVED = {"voice", "management"}


def _internal(clinic: Clinic) -> list[tuple[Path, IPv4Network, str]]:
    """(path, network, owner) of the clinic's networks and of those behind its routers."""
    networks: list[tuple[Path, IPv4Network, str]] = [
        (("networks", "voice", "cidr"), clinic.networks.voice.cidr, "the voice network"),
        (("networks", "management", "cidr"), clinic.networks.management.cidr, "the management network"),
    ]
    return networks + [
        (("uplinks", i, "address"), u.address.network, f"uplink {u.name}") for i, u in enumerate(clinic.uplinks)
    ]


def networks_overlap(clinic: Clinic) -> Iterator[Finding]:
    for (one_path, one, owner), (path, other, _) in combinations(_internal(clinic), 2):
        if not one.overlaps(other):
            continue
        if one_path[0] == "uplinks":
            yield Finding(
                path,
                str(other),
                f"it shares a network with {owner}",
                "Put each uplink's router in a network of its own",
            )
        else:
            yield Finding(path, str(other), f"the network overlaps {one} of {owner}", "Renumber one of them")


def addresses_inside(clinic: Clinic) -> Iterator[Finding]:
    wanted: list[tuple[Path, IPv4Address, IPv4Network]] = []
    for name, own in (("voice", clinic.networks.voice), ("management", clinic.networks.management)):
        wanted.append((("networks", name, "pbx"), own.pbx, own.cidr))
        if own.gateway:
            wanted.append((("networks", name, "gateway"), own.gateway, own.cidr))
    for i, uplink in enumerate(clinic.uplinks):
        wanted.append((("uplinks", i, "gateway"), uplink.gateway, uplink.address.network))
        wanted.append((("uplinks", i, "address"), uplink.address.ip, uplink.address.network))
    for path, address, network in wanted:
        if address not in network:
            yield Finding(path, str(address), f"the address lies in {network}", "Correct the address or the network")
        elif network.prefixlen < 31 and address in (network.network_address, network.broadcast_address):
            yield Finding(
                path,
                str(address),
                f"the first and the last address of {network} belong to no machine",
                "Choose one between them",
            )


def gateways_differ(clinic: Clinic) -> Iterator[Finding]:
    rule, remedy = "the gateway is the router's address, not the PBX's", "Correct one of the two"
    for name, network in (("voice", clinic.networks.voice), ("management", clinic.networks.management)):
        if network.gateway == network.pbx:
            yield Finding(("networks", name, "gateway"), str(network.gateway), rule, remedy)
    for i, uplink in enumerate(clinic.uplinks):
        if uplink.gateway == uplink.address.ip:
            yield Finding(("uplinks", i, "gateway"), str(uplink.gateway), rule, remedy)


def phone_pool(clinic: Clinic) -> Iterator[Finding]:
    voice = clinic.networks.voice
    first, last = voice.phones_from, voice.phones_to
    path: Path = ("networks", "voice", "phones_to")
    pool = f"{first} to {last}"
    for name, address in (("phones_from", first), ("phones_to", last)):
        if address not in voice.cidr or address in (voice.cidr.network_address, voice.cidr.broadcast_address):
            yield Finding(
                ("networks", "voice", name),
                str(address),
                f"phones get addresses inside {voice.cidr}",
                "Correct the pool's border",
            )
    if last < first:
        yield Finding(path, pool, "the phones' addresses end after they begin", "Exchange the two")
        return
    for name, taken in (("PBX", voice.pbx), ("gateway", voice.gateway)):
        if taken and first <= taken <= last:
            yield Finding(
                ("networks", "voice", "phones_from"),
                pool,
                f"the phones' addresses hold the {name}'s {taken}",
                f"Begin after {taken} or end before it",
            )
    size = int(last) - int(first) + 1
    if size < len(clinic.people):
        yield Finding(
            path,
            f"{size} addresses",
            f"the pool has an address for each of {len(clinic.people)} phones",
            "Widen the pool, and the voice network when it is full",
        )


def vlans_once(clinic: Clinic) -> Iterator[Finding]:
    entries: list[tuple[Path, str, str]] = [
        (("networks", "voice", "vlan"), str(clinic.networks.voice.vlan), "the voice network"),
        (("networks", "management", "vlan"), str(clinic.networks.management.vlan), "the management network"),
    ]
    entries += [(("uplinks", i, "vlan"), str(u.vlan), f"uplink {u.name}") for i, u in enumerate(clinic.uplinks)]
    yield from repeated(entries, "the VLAN already belongs to {owner}", "Give each network a VLAN of its own")


def bridges_once(clinic: Clinic) -> Iterator[Finding]:
    entries: list[tuple[Path, str, str]] = [
        (("networks", "voice", "bridge"), clinic.networks.voice.bridge, "the voice network"),
        (("networks", "management", "bridge"), clinic.networks.management.bridge, "the management network"),
    ]
    entries += [(("uplinks", i, "bridge"), u.bridge, f"uplink {u.name}") for i, u in enumerate(clinic.uplinks)]
    yield from repeated(entries, "the bridge already carries {owner}", "Give each network a bridge of its own")


def uplink_names(clinic: Clinic) -> Iterator[Finding]:
    yield from repeated(
        ((("uplinks", i, "name"), u.name, u.isp) for i, u in enumerate(clinic.uplinks)),
        "the name already belongs to the uplink of {owner}",
        "Name each uplink differently",
    )
    for i, uplink in enumerate(clinic.uplinks):
        if uplink.name in RESERVED:
            yield Finding(
                ("uplinks", i, "name"),
                uplink.name,
                "the name belongs to one of the clinic's own networks",
                "Name the uplink after its provider, as wan-a",
            )


def external_addresses(clinic: Clinic) -> Iterator[Finding]:
    yield from repeated(
        ((("uplinks", i, "external_address"), str(u.external_address), u.name) for i, u in enumerate(clinic.uplinks)),
        "the public address already belongs to uplink {owner}",
        "Two uplinks have two public addresses; ask the provider",
    )
    for i, uplink in enumerate(clinic.uplinks):
        for _, network, owner in _internal(clinic):
            if uplink.external_address in network:
                yield Finding(
                    ("uplinks", i, "external_address"),
                    str(uplink.external_address),
                    f"a public address lies outside {network} of {owner}",
                    "Write the address that the router's NAT shows to the internet",
                )


def management_addresses(clinic: Clinic) -> Iterator[Finding]:
    """The PBX, the hypervisor and the switches live in one network: no address twice."""
    management = clinic.networks.management
    entries: list[tuple[Path, str, str]] = [
        (("networks", "management", "pbx"), str(management.pbx), "the PBX"),
        (("hypervisor", "api"), str(clinic.hypervisor.api), "the hypervisor"),
    ]
    for slug, switch in clinic.switches.items():
        if switch.management is None:
            continue
        path: Path = ("switches", slug, "management")
        try:
            entries.append((path, str(IPv4Address(switch.management)), f"switch {slug}"))
        except AddressValueError:
            yield Finding(path, switch.management, "an IPv4 address belongs here", "Write it as 10.77.10.21")
    yield from repeated(entries, "the address already belongs to {owner}", "Correct one of the two")


def anchors(clinic: Clinic) -> Iterator[Finding]:
    """With one anchor, that host's failure would look like the ISP's."""
    wanted = clinic.wan.anchors
    if len(clinic.uplinks) > 1 and len(wanted) < 2:
        yield Finding(
            ("wan",), f"{len(wanted)} anchors",
            "the watchdog needs two anchors to tell an uplink's fault from a host's",
            "Write `wan: {anchors: [...]}` with two addresses on the internet that answer ping, of different owners",
        )  # fmt: skip
    yield from repeated(
        ((("wan", "anchors", i), str(a), "an anchor above") for i, a in enumerate(wanted)),
        "the address already belongs to {owner}", "Choose another host",
    )  # fmt: skip
    ours = [*_internal(clinic), *(((), IPv4Network(u.external_address), f"uplink {u.name}") for u in clinic.uplinks)]
    ours += [((), IPv4Network(trunk.server), f"trunk {trunk.name}, which is asked by SIP") for trunk in clinic.trunks]
    for i, address in enumerate(wanted):
        for _, network, owner in ours:
            if address in network:
                yield Finding(
                    ("wan", "anchors", i), str(address), f"an anchor is somebody else's host; this is {owner}",
                    "Choose a host on the internet that answers ping",
                )  # fmt: skip


RULES = (
    anchors,
    networks_overlap,
    addresses_inside,
    gateways_differ,
    phone_pool,
    vlans_once,
    bridges_once,
    uplink_names,
    external_addresses,
    management_addresses,
)
