"""Failures on demand. Each is applied, listed and taken back by name and target; a lab remembers its own.

    apply(0, "provider-503", "north"); clear(0, "provider-503", "north"); clear_all(0)
    with broken(0, "uplink-blackhole", "a"): ...

Packet faults are rules in the chain `faults` of the internet's namespace, written anew from the list of faults that
are on, so none is left behind. The others are a deed and its undoing. Both may be repeated.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from clinicpbx.errors import ClinicError
from lab import dns, netns, phones, providers, state
from lab.components import machines
from softphone.client import PoolError

Kind = Literal["provider", "uplink", "phone", "pbx"]
State = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """A fault that is on. `value` refines some: channels of provider-full, percent of uplink-loss."""

    name: str
    target: str = ""
    value: str = ""


@dataclass(frozen=True)
class Known:
    """What can be broken, on what kind of target, and what an engineer would see."""

    kind: Kind
    meaning: str
    deed: Callable[[int, State, Fault, bool], None] | None = None
    rules: Callable[[State, Fault], list[str]] | None = None
    default: str = ""


def apply(lab: int, name: str, target: str = "", value: str = "") -> Fault:
    """Break it. On already: nothing new happens. Raises ClinicError for an unknown name or target."""
    known = _known(name)
    now = state.load(lab)
    fault = Fault(name, _target(now, known, name, target), value or known.default)
    if known.default and not fault.value.isdigit():
        raise ClinicError(f"{name} takes a number, not {value!r}", remedy="clinicpbx lab fault --help")
    _do(lab, now, fault, True)
    return fault


def clear(lab: int, name: str, target: str = "") -> None:
    """Mend it. Off already is no error."""
    known = _known(name)
    now = state.load(lab)
    _do(lab, now, Fault(name, _target(now, known, name, target)), False)


def clear_all(lab: int) -> list[Fault]:
    """Mend everything, the latest first, and return what was on."""
    was = active(lab)
    for fault in reversed(was):
        clear(lab, fault.name, fault.target)
    return was


@contextlib.contextmanager
def broken(lab: int, name: str, target: str = "", value: str = "") -> Iterator[Fault]:
    """It is broken within the block, and mended whatever happens there."""
    fault = apply(lab, name, target, value)
    try:
        yield fault
    finally:
        clear(lab, fault.name, fault.target)


def active(lab: int) -> list[Fault]:
    """The faults that are on, in the order they came."""
    file = state.run_folder(lab) / "faults.json"
    return [Fault(**item) for item in json.loads(file.read_text())] if file.exists() else []


def internet_rules(now: State, faults: list[Fault]) -> str:
    """The nft script that makes the internet's chain `faults` exactly that of these faults. Pure."""
    found = [(KNOWN[fault.name].rules, fault) for fault in faults]
    lines = [line for rules, fault in found if rules for line in rules(now, fault)]
    return "\n".join(["flush chain ip filter faults", *(f"add rule ip filter faults {line}" for line in lines)]) + "\n"


def _do(lab: int, now: State, fault: Fault, on: bool) -> None:
    file = state.run_folder(lab) / "faults.json"
    with (state.run_folder(lab) / "faults.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        others = [other for other in active(lab) if (other.name, other.target) != (fault.name, fault.target)]
        faults = [*others, fault] if on else others
        known = KNOWN[fault.name]
        try:
            if known.rules:
                netns.run(["nft", "-f", "-"], namespace=now["namespaces"]["net"], text=internet_rules(now, faults))
            file.write_text(json.dumps([asdict(item) for item in faults]))  # now: a deed half done can be cleared
            if known.deed:
                known.deed(lab, now, fault, on)
        except (netns.CommandError, PoolError, subprocess.SubprocessError) as error:
            raise ClinicError(
                f"{fault.name} {fault.target} cannot be put {'on' if on else 'off'}: {error}",
                remedy="clinicpbx lab status; scripts/clean when the lab is damaged",
            ) from error


def _known(name: str) -> Known:
    if name not in KNOWN:
        raise ClinicError(f"no fault is called {name!r}", remedy=f"one of: {', '.join(KNOWN)}")
    return KNOWN[name]


def targets(now: State, kind: Kind) -> list[str]:
    """What faults of a kind can be aimed at; phones are not listed here but asked of the pool."""
    if kind == "provider":
        return list(now.get("providers", {}))
    return list(now["routers"]) if kind == "uplink" else []


def _target(now: State, known: Known, name: str, target: str) -> str:
    if known.kind == "pbx":
        return ""
    choice = targets(now, known.kind)
    if known.kind == "phone":
        if not target:
            raise ClinicError(f"{name} needs an extension", remedy=f"clinicpbx lab fault {name} 2001")
        return target
    if target not in choice:
        raise ClinicError(f"{name}: no {known.kind} is called {target!r}", remedy=f"one of: {', '.join(choice)}")
    return target


# -- deeds ---------------------------------------------------------------------------------------------------------


def _answers(cause: int) -> Callable[[int, State, Fault, bool], None]:
    def deed(lab: int, now: State, fault: Fault, on: bool) -> None:
        _database(lab, fault, "answer", str(cause) if on else "")

    return deed


def _full(lab: int, now: State, fault: Fault, on: bool) -> None:
    _database(lab, fault, "channels", fault.value if on else "")


def _database(lab: int, fault: Fault, key: str, value: str) -> None:
    command = f"database put fault {key} {value}" if value else f"database del fault {key}"
    provider = providers.known(lab)[fault.target]
    answer = provider.cli(command)
    if value and "successfully" not in answer:
        raise ClinicError(
            f"the provider {fault.target} does not take the fault: {answer.strip() or 'it does not run'}",
            remedy=f"clinicpbx lab fault provider-down {fault.target} off",
        )


def _contacts(most: int) -> Callable[[int, State, Fault, bool], None]:
    """The account may have so many contacts, and a further one is refused with 403 (res_pjsip_registrar)."""

    def deed(lab: int, now: State, fault: Fault, on: bool) -> None:
        provider = providers.known(lab)[fault.target]
        file = provider.home / "etc/pjsip.conf"
        text = re.sub(r"max_contacts = \d+ ; was (\d+)", r"max_contacts = \1", file.read_text())
        text = text.replace("remove_existing = no ; was yes", "remove_existing = yes")
        if on:
            text = re.sub(r"max_contacts = (\d+)", rf"max_contacts = {most} ; was \1", text)
            text = text.replace("remove_existing = yes", "remove_existing = no ; was yes")
        file.write_text(text)
        provider.cli("module reload res_pjsip.so")

    return deed


def _down(lab: int, now: State, fault: Fault, on: bool) -> None:
    provider = providers.known(lab)[fault.target]
    provider.stop() if on else provider.start()


def _cable(lab: int, now: State, fault: Fault, on: bool) -> None:
    netns.ip_batch(
        [f"link set {_line(now, fault)} {'down' if on else 'up'}"], namespace=now["namespaces"]["hv"]
    )  # the PBX's own card keeps its carrier, as a virtual one does


def _router(lab: int, now: State, fault: Fault, on: bool) -> None:
    line = _line(now, fault)
    for space in ("hv", "net"):
        netns.ip_batch([f"link set {line} {'down' if on else 'up'}"], namespace=now["namespaces"][space])
    with netns.entered(now["routers"][fault.target]):
        _forget_connections()  # a router that was off has lost its NAT state


def _dns(lab: int, now: State, fault: Fault, on: bool) -> None:
    address = now.get("dns", "")
    if not address:
        raise ClinicError("this lab has no DNS server", remedy="clinic.yml: resolvers, in the management network")
    dns.end(lab) if on else dns.begin(lab, address)


def _readdress(lab: int, now: State, fault: Fault, on: bool) -> None:
    """The ISP gives the router another public address, as DHCP does: the old one is nobody's, states are forgotten."""
    line, router = _line(now, fault), now["routers"][fault.target]
    found = json.loads(netns.run(["ip", "-j", "-4", "addr", "show", "dev", "wan"], namespace=router))
    was = found[0]["addr_info"][0]
    file = state.run_folder(lab) / f"address-{fault.target}.json"
    if on:
        if file.exists():
            return
        far = json.loads(netns.run(["ip", "-j", "-4", "addr", "show", "dev", line], namespace=now["namespaces"]["net"]))
        was_far = far[0]["addr_info"][0]
        file.write_text(json.dumps([f"{x['local']}/{x['prefixlen']}" for x in (was, was_far)]))
        third = 240 + targets(now, "uplink").index(fault.target)
        near, other = f"198.18.{third}.2/30", f"198.18.{third}.1/30"
    else:
        if not file.exists():
            return
        near, other = json.loads(file.read_text())
        file.unlink()
    for space, card, address in ((now["namespaces"]["net"], line, other), (router, "wan", near)):
        netns.ip_batch([f"addr flush dev {card}", f"addr add {address} dev {card}"], namespace=space)
    netns.ip_batch([f"route replace default via {other.partition('/')[0]}"], namespace=router)
    script = "flush chain ip nat postrouting\n"
    script += f"add rule ip nat postrouting oifname wan snat to {near.partition('/')[0]}\n"
    netns.run(["nft", "-f", "-"], namespace=router, text=script)
    with netns.entered(router):
        _forget_connections()


def _database_down(lab: int, now: State, fault: Fault, on: bool) -> None:
    leader = next((machine.leader for machine in machines(lab) if machine.leader), None)
    if leader is None:
        raise ClinicError("no machine is on in this lab", remedy="clinicpbx deploy")
    argv = ["nsenter", f"--target={leader}", "--all", "systemctl", "stop" if on else "start", "postgresql"]
    subprocess.run(argv, capture_output=True, timeout=60, check=True)


def _phone(lab: int, now: State, fault: Fault, on: bool) -> None:
    with phones.pool(lab) as pool:
        pool.set_behaviour(fault.target, "dead" if on else "ring")


def _line(now: State, fault: Fault) -> str:
    """The uplink's port on the hypervisor's bridge and at its ISP: both have the same name."""
    return f"rt{targets(now, 'uplink').index(fault.target)}"


def _forget_connections() -> None:
    """Flush the namespace's connection tracking: IPCTNL_MSG_CT_DELETE without a tuple (linux/nfnetlink_conntrack.h)."""
    subsystem, delete, request_and_ack = 1, 2, 0x5
    message = struct.pack("=LHHLLBBH", 20, subsystem << 8 | delete, request_and_ack, 1, 0, 0, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netfilter:
        netfilter.settimeout(2)
        netfilter.send(message)
        netfilter.recv(1024)


# -- packet faults -------------------------------------------------------------------------------------------------


def _silent(now: State, fault: Fault) -> list[str]:
    at = now["providers"][fault.target]
    return [
        f"ip daddr {at['server']} udp dport {at['port']} drop",
        f"ip saddr {at['server']} udp sport {at['port']} drop",
    ]


def _blackhole(now: State, fault: Fault) -> list[str]:
    line = _line(now, fault)
    return [f'iifname "{line}" drop', f'oifname "{line}" drop']


def _loss(now: State, fault: Fault) -> list[str]:
    line = _line(now, fault)
    return [f'{way} "{line}" numgen random mod 100 < {fault.value} drop' for way in ("iifname", "oifname")]


def _one_way(now: State, fault: Fault) -> list[str]:
    return [f'oifname "{_line(now, fault)}" numgen random mod 100 < {fault.value} drop']


def _filtered(now: State, fault: Fault) -> list[str]:
    line = _line(now, fault)
    return [f'{way} "{line}" udp {port} 5060 drop' for way in ("iifname", "oifname") for port in ("sport", "dport")]


def _no_internet(now: State, fault: Fault) -> list[str]:
    return ['iifname "rt*" drop', 'oifname "rt*" drop']


KNOWN: dict[str, Known] = {
    "provider-503": Known("provider", "answers every outgoing call with 503", _answers(42)),
    "provider-403": Known("provider", "answers every outgoing call with 403", _answers(21)),
    "provider-refuses": Known(
        "provider", "refuses the clinic's registration with 403, as for an unpaid bill", _contacts(0)
    ),
    "provider-one-contact": Known("provider", "takes one contact of the account, refuses a second", _contacts(1)),
    "provider-busy": Known("provider", "says that every called number is busy (486)", _answers(17)),
    "provider-full": Known("provider", "allows only VALUE calls, the next get 503", _full, default="0"),
    "provider-silent": Known("provider", "SIP to and from it is lost", rules=_silent),
    "provider-down": Known("provider", "its SBC is switched off; its host answers ICMP", _down),
    "uplink-cable": Known("uplink", "the cable to its router is out", _cable),
    "uplink-blackhole": Known("uplink", "its router answers, nothing passes the ISP", rules=_blackhole),
    "uplink-loss": Known("uplink", "VALUE percent of the packets are lost, each way", rules=_loss, default="20"),
    "uplink-one-way": Known(
        "uplink", "VALUE percent of what comes to the clinic is lost", rules=_one_way, default="60"
    ),
    "uplink-sip": Known("uplink", "its ISP drops SIP (port 5060) and nothing else", rules=_filtered),
    "uplink-address": Known("uplink", "its public address changes, as by DHCP", _readdress),
    "dns-dead": Known("pbx", "the clinic's DNS server is off", _dns),
    "router-dead": Known("uplink", "its router is off; once back it has forgotten its NAT state", _router),
    "pbx-internet": Known("pbx", "no uplink reaches anything beyond its router", rules=_no_internet),
    "database-down": Known("pbx", "PostgreSQL on the PBX is stopped", _database_down),
    "phone-unplugged": Known("phone", "the phone neither hears nor sends", _phone),
}
