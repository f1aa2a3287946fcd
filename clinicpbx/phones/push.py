"""Telling telephones to configure themselves, wave after wave, and believing none that has not shown that it did.

The PBX keeps what each telephone fetched and applied, so nothing is remembered here: run again, and it goes on with
those that are not current yet. A telephone in a call is not told; it is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from clinic.leases import mac12
from clinic.model import Clinic
from clinic.people import Person
from clinic.phones import MODELS
from clinic.waves import next_wave
from clinicpbx.phones.state import Look, place, refused


@dataclass(frozen=True)
class Patience:
    """Seconds. `calls`: a telephone in a call is waited for; `again`: one that fetched nothing is told anew, `tries` in
    all, and is then given up, for it holds up its department; `apply`: one that fetched has so long, from when it was
    told, to apply the version and be registered."""

    calls: float = 300.0
    again: float = 8.0
    tries: int = 3
    apply: float = 60.0

    @property
    def deaf(self) -> float:
        return self.again * self.tries


@dataclass
class Job:
    """One telephone on its way. `since`: when it was told first, `told`: last; `busy`: since when it is waited for."""

    person: Person
    version: str
    tries: int = 0
    since: float = 0.0
    told: float = 0.0
    busy: float = 0.0

    @property
    def ext(self) -> str:
        return self.person.ext

    @property
    def mac(self) -> str:
        return mac12(self.person.phone.mac)


@dataclass
class Result:
    """`done`: extension to seconds from being told; `failed`: to the reason; `waited`: those that were in a call."""

    done: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    waited: list[str] = field(default_factory=list)
    waves: list[list[str]] = field(default_factory=list)
    seconds: float = 0.0


class Fleet(Protocol):
    def look(self, until: Mapping[str, str] | None = None, seconds: float = 0.0) -> Look: ...
    def notify(self, phones: Mapping[str, Collection[str]]) -> None: ...


class Teller(Protocol):
    """Who shows how it goes. `say` is a line that stays; `count` are figures that replace each other."""

    def say(self, text: str) -> None: ...
    def count(self, done: int, failed: int, out: int, busy: int) -> None: ...


def stale(found: Look, people: Collection[Person]) -> list[Job]:
    """Those whose wanted version is not the applied one, and those that the PBX refuses since they applied it: they
    were reset. A telephone the PBX does not know is none of them."""
    jobs = [Job(person, found.wanted(mac12(person.phone.mac))) for person in people]
    return [job for job in jobs if job.version and (job.version != found.applied(job.mac) or _locked(found, job))]


def push(
    clinic: Clinic, fleet: Fleet, jobs: Collection[Job], found: Look, tell: Teller, patience: Patience | None = None,
    clock: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep,
) -> Result:  # fmt: skip
    """Until each is confirmed or given up, with its reason. `found`: the fleet as it was just now."""
    run = _Run(clinic, fleet, tell, patience or Patience(), {job.ext: job for job in jobs}, clock)
    began = clock()
    run.away(found)
    while run.pending or run.out:
        run.tell_next(found)
        # The PBX answers when all that are out have applied; a shorter time lets others follow those that are quick.
        until = {job.mac: job.version for job in run.out.values()}
        applied = all(found.applied(mac) == version for mac, version in until.items())
        if not until or (applied and run.tried == run.looked):
            pause(1.0 if not until else 0.1)
        run.looked = run.tried
        found = fleet.look(until, 0.5 if run.pending else 2.0) if until else fleet.look()
        run.sort(found)
    if any(why.startswith(OFF) for why in run.result.failed.values()):
        run.last_look(fleet.look())
    run.result.seconds = round(clock() - began, 2)
    return run.result


OFF = "off"


@dataclass
class _Run:
    clinic: Clinic
    fleet: Fleet
    tell: Teller
    patience: Patience
    pending: dict[str, Job]
    clock: Callable[[], float]
    out: dict[str, Job] = field(default_factory=dict)
    result: Result = field(default_factory=Result)
    tried: int = 0
    looked: int = -1

    def away(self, found: Look) -> None:
        """Nobody can tell a telephone that is off, nor one that was reset; it fetches by itself when it can."""
        for job in list(self.pending.values()):
            locked, there = _locked(found, job), found.registered(job.ext)
            if locked or not there:
                self.fail(job, locked if there else f"{OFF}: {locked}" if locked else off(found, job))
                del self.pending[job.ext]

    def tell_next(self, found: Look) -> None:
        now = self.clock()
        for ext in found.busy & self.pending.keys():
            job = self.pending[ext]
            job.busy = job.busy or now
            if ext not in self.result.waited:
                self.result.waited.append(ext)
                self.tell.say(f"{ext} {job.person.name} is in a call; it is told afterwards")
            if now - job.busy > self.patience.calls:
                self.fail(
                    job, f"in a call for {self.patience.calls:.0f} s; it takes its configuration later, by itself"
                )
                del self.pending[ext]
        off = [p.ext for p in self.clinic.people if not found.registered(p.ext)]
        ready = [ext for ext in self.pending if ext not in found.busy]
        wave = next_wave(self.clinic, ready, self.out.keys(), off)
        again = [
            e for e, j in self.out.items()
            if now - j.told > self.patience.again and j.tries < self.patience.tries and not _fetched(found, j)
            and e not in found.busy
        ]  # fmt: skip
        for ext in wave:
            self.out[ext] = self.pending.pop(ext)
            self.out[ext].since = now
        if wave:
            self.result.waves.append(list(wave))
        vendors: dict[str, list[str]] = {}
        for ext in (*wave, *again):
            job = self.out[ext]
            job.told, job.tries = now, job.tries + 1
            vendors.setdefault(MODELS[job.person.phone.model].vendor.lower(), []).append(ext)
        if vendors:
            self.tried += 1
            self.fleet.notify(vendors)
        self.count(found)

    def sort(self, found: Look) -> None:
        """Who is confirmed, and who has had all the time there is."""
        now = self.clock()
        for job in list(self.out.values()):
            why = missing(found, job)
            if not why:
                self.result.done[job.ext] = round(now - job.since, 2)
            elif now - job.since > (self.patience.apply if _fetched(found, job) else self.patience.deaf):
                self.fail(job, why)
            else:
                continue
            del self.out[job.ext]
        self.count(found)

    def last_look(self, found: Look) -> None:
        """One that was off may have come by itself meanwhile."""
        for ext in [e for e, why in self.result.failed.items() if why.startswith(OFF)]:
            person = self.clinic.by_ext[ext]
            job = Job(person, found.wanted(mac12(person.phone.mac)))
            if not missing(found, job):
                del self.result.failed[ext]
                self.result.done[ext] = 0.0

    def fail(self, job: Job, why: str) -> None:
        self.result.failed[job.ext] = why

    def count(self, found: Look) -> None:
        busy = len(found.busy & self.pending.keys())
        self.tell.count(len(self.result.done), len(self.result.failed), len(self.out), busy)


def _locked(found: Look, job: Job) -> str:
    """Why a telephone that was reset gets nothing more; empty when it is none."""
    row = refused(found.phones.get(job.mac) or {})
    if row is None:
        return ""
    remedy = f"; if it was reset: phones open CLINIC {job.ext}" if row["what"] == "closed" else ""
    return f"refused by the PBX: {row['what']}, from {row['address']}{remedy}"


def _fetched(found: Look, job: Job) -> bool:
    fetched = (found.phones.get(job.mac) or {}).get("fetched") or {}
    return fetched.get("version") == job.version


def missing(found: Look, job: Job) -> str:
    """What a telephone has not shown yet; empty when it fetched, applied and is registered from where it fetched."""
    about = found.phones.get(job.mac) or {}
    fetched = about.get("fetched") or {}
    contact = found.contacts.get(job.ext)
    if found.applied(job.mac) != job.version:
        if not _fetched(found, job):
            since = [r for r in about.get("refused", ()) if float(r["at"]) > float(fetched.get("at", 0))]
            if since:
                return f"was told, and refused by the PBX: {since[-1]['what']}, from {since[-1]['address']}"
            return (
                f"was told {job.tries} times and fetched nothing" if job.tries > 1 else "was told and fetched nothing"
            )
        return "fetched its configuration and did not apply it"
    if locked := _locked(found, job):
        return locked
    if contact is None or not found.registered(job.ext):
        return "applied its configuration and did not register again"
    if fetched and contact.address and contact.address != fetched.get("address"):
        return f"registered from {contact.address}, but its configuration went to {fetched.get('address')}"
    return ""


def off(found: Look, job: Job) -> str:
    """Why a telephone cannot be told at all."""
    about = found.phones.get(job.mac) or {}
    if not about.get("fetched"):
        door = "its first door is open" if about.get("first") == "open" else "its first door is closed: phones open"
        return f"{OFF}: it has never fetched a configuration ({door})"
    return f"{OFF}: not registered; it fetches by itself when it is switched on"


def summary(clinic: Clinic, result: Result) -> list[dict[str, Any]]:
    """Those who did not, as a person looks for them: by switch and port."""
    rows = [{**place(clinic, clinic.by_ext[ext]), "why": why} for ext, why in result.failed.items()]
    return sorted(rows, key=lambda row: (list(clinic.switches).index(row["switch"]), row["port"]))
