"""The packet filter, from every side: what it lets in, what it drops, and that it is there after a boot."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clinic.model import Clinic
from clinic.rendering.firewall import firewall
from clinicpbx.verify.desk import Phones
from clinicpbx.verify.locks import Locks
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence

pytestmark = pytest.mark.lane("walls")
# By mistake anything might listen: AMI, PostgreSQL, metrics, a web server of a test, SSH on another port.
MISTAKES = (80, 2222, 5038, 5432, 8080, 9100)
DOORS = (443,)  # provisioning, whatever listens there
SECONDS = 1.0

_LISTEN = """
import json,socket,sys
held=[]
for address,port in json.loads(sys.argv[1]):
    kind=socket.AF_INET6 if ':' in address else socket.AF_INET
    s=socket.socket(kind); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
    try: s.bind(socket.getaddrinfo(address,port,kind)[0][4]); s.listen(64); held.append(s)
    except OSError as e: print('taken',address,port,e)
print('ready',flush=True); sys.stdin.read()
"""


@contextlib.contextmanager
def listening(pbx: Pbx, places: list[tuple[str, int]]) -> Iterator[list[str]]:
    """Something listens at these addresses and ports of the PBX within the block; it ends with the connection too."""
    command = f"sudo -n timeout 30 python3 -c '{_LISTEN.replace(chr(39), chr(34))}' '{json.dumps(places)}'"
    given, told, _ = pbx.client.exec_command(command, timeout=20)
    try:
        lines = []
        while (line := told.readline().strip()) != "ready":
            assert line, "the listeners did not start"
            lines.append(line)
        yield lines
    finally:
        given.channel.shutdown_write()
        told.channel.recv_exit_status()


def answering(space: str, places: list[tuple[str, int]], source: str = "") -> set[tuple[str, int]]:
    """Those of the addresses and ports that take a TCP connection from a namespace of the lab, all asked at once."""
    from lab import netns

    held: dict[socket.socket, tuple[str, int]] = {}
    with netns.entered(space):
        for address, port in places:
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET
            asks = socket.socket(kind, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if source:
                asks.bind((source, 0))
            asks.connect_ex(socket.getaddrinfo(address, port, kind)[0][4])
            held[asks] = (address, port)
    found, end = set(), time.monotonic() + SECONDS
    waiting = set(held)
    while waiting and (left := end - time.monotonic()) > 0:
        for ready in select.select([], waiting, [], left)[1]:
            waiting.discard(ready)
            if not ready.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                found.add(held[ready])
    for asks in held:
        asks.close()
    return found


def lab_only(place: Place) -> dict[str, Any]:
    if place.lab is None or place.borrows:
        pytest.skip("doors are tried from every side in a lab only, never at a working clinic")
    return dict(place.state)


def dropped(pbx: Pbx, comment: str) -> int:
    """Packets that the rule with this comment has dropped."""
    found = re.search(rf'counter packets (\d+) .*"{comment}', pbx.run("nft list table inet clinic"))
    assert found, f"there is no rule {comment!r}"
    return int(found[1])


@pytest.mark.check(
    id="firewall-closed", title="From every network exactly the expected doors answer", proves="case: 2",
    lab_only=True,
)  # fmt: skip
def test_only_expected_doors_answer(
    place: Place, pbx: Pbx, clinic: Clinic, locks: Locks, evidence: Evidence, control: Control
) -> None:
    """Ensure that a program which listens by mistake is reached by nobody, over IPv4 and IPv6."""
    from lab import netns

    spaces, routers = (lab_only(place)[key] for key in ("namespaces", "routers"))
    voice, management = str(clinic.networks.voice.pbx), str(clinic.networks.management.pbx)
    ports = (22, 5061, *DOORS, *MISTAKES)
    found = json.loads(pbx.run("ip -j -6 address show scope link"))
    local = {card["ifname"]: card["addr_info"][0]["local"] for card in found if card.get("addr_info")}
    card = pbx.run(f"ip -br address | awk '/ {voice}\\//{{print $1}}'").split("@")[0].strip()
    sixth = f"{local[card]}%{card}"
    uplinks = {u.name: str(u.address.ip) for u in clinic.uplinks}
    addresses = [voice, management, *uplinks.values(), sixth]
    wanted = {"voice": {5061, *DOORS}, "management": {22}} | {name: set[int]() for name in uplinks}
    # `doors` reads what listens, and must not meet these
    with locks.hold("sockets", alone=True):
        opened = [(a, p) for a in addresses for p in (*DOORS, *MISTAKES)]
        with listening(pbx, opened):
            reach = json.dumps(opened)
            inside = pbx.run(
                f"python3 -c 'import json,socket,sys\nfor a,p in json.loads(sys.argv[1]):"
                f" socket.create_connection((a,p),2).close()\nprint(\"all\")' '{reach}'"
            )
            assert inside.strip() == "all", "the listeners do not answer the PBX itself: the rest would prove nothing"
            seen = {
                "voice": answering(spaces["eng"], [(a, p) for a in addresses[:1] for p in ports]),
                "management": answering(spaces["eng"], [(management, p) for p in ports]),
            }
            for uplink, address in uplinks.items():
                seen[uplink] = answering(routers[uplink], [(address, p) for p in ports])
            across = answering(spaces["eng"], [(management, 22)], source=_address(spaces["eng"], "voice"))
            off = "net.ipv6.conf.voice.disable_ipv6"  # as it is in the lab's own namespaces
            netns.run(["sysctl", "-qw", f"{off}=0"], namespace=spaces["eng"])
            try:
                netns.run(["ip", "-6", "addr", "add", "fe80::7/64", "dev", "voice", "nodad"], namespace=spaces["eng"])
                six = answering(spaces["eng"], [(f"{local[card]}%voice", p) for p in ports])
            finally:
                netns.run(["sysctl", "-qw", f"{off}=1"], namespace=spaces["eng"])
    for name, expected in wanted.items():
        ports_seen = {port for _, port in seen[name]}
        evidence(f"{name}: of {len(ports)} ports {sorted(ports_seen) or 'none'} answer")
        assert ports_seen == expected, f"from {name} {sorted(ports_seen)} answer, expected {sorted(expected)}"
    assert not across, "SSH answers an address of the voice network"
    assert not six, f"over IPv6 {sorted(p for _, p in six)} answer"
    with control("the search sees an open door: from management SSH answers"):
        assert not seen["management"]


def _address(space: str, device: str) -> str:
    from lab import netns

    shown = netns.run(["ip", "-4", "-o", "addr", "show", "dev", device, "primary"], namespace=space)
    return str(re.findall(r"inet ([0-9.]+)/", shown)[0])


@pytest.mark.check(
    id="firewall-boot", title="The packet filter is the description's, is live, and loads at boot", proves="case: 2",
)  # fmt: skip
def test_the_filter_is_there_after_a_boot(
    pbx: Pbx, clinic: Clinic, unchanging: Callable[..., contextlib.AbstractContextManager[None]],
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that the rules that work now are those that were confirmed, and that a reboot brings them back."""
    wanted = hashlib.sha256(firewall(clinic).encode()).hexdigest()
    with unchanging(alone=True):
        found = json.loads(pbx.run("clinic-firewall status"))
        assert found["confirmed"] == wanted, "other rules are confirmed than the description's: deploy"
        assert found["boots"] and found["live"] and not found["armed"], f"{found}"
        assert pbx.host.service("nftables").is_enabled
        order = pbx.run("systemctl show -P Before nftables.service")
        assert "network-pre.target" in order, f"nftables.service is ordered before {order}, not before the network"
        pbx.run("nft -c -f /etc/nftables.conf")
        evidence(f"rules {wanted[:12]} are confirmed, live, in /etc/nftables.conf, loaded before the network")
        try:
            with control("one more rule, loaded by hand, is seen"):
                pbx.run("nft add rule inet clinic six tcp dport 9 drop")
                assert json.loads(pbx.run("clinic-firewall status"))["live"]
        finally:
            listed = pbx.run("nft -a list chain inet clinic six")
            for handle in re.findall(r"tcp dport 9 drop # handle (\d+)", listed):
                pbx.run(f"nft delete rule inet clinic six handle {handle}")
        assert json.loads(pbx.run("clinic-firewall status"))["live"]


@pytest.mark.check(
    id="firewall-spoofed", title="A telephone's address that comes by an uplink is dropped", proves="case: 2",
    lab_only=True,
)  # fmt: skip
def test_a_spoofed_source_is_dropped(
    place: Place, pbx: Pbx, clinic: Clinic, evidence: Evidence, control: Control
) -> None:
    """Ensure that nobody at an uplink can write a telephone's address on a packet and be heard; strangers are noted."""
    from lab import netns

    state = lab_only(place)
    voice, reason = clinic.networks.voice, "an answer leaves by another card"
    forged = str(voice.phones_to)
    sent = 5
    for uplink in clinic.uplinks:
        space = state["routers"][uplink.name]
        netns.run(["ip", "addr", "add", f"{forged}/32", "dev", "lo"], namespace=space)
        netns.run(["ip", "route", "add", str(voice.pbx), "via", str(uplink.address.ip)], namespace=space)
        before = dropped(pbx, reason)
        try:
            knock(space, forged, str(voice.pbx), sent)
            time.sleep(0.1)
        finally:
            netns.run(["ip", "route", "del", str(voice.pbx)], namespace=space)
            netns.run(["ip", "addr", "del", f"{forged}/32", "dev", "lo"], namespace=space)
        count = dropped(pbx, reason) - before
        evidence(f"{uplink.name}: {count} of {sent} packets from {forged} are dropped")
        assert count >= sent, f"{count} of {sent} packets with {forged} on them were dropped"
    before = dropped(pbx, reason)
    knock(state["namespaces"]["eng"], _address(state["namespaces"]["eng"], "voice"), str(voice.pbx), sent)
    time.sleep(0.1)
    with control("the same packets from the voice network itself are not"):
        assert dropped(pbx, reason) - before >= sent
    stranger = knock(state["namespaces"]["net"], "", str(clinic.uplinks[0].external_address), 1)
    time.sleep(0.1)
    noted = set(re.findall(r"(\d+\.\d+\.\d+\.\d+) (?:counter|expires)", pbx.run("nft list set inet clinic knocks")))
    evidence(f"strangers that knocked, of the last day: {len(noted)}")
    assert stranger in noted, f"{stranger} knocked at SIP from the internet and was not noted"
    with control("a provider is no stranger"):
        assert noted & {str(trunk.server) for trunk in clinic.trunks}


@pytest.mark.check(
    id="firewall-limit", title="All telephones that register at once stay below the limit for SIP; a flood does not",
    proves="case: 2", lab_only=True,
)  # fmt: skip
def test_a_power_cut_is_no_flood(
    place: Place, pbx: Pbx, clinic: Clinic, phones: Phones, evidence: Evidence, control: Control
) -> None:
    """Ensure that the limit meets floods and nothing else, were every telephone behind one address."""
    space, reason = lab_only(place)["namespaces"]["phones"], "SIP flood"
    from lab.phones import spare_addresses

    before = dropped(pbx, reason)
    report = phones.pool.register([person.ext for person in clinic.people], timeout=4)
    # All but those that other checks have unplugged meanwhile: enough to be the storm that is meant.
    assert report["registered"] >= 0.9 * len(clinic.people), f"after a power cut {report}"
    here, there = spare_addresses(place.lab or 0)[:2]
    storm = 4 * len(clinic.people)  # request, answer to the challenge, and each once more
    knock(space, here, str(clinic.networks.voice.pbx), storm)
    time.sleep(0.1)
    assert dropped(pbx, reason) == before, "telephones that register at once are taken for a flood"
    said = f"{report['registered']} telephones registered in {report['seconds']:.2f} s"
    evidence(f"{said}, then {storm} packets from one address: none dropped")
    with control("ten times the storm from one address is not let through"):
        knock(space, there, str(clinic.networks.voice.pbx), 10 * storm)
        time.sleep(0.1)
        assert dropped(pbx, reason) == before


def knock(space: str, source: str, address: str, count: int) -> str:
    """So many UDP packets that are no SIP to port 5060. -> the address they came from."""
    from lab import netns

    with netns.entered(space), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talker:
        talker.bind((source, 0))
        talker.connect((address, 5060))
        for _ in range(count):
            talker.send(b"\r\n\r\n")
        return str(talker.getsockname()[0])
