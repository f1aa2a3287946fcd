"""Scanning, enumerating and cracking with the attackers' own tools (sipvicious), from every side.

From the internet and from each uplink's segment nothing may answer. At a socket of the voice network a laptop with an
address of its own is banned; at a telephone's address it cannot be, so the guard must tell whose account is tried.
Packets are counted at the attacker, so what a tool says of itself does not matter. Each program is an attack of its
own, and idle time between two programs is in no figure.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from clinic.model import Clinic
from clinic.people import Person
from clinicpbx import image
from clinicpbx.bundle import ensure as ensure_bundle
from clinicpbx.drill import sipvicious
from clinicpbx.errors import ClinicError
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.place import Place
from lab import alerts
from lab.attackers import INTERNET, Attacker, attacker
from lab.phones import spares
from lab.plan import LabPlan

Say = Callable[[str], None]
Act = Callable[[Attacker], list[str]]
ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("9998", "9999")
SOCKETS = 6  # programs that try at a socket, each from an address of its own
STRANGER = 2.0  # seconds for a program that nobody answers
LATE = 1.0  # seconds in which a ban may follow a program's end
COMPARED = "answers compared"


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
    bridges = {segment.name: segment.device for segment in LabPlan.from_clinic(clinic).segments}
    length = voice.cidr.prefixlen
    found = []
    for uplink in clinic.uplinks:
        own = IPv4Interface((int(uplink.address.network.network_address) + 66, uplink.address.network.prefixlen))
        found.append(Side(f"internet-{uplink.name}", INTERNET, str(uplink.external_address), uplink=True))
        found.append(Side(f"lan-{uplink.name}", own, str(uplink.address.ip), bridges[uplink.name], uplink=True))
    phone = IPv4Interface(f"{spares(clinic)[-3]}/{length}")  # no telephone of the rehearsal has it
    return [
        *found,
        Side("socket", IPv4Interface((nobodys(clinic), length)), str(voice.pbx), bridges["voice"], bans=True),
        Side("telephone", phone, str(voice.pbx), bridges["voice"]),
    ]


def nobodys(clinic: Clinic) -> IPv4Address:
    """The first of the highest six addresses in a row that DHCP gives to nobody, known or unknown: sockets' own."""
    voice, unknown = clinic.networks.voice, clinic.provisioning.quarantine
    row = 0
    for number in range(int(voice.cidr.broadcast_address) - 1, int(voice.cidr.network_address), -1):
        address = IPv4Address(number)
        given = voice.phones_from <= address <= voice.phones_to or bool(unknown and address in unknown)
        row = 0 if given or address in (voice.pbx, voice.gateway) else row + 1
        if row == SOCKETS:
            return address
    raise ClinicError("The voice network has no six free addresses in a row.", remedy="narrow its ranges for DHCP")


@dataclass
class Drill:
    """What every place's attack needs. `victims` are people of whom no alert came within the hour, each taken once."""

    place: Place
    pbx: Pbx
    tools: Path
    say: Say
    seconds: float
    victims: Iterator[Person]

    @property
    def clinic(self) -> Clinic:
        return self.place.clinic

    @property
    def lab(self) -> int:
        return self.place.lab or 0


class Watch:
    """One program's attack, looked at all the time: its packets, and the instant of a ban or a knock.

    `seconds` errs upwards only: from the last look without a packet to the end of the look that saw the ban.
    """

    def __init__(self, host: Attacker, pbx: Pbx, side: Side) -> None:
        self.host, self.pbx, self.side = host, pbx, side
        self.seconds: float | None = None
        self.sent_then = 0
        self._before = host.packets()
        self._first = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def packets(self) -> tuple[int, int]:
        sent, heard = self.host.packets()
        return sent - self._before[0], heard - self._before[1]

    def _look(self) -> None:
        table = "set inet clinic knocks" if self.side.uplink else "table inet clinic-bans"
        while self.seconds is None:
            now, (sent, _) = time.monotonic(), self.packets()
            if not sent:
                self._first = now
            elif listed(self.pbx.run(f"nft list {table} 2>/dev/null", check=False), self.host.address):
                self.seconds, self.sent_then = round(time.monotonic() - self._first, 2), sent
            if self._end.wait(0.1):
                break

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(5)


def listed(text: str, address: str) -> bool:
    """Whether nft lists exactly this address. Pure."""
    return address in text.replace("{", " ").replace("}", " ").replace(",", " ").split()


def forget(pbx: Pbx, address: str) -> None:
    """Neither banned nor remembered as one who knocked."""
    pbx.run(f"fail2ban-client unban {address}", check=False)
    pbx.run(f"nft delete element inet clinic knocks '{{ {address} }}' 2>/dev/null", check=False)


def phase(drill: Drill, side: Side, number: int, name: str, act: Act) -> dict[str, Any]:
    """One program's figures, from a host of its own. What is answered is counted to its end: after a ban nothing is.

    Where bans are, its address is its own too: fail2ban still counts what an earlier program left in the logs.
    """
    address = IPv4Interface((side.address.ip + number, side.address.network.prefixlen)) if side.bans else side.address
    forget(drill.pbx, str(address.ip))
    try:
        with attacker(drill.lab, side.name[:9], address, side.target, side.bridge) as host:
            with Watch(host, drill.pbx, side) as watch:
                learned = act(host)
                if watch.seconds is None:
                    time.sleep(LATE)
            sent, answered = watch.packets()
    finally:
        forget(drill.pbx, str(address.ip))
    return {
        "tool": name,
        "attacker": str(address.ip),
        "sent": sent,
        "answered": answered,
        "sent_before_ban": watch.sent_then,
        "seconds_to_ban": watch.seconds,
        "learned": learned,
    }


def dropped(pbx: Pbx) -> int:
    """Packets that the PBX's filter let fall at its very end."""
    for row in json.loads(pbx.run("nft -j list chain inet clinic input"))["nftables"]:
        if row.get("rule", {}).get("comment") == "dropped":
            return sum(int(e["counter"]["packets"]) for e in row["rule"]["expr"] if "counter" in e)
    raise ClinicError("the packet filter counts nothing that it drops", remedy="clinicpbx deploy, then again")


def crack(drill: Drill, side: Side, number: int, *, mended: bool) -> dict[str, Any]:
    """Guess one account's password for a while; where no ban can help, wait for the guard's alert."""
    person, began = next(drill.victims), time.time()
    words = sipvicious.guesses(person.ext, drill.place.secrets[f"sip/{person.ext}"])
    name = "svcrack" + (", contact mended" if mended else "")
    seconds = STRANGER if side.uplink else drill.seconds

    def act(host: Attacker) -> list[str]:
        return sipvicious.cracked(sipvicious.svcrack(host, drill.tools, person.ext, words, seconds, mended=mended))

    figures = phase(drill, side, number, name, act) | {"account": person.ext}
    if side.name == "telephone":
        alert = alerts.wait(drill.lab, lambda row: f" {person.ext} " in row["title"], began, 6)
        facts = {
            "person": person.name, "socket": person.phone.socket, "switch": person.phone.switch,
            "port": f" {person.phone.port}\n", "address": str(side.address.ip),
        }  # fmt: skip
        figures["reported"] = alert["title"] if alert else None
        figures["alert_lacks"] = [key for key, fact in facts.items() if alert and fact not in alert["body"]]
    return figures


def attack(drill: Drill, side: Side) -> dict[str, Any]:
    """The figures of one place, and what the tools learned there."""
    clinic, tools, real = drill.clinic, drill.tools, set(drill.clinic.by_ext)
    some = [*map(str, range(2000, 2021)), *sorted(real)[-4:], *ABSENT]
    seconds = STRANGER if side.uplink else 8.0
    before = dropped(drill.pbx) if side.uplink else 0

    def enumerated(host: Attacker, method: str) -> list[str]:
        return sipvicious.told_apart(sipvicious.svwar(host, tools, some, method, seconds), real, method)

    whole = False

    def compared(host: Attacker) -> list[str]:
        nonlocal whole
        whole, found = sipvicious.compare(clinic, host, some, real)
        return found

    phases = [phase(drill, side, 0, "svmap", lambda host: _scanned(sipvicious.svmap(host, tools, 4)))]
    for number, method in enumerate(sipvicious.METHODS, 1):
        phases.append(phase(drill, side, number, f"svwar {method}", partial(enumerated, method=method)))
    if not side.uplink:
        phases.append(phase(drill, side, 3, COMPARED, compared) | {"whole": whole})
    phases += [crack(drill, side, 4 + number, mended=mended) for number, mended in enumerate((True, False))]
    for one in phases:
        caught = "not caught" if one["seconds_to_ban"] is None else f"caught after {one['seconds_to_ban']} s"
        told_of = f"; reported: {one['reported'] or 'no'}" if "reported" in one else ""
        drill.say(f"{side.name}: {one['tool']}: {one['sent']} sent, {one['answered']} answered, {caught}{told_of}")
    caught_ones = [p for p in phases if p["seconds_to_ban"] is not None]
    crackers = [p for p in caught_ones if p["tool"].startswith("svcrack")]
    others = [p for p in caught_ones if p not in crackers]
    return {
        "place": side.name,
        "attacker": str(side.address.ip),
        "target": side.target,
        "sent": sum(p["sent"] for p in phases),
        "answered": sum(p["answered"] for p in phases),
        "dropped_at_pbx": dropped(drill.pbx) - before if side.uplink else None,
        "answered_before_ban": max((p["answered"] for p in crackers), default=0),
        "enumeration_answered_before_ban": max((p["answered"] for p in others), default=0),
        "seconds_to_ban": max((p["seconds_to_ban"] for p in caught_ones), default=None),
        "learned": [f"{p['tool']}: {what}" for p in phases for what in p["learned"]],
        "reported": next((p["reported"] for p in phases if p.get("reported")), None),
        "phases": phases,
    }


def _scanned(text: str) -> list[str]:
    """That a PBX is there is no secret to somebody on the voice network; its make or version is."""
    return [f"version: {word}" for word in ("Asterisk", "FPBX") if word.lower() in text.lower()]


def control(drill: Drill) -> str:
    """svcrack, mended as in the attack, finds a password that is in its list; empty when it does not."""
    person = next(drill.victims)
    side = next(s for s in sides(drill.clinic, drill.lab) if s.name == "telephone")
    words = [*sipvicious.WORDS[:4], drill.place.secrets[f"sip/{person.ext}"]]
    try:
        with attacker(drill.lab, "control", side.address, side.target, side.bridge) as host:
            said = sipvicious.svcrack(host, drill.tools, person.ext, words, 15, mended=True)
    finally:
        if phones := drill.place.phones():
            phones.register([person.ext])  # the telephone has its extension again
    found = sipvicious.cracked(said) == [f"password of {person.ext}"]
    return f"svcrack finds {person.ext}'s password when it is the last of {len(words)} in its list" if found else ""


def run(clinic: str, at: str, say: Say, *, quick: bool = False) -> dict[str, Any]:
    """Figures by place, the worst of those that can be banned, and what was learned (nothing, if all is well)."""
    place = Place.of(clinic, at)
    lab, pbx = place.lab or 0, place.connect()
    hour = " ".join(row["title"] for row in alerts.received(lab, time.time() - 3600))
    people = [p for p in place.clinic.people[:-2] if f" {p.ext} " not in hour]  # the last two fail in other checks
    if len(people) < 2 * len(sides(place.clinic, lab)) + 1:
        raise ClinicError("Too many telephones were reported within the hour.", remedy="try again in an hour")
    tools = image.tools(ensure_bundle(ROOT / "bundle.lock", production=False))
    drill = Drill(place, pbx, tools, say, 6.0 if quick else 15.0, iter(reversed(people)))
    places = [attack(drill, side) for side in sides(place.clinic, lab)]
    accepted = control(drill)
    return summary(places, accepted)


def summary(places: list[dict[str, Any]], accepted: str) -> dict[str, Any]:
    """The figures at the top. A cracker at the socket who was never banned is -1, which no limit allows. Pure."""
    outside = [p for p in places if p["place"].startswith(("internet", "lan"))]
    arrived = all(p["dropped_at_pbx"] >= p["sent"] > 0 for p in outside)
    cracks = [c for p in places if p["place"] == "socket" for c in p["phases"] if c["tool"].startswith("svcrack")]
    all_asked = any(c.get("whole") for p in places if p["place"] == "telephone" for c in p["phases"])
    banned = bool(cracks) and all(c["seconds_to_ban"] is not None for c in cracks)
    socket = next((p for p in places if p["place"] == "socket"), {})
    unreported = [
        f"{c['tool']}: {c['answered']} answers" for p in places for c in p["phases"]
        if "reported" in c and (not c["reported"] or c["alert_lacks"])
    ]  # fmt: skip
    return {
        "attempts_answered_before_ban": socket["answered_before_ban"] if banned else -1,
        "seconds_to_ban": socket["seconds_to_ban"] if banned else -1.0,
        "enumeration_answered_before_ban": socket.get("enumeration_answered_before_ban", -1),
        "answered_to_strangers": sum(p["answered"] for p in outside),
        "learned": [f"{p['place']}: {what}" for p in places for what in p["learned"]],
        "reported": next((p["reported"] for p in places if p["reported"]), None),
        "unreported": unreported,
        "control": f"{accepted}; strangers' packets reach the PBX's filter"
        if accepted and arrived and all_asked
        else "",
        "places": places,
    }
