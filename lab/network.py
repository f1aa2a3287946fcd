"""Build and remove a lab's network with `ip -batch` and nft. Everything is created inside namespaces:
the root namespace gets no device, address, route or rule. Only the kernel's table of neighbours, which all namespaces
share, is made larger."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from collections import defaultdict
from pathlib import Path

from lab import netns
from lab.topology import PREFIX, Space, Topology

# As files/base/sysctl.conf on a real PBX; with 1,024, a thousand telephones took 15 to 35 s to register.
NEIGHBOURS = {"gc_thresh1": 8192, "gc_thresh2": 16384, "gc_thresh3": 32768}
NEIGHBOUR_TABLE = Path("/proc/sys/net/ipv4/neigh/default")


def build(topology: Topology) -> None:
    """Create every namespace, cable, address, route and rule. Raises netns.CommandError; call `remove` before."""
    make_room()
    netns.ip_batch([f"netns add {topology.ns(space.name)}" for space in topology.spaces])
    netns.ip_batch(
        [
            f"link add {cable.one.name} netns {topology.ns(cable.one.space)} type veth "
            f"peer name {cable.other.name} netns {topology.ns(cable.other.space)}"
            for cable in topology.cables
        ]
    )
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for space in topology.spaces:
        lines[space.name].append("link set lo up")
        for bridge in space.bridges:
            # A bridge without an address of its own takes one from its ports and changes it when a machine goes:
            # everybody who talks to the hypervisor would lose it until ARP expires.
            options = f"address {_bridge_mac(bridge.name)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
            lines[space.name].append(f"link add {bridge.name} {options}")
            lines[space.name].append(f"link set {bridge.name} up")
    ends = [port for cable in topology.cables for port in (cable.one, cable.other)]
    for port in ends + [bridge for space in topology.spaces for bridge in space.bridges]:
        if port.bridge:
            lines[port.space].append(f"link set {port.name} master {port.bridge}")
        lines[port.space].append(f"link set {port.name} up")
        lines[port.space] += [f"addr add {address} dev {port.name}" for address in port.addresses]
    for space in topology.spaces:
        lines[space.name] += [f"route replace {route}" for route in space.routes]
        _configure(topology.ns(space.name), space, lines[space.name])


def make_room(table: Path = NEIGHBOUR_TABLE) -> None:
    """Room in the kernel's table of neighbours; a larger table is left alone, and so is one that is not ours."""
    for name, wanted in NEIGHBOURS.items():
        with contextlib.suppress(OSError):
            if int((table / name).read_text()) < wanted:
                (table / name).write_text(str(wanted))


def _configure(namespace: str, space: Space, lines: list[str]) -> None:
    with netns.entered(namespace):
        # Before the links come up: IPv6 would only add noise to captures and delay addresses.
        _sysctl("ipv6/conf/all/disable_ipv6", "1")
        _sysctl("ipv6/conf/default/disable_ipv6", "1")
        if space.forwards:
            _sysctl("ipv4/ip_forward", "1")
        netns.ip_batch(lines)
        if space.nft:
            netns.run(["nft", "-f", "-"], text=space.nft)


def remove(lab: int) -> None:
    """Delete every namespace of the lab; devices inside go with it. Nothing to remove is no error."""
    netns.ip_batch([f"netns del {name}" for name in netns.listed(f"{PREFIX}{lab}-")], force=True)


def standing(topology: Topology) -> bool:
    """Whether every namespace of the topology exists."""
    return all(netns.exists(name) for name in topology.namespaces.values())


def quicken(namespace: str) -> None:
    """Skip IPv6's duplicate address detection on cards made later: a booting machine waits 2 s for it."""
    with netns.entered(namespace):
        _sysctl("ipv6/conf/all/accept_dad", "0")
        _sysctl("ipv6/conf/default/accept_dad", "0")


def plug(namespace: str, card: str, mac: str, hypervisor: str, tap: str, device: str, plugged: bool = True) -> None:
    """Give a machine's namespace a card with this MAC whose other end `tap` is in the bridge `device`."""
    netns.ip_batch([f"link add {card} netns {namespace} address {mac} type veth peer name {tap} netns {hypervisor}"])
    netns.ip_batch(
        [f"link set {tap} master {device}", f"link set {tap} {'up' if plugged else 'down'}"], namespace=hypervisor
    )


def ensure_bridge(hypervisor: str, device: str) -> None:
    """A VLAN that nothing else uses is still a network: an isolated one, as on a real hypervisor."""
    known = subprocess.run(["ip", "-n", hypervisor, "link", "show", device], capture_output=True, check=False)
    if known.returncode:
        netns.ip_batch(
            [f"link add {device} address {_bridge_mac(device)} type bridge forward_delay 0", f"link set {device} up"],
            namespace=hypervisor,
        )


def _bridge_mac(name: str) -> str:
    """A locally administered address that follows from the bridge's name."""
    digest = hashlib.sha256(name.encode()).digest()
    return "02:cb:" + ":".join(f"{byte:02x}" for byte in digest[:4])


def _sysctl(key: str, value: str) -> None:
    entry = Path("/proc/sys/net") / key
    if entry.exists():
        entry.write_text(value)
