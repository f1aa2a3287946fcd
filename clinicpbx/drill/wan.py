"""The WAN drill: real links break while calls are placed both ways and calls are in progress, again and again.

Each run: calls in progress, calls every 200 ms both ways, the fault, what people notice, the fault's end, back to where
it began. Figures are seconds from the fault. Nothing outside the rehearsal is touched.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from clinic.model import Clinic
from clinic.people import Role
from clinic.types import ServiceClass
from clinicpbx.drill import keepalived, wan_report, witness
from clinicpbx.drill.traffic import EVERY, Placed, Stream, Talk, failed, first_success, outward
from clinicpbx.errors import ClinicError
from clinicpbx.verify.desk import unregistered
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.place import Place
from lab import faults, providers, state
from softphone.client import Pool, PoolError

Say = Callable[[str], None]
OURS = ("uplink-", "router-dead", "dns-dead", "provider-down", "provider-503")
"""Faults that the drill makes."""
MOVES = ("left", "returned")
AWAY = ("failback", "return")
"""What begins with the calls on the spare uplink."""
STATE = "/var/lib/clinic-wan/state.json"
EVENTS = "/var/log/clinic-wan/events.log"
RUNS, QUICK_RUNS = 20, 2
RETURNS = 20.0
"""Seconds beside the wait for the return: the line is judged and registers."""
HEALTHY = 60.0
"""Seconds for everything to be as before a run: heavy loss is remembered for 30 s."""
SPOILT = 3
"""Runs of a fault that may be spoilt by the rehearsal itself."""
REBOOTING = 0.5
"""Seconds between calls while nobody answers at all: each holds one of the provider's lines until its time is over."""
SPARE_NUMBERS = ("0007701", "0007702")  # the last digits: of who answers at once, and of who goes on talking


@dataclass(frozen=True)
class Break:
    """A fault. `do` runs for as long as it lasts, `undo` always; `watch`: seconds that are looked at.

    `moves`: the most moves of calls that are right. `uplinks`: whether the other uplink takes over.
    """

    name: str
    meaning: str
    do: Callable[[Scene], None]
    undo: Callable[[Scene], None]
    watch: float = 4.0
    moves: int = 1
    inbound: str = "main"
    talks: bool = True
    most: int = RUNS
    every: float = EVERY
    quick: float = 0.0
    """Seconds that are looked at when there is no time."""


@dataclass
class Scene:
    """The rehearsal as a fault sees it: `main` and `spare` are the uplinks, `trunk` the first provider."""

    place: Place
    pbx: Pbx
    phones: Pool
    pstn: Pool
    main: str
    spare: str
    trunk: str
    say: Say
    seconds: float = 0.0

    @property
    def lab(self) -> int:
        return self.place.lab or 0

    @property
    def clinic(self) -> Clinic:
        return self.place.clinic

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.pbx.run("wanctl status --json")))

    def events(self, since: float) -> list[dict[str, Any]]:
        """The watchdog's events since an epoch second."""
        rows = [json.loads(line) for line in self.pbx.run(f"tail -n 200 {EVENTS}").splitlines()]
        return [row for row in rows if row["at"] >= since]


def _fault(name: str, value: str = "", target: str = "main") -> tuple[Callable[[Scene], None], Callable[[Scene], None]]:
    def aim(scene: Scene) -> str:
        return {"main": scene.main, "spare": scene.spare, "trunk": scene.trunk, "": ""}[target]

    return (
        lambda scene: _nothing(faults.apply(scene.lab, name, aim(scene), value)),
        lambda scene: faults.clear(scene.lab, name, aim(scene)),
    )


def _nothing(_: object) -> None:
    return None


def _flap(scene: Scene) -> None:
    """In and out every 3 s; the first break is the fault that is timed."""
    faults.apply(scene.lab, "uplink-cable", scene.main)

    def go_on() -> None:
        end = time.monotonic() + scene.seconds - 4
        out = True
        while time.monotonic() < end:
            time.sleep(3)
            out = not out
            with contextlib.suppress(ClinicError):
                (faults.apply if out else faults.clear)(scene.lab, "uplink-cable", scene.main)

    threading.Thread(target=go_on, daemon=True).start()


def _both_then_one(scene: Scene) -> None:
    for uplink in (scene.spare, scene.main):
        faults.apply(scene.lab, "uplink-cable", uplink)
    time.sleep(2.5)
    faults.clear(scene.lab, "uplink-cable", scene.spare)


def _both_undone(scene: Scene) -> None:
    for uplink in (scene.spare, scene.main):
        faults.clear(scene.lab, "uplink-cable", uplink)


def _kill(scene: Scene) -> None:
    """Killed, then the cable goes out: it must come back, know nothing, and still decide."""
    scene.pbx.run("systemctl kill -s KILL clinic-wan")
    time.sleep(1.5)
    faults.apply(scene.lab, "uplink-cable", scene.main)


def _reboot(scene: Scene) -> None:
    """The cable is out, the spare uplink carries the calls, and the PBX itself is rebooted."""
    faults.apply(scene.lab, "uplink-cable", scene.main)
    wait_until(lambda: scene.status()["current"] == scene.spare, 5)
    scene.pbx.run("systemctl reboot --no-block")
    time.sleep(3)  # Asterisk has ended

    def up() -> bool:
        try:
            scene.pbx = scene.place.connect()
            return bool(scene.status()["asterisk"])
        except Exception:  # whatever a machine says that is just booting
            return False

    threading.Thread(target=wait_until, args=(up, 60), daemon=True).start()


def _back(scene: Scene) -> None:
    """The way back, under load: the cable was out and is in again, and the engineer asks for the return."""
    scene.pbx.run("wanctl return")


CABLE, ROUTER, HOLE = _fault("uplink-cable"), _fault("router-dead"), _fault("uplink-blackhole")
FILTER, DNS = _fault("uplink-sip"), _fault("dns-dead", target="")
ADDRESS = _fault("uplink-address")
BREAKS: tuple[Break, ...] = (
    Break("cable", "the cable between the PBX's switch and the router is out", *CABLE),
    Break("router-crash", "the router is off and forgets its NAT state", *ROUTER),
    Break("black-hole", "the router answers, nothing passes the ISP", *HOLE),
    Break("sip-filtered", "the ISP drops SIP and nothing else", *FILTER),
    Break("loss-10", "10 % of the packets are lost, each way: just what is borne", *_fault("uplink-loss", "10"), 8.0),
    Break("loss-30", "30 % of the packets are lost, each way", *_fault("uplink-loss", "30"), 15.0),
    Break("loss-60", "60 % of the packets are lost, each way", *_fault("uplink-loss", "60"), 8.0),
    Break("one-way-loss", "60 % of what comes in is lost", *_fault("uplink-one-way", "60"), 10.0),
    Break("dns-dead", "the clinic's DNS server is off", *DNS, 3.0, 0),
    Break("provider-down", "the first provider's SBC is off", *_fault("provider-down", target="trunk"), 6.0, 0, "other",
          talks=False),
    Break("provider-503", "the first provider answers every call with 503",
          *_fault("provider-503", target="trunk"), 3.0, 0),
    Break("address", "the public address of the main uplink changes", *ADDRESS, 6.0, 1),
    Break("watchdog-killed", "the watchdog is killed, 1.5 s later the cable is out", _kill, CABLE[1], 5.0),
    Break("both-then-one", "both cables are out, after 2.5 s the spare one is back", _both_then_one, _both_undone, 8.0,
          2, talks=False),
    Break("reboot", "the PBX is rebooted while the spare uplink carries the calls", _reboot, CABLE[1], 20.0,
          talks=False, every=REBOOTING),
    Break("failback", "calls return to the main uplink", _back, CABLE[1], 3.0),
    Break("return", "the cable is in again: calls return by themselves", CABLE[1], CABLE[1], 60.0, most=1),
    Break("flapping", "the cable is out and in again every 3 s for 2 minutes", _flap, CABLE[1], 120.0, quick=20.0),
    Break("loss-5", "5 % of the packets are lost, each way, for half an hour", *_fault("uplink-loss", "5"), 1800.0, 0,
          talks=False, most=1, every=2.0, quick=30.0),
)  # fmt: skip


@dataclass
class Run:
    """What one run of a fault was like; seconds from the fault, None: it did not happen."""

    decision: float | None = None
    outbound: float | None = None
    inbound: float | None = None
    failed_out: int = 0
    failed_in: int = 0
    placed: int = 0
    talks: int = 0
    kept: int = 0
    gap: float = 0.0
    moves: int = 0
    well: float | None = None
    """Seconds from the fault's end until the main uplink counts as well."""
    back: float | None = None
    """Until calls go by it again, registered by every uplink, when an engineer asks for the return."""
    emergency: float | None = None
    troubles: list[str] = field(default_factory=list)


def p(values: Sequence[float | None], percent: float) -> float | None:
    """The percentile, by the nearest rank: with 20 runs p95 is the second worst. What never came (None) is the worst
    of all; None when the percentile is one of these. Pure."""
    if not values:
        return None
    ordered = sorted(math.inf if value is None else value for value in values)
    found = ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
    return None if math.isinf(found) else round(found, 3)


def summed(one: Break, runs: list[Run]) -> dict[str, Any]:
    """A fault's figures over its runs. Pure."""

    def of(name: str) -> list[float | None]:
        return [getattr(run, name) for run in runs]

    decisions = of("decision") if one.moves else [value for value in of("decision") if value is not None]
    planned = next((b for b in BREAKS if b.name == one.name), one)
    return {
        "name": one.name, "meaning": one.meaning, "runs": len(runs),
        "decision_p50": p(decisions, 50), "decision_p95": p(decisions, 95),
        "decision_max": p(decisions, 100),
        "outbound_p50": p(of("outbound"), 50), "outbound_p95": p(of("outbound"), 95),
        "outbound_max": p(of("outbound"), 100),
        "outbound_never": sum(run.outbound is None for run in runs),
        "inbound_p50": p(of("inbound"), 50), "inbound_p95": p(of("inbound"), 95), "inbound_max": p(of("inbound"), 100),
        "inbound_never": sum(run.inbound is None for run in runs),
        "calls_placed": sum(run.placed for run in runs),
        "calls_failed_out": sum(run.failed_out for run in runs), "calls_failed_in": sum(run.failed_in for run in runs),
        "emergency_p50": p(of("emergency"), 50), "emergency_p95": p(of("emergency"), 95),
        "emergency_max": p(of("emergency"), 100),
        "emergency_never": sum(run.emergency is None for run in runs),
        "calls_in_progress": sum(run.talks for run in runs), "calls_kept": sum(run.kept for run in runs),
        "calls_lost": sum(run.talks - run.kept for run in runs),
        "gap_p50": p(of("gap"), 50), "gap_p95": p(of("gap"), 95), "gap_max": p(of("gap"), 100),
        "well_again_p50": p(of("well"), 50), "well_again_p95": p(of("well"), 95), "well_again_max": p(of("well"), 100),
        "back_p50": p(of("back"), 50), "back_p95": p(of("back"), 95), "back_max": p(of("back"), 100),
        "moves": sum(run.moves for run in runs),
        "false_switches": sum(max(0, run.moves - one.moves) for run in runs),
        "troubles": [t for run in runs for t in run.troubles][:5],
        "watched": one.watch, "whole": len(runs) >= min(RUNS, one.most) and one.watch >= planned.watch, "code": code(),
    }  # fmt: skip


@cache
def code() -> str:
    """A digest of what the figures depend on: rows of different ones are not put into one report."""
    root = Path(__file__).parents[2]
    folders = ("services/wan", "files/wan", "templates/asterisk", "templates/provider", "clinic/rendering", "lab")
    files = [f for folder in folders for f in (root / folder).rglob("*") if f.is_file() and f.suffix != ".pyc"]
    files += [Path(__file__), Path(__file__).with_name("traffic.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:12]


def unbound(legs: Mapping[str, tuple[str, str]], said: str, contacts: Mapping[str, str] | None = None) -> set[str]:
    """Legs (with their trunk and public address) that Asterisk's `pjsip show registrations` does not have as registered
    or, when asked, the provider's `pjsip show contacts` not at that address. Pure."""
    registered = set(re.findall(r"^\s*(\S+?)/sip:\S+\s+\S+\s+Registered", said, re.M))
    if contacts is None:
        return legs.keys() - registered
    at = {trunk: set(re.findall(r"Contact:\s+\S+/sip:[^@\s]*@([\d.]+)", text)) for trunk, text in contacts.items()}
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
        """The provider by whose number people call in: another when the first is what breaks."""
        if one.inbound == "main":
            return self.scene.trunk
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
        return unbound(self.registering, said, {name: one.cli("pjsip show contacts") for name, one in far.items()})

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
            except (PoolError, IndexError, TimeoutError) as error:
                spoilt += 1
                self.scene.say(f"{one.name} {len(done) + 1}: {error!r}; again")
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
            report["others"] = {who: _other(row) for who, row in found.items()}
            drill.settle()
            yield so_far()


def _tools(scene: Scene) -> Path:
    """The root of the lab's programs."""
    return Path(next(iter(state.load(scene.lab)["providers"].values()))["tools"])


def _other(found: dict[str, Any]) -> dict[str, Any]:
    decisions = found.pop("decisions")
    return found | {"runs": len(decisions), "p50": p(decisions, 50), "p95": p(decisions, 95), "max": p(decisions, 100)}


def line(row: dict[str, Any]) -> str:
    """A row as people read it while it runs."""
    return (
        f"{row['name']:16} {row['runs']:3} runs  decision {row['decision_p50']}/{row['decision_p95']} s  "
        f"out {row['outbound_p50']}/{row['outbound_p95']}/{row['outbound_max']} s  "
        f"in {row['inbound_p50']}/{row['inbound_p95']} s  failed {row['calls_failed_out']}+{row['calls_failed_in']} of "
        f"{row['calls_placed']}  kept {row['calls_kept']}/{row['calls_in_progress']}  "
        f"gap {row['gap_p50']}/{row['gap_max']}  112 {row['emergency_p50']}/{row['emergency_p95']} s  "
        f"moves {row['moves']}, false {row['false_switches']}"
    )


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
