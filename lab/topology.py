"""Derive the lab's namespaces, links, addresses and packet rules from a plan. Pure: no I/O.

    eng --+                                   +-- prov-<trunk> (one each)
          |  hv (bridges)  rt-<uplink> -- net +
 phones --+  |      |                         +-- pstn
             vm<id> (its cards join later)

`net` is the internet: it routes public addresses only, so a private address leaves no router alive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, summarize_address_range

from lab.plan import LabPlan, Segment, UplinkPlan

PSTN = IPv4Interface("198.18.100.10/24")
PSTN_GATEWAY = IPv4Interface("198.18.100.1/24")
PREFIX = "cpx"


@dataclass(frozen=True)
class Port:
    """A network card in a namespace. `bridge` is set where the card joins a bridge and has no address."""

    space: str
    name: str
    addresses: tuple[IPv4Interface, ...] = ()
    bridge: str | None = None


@dataclass(frozen=True)
class Cable:
    one: Port
    other: Port


@dataclass(frozen=True)
class Space:
    """A network namespace: bridges with their addresses, routes as `ip route add` arguments, nft rules."""

    name: str
    bridges: tuple[Port, ...] = ()
    routes: tuple[str, ...] = ()
    forwards: bool = False
    nft: str = ""


@dataclass(frozen=True)
class Topology:
    lab: int
    spaces: tuple[Space, ...]
    cables: tuple[Cable, ...]
    engineer: IPv4Address

    def ns(self, space: str) -> str:
        return namespace(self.lab, space)

    @property
    def namespaces(self) -> dict[str, str]:
        return {space.name: self.ns(space.name) for space in self.spaces}


def namespace(lab: int, space: str) -> str:
    """The system-wide name of a lab's namespace, as `ip netns` lists it."""
    return f"{PREFIX}{lab}-{space}"


def router(uplink: str) -> str:
    """The space of an uplink's router: rt-a for the uplink wan-a."""
    return f"rt-{uplink.removeprefix('wan-')}"


def derive(plan: LabPlan, lab: int) -> Topology:
    """The whole network of lab number `lab`. Raises ValueError for what the lab cannot stand up."""
    servers = [trunk.server for trunk in plan.trunks]
    if len(set(servers)) != len(servers):
        raise ValueError("two trunks have the same server address: the lab gives each trunk its own provider")
    devices = {segment.name: segment.device for segment in plan.segments}
    engineer = _engineer(plan)
    internet = _Internet(plan)
    spaces = [_hypervisor(plan, plan.segments)]
    cables = [
        Cable(
            Port("eng", "eth0", (IPv4Interface((engineer, plan.management.prefixlen)),)),
            Port("hv", "eng", bridge=devices["management"]),
        ),
        Cable(
            Port("eng", "voice", _engineer_voice(plan)),
            Port("hv", "engv", bridge=devices["voice"]),
        ),
        Cable(
            Port("phones", "eth0", (IPv4Interface((plan.phones_from, plan.voice.prefixlen)),)),
            Port("hv", "phones", bridge=devices["voice"]),
        ),
        Cable(Port("pstn", "eth0", (PSTN,)), Port("net", "pstn", (PSTN_GATEWAY,))),
    ]
    spaces.append(Space("eng", routes=tuple(_route_to_api(plan))))
    spaces += [Space("phones", routes=tuple(_phones(plan))), Space("pstn", routes=(f"default via {PSTN_GATEWAY.ip}",))]
    for number, uplink in enumerate(plan.uplinks):
        outside, far = wan_addresses(uplink.external)
        name = router(uplink.name)
        lan = IPv4Interface((uplink.gateway, uplink.address.network.prefixlen))
        cables.append(Cable(Port(name, "lan", (lan,)), Port("hv", f"rt{number}", bridge=devices[uplink.name])))
        cables.append(Cable(Port(name, "wan", (outside,)), Port("net", f"rt{number}", (far,))))
        forward_sip = any(trunk.by_address for trunk in plan.trunks)
        spaces.append(Space(name, (), (f"default via {far.ip}",), True, router_rules(uplink, forward_sip)))
    for number, trunk in enumerate(plan.trunks):
        gateway, routes = internet.provider(trunk.server, f"prov{number}")
        name = f"prov-{trunk.name}"
        address = IPv4Interface((trunk.server, 24))
        cables.append(Cable(Port(name, "eth0", (address,)), Port("net", f"prov{number}", (gateway,))))
        spaces.append(Space(name, routes=(f"default via {gateway.ip}",)))
        internet.routes += routes
    internet.routes += [f"local {anchor}/32 dev lo" for anchor in plan.anchors]
    spaces.append(Space("net", (), tuple(internet.routes), True, internet_rules()))
    return Topology(lab, tuple(spaces), tuple(cables), engineer)


class _Internet:
    """Chooses the internet's side of each provider's line."""

    def __init__(self, plan: LabPlan) -> None:
        self.routes: list[str] = []
        self._taken = [trunk.server for trunk in plan.trunks] + [uplink.external for uplink in plan.uplinks]

    def provider(self, server: IPv4Address, device: str) -> tuple[IPv4Interface, list[str]]:
        """Gateway (first free host of the /24) and routes. A /24 of its own is routed whole; a shared one by host."""
        around = IPv4Network((server, 24), strict=False)
        gateway = next(host for host in around.hosts() if host not in self._taken)
        self._taken.append(gateway)
        if sum(taken in around for taken in self._taken) == 2:
            return IPv4Interface((gateway, 24)), []
        return IPv4Interface((gateway, 32)), [f"{server}/32 dev {device}"]


def wan_addresses(external: IPv4Address) -> tuple[IPv4Interface, IPv4Interface]:
    """An uplink's public address with the narrowest prefix in which it is a host, and its provider's end."""
    for prefix in range(30, 8, -1):
        network = IPv4Network((external, prefix), strict=False)
        if external not in (network.network_address, network.broadcast_address):
            far = next(host for host in network.hosts() if host != external)
            return IPv4Interface((external, prefix)), IPv4Interface((far, prefix))
    raise ValueError(f"{external} can be no host's address")


def router_rules(uplink: UplinkPlan, forward_sip: bool) -> str:
    """A clinic's router: NAT and state; from outside only answers. A provider that knows the clinic by its
    address needs the router's port forwarding: for anybody, the worst case that clinics really have."""
    dnat = f"iifname wan udp dport 5060 dnat to {uplink.address.ip}" if forward_sip else ""
    accept = "ct status dnat accept" if forward_sip else ""
    return f"""
table ip nat {{
  chain prerouting {{ type nat hook prerouting priority dstnat; {dnat}
  }}
  chain postrouting {{ type nat hook postrouting priority srcnat; oifname wan snat to {uplink.external}
  }}
}}
table ip filter {{
  chain faults {{
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    jump faults
    ct state established,related accept
    iifname lan oifname wan accept
    {accept}
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname {{ lo, lan }} accept
    ct state established,related accept
    icmp type echo-request accept
  }}
}}
"""


def internet_rules() -> str:
    """Between the routers and the public telephone network there are only providers. The empty chain `faults`
    is where a rehearsed failure puts its rules; the anchors are the internet's own addresses."""
    return """
table ip filter {
  chain faults {
  }
  chain input {
    type filter hook input priority filter; policy accept;
    jump faults
  }
  chain output {
    type filter hook output priority filter; policy accept;
    jump faults
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    jump faults
    iifname "rt*" oifname pstn drop
    iifname pstn oifname "rt*" drop
    ip daddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } drop
  }
}
"""


def _hypervisor(plan: LabPlan, carried: tuple[Segment, ...]) -> Space:
    api = plan.hypervisor.api
    inside = api in plan.management
    address = IPv4Interface((api, plan.management.prefixlen if inside else 32))
    ports = tuple(Port("hv", segment.device, (address,) if segment.name == "management" else ()) for segment in carried)
    device = next(segment.device for segment in carried if segment.name == "management")
    return Space("hv", ports, () if inside else (f"{plan.management} dev {device}",))


def _route_to_api(plan: LabPlan) -> Iterator[str]:
    if plan.hypervisor.api not in plan.management:
        yield f"{plan.hypervisor.api}/32 dev eth0"


def _engineer(plan: LabPlan) -> IPv4Address:
    taken = {plan.hypervisor.api, plan.pbx[0], plan.management.network_address + 1}
    hosts = (host for host in list(plan.management.hosts())[4:] if host not in taken)
    return next(hosts)


def _engineer_voice(plan: LabPlan) -> tuple[IPv4Interface, ...]:
    """The engineer's place on the voice network, a telephone's socket at the clinic: the first address nobody has."""
    taken = {plan.pbx[1], plan.voice.network_address + 1}
    free = (host for host in plan.voice.hosts() if host not in taken)
    found = next((h for h in free if not any(first <= h <= last for first, last in _ranges(plan))), None)
    return (IPv4Interface((found, plan.voice.prefixlen)),) if found else ()


def _phones(plan: LabPlan) -> Iterator[str]:
    """Every address that DHCP may give a telephone is the namespace's own, answered for by ARP: a route for a range
    costs nothing, also for one of 65,000."""
    for first, last in _ranges(plan):
        yield from (f"local {network} dev lo" for network in summarize_address_range(first, last))


def _ranges(plan: LabPlan) -> list[tuple[IPv4Address, IPv4Address]]:
    return [(plan.phones_from, plan.phones_to), *([plan.quarantine] if plan.quarantine else [])]
