"""Borrowed telephones: at a real clinic this machine's softphones stand in for every telephone while the checks run.

A borrowed extension is registered from here in its telephone's place; then the telephone's own contact is registered
again. Meanwhile the PBX does not hear telephones' REGISTERs (it hears their calls, but for those by TLS), or those that
renew just now would take their extension back and lose it again without knowing. Should this program die, that ends
after half a minute and the borrowed registrations after one, and the telephones are back with their next REGISTER.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from clinic.accounts import SIP, account
from clinic.model import Clinic
from clinic.people import Role
from clinicpbx.errors import ClinicError
from clinicpbx.verify.pbx import Pbx
from softphone.client import Pool

SECONDS = 60  # the shortest registration that the PBX grants
DEAF = 30  # seconds for which the PBX does not hear telephones' REGISTERs; renewed three times as often
LOOK = 1.0  # seconds between two looks at who stole back his extension by TLS
TLS = ";transport=tls"
TABLE = "clinicpbx_verify"
PORTS = 20000  # one for each extension, from here on
PATIENT = "patient"  # the agent that plays every caller from outside


class InUseError(ClinicError):
    """Somebody talks or works: borrowing the telephones would cost a patient's call."""


@dataclass(frozen=True)
class Contact:
    """Where a telephone is registered, until epoch second `until`."""

    uri: str
    until: int


class Deaf(threading.Thread):
    """Keeps the PBX from hearing REGISTERs of the voice network, but those from `own`; other requests pass by UDP.

    Within TLS nobody can tell a REGISTER from a call to 112, so telephones that use it are heard as always: see Again.
    """

    def __init__(self, pbx: Pbx, clinic: Clinic, own: str) -> None:
        super().__init__(daemon=True)
        self.pbx, self.ended, self.address = pbx, threading.Event(), clinic.networks.voice.pbx
        register = "0x" + b"REGISTER".hex()  # a request's first 8 bytes, behind UDP's 8
        telephones = f"ip saddr {clinic.networks.voice.cidr} ip saddr != {{ {own}, {self.address} }} ip daddr @held"
        self.rules = (
            f"table inet {TABLE} {{\n set held {{ type ipv4_addr; flags timeout; }}\n chain input {{\n"
            f"  type filter hook input priority -10; policy accept;\n"
            f"  {telephones} udp dport {SIP} @th,64,64 {register} drop\n }}\n}}\n"
        )

    def start(self) -> None:
        """Raises CommandError where the PBX's kernel does not take the rule."""
        self.pbx.run("nft -f -", data=f"table inet {TABLE}\ndelete table inet {TABLE}\n{self.rules}".encode())
        self.renew()
        super().start()

    def renew(self) -> None:
        one = f"element inet {TABLE} held {{ {self.address}"
        self.pbx.run("nft -f -", data=f"add {one} }}\ndelete {one} }}\nadd {one} timeout {DEAF}s }}\n".encode())

    def run(self) -> None:
        while not self.ended.wait(DEAF / 3):
            with contextlib.suppress(Exception):  # the connection is gone: the PBX hears again by itself
                self.renew()

    def end(self) -> None:
        self.ended.set()
        with contextlib.suppress(Exception):
            self.pbx.run(f"nft delete table inet {TABLE}", check=False)


class Again(threading.Thread):
    """Takes extensions again whose telephones, by TLS, have renewed their own registrations meanwhile: it rings there
    for LOOK seconds, not until the stand-in's own renewal in half a minute.

    `seen` has what they registered: that is given back, as they believe in it and not in what stood there before.
    """

    def __init__(self, pbx: Pbx, pool: Pool, own: str, extensions: Collection[str]) -> None:
        super().__init__(daemon=True)
        self.pbx, self.pool, self.own, self.extensions = pbx, pool, own, frozenset(extensions)
        self.seen: dict[str, Contact] = {}
        self._ended, self._taking = threading.Event(), threading.Lock()

    def look(self) -> list[str]:
        """One look. -> the extensions that were taken again; who is registered nowhere is nobody's concern here."""
        lost = self._lost()
        with self._taking:
            if not lost or self._ended.is_set():
                return []
            self.pool.register(sorted(lost), timeout=2)
        return sorted(lost)

    def _lost(self) -> dict[str, Contact]:
        found = contacts(self.pbx.database("registrar/contact"))
        lost = {e: c for e, c in found.items() if e in self.extensions and f"@{self.own}:" not in c.uri}
        self.seen |= lost
        return lost

    def run(self) -> None:
        while not self._ended.wait(LOOK):
            with contextlib.suppress(Exception):  # the next look is soon
                self.look()

    def end(self) -> dict[str, Contact]:
        """Nothing is taken any more. -> what the telephones registered for themselves, by a last look as well."""
        self._ended.set()
        with self._taking, contextlib.suppress(Exception):
            if self.ident:
                self._lost()
        return dict(self.seen)


@dataclass(frozen=True)
class Borrowed:
    """The pool at `socket` holds an agent per extension, at `address`; `contacts` is what they stand in for.

    `pool`, `deaf` and `again` are of the program that took them and live no longer than it.
    """

    socket: Path
    address: str
    contacts: Mapping[str, Contact]
    pool: Pool | None = field(default=None, compare=False, repr=False)
    deaf: Deaf | None = field(default=None, compare=False, repr=False)
    again: Again | None = field(default=None, compare=False, repr=False)

    def save(self, path: Path) -> None:
        contacts = {ext: [c.uri, c.until] for ext, c in self.contacts.items()}
        path.write_text(json.dumps({"socket": str(self.socket), "address": self.address, "contacts": contacts}))

    @classmethod
    def load(cls, path: Path) -> Borrowed:
        known = json.loads(path.read_text())
        return cls(Path(known["socket"]), known["address"], {e: Contact(*c) for e, c in known["contacts"].items()})


def contacts(database: Mapping[str, str]) -> dict[str, Contact]:
    """Registered telephones from AstDB (`registrar/contact/<AOR>;@<hash>`, JSON), the latest of each. Pure."""
    found: dict[str, Contact] = {}
    for key, value in database.items():
        if not key.startswith("registrar/contact/"):
            continue
        ext = key.removeprefix("registrar/contact/").partition(";")[0]
        stored = json.loads(value)
        contact = Contact(stored["uri"].replace("^3B", ";"), int(stored["expiration_time"]))
        if ext not in found or contact.until > found[ext].until:
            found[ext] = contact
    return found


def address(clinic: Clinic) -> str:
    """This machine's own address on the voice network, in the network namespace of the caller."""
    voice = clinic.networks.voice
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect((str(voice.pbx), 5060))  # sends nothing: the kernel only chooses the way
        if ip_address(probe.getsockname()[0]) in voice.cidr:
            return str(probe.getsockname()[0])
    raise ClinicError(
        f"this machine has no address in the voice network {voice.cidr}, so it cannot stand in for telephones",
        remedy="plug it into a telephone's socket (or give it the voice VLAN) and try again",
    )


def patient(clinic: Clinic) -> str:
    """The extension whose line plays the callers from outside: one that no check needs for itself."""
    own = {did.to for _, did in clinic.dids.values()}
    plain = [p.ext for p in clinic.people if p.role in (Role.DOCTOR, Role.STAFF) and p.ext not in own]
    return (plain[-6:-5] or plain[-1:] or [clinic.people[-1].ext])[0]


def refuse_if_in_use(pbx: Pbx) -> None:
    """Raises InUseError while a call is up or an operator is logged in."""
    lines = pbx.asterisk("core show channels count").splitlines()
    calls = next((int(line.split()[0]) for line in lines if "active call" in line), 0)
    calls -= sum(line.startswith(("Local/s@meter-", "Local/s@silence-")) for line in pbx.channels())  # each half is one
    members = len(pbx.queue())
    if calls or members:
        raise InUseError(
            f"the PBX is in use: {calls} calls are up, {members} operators are logged in. Verification borrows every "
            "telephone for two minutes",
            remedy="wait until they are done, or say --despite-calls",
        )


def take(clinic: Clinic, secrets: Mapping[str, str], pbx: Pbx, path: Path) -> Borrowed:
    """Start the pool at socket `path` and register every extension from it. Raises ClinicError and leaves nothing."""
    own = address(clinic)
    found = contacts(pbx.database())
    before = {ext: found[ext] for ext in clinic.by_ext if ext in found and f"@{own}:" not in found[ext].uri}
    people = [(person.ext, person.ext, PORTS + index) for index, person in enumerate(clinic.people)]
    agents: list[dict[str, Any]] = [
        {
            "name": name, "bind_ip": own, "port": port, "expires": SECONDS,
            **account(clinic, clinic.by_ext[ext], secrets),
        }
        for name, ext, port in [*people, (PATIENT, patient(clinic), PORTS + len(people))]
    ]  # fmt: skip
    deaf = Deaf(pbx, clinic, own)
    pool = Pool.start(path)
    by_tls = [person.ext for person in clinic.people if clinic.encrypts(person)]
    by_tls += [ext for ext, contact in before.items() if TLS in contact.uri.lower()]
    again = Again(pbx, pool, own, by_tls)
    borrowed = Borrowed(path, own, before, pool, deaf, again)
    try:
        deaf.start()
        pool.add_agents(agents)
        done = pool.register([person.ext for person in clinic.people], timeout=4)
        if done["failed"]:
            ext, (state, status) = next(iter(done["failed"].items()))
            raise ClinicError(
                f"{len(done['failed'])} of {len(clinic.people)} extensions cannot be registered from {own}: "
                f"{ext} is {state} ({status or 'no answer'})",
                remedy=f"does the PBX know this description? clinicpbx deploy {clinic.name}",
            )
        if by_tls:
            again.start()
    except BaseException:
        give_back(borrowed)
        raise
    return borrowed


def give_back(borrowed: Borrowed) -> list[str]:
    """Register every telephone's own contact again and end the pool. -> extensions that are not back, with a reason"""
    pool = borrowed.pool or Pool(borrowed.socket, connect_timeout=5)
    try:
        theirs = {**borrowed.contacts, **(borrowed.again.end() if borrowed.again else {})}
        left = {ext: max(SECONDS, contact.until - int(time.time())) for ext, contact in theirs.items()}
        ours = {name for name, found in pool.registrations().items() if found["state"] == "registered"}
        pool.hangup_all()
        pool.unregister(sorted(ours - left.keys()), timeout=2)
        told = pool.hand_over({ext: (theirs[ext].uri, left[ext]) for ext in sorted(left)})
    finally:
        if borrowed.deaf:
            borrowed.deaf.end()
        with contextlib.suppress(Exception):
            pool.shutdown()
    return [f"{ext} (SIP {status})" for ext, status in told.items() if status != 200]
