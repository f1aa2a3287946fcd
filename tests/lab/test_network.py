"""The lab's network: what reaches what, seen by real sockets, each with what must not."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from lab import clean, netns, network, topology
from lab.topology import Topology
from tests.lab import rig

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
LAB, TWIN = 51, 52
PROVIDER = "198.51.100.10"


def root_namespace() -> list[str]:
    """Devices, addresses, routes, rules and filters of the root namespace."""
    views = (["ip", "-br", "address"], ["ip", "route"], ["ip", "rule"], ["nft", "list", "ruleset"])
    return [subprocess.run(view, capture_output=True, text=True, check=False).stdout for view in views]


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    """Lab 51 with a stand-in for the PBX: one namespace per uplink, wan-a and wan-b."""
    clean.lab(LAB)
    before = root_namespace()
    plan = rig.plan()
    built = topology.derive(plan, LAB)
    started = time.monotonic()
    network.build(built)
    assert time.monotonic() - started < 1.5
    assert root_namespace() == before
    devices = {segment.name: segment.device for segment in plan.segments}
    for uplink, mac in zip(plan.uplinks, rig.MACS, strict=False):
        name = built.ns(f"wan-{uplink.name}")
        netns.ip_batch([f"netns add {name}"])
        network.plug(name, "eth0", mac, built.ns("hv"), f"tap{uplink.name}", devices[uplink.name])
        lines = [f"addr add {uplink.address} dev eth0", "link set eth0 up", f"route add default via {uplink.gateway}"]
        netns.ip_batch(lines, namespace=name)
    yield built
    network.remove(LAB)
    assert netns.listed(f"cpx{LAB}-") == []
    assert root_namespace() == before


@pytest.mark.parametrize(("uplink", "public"), [("a", "198.18.1.2"), ("b", "198.18.2.2")])
def test_each_uplink_reaches_a_provider_by_its_own_public_address(net: Topology, uplink: str, public: str) -> None:
    with rig.listening(net.ns("prov-main"), PROVIDER, 5060) as server:
        assert rig.caller_seen(net.ns(f"wan-{uplink}"), server) == public


def test_broken_uplink_reaches_nothing_and_the_other_still_does(net: Topology) -> None:
    router = net.ns("rt-a")
    with rig.listening(net.ns("prov-main"), PROVIDER, 5060) as server:
        netns.run(["nft", "add", "rule", "ip", "filter", "faults", "drop"], namespace=router)
        assert rig.caller_seen(net.ns("wan-a"), server) is None
        assert rig.caller_seen(net.ns("wan-b"), server) == "198.18.2.2"
        netns.run(["nft", "flush", "chain", "ip", "filter", "faults"], namespace=router)
        assert rig.caller_seen(net.ns("wan-a"), server) == "198.18.1.2"


def test_private_addresses_are_unknown_to_the_internet(net: Topology) -> None:
    assert (
        "unreachable"
        in subprocess.run(
            ["ip", "-n", net.ns("net"), "route", "get", "10.77.31.2"], capture_output=True, text=True, check=False
        ).stderr.lower()
    )
    with rig.listening(net.ns("wan-a"), "10.77.31.2", 8000) as inner:
        assert rig.caller_seen(net.ns("prov-main"), inner) is None
        assert rig.caller_seen(net.ns("rt-a"), inner) == "10.77.31.1"  # control: the server does answer


def test_telephone_subscribers_are_reached_by_providers_only(net: Topology) -> None:
    with rig.listening(net.ns("pstn"), "198.18.100.10", 5060) as server:
        assert rig.caller_seen(net.ns("prov-main"), server) == PROVIDER
        assert rig.caller_seen(net.ns("wan-a"), server) is None


def datagram_arrives(net: Topology, port: int) -> bool:
    """Whether a provider's datagram to the clinic's public address reaches the PBX."""
    with netns.entered(net.ns("wan-a")):
        pbx = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with netns.entered(net.ns("prov-backup")):
        provider = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pbx, provider:
        pbx.bind(("10.77.31.2", port))
        pbx.settimeout(0.5)
        provider.sendto(b"hello", ("198.18.1.2", port))
        try:
            return pbx.recv(16) == b"hello"
        except TimeoutError:
            return False


def test_router_forwards_sip_for_a_provider_known_by_address_and_nothing_else(net: Topology) -> None:
    assert datagram_arrives(net, 5060)
    assert not datagram_arrives(net, 5061)


def test_phones_are_apart_from_management(net: Topology) -> None:
    with rig.listening(net.ns("hv"), "10.77.10.2", 8006) as server:
        assert rig.caller_seen(net.ns("eng"), server) == "10.77.10.5"
        assert rig.caller_seen(net.ns("phones"), server) is None


def voice_reaches(net: Topology, address: str) -> bool:
    """Whether a host at the engineer's socket of the voice network finds that address in the telephones' namespace."""
    with netns.entered(net.ns("phones")):
        phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with netns.entered(net.ns("eng")):
        host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with phone, host:
        phone.settimeout(1)
        phone.bind(("", 5060))
        host.sendto(b"hello", (address, 5060))
        try:
            return phone.recv(16) == b"hello"
        except TimeoutError:
            return False


def test_every_address_that_dhcp_may_give_is_a_telephones_and_no_other(net: Topology) -> None:
    for address in ("10.77.20.32", "10.77.20.138", "10.77.20.250", "10.77.20.11", "10.77.20.30"):
        assert voice_reaches(net, address), address
    for address in ("10.77.20.31", "10.77.20.251"):
        assert not voice_reaches(net, address), address


def test_a_telephones_socket_takes_a_broadcast(net: Topology) -> None:
    """As a DHCP server answers who has no address yet."""
    with netns.entered(net.ns("phones")):
        phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with netns.entered(net.ns("eng")):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with phone, server:
        phone.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        phone.settimeout(1)
        phone.bind(("", 68))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"voice")
        server.sendto(b"hello", ("255.255.255.255", 68))
        assert phone.recv(16) == b"hello"


def test_two_labs_with_the_same_addresses_never_meet(net: Topology) -> None:
    twin = topology.derive(rig.plan(), TWIN)
    clean.lab(TWIN)
    try:
        network.build(twin)
        with rig.listening(twin.ns("prov-main"), PROVIDER, 5060) as server:
            assert rig.caller_seen(net.ns("rt-a"), server) is None
            assert rig.caller_seen(twin.ns("rt-a"), server) == "198.18.1.2"
    finally:
        clean.lab(TWIN)
    assert netns.listed(f"cpx{TWIN}-") == []
    assert network.standing(net)
