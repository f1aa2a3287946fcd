"""Scanning, enumerating and cracking with the attackers' own tools (sipvicious), from every side.

From the internet and from each uplink's segment nothing may answer. At a socket of the voice network a laptop with an
address of its own is banned; at a telephone's address it cannot be, so the guard must tell whose account is tried.
Packets are counted at the attacker, so what a tool says of itself does not matter.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from clinic.model import Clinic
from clinic.people import Role
from clinicpbx import image
from clinicpbx.bundle import ensure as ensure_bundle
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.place import Place
from clinicpbx.verify.stranger import Stranger
from lab import alerts
from lab.attackers import INTERNET, Attacker, attacker
from lab.phones import spare_addresses
from lab.plan import LabPlan

Say = Callable[[str], None]
ROOT = Path(__file__).resolve().parents[2]
WORDS = ("1234", "12345", "123456", "password", "admin", "asterisk", "qwerty", "0000", "1111", "secret", "clinic")
ABSENT = ("9998", "9999")
OUTSIDE = 21  # the host part of a socket's address that is nobody's


@dataclass(frozen=True)
class Side:
    """Where an attack comes from. `bans`: fail2ban may ban it; `uplink`: strangers, whom the packet filter drops."""

    name: str
    address: IPv4Interface
    target: str
    bridge: str = ""
    bans: bool = False
    uplink: bool = False


def sides(clinic: Clinic, lab: int) -> list[Side]:
    voice = clinic.networks.voice
    bridges = _bridges(clinic)
    length, base = voice.cidr.prefixlen, int(voice.cidr.network_address)
    found = []
    for uplink in clinic.uplinks:
        own = IPv4Interface((int(uplink.address.network.network_address) + 66, uplink.address.network.prefixlen))
        found.append(Side(f"internet-{uplink.name}", INTERNET, str(uplink.external_address), uplink=True))
        found.append(Side(f"lan-{uplink.name}", own, str(uplink.address.ip), bridges[uplink.name], uplink=True))
    phone = IPv4Interface((int(voice.phones_to) - 5, length))  # no telephone of the rehearsal has it
    return [
        *found,
        Side("socket", IPv4Interface((base + OUTSIDE, length)), str(voice.pbx), bridges["voice"], bans=True),
        Side("telephone", phone, str(voice.pbx), bridges["voice"]),
    ]


def _bridges(clinic: Clinic) -> dict[str, str]:
    """Network to its bridge in the hypervisor's namespace."""
    return {segment.name: segment.device for segment in LabPlan.from_clinic(clinic).segments}


class Watch:
    """Looks twice a second for a ban or a knock, and notes what had been answered by then."""

    def __init__(self, host: Attacker, pbx: Pbx, side: Side) -> None:
        self.host, self.pbx, self.side = host, pbx, side
        self.first: float | None = None
        self.caught: float | None = None
        self.answered_then = 0
        self.answered_before = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def mark(self) -> None:
        """Cracking begins here: what was asked before is no attempt."""
        self.first, self.answered_before = time.monotonic(), self.host.packets()[1]

    def _look(self) -> None:
        table = "set inet clinic knocks" if self.side.uplink else "table inet clinic-bans"
        while not self._end.wait(0.2):
            sent, heard = self.host.packets()
            if sent and self.first is None:
                self.first = time.monotonic()
            if self.caught is None and self.first:
                seen = self.host.address in self.pbx.run(f"nft list {table} 2>/dev/null", check=False)
                if seen or (self.side.uplink and self._routed()):
                    self.caught, self.answered_then = time.monotonic(), heard

    def _routed(self) -> bool:
        """A router that forwards from anybody hides nothing; one that masquerades shows its own address."""
        return "elements = {" in self.pbx.run("nft list set inet clinic knocks", check=False)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(5)


def attack(side: Side, place: Place, pbx: Pbx, tools: Path, say: Say, *, quick: bool) -> dict[str, Any]:
    """The figures of one place, and what the tools learned there."""
    clinic, lab = place.clinic, place.lab or 0
    seconds = 2.0 if side.uplink else 6.0 if quick else 15.0
    pbx.run(f"fail2ban-client unban {side.address.ip}", check=False)
    told = " ".join(row["title"] for row in alerts.received(lab, time.time() - 3600))  # each is told once an hour
    doctors = [p.ext for p in clinic.people if p.role is Role.DOCTOR]
    real = [ext for ext in doctors if f" {ext} " not in told][-4:] or doctors[-4:]
    victim = real[0]
    learned: list[str] = []
    with _words(tools, (*WORDS, victim)) as words, contextlib.ExitStack() as stack:
        host = stack.enter_context(attacker(lab, side.name[:9], side.address, side.target, side.bridge))
        with Watch(host, pbx, side) as watch:
            began = time.time()
            scan = host.run(tools, ["svmap", side.target], 4)
            for method in ("REGISTER", "INVITE", "OPTIONS"):
                words_of = f"{real[-1]}-{real[-1]},{victim}-{victim},{ABSENT[0]}-{ABSENT[1]}"
                told = host.run(
                    tools, ["svwar", "--force", "-e", words_of, "-m", method, side.target], seconds / 2
                )  # fmt: skip
                learned += told_apart(told, set(real), method)
            if not side.uplink:
                watch.mark()
            crack = ["svcrack", "-u", victim, "-d", words, side.target]
            learned += cracked(host.run(tools, crack, seconds))
            learned += cracked(host.run(tools, ["svcrack", "-u", victim, "-r", "1000-9999", side.target], seconds))
            time.sleep(0.6)
        sent, heard = host.packets()
    alert = None
    if side.name == "telephone":
        guess(place, victim, 12)
        alert = alerts.wait(lab, lambda row: f" {victim} " in row["title"], began, 6)
    since = watch.first or time.monotonic()
    figures = {
        "place": side.name,
        "attacker": str(side.address.ip),
        "target": side.target,
        "sent": sent,
        "answered": heard,
        "answered_before_ban": (heard if watch.caught is None else watch.answered_then) - watch.answered_before,
        "seconds_to_ban": None if watch.caught is None else round(watch.caught - since, 2),
        "learned": learned,
        "scanner_told": "PBX" if "PBX" in scan else "nothing",
        "reported": alert["title"] if alert else None,
    }
    say(
        f"{side.name}: {sent} packets, {heard} answered, "
        + (f"caught after {figures['seconds_to_ban']} s" if watch.caught else "never banned")
        + (f"; reported: {alert['title']}" if alert else "")
    )
    return figures


def told_apart(text: str, real: set[str], method: str) -> list[str]:
    """Extensions that svwar lists and that differ from what it lists for absent ones. Pure."""
    rows = dict(re.findall(r"^\|\s*(\d+)\s*\|\s*(\S+)\s*\|", text, re.M))
    absent = {answer for ext, answer in rows.items() if ext not in real}
    return [f"{method} {ext} {answer}" for ext, answer in rows.items() if ext in real and answer not in absent]


def cracked(text: str) -> list[str]:
    """Accounts whose password svcrack found; the password itself is not repeated. Pure."""
    return [f"password of {ext}" for ext in re.findall(r"^\|\s*(\d+)\s*\|\s*\S+\s*\|", text, re.M)]


@contextlib.contextmanager
def _words(tools: Path, words: tuple[str, ...]) -> Iterator[str]:
    """A word list within the tools root, readable by its owner only, gone afterwards."""
    name = f"tmp/drill-{time.time_ns():x}"
    file = tools / name
    file.touch(mode=0o600)
    file.write_text("\n".join(words) + "\n")
    try:
        yield f"/{name}"
    finally:
        file.unlink(missing_ok=True)


def control(place: Place) -> str:
    """With the right password the same request is accepted: what guessing does not find is not there."""
    person = [p for p in place.clinic.people if p.role is Role.DOCTOR][-5]
    address = spare_addresses(place.lab or 0)[-1]
    answer = ""
    with Stranger(place.clinic, address, place.state["namespaces"]["phones"]) as stranger:
        for _ in range(5):  # what the attack left in the queue may be answered first
            right = stranger.wrong(person.ext, place.secrets[f"sip/{person.ext}"])
            answer = stranger.ask(stranger.register(person.ext, right))
            if accepted(answer):
                break
            time.sleep(0.5)
    if phones := place.phones():
        phones.register([person.ext])  # the telephone has its extension again
    return f"{person.ext} with its right password: accepted" if accepted(answer) else ""


def accepted(answer: str) -> bool:
    """The registration was: 200, or the OPTIONS with which the PBX at once asks whom it has registered. Pure."""
    return answer.startswith(("SIP/2.0 200 ", "OPTIONS sip:"))


def guess(place: Place, victim: str, attempts: int) -> None:
    """Wrong passwords with digests of our own from a telephone's address, beside the tools'."""
    address = spare_addresses(place.lab or 0)[-1]
    with Stranger(place.clinic, address, place.state["namespaces"]["phones"]) as stranger:
        for _ in range(attempts):
            stranger.ask(stranger.register(victim, stranger.wrong(victim, "guess")), 0.3)


def run(clinic: str, at: str, say: Say, *, quick: bool = False) -> dict[str, Any]:
    """Figures by place, the worst of those that can be banned, and what was learned (nothing, if all is well)."""
    place = Place.of(clinic, at)
    lab, pbx = place.lab or 0, place.connect()
    tools = image.tools(ensure_bundle(ROOT / "bundle.lock", production=False))
    places: list[dict[str, Any]] = []
    try:
        pbx.run("nft flush set inet clinic knocks", check=False)
        for side in sides(place.clinic, lab):
            places.append(attack(side, place, pbx, tools, say, quick=quick))
            if side.uplink:
                pbx.run("nft flush set inet clinic knocks", check=False)
        seen = control(place)
    finally:
        for side in sides(place.clinic, lab):
            pbx.run(f"fail2ban-client unban {side.address.ip}", check=False)
    banned = [p for p in places if p["seconds_to_ban"] is not None and p["place"] == "socket"]
    outside = [p for p in places if p["place"].startswith(("internet", "lan"))]
    return {
        "attempts_answered_before_ban": max((p["answered_before_ban"] for p in banned), default=-1),
        "seconds_to_ban": max((p["seconds_to_ban"] for p in banned), default=-1.0),
        "answered_to_strangers": sum(p["answered"] for p in outside),
        "learned": [f"{p['place']}: {what}" for p in places for what in p["learned"]],
        "reported": next((p["reported"] for p in places if p["reported"]), None),
        "control": seen,
        "places": places,
    }
