"""A patient's call: the operators, then the receptions, then a missed call with a name to it.

One lane, in the order of a morning: nobody is logged in yet; the operators log in; five calls keep them busy; the
next callers overflow. Calls that only wait are begun early and looked at later, so the waits overlap.
The file is over the usual size because it is one script: each check goes on with the calls of those before it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from clinic.model import Clinic
from clinic.people import Role
from clinic.trunks import Trunk
from clinicpbx.verify.desk import (
    Patients,
    Phones,
    callers,
    enabled,
    hear_each_other,
    loop_caller,
    nothing_rings,
    outcome,
)
from clinicpbx.verify.locks import Locks
from clinicpbx.verify.pbx import RECORDINGS, Pbx, wait_until
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence
from clinicpbx.verify.records import cdrs, exactly_one_missed, missed, recording
from softphone.client import Call

pytestmark = pytest.mark.lane("operators")
GREETING = 40.0  # seconds: longer than any announcement
TONES = ((440, 620), (770, 1000), (1150, 1300))  # caller, operator
ABSENT = 1500  # Hz, sent by nobody
BEHIND = 3.0  # seconds by which the callers who shall find everybody busy come later


@dataclass
class Talk:
    """A call from outside and, once answered, the telephone's end of it."""

    flow: str
    did: str
    caller: str
    call: Call
    tones: tuple[int, int] = TONES[0]
    far: Call | None = None

    @property
    def number(self) -> str:
        """The caller as the PBX writes it."""
        return f"+{self.caller}"


@dataclass
class Day:
    """The lane's calls, each begun once and kept until the lane ends."""

    clinic: Clinic
    pbx: Pbx
    phones: Phones
    patients: Patients
    calling_in: Callable[..., contextlib.AbstractContextManager[None]]
    rings: Callable[..., contextlib.AbstractContextManager[None]]
    stack: contextlib.ExitStack
    talks: dict[str, Talk] = field(default_factory=dict)
    busy: list[Talk] = field(default_factory=list)
    alone: dict[str, tuple[str, str]] = field(default_factory=dict)
    began: float = 0.0

    @property
    def operators(self) -> list[str]:
        return [p.ext for p in self.clinic.with_role(Role.OPERATOR)]

    def receptions(self, flow: str) -> list[str]:
        return [p.ext for p in self.clinic.with_role(Role.RECEPTION, self.clinic.flows[flow].department)]

    def did(self, flow: str, trunk: str = "") -> str:
        """A number of the flow, by a trunk; by the last one, which faults reach last, when none is named."""
        found = [n for n, (t, d) in self.clinic.dids.items() if d.flow == flow and t.enabled and trunk in ("", t.name)]
        return found[-1]

    def begin(self, name: str, flow: str, did: str = "", tones: tuple[int, int] = TONES[0]) -> Talk:
        """Start a call in the flow's open hours and return at once; the same name again is the same call."""
        if name not in self.talks:
            did = did or self.did(flow)
            self.stack.enter_context(self.calling_in(self.clinic.dids[did][0].name))
            self.stack.enter_context(self.rings(*self.operators, *self.receptions(flow)))
            caller = self.patients.number()
            self.talks[name] = Talk(
                flow, did, caller, self.patients.in_open_hours(flow, did, caller=caller, tone=tones[0]), tones
            )
        return self.talks[name]

    def log_in(self) -> None:
        """All operators who are not in the queue, at once."""
        self.dial_all("*11", [ext for ext in self.operators if ext not in self.pbx.queue()])

    def log_out(self) -> None:
        self.dial_all("*12", [ext for ext in self.operators if ext in self.pbx.queue()])

    def dial_all(self, code: str, exts: list[str]) -> None:
        calls = [self.phones.call(ext, code) for ext in exts]
        for call in calls:
            call.wait_ended(8)
            assert call.info["answered"] and call.info["q850"] != 21, f"{code} of {call.info['agent']} was refused"

    def call_for_operators(self) -> list[Talk]:
        """One call from outside for each operator, by all providers in turn; their greetings run."""
        if not self.busy:
            self.log_in()
            trunks = [t for t in enabled(self.clinic) if any(d.flow for d in t.dids)]
            for trunk in trunks[len(self.operators) :]:
                self.alone[trunk.name] = self.one_call(trunk)
            for index, _ in enumerate(self.operators):
                trunk = trunks[index % len(trunks)]
                flow = next(d.flow for d in trunk.dids if d.flow)
                tones = TONES[index % len(TONES)]
                self.busy.append(self.begin(f"busy-{index}", flow, self.did(flow, trunk.name), tones))
            self.began = time.monotonic()
        return self.busy

    def one_call(self, trunk: Trunk) -> tuple[str, str]:
        """Where providers outnumber operators: a call by this one, answered and ended. -> what was seen and heard"""
        flow = next(d.flow for d in trunk.dids if d.flow)
        talk = self.begin(f"alone-{trunk.name}", flow, self.did(flow, trunk.name))
        talk.far = self.phones.ringing(self.operators, GREETING, caller=talk.caller[-10:])
        talk.far.answer(tone=talk.tones[1])
        talk.call.wait_answered(5)
        way = self.patients.way.format(trunk=trunk.name)
        seen = f"{talk.number} to {talk.did}, {way}: answered by operator {talk.far.info['agent']}"
        heard = hear_each_other(talk.call, talk.tones[0], talk.far, talk.tones[1])
        talk.call.hangup()
        return seen, heard

    def let_more_come(self, flows: list[str]) -> None:
        """Callers who will find every operator busy: one per flow, and one who will give up."""
        self.call_for_operators()
        if "gives-up" not in self.talks:
            time.sleep(max(0.0, self.began + BEHIND - time.monotonic()))  # they reach the queue after the others
            for flow in flows:
                self.begin(f"overflow-{flow}", flow)
            self.begin("gives-up", flows[0])

    def keep_operators_busy(self) -> list[Talk]:
        """As `call_for_operators`, all answered."""
        for talk in self.call_for_operators():
            if talk.far is None:
                talk.far = self.phones.ringing(self.operators, GREETING, caller=talk.caller[-10:])
                talk.far.answer(tone=talk.tones[1])
                talk.call.wait_answered(5)
        return self.busy

    def in_queue(self) -> int:
        """Callers who wait in the operators' queue now."""
        return self.pbx.asterisk("queue show operators").count("(wait:")


@pytest.fixture(scope="module")
def flows(clinic: Clinic) -> list[str]:
    found: dict[str, str] = {}
    for _, did in clinic.dids.values():
        if did.flow:
            found.setdefault(clinic.flows[did.flow].department, did.flow)
    return list(found.values())


@pytest.fixture(scope="module")
def day(
    place: Place, clinic: Clinic, pbx: Pbx, locks: Locks,
    calling_in: Callable[..., contextlib.AbstractContextManager[None]],
    rings: Callable[..., contextlib.AbstractContextManager[None]],
) -> Iterator[Day]:  # fmt: skip
    phones, patients = place.phones(), callers(place, pbx, locks)
    if phones is None or patients is None:
        pytest.skip("this site has no test telephones and callers")
    with contextlib.ExitStack() as stack:
        today = Day(clinic, pbx, Phones(phones), patients, calling_in, rings, stack)
        try:
            yield today
        finally:
            today.patients.tidy()
            today.phones.tidy()
            with contextlib.suppress(Exception):
                today.log_out()


@pytest.mark.check(
    id="no-operator", title="No operator logged in: a call goes straight on to its department's receptions",
    proves="case: 7",
)  # fmt: skip
def test_no_operator_logged_in(day: Day, flows: list[str], evidence: Evidence, control: Control) -> None:
    """Ensure that nobody waits for an empty chair: the reception rings as soon as the greeting ends."""
    for member in day.pbx.queue():
        day.pbx.asterisk(f"queue remove member PJSIP/{member} from operators")
    day.begin("unanswered", flows[0])
    began = time.monotonic()
    talk = day.begin("straight", flows[-1])
    with nothing_rings(day.phones, day.operators, caller=talk.caller[-10:]):
        far = day.phones.ringing(day.receptions(talk.flow), GREETING, caller=talk.caller[-10:])
    waited = time.monotonic() - began
    assert waited < GREETING - 1
    far.answer(tone=620)
    talk.call.wait_answered(3)
    evidence(f"{talk.number} to {talk.did}: {far.info['agent']} rang after {waited:.1f} s, the greeting's length")
    evidence(hear_each_other(talk.call, 440, far, 620))
    talk.call.hangup()
    with control(f"{ABSENT} Hz, which nobody sends, is not in what the caller heard"):
        assert ABSENT in talk.call.heard()


@pytest.mark.check(
    id="operator-login", title="Operators log in, pause with a reason, and come back",
    proves="clinic.yml: call_centre.pause_reasons",
)  # fmt: skip
def test_operators_log_in_and_pause(
    day: Day, clinic: Clinic, pbx: Pbx, flows: list[str], evidence: Evidence, control: Control
) -> None:
    """Ensure that *11, *13R and *14 do what the queue then shows, and that nobody else may."""
    operator = day.operators[-1]
    day.log_in()
    assert set(day.operators) <= set(pbx.queue()), "logged in with *11, but not in the queue"
    evidence(f"in the queue after *11: {', '.join(day.operators)}")
    day.call_for_operators()  # looked at by the next check: meanwhile their greeting runs
    digit, reason = next(iter(clinic.call_centre.pause_reasons.items()))
    day.phones.confirmed(operator, f"*13{digit}")
    line = pbx.queue()[operator]
    assert "paused" in line, f"*13{digit} did not pause: {line}"
    evidence(f"*13{digit} ({reason}): {line}")
    day.phones.confirmed(operator, "*14")
    assert "paused" not in pbx.queue()[operator], "*14 did not end the pause"
    day.phones.confirmed(operator, "*78")
    line = pbx.queue()[operator]
    assert "paused:DND" in line, f"*78 leaves the operator in the queue: {line}"
    evidence(f"*78: {line}")
    day.phones.confirmed(operator, "*79")
    assert "paused" not in pbx.queue()[operator], "*79 did not end the pause that *78 began"
    lamp = f"*13{operator}"  # what the key with the lamp of one's own pause dials
    day.phones.confirmed(operator, lamp)
    assert "paused" in pbx.queue()[operator], f"{lamp} did not pause"
    day.phones.confirmed(operator, lamp)
    assert "paused" not in pbx.queue()[operator], f"{lamp} again did not end the pause"
    evidence(f"{lamp}: paused, and again: back")
    unknown = next(d for d in "987654321" if d not in clinic.call_centre.pause_reasons)
    with control("a pause reason that does not exist is refused"):
        day.phones.confirmed(operator, f"*13{unknown}")
    doctor = next(p.ext for p in clinic.people if p.role not in (Role.OPERATOR, Role.SUPERVISOR))
    with control(f"{doctor}, who is no operator, cannot log in"):
        day.phones.confirmed(doctor, "*11")
    assert doctor not in pbx.queue()
    with control(f"{lamp} is {operator}'s, and {doctor} cannot pause a colleague"):
        day.phones.confirmed(doctor, lamp)
    assert "paused" not in pbx.queue()[operator]


@pytest.mark.check(
    id="inbound-{trunk}", title="A call by {trunk} reaches an operator; both hear each other",
    proves="clinic.yml: trunks.{trunk}.dids; case: 3, 6",
)  # fmt: skip
def test_inbound_reaches_an_operator(
    day: Day, trunk: str, flows: list[str], evidence: Evidence, control: Control
) -> None:
    """Ensure that a patient's call by each provider is answered, with audio in both directions."""
    day.let_more_come(flows)
    everybody = day.keep_operators_busy()
    if trunk in day.alone:
        for text in day.alone[trunk]:
            evidence(text)
        with control(f"{ABSENT} Hz, which nobody sends, is not heard"):
            everybody[0].call.wait_tone(ABSENT, 0.7)
        return
    mine = [talk for talk in everybody if day.clinic.dids[talk.did][0].name == trunk]
    if not mine:
        pytest.skip(f"clinic.yml: no number of {trunk} leads to the operators")
    talk = mine[0]
    assert talk.far
    assert talk.far.info["caller"]["number"] == talk.number, f"the operator saw {talk.far.info['caller']['number']}"
    way = day.patients.way.format(trunk=trunk)
    evidence(f"{talk.number} to {talk.did}, {way}: answered by operator {talk.far.info['agent']}")
    evidence(hear_each_other(talk.call, talk.tones[0], talk.far, talk.tones[1]))
    with control(f"{ABSENT} Hz, which nobody sends, is not heard"):
        talk.call.wait_tone(ABSENT, 0.7)


@pytest.mark.check(
    id="gives-up", title="A caller who hangs up while waiting is recorded as missed",
    proves="case: before",
)  # fmt: skip
def test_caller_who_gives_up(day: Day, pbx: Pbx, flows: list[str], evidence: Evidence, control: Control) -> None:
    """Ensure that the missed call has caller, number, stage and wait."""
    day.let_more_come(flows)
    day.keep_operators_busy()
    talk = day.talks["gives-up"]
    waiting = 1 + sum(name.startswith("overflow") for name in day.talks)
    assert wait_until(lambda: day.in_queue() >= waiting, GREETING, every=0.5), "the callers do not reach the queue"
    talk.call.hangup()
    row = exactly_one_missed(pbx, talk.number)
    assert (row.did, row.stage) == (talk.did, "operators"), f"recorded as {row}"
    evidence(f"one missed row: {row.caller} to {row.did}, stage {row.stage}, waited {row.wait} s")
    with control("a call that is being answered has no missed row"):
        assert missed(pbx, day.busy[0].number, at_least=0)


@pytest.mark.check(
    id="overflow-{flow}", title="All operators busy: a call to {flow} goes on to that department's receptions",
    proves="clinic.yml: flows.{flow}; case: 7",
)  # fmt: skip
def test_overflow_to_the_right_reception(
    day: Day, flow: str, flows: list[str], evidence: Evidence, control: Control
) -> None:
    """Ensure that overflow rings the caller's own department and never another one."""
    day.let_more_come(flows)
    day.keep_operators_busy()
    talk = day.talks[f"overflow-{flow}"]
    own = day.receptions(flow)
    others = [p.ext for p in day.clinic.with_role(Role.RECEPTION) if p.ext not in own]
    patience = GREETING + day.clinic.call_centre.max_wait_seconds
    far = day.phones.ringing(own, patience, caller=talk.caller[-10:])
    far.answer(tone=talk.tones[1])
    talk.call.wait_answered(3)
    rung = {i["to"] for i in day.phones.pool.invites(others, caller=talk.caller[-10:])} if others else set()
    assert not rung, f"another department's reception rang: {rung}"
    took = day.phones.pool.stats()["now"] - talk.call.info["times"]["start"]
    evidence(
        f"{talk.number} to {talk.did} with {len(day.operators)} operators busy: {far.info['agent']} after {took:.1f} s"
    )
    evidence(hear_each_other(talk.call, talk.tones[0], far, talk.tones[1]))
    talk.call.hangup()
    with control("the search for rung telephones finds those of the caller's own department"):
        assert not day.phones.pool.invites(own, caller=talk.caller[-10:])
    with control(f"{ABSENT} Hz, which nobody sends, was not heard"):
        assert ABSENT in talk.call.heard()


@pytest.mark.check(
    id="recording", title="A patient's call is recorded, both sides, and linked to its CDR",
    proves="clinic.yml: recording; case: 14",
)  # fmt: skip
def test_recording_holds_both_sides(day: Day, pbx: Pbx, evidence: Evidence, control: Control) -> None:
    """Ensure that the file named in the CDR holds both tones and that only the right role may read it."""
    talk = day.keep_operators_busy()[0]
    for other in day.busy:
        other.call.hangup()
    row = next(r for r in cdrs(pbx, talk.number) if r.recording)
    assert row.did == talk.did and row.direction == "in", f"the CDR says {row}"
    tones = recording(pbx, row.recording, (*talk.tones, ABSENT))
    silent = tones.missing(talk.tones, 0.3)
    assert not silent, f"{silent} Hz are missing in the recording of {tones.seconds} s: {tones.channels}"
    evidence(f"cdr.recording = {row.recording}: {tones.seconds} s, {dict(tones.channels[0])} of the time")
    path = f"{RECORDINGS}/{row.recording}"
    mode = pbx.run(f"stat -c '%U:%G %a' {path}").strip()
    evidence(f"{mode} {path}")
    assert mode.endswith("0"), f"others may read {path}: {mode}"
    pbx.run(f"setpriv --reuid=asterisk --regid=asterisk --clear-groups head -c 1 {path}")
    with control("a service user without the role cannot read it"):
        pbx.run(f"setpriv --reuid=nobody --regid=nogroup --clear-groups head -c 1 {path}")
    with control(f"{ABSENT} Hz, which nobody sent, is not in the recording"):
        assert not tones.missing((ABSENT,), 0.05)


@pytest.mark.check(
    id="unanswered", title="Nobody answers: an apology, and exactly one missed call",
    proves="case: before, 7",
)  # fmt: skip
def test_nobody_answers(day: Day, pbx: Pbx, flows: list[str], evidence: Evidence, control: Control) -> None:
    """Ensure that a call nobody took is recorded once, with caller, number, stage and wait."""
    if "unanswered" not in day.talks:
        day.log_out()
    talk = day.begin("unanswered", flows[0])
    rings = day.clinic.flows[talk.flow].reception_ring_seconds
    talk.call.wait_ended(2 * GREETING + rings + day.clinic.call_centre.max_wait_seconds)
    row = exactly_one_missed(pbx, talk.number)
    assert (row.did, row.stage) == (talk.did, "unanswered"), f"recorded as {row}"
    assert row.wait >= rings, f"waited {row.wait} s, though the receptions ring {rings} s"
    evidence(f"one missed row: {row.caller} to {row.did}, stage {row.stage}, waited {row.wait} s")
    rung = {str(i["to"]) for i in day.phones.pool.invites(day.receptions(talk.flow), caller=talk.caller[-10:])}
    assert len(rung) == len(day.receptions(talk.flow)), f"only {len(rung)} receptions rang"
    evidence(f"{len(rung)} receptions rang for {rings} s")
    with control("a call that a reception answered has no missed row"):
        other = next((t for name, t in day.talks.items() if name != "unanswered" and t.call.info["answered"]), None)
        assert other is None or missed(pbx, other.number, at_least=0)


@pytest.mark.check(
    id="redirect", title="An operator's telephone that redirects calls sends nobody out of the clinic",
    proves="clinic.yml: forwarding.highest_class; case: 2",
)  # fmt: skip
def test_redirecting_telephone_is_not_obeyed(
    day: Day, pbx: Pbx, clinic: Clinic, evidence: Evidence, control: Control
) -> None:
    """Ensure that a 302 from a telephone, which is its own web page's forwarding, does not make the queue dial."""
    day.stack.close()  # the lane's calls are over: the providers may be broken now
    day.log_out()
    operator = day.operators[0]
    day.phones.confirmed(operator, "*11")
    others = loop_caller(clinic)  # another check's, who dials our numbers at any time
    caller = next(p.ext for p in clinic.people if p.role in (Role.DOCTOR, Role.STAFF) and p.ext != others)
    aim = f"8{next(iter(clinic.dids))[2:]}"  # our own number: the queue could dial it, and disturbs nobody else
    day.phones.behave(operator, "redirect", contact=f"sip:{aim}@{clinic.networks.voice.pbx}")
    call = day.phones.call(caller, clinic.call_centre.number)
    assert wait_until(lambda: bool(day.phones.pool.invites(operator, caller=caller)), 6, every=0.2)
    with control(f"no call to {aim} comes up"):
        assert wait_until(lambda: any(aim in c and f"!{caller}!" in c for c in pbx.channels()), 2, every=0.2)
    evidence(f"{operator} answered 302 to {aim}: {outcome(call)}, and the queue tries on")
    day.phones.pool.set_behaviour(operator, "ring")
    day.phones.ringing(operator, 15, caller=caller).answer(tone=620)
    call.wait_answered(3)
    call.hangup()
    day.log_out()


@pytest.mark.check(
    id="operator-logout", title="Operators log out, and the queue is empty",
    proves="case: 6, 8",
)  # fmt: skip
def test_operators_log_out(day: Day, pbx: Pbx, evidence: Evidence, control: Control) -> None:
    """Ensure that *12 takes an operator out of the queue."""
    day.log_in()
    with control("while operators are logged in, the queue is not empty"):
        assert not pbx.queue()
    day.log_out()
    left = set(pbx.queue()) & set(day.operators)
    assert not left, f"still in the queue after *12: {left}"
    evidence("after *12 of every operator: " + pbx.asterisk("queue show operators").splitlines()[0].strip())
