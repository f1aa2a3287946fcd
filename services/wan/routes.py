"""What the kernel is told: the machine's own way out, and taking a dead uplink's packets along by another.

An uplink's calls have its address. While it is dead, a rule sends what has that address out by the chosen uplink, where
it takes on the other's address (nft), and the provider answers where the audio now comes from. ip-rule(8), nft(8).
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TABLE = "clinic-wan"
FIRST_TABLE = 101
"""As clinic/rendering/network.py numbers the uplinks' routing tables."""
PRIORITY, METRIC = 900, 50


@dataclass(frozen=True)
class Way:
    """An uplink as the kernel knows it. `number`: its place in the description, from 0."""

    name: str
    number: int
    address: str
    gateway: str
    card: str

    @property
    def table(self) -> int:
        return FIRST_TABLE + self.number


def nat(taken: Iterable[Way], by: Way | None) -> str:
    """The nft script that makes the table exactly this. Pure."""
    rules = [f"ip saddr {way.address} oifname {by.card} snat to {by.address}" for way in taken] if by else []
    chain = ["chain out {", "type nat hook postrouting priority srcnat;", *rules, "}"]  # kept when empty: see `ready`
    lines = [f"table ip {TABLE} {{}}", f"delete table ip {TABLE}", f"table ip {TABLE} {{", *chain, "}"]
    return "\n".join(lines) + "\n"


def rules(ways: Iterable[Way], taken: Iterable[Way], by: Way | None) -> list[str]:
    """`ip -batch` lines that take packets of `taken` along by `by` and nobody else's. Pure."""
    wanted = {way.name for way in taken} if by else set()
    lines = []
    for way in ways:
        if way.name in wanted and by:
            lines.append(f"rule add from {way.address} lookup {by.table} priority {PRIORITY + way.number}")
    return lines


def standing() -> list[str]:
    """`ip -batch` lines that remove what stands of ours, however often."""
    shown = subprocess.run(["ip", "-j", "-4", "rule"], capture_output=True, text=True, timeout=5, check=False).stdout
    found = json.loads(shown or "[]")
    ours = [int(r["priority"]) for r in found if PRIORITY <= int(r["priority"]) < PRIORITY + 50]
    return [f"rule del priority {number}" for number in ours]


def take_along(ways: Iterable[Way], taken: list[Way], by: Way | None, flush: Iterable[Way]) -> None:
    """Apply it. `flush`: whose connections are forgotten, so that those in progress are looked at anew."""
    run(["nft", "-f", "-"], nat(taken, by))
    batch = standing() + rules(ways, taken, by)
    if batch:
        # What another has removed meanwhile stops nothing.
        run(["ip", "-4", "-force", "-batch", "-"], "\n".join(batch) + "\n", may_fail=True)
        want = {f"{PRIORITY + way.number}" for way in taken} if by else set()
        if not want <= {line.rsplit(" ", 1)[1] for line in standing()}:
            raise OSError("ip rule: not all rules stand")
    for way in flush:
        forget(way)


def forget(way: Way) -> None:
    """Forget the connections of an uplink's address, so that the kernel looks at each anew: also at where it goes."""
    run(["conntrack", "-D", "-s", way.address], "", may_fail=True)
    run(["conntrack", "-D", "-d", way.address], "", may_fail=True)  # what the provider began


def ready() -> None:
    """The kernel loads what NAT and forgetting need: the first time takes a second, which no failover has."""
    run(["nft", "-f", "-"], nat([], None))
    run(["conntrack", "-C"], "", may_fail=True)


def main_way(way: Way) -> None:
    """The machine's own packets (time, alerts, updates) take this uplink."""
    run(
        ["ip", "-4", "route", "replace", "default", "via", way.gateway, "dev", way.card, "metric", str(METRIC)],
        "", may_fail=True,
    )  # fmt: skip


def main_way_is(way: Way) -> bool:
    """Read from /proc/net/route: a program for it would cost more than all the probing."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]:
            card, to, gateway, _, _, _, metric = line.split()[:7]
            if to == "00000000" and int(metric) == METRIC:
                return card == way.card and socket.inet_ntoa(struct.pack("=L", int(gateway, 16))) == way.gateway
    return False


def run(argv: list[str], text: str, *, may_fail: bool = False) -> None:
    """Raises OSError with the program's words."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=5, check=False)
    if done.returncode and not may_fail:
        raise OSError(f"{argv[0]}: {done.stderr.strip()[:300]}")
