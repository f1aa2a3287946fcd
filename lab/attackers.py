"""Hosts that attack the clinic, made on demand: on the internet, on an uplink's segment, at a socket of the voice net.

Each is a namespace of the lab with one card, and counts what it sends and hears on SIP's ports itself. `scripts/clean`
removes them by name, also after a crash.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab import netns, state
from lab.topology import namespace

INTERNET, GATEWAY = IPv4Interface("198.18.50.10/24"), IPv4Interface("198.18.50.1/24")
_COUNT = """
table inet count {
  counter sent { }
  counter heard { }
  chain out {
    type filter hook output priority 0; meta l4proto { tcp, udp } th dport { 22, 5060, 5061 } counter name sent
  }
  chain in {
    type filter hook input priority 0; meta l4proto { tcp, udp } th sport { 22, 5060, 5061 } counter name heard
  }
}
"""


@dataclass(frozen=True)
class Attacker:
    """`space` is its namespace, `address` its own, `target` the PBX as it sees it."""

    name: str
    space: str
    address: str
    target: str

    def packets(self) -> tuple[int, int]:
        """(sent to SIP and SSH ports, heard from them) since it was made."""
        found = json.loads(netns.run(["nft", "-j", "list", "counters", "table", "inet", "count"], namespace=self.space))
        known = {c["counter"]["name"]: c["counter"]["packets"] for c in found["nftables"] if "counter" in c}
        return int(known["sent"]), int(known["heard"])

    def run(self, tools: Path, argv: Sequence[str], seconds: float, text: str = "") -> str:
        """What a program of the tools root says, ended after so many seconds. `text` is its standard input."""
        command = ["ip", "netns", "exec", self.space, "chroot", str(tools), "env", "HOME=/tmp", *argv]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                return process.communicate(text, timeout=seconds)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                return process.communicate()[0]


@contextlib.contextmanager
def attacker(lab: int, name: str, address: IPv4Interface, target: str, bridge: str = "") -> Iterator[Attacker]:
    """A host with this address on a bridge of the hypervisor, or on the internet when there is no bridge.

    An address of the telephones' range is the attacker's alone meanwhile: their namespace has all of them otherwise.
    """
    space, spaces = namespace(lab, f"atk-{name}"), state.load(lab)["namespaces"]
    far = spaces["hv"] if bridge else spaces["net"]
    inside = f"atk-{name}"[:15]
    _remove(space, far, inside)
    taken = ["unicast", f"{address.ip}/32", "dev", "eth0", "table", "local"]
    if bridge:
        netns.run(["ip", "route", "replace", *taken], namespace=spaces["phones"])
    netns.run(["ip", "netns", "add", space])
    try:
        netns.run(["ip", "link", "add", inside, "netns", far, "type", "veth", "peer", "name", "eth0", "netns", space])
        if bridge:
            netns.ip_batch([f"link set {inside} master {bridge}", f"link set {inside} up"], namespace=far)
        else:
            netns.ip_batch([f"addr add {GATEWAY} dev {inside}", f"link set {inside} up"], namespace=far)
        lines = ["link set lo up", f"addr add {address} dev eth0", "link set eth0 up"]
        lines += [] if bridge else [f"route add default via {GATEWAY.ip}"]
        netns.ip_batch(lines, namespace=space)
        netns.run(["nft", "-f", "-"], namespace=space, text=_COUNT)
        yield Attacker(name, space, str(address.ip), target)
    finally:
        _remove(space, far, inside)
        with contextlib.suppress(netns.CommandError):
            netns.run(["ip", "route", "del", *taken], namespace=spaces["phones"])


def _remove(space: str, far: str, inside: str) -> None:
    with contextlib.suppress(netns.CommandError):
        netns.run(["ip", "link", "del", inside], namespace=far)
    if netns.exists(space):
        for pid in netns.pids(space):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(netns.CommandError):
            netns.run(["ip", "netns", "del", space])
