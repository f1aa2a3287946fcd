"""The WAN drill: real links break while calls are placed both ways and calls are in progress, again and again.

Each run: calls in progress, calls every 200 ms both ways, the fault, what people notice, the fault's end, back to where
it began. Figures are seconds from the fault. Nothing outside the rehearsal is touched.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clinic.people import Role
from clinic.types import ServiceClass
from clinicpbx.drill import keepalived, wan_report, witness
from clinicpbx.drill.traffic import Placed, Stream, Talk, failed, first_success, outward
from clinicpbx.drill.wan_breaks import BREAKS, RUNS, Break, Say, Scene
from clinicpbx.drill.wan_rows import Run, code, line, neighbour, summed
from clinicpbx.errors import ClinicError
from clinicpbx.verify.desk import unregistered
from clinicpbx.verify.pbx import wait_until
from clinicpbx.verify.place import Place
from lab import faults, providers, state
from softphone.client import PoolError

OURS = ("uplink-", "router-dead", "dns-dead", "provider-down", "provider-503")
"""Faults that the drill makes."""
MOVES = ("left", "returned")
AWAY = ("failback", "return")
"""What begins with the calls on the spare uplink."""
STATE = "/var/lib/clinic-wan/state.json"
QUICK_RUNS = 2
RETURNS = 20.0
"""Seconds beside the wait for the return: the line is judged and registers."""
HEALTHY = 60.0
"""Seconds for everything to be as before a run: heavy loss is remembered for 30 s."""
SPOILT = 3
"""Runs of a fault that may be spoilt by the rehearsal itself."""
SPARE_NUMBERS = ("0007701", "0007702")  # the last digits: of who answers at once, and of who goes on talking


def unbound(legs: Mapping[str, tuple[str, str]], said: str, contacts: Mapping[str, str] | None = None) -> set[str]:
    """Legs (with their trunk and public address) that Asterisk's `pjsip show registrations` does not have as registered
    or, when asked, the provider's `database show registrar/contact` not at that address. Pure."""
    registered = set(re.findall(r"^\s*(\S+?)/sip:\S+\s+\S+\s+Registered", said, re.M))
    if contacts is None:
        return legs.keys() - registered
    at = {trunk: set(re.findall(r'"uri":"sip:[^@"]*@([\d.]+)', text)) for trunk, text in contacts.items()}
    return {leg for leg, (trunk, host) in legs.items() if leg not in registered or host not in at.get(trunk, ())}


class Drill:
    def __init__(self, scene: Scene) -> None:
        self.scene, self.clinic = scene, scene.clinic
        able = [
            person.ext for person in self.clinic.people
            if person.role in (Role.DOCTOR, Role.STAFF) and self.clinic.class_of(person).rank >= ServiceClass.LOCAL.rank
            and not self.clinic.encrypts(person)
        ]  # fmt: skip
        self.callers, self.talkers, self.rescuer = able[:16], able[16:18], able[18]
        area = self.clinic.numbering.area_code
        self.quick, self.long = (f"8{area}{number}" for number in SPARE_NUMBERS)
        idle = unregistered(self.clinic, scene.main)
        self.registering = {
            leg: (trunk.name, str(uplink.external_address))
            for trunk in self.clinic.trunks for uplink in self.clinic.uplinks
            if trunk.enabled and trunk.auth == "registration" and (leg := f"{trunk.name}-{uplink.name}") not in idle
        }  # fmt: skip
        self.numbers: dict[str, str] = {}
        self.called: dict[str, str] = {}
        for trunk in self.clinic.trunks:
            for did in sorted(trunk.dids, key=lambda did: did.to not in self.clinic.by_ext):  # a flow answers, too
                if trunk.enabled:
                    dialled = f"sip:{did.number.lstrip('+')}@{trunk.server}:{trunk.port}"
                    if self.numbers.setdefault(trunk.name, dialled) == dialled and did.to in self.clinic.by_ext:
                        self.called[trunk.name] = str(did.to)

    def prepare(self) -> None:
        """Subscribers and telephones that answer at once; every telephone registered."""
        witness.plug_in(self.scene.phones)
        self.scene.pstn.set_behaviour("pstn", "answer", pattern=f"*{SPARE_NUMBERS[0]}", after=0, hold=0.1)
        self.scene.pstn.set_behaviour("pstn", "answer", pattern=f"*{SPARE_NUMBERS[1]}", after=0, tone=620)
        self.settle()

    def tidy(self) -> None:
        """Telephones ring again as theirs do."""
        for called in self.called.values():
            with contextlib.suppress(PoolError):
                self.scene.phones.set_behaviour(called, "ring")

    def inbound_of(self, one: Break) -> str:
        """The provider by whose number people call in: another when the first is what breaks, none where the clinic's
        address at the other is what is left: how soon that one turns to it is its own business."""
        if one.inbound != "other":
            return self.scene.trunk if one.inbound else ""
        return next((name for name in self.numbers if name != self.scene.trunk), "")

    def settle(self) -> float:
        """Until all is as before a run: seconds that the main uplink took to count as well."""
        scene, began, well = self.scene, time.monotonic(), 0.0
        asked = False
        while time.monotonic() - began < HEALTHY:
            now = scene.status()
            if not well and now["uplinks"][scene.main]["verdict"] == "ok":
                well = time.monotonic() - began
            if now["current"] != scene.main and well and not asked:
                scene.pbx.run("wanctl return", check=False)
                asked = now["uplinks"][scene.main]["verdict"] == "ok"
                continue
            asked = False
            every = now["asterisk"] and all(leg["answers"] for leg in now["legs"].values())
            if now["current"] == scene.main and not now["avoided"] and every and not self.away():
                return well
            time.sleep(0.25)
        said = f"not registered: {sorted(self.away())}; {json.dumps(scene.status())[:600]}"
        raise ClinicError(f"the rehearsal is not as before: {said}", remedy="scripts/clean")

    def away(self) -> set[str]:
        """Legs that should be registered and are not. The watchdog's own word is up to five seconds old, and Asterisk's
        may be of a binding that another took away: a run that begins by the spare uplink alone would be none."""
        said = self.scene.pbx.asterisk("pjsip show registrations")
        if found := unbound(self.registering, said):
            return found
        far = providers.known(self.scene.lab)
        return unbound(
            self.registering, said, {name: one.cli("database show registrar/contact") for name, one in far.items()}
        )

    def leave(self) -> None:
        """The cable is out and the spare uplink carries the calls, for the first time within an hour: each departure
        doubles the wait for the return."""
        scene = self.scene
        scene.pbx.run(f"systemctl stop clinic-wan && rm -f {STATE} && systemctl start clinic-wan")
        self.settle()
        faults.apply(scene.lab, "uplink-cable", scene.main)
        if not wait_until(lambda: scene.status()["current"] == scene.spare, 10):
            raise TimeoutError(f"calls stay with {scene.main}")

    def run(self, one: Break) -> Run:
        scene, out = self.scene, Run()
        scene.seconds = one.watch
        trunk = self.inbound_of(one)
        number, called = self.numbers.get(trunk, ""), self.called.get(trunk, "")
        if called:
            scene.phones.set_behaviour(called, "answer", after=0, hold=0.1)
        if one.name in AWAY:
            self.leave()
        if one.name == "failback":
            faults.clear(scene.lab, "uplink-cable", scene.main)
            wait_until(lambda: scene.status()["uplinks"][scene.main]["verdict"] == "ok", 10)
            time.sleep(4)  # it registers again
        talks: list[Talk] = []
        if one.talks:
            for person in self.talkers:
                talks.append(outward(scene.phones, scene.pstn, person, self.long))
        streams = [Stream(scene.phones, self.callers, [self.quick], one.every)]
        if number:
            streams.append(
                Stream(scene.pstn, ["pstn"], [number], one.every, ends=not called, from_number="+79161230000")
            )
        with contextlib.ExitStack() as stack:
            for stream in streams:
                stack.enter_context(stream)
            time.sleep(1.0)
            for talk in talks:
                talk.listen_anew()
            wall, began = time.time(), time.monotonic()
            try:
                one.do(scene)
                done = time.monotonic()
                rescue = scene.phones.call(self.rescuer, self.clinic.emergency.numbers[-1])
                if one.name == "return" and wait_until(lambda: not self.away(), one.watch / 2):
                    out.registered = time.monotonic() - began
                time.sleep(max(0.0, one.watch - (time.monotonic() - began)))
                until = time.monotonic() - 2.0  # later calls may still be on their way
                for stream in streams:
                    stream.stop()
                time.sleep(0.6)
                placed = [stream.calls() for stream in streams]
                self._measure(out, placed, began, done, until)
                lost = [why for talk in talks if (why := talk.lost())]
                out.talks, out.kept = len(talks), len(talks) - len(lost)
                out.troubles += lost
                told = rescue.refresh()
                answered = told["times"].get("answered")
                out.emergency = None if answered is None else answered - done
                if answered is None:
                    out.troubles.append(f"{self.rescuer} to {rescue.info['number']}: {told['state']} {told['status']}")
                rescue.hangup()
                out.gap = max((talk.gap() for talk in talks), default=0.0)
                moved = [e for e in scene.events(wall) if e["kind"] in MOVES]
                watched = time.time()
                if moved:
                    out.decision = moved[0]["at"] - wall
            finally:
                one.undo(scene)
                for talk in talks:
                    talk.end()
                for stream in streams:
                    stream.forget()
        mended = time.monotonic()
        out.well = self.settle()
        out.back = time.monotonic() - mended
        after = [e for e in scene.events(watched) if e["kind"] in MOVES and e["why"] != "asked"]  # ours is asked for
        out.moves = len(moved) + len(after)
        return out

    def runs_of(self, one: Break, runs: int) -> dict[str, Any]:
        """A fault's row. A run that the rehearsal itself spoilt is tried again, and told."""
        done: list[Run] = []
        spoilt = 0
        while len(done) < min(runs, one.most) and spoilt < SPOILT:
            try:
                done.append(self.run(one))
            except (PoolError, IndexError, TimeoutError, ClinicError) as error:
                spoilt += 1
                self.scene.say(f"{one.name} {len(done) + 1}: {error!r}; again")
                with contextlib.suppress(PoolError):  # a call that it left would be carried, and hold up the return
                    self.scene.phones.hangup_all(self.talkers)
                self.settle()
        return summed(one, done) | {"spoilt": spoilt}

    @staticmethod
    def _measure(out: Run, placed: list[list[Placed]], began: float, done: float, until: float) -> None:
        """From the beginning of the fault, by calls that were placed when it was surely there."""
        late = done - began
        firsts = [first_success(calls, done) for calls in placed]
        out.outbound = firsts[0] + late if firsts and firsts[0] is not None else None
        if len(firsts) > 1:
            out.inbound = firsts[1] + late if firsts[1] is not None else None
        out.failed_out = failed(placed[0], began, until)
        out.failed_in = failed(placed[1], began, until) if len(placed) > 1 else 0
        out.placed = sum(len([c for c in calls if began <= c.at <= until]) for calls in placed)


@contextlib.contextmanager
def scene_of(clinic: str, at: str, say: Say) -> Iterator[Scene]:
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # of a PBX that reboots nobody wants its traces
    place = Place.of(clinic, at)
    pbx = place.connect()
    phones, pstn = place.phones(), place.pstn()
    if phones is None or pstn is None:
        raise ClinicError("the WAN drill is for a rehearsal", remedy="clinicpbx lab up, then deploy")
    if len(place.clinic.uplinks) < 2:
        raise ClinicError("a clinic with one uplink has nothing to fail over to", remedy="clinic.yml: uplinks")
    main, spare = (uplink.name for uplink in place.clinic.uplinks[:2])
    trunk = next(t.name for t in place.clinic.trunks if t.enabled)
    yield Scene(place, pbx, phones, pstn, main, spare, trunk, say)


def run(
    clinic: str, at: str, say: Say, *, runs: int = RUNS, only: Collection[str] = (), quick: bool = False
) -> Iterator[dict[str, Any]]:
    """The report as it stands after every fault: a drill of hours that ends early has what it measured.

    `faults`: a row each; `costs`: what probing takes; `others`: see keepalived; `against`, `verdict`: see wan_report.
    """
    known = [*(one.name for one in BREAKS), keepalived.NAME]
    if unknown := set(only) - set(known):
        raise ClinicError(f"There is no fault `{sorted(unknown)[0]}`.", remedy=f"one of: {', '.join(known)}")
    began = time.monotonic()
    report: dict[str, Any] = {
        "clinic": clinic, "at": at, "quick": quick, "started": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
        "seconds": 0.0, "faults": [], "costs": {}, "others": {},
    }  # fmt: skip

    def so_far() -> dict[str, Any]:
        report["seconds"] = round(time.monotonic() - began, 1)
        return report | wan_report.summary(report)

    with scene_of(clinic, at, say) as scene, contextlib.ExitStack() as stack:
        for fault in faults.active(scene.lab):  # of a drill that was killed
            if fault.name.startswith(OURS):
                faults.clear(scene.lab, fault.name, fault.target)
                say(f"mended first: {fault.name} {fault.target}")
        drill = Drill(scene)
        stack.callback(drill.tidy)
        drill.prepare()
        costs = report["costs"] = cost(scene)
        say(f"probing costs {costs['core_percent']} % of a core, {costs['kbit_per_second']} kbit/s an uplink")
        for one in BREAKS:
            if only and one.name not in only:
                continue
            if one.name == "return":
                one = replace(one, watch=60 * scene.clinic.wan.return_minutes + RETURNS)
            report["faults"].append(drill.runs_of(replace(one, watch=one.quick) if quick and one.quick else one, runs))
            say(line(report["faults"][-1]))
            yield so_far()
        if not only or keepalived.NAME in only:
            lossy = keepalived.LOSSY / 8 if quick else keepalived.LOSSY
            found = keepalived.measure(scene, _tools(scene), runs, lossy, say)
            report["others"] = {who: neighbour(row) | {"code": code()} for who, row in found.items()}
            drill.settle()
            yield so_far()


def _tools(scene: Scene) -> Path:
    """The root of the lab's programs."""
    return Path(next(iter(state.load(scene.lab)["providers"].values()))["tools"])


def cost(scene: Scene, seconds: float = 10.0) -> dict[str, Any]:
    """What probing takes when nothing is the matter: percent of one core, kbit/s of each uplink, both ways."""

    def look() -> tuple[float, dict[str, int]]:
        usage = scene.pbx.run("systemctl show -p CPUUsageNSec --value clinic-wan").strip()
        return int(usage) / 1e9, {name: u["octets"] for name, u in scene.status()["uplinks"].items()}

    began, (cpu, octets) = time.monotonic(), look()
    time.sleep(seconds)
    took, (now, more) = time.monotonic() - began, look()
    rates = [8 * (more[name] - octets[name]) / took / 1000 for name in more]
    return {"core_percent": round(100 * (now - cpu) / took, 2), "kbit_per_second": round(max(rates), 1)}
