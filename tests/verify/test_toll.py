"""What calls abroad and calls that cost money may reach and spend: the allow-list, the purses, PINs and hours.

The file is over the usual size because every check spends from the same purses, so their order is the point.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import phonenumbers
import pytest

from clinic.model import Clinic
from clinic.people import Person, Role
from clinic.rendering.toll import UNLIMITED, counted
from clinic.types import ServiceClass
from clinicpbx.verify.desk import Phones, Pstn, enabled, outcome, provider_of
from clinicpbx.verify.moments import Moments
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.plugin import Control, Evidence
from softphone.client import Call, PoolError

pytestmark = pytest.mark.lane("tolls")
Lock = Callable[..., contextlib.AbstractContextManager[None]]
ROOT = Path(__file__).resolve().parents[2]
SPENT = ("money/trunk-", "seconds/trunk-", "money/clinic", "seconds/clinic", "day")
"""What the other lanes' calls count in meanwhile."""


@dataclass
class Tolls:
    """A person who may call abroad, at an hour when that is open, and the PBX's purses."""

    clinic: Clinic
    pbx: Pbx
    phones: Phones
    pstn: Pstn
    traveller: Person
    before: Mapping[str, str]
    clocks: set[str] = field(default_factory=set)

    @property
    def step(self) -> int:
        return counted(self.clinic).step

    def numbers(self) -> list[tuple[str, str]]:
        """(country, mobile number as 810...) of each listed country."""
        out = []
        for country in self.clinic.toll.countries:
            example = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
            out.append((country, f"810{example.country_code}{example.national_number}"))
        return out

    def purse(self) -> dict[str, str]:
        """Keys below `toll`."""
        return {k.partition("/")[2]: v for k, v in self.pbx.database().items() if k.startswith("toll/")}

    def put(self, key: str, value: object) -> None:
        self.pbx.put("toll", key, str(value))

    def drop(self, *keys: str) -> None:
        self.pbx.asterisk(*(f"database del toll {key}" for key in keys))

    def at(self, moment: int | None, *people: str) -> None:
        """For a few minutes these people's calls are made at another moment."""
        for ext in people:
            self.clocks.add(ext)
            self.pbx.put("clock", ext, f"{int(time.time()) + 300}:{moment}")

    def moments(self) -> Moments | None:
        name = self.clinic.toll.hours
        return Moments(self.clinic.hours[name], self.clinic.timezone, dt.date.today()) if name else None

    def call(self, ext: str, number: str) -> Call:
        return self.phones.call(ext, number, tone=440)

    def end(self, call: Call) -> None:
        """Hang up, and wait until the PBX has: the next call abroad may be one too many before that."""
        call.hangup()
        caller = f"PJSIP/{call.info['agent']}-"
        _within(lambda: not any(c.startswith(caller) for c in self.pbx.channels()), 4)

    def arrived(self, number: str, since: float) -> list[str]:
        """Trunks by which the public network was asked for it."""
        return [provider_of(self.clinic, i["source_ip"]) for i in self.pstn.reached(number, since)]

    def ready(self) -> None:
        """Every way out is reachable: another check may just have mended one, and the PBX must have seen it."""
        legs = [f"{t.name}-{u.name}" for t in enabled(self.clinic) for u in self.clinic.uplinks]

        def every() -> bool:
            avoided = any(key.startswith("wan/avoid/") for key in self.pbx.database())
            return not avoided and all("Avail" in self.pbx.contacts().get(leg, "") for leg in legs)

        assert _within(every, 20), f"not every provider is reachable: {self.pbx.contacts()}"

    def now(self) -> float:
        return float(self.pstn.pool.stats()["now"])

    def tidy(self) -> None:
        ours = {k: v for k, v in self.purse().items() if not k.startswith(SPENT)}
        kept = {k: v for k, v in self.before.items() if not k.startswith(SPENT)}
        commands = [f"database del toll {k}" for k in ours.keys() - kept.keys()]
        commands += [f'database put toll {k} "{v}"' for k, v in kept.items() if ours.get(k) != v]
        commands += [f"database del clock {ext}" for ext in self.clocks]
        if commands:
            self.pbx.asterisk(*commands)


@pytest.fixture
def tolls(clinic: Clinic, pbx: Pbx, phones: Phones, pstn: Pstn) -> Iterator[Tolls]:
    who = next((p for p in clinic.people if clinic.class_of(p) is ServiceClass.INTERNATIONAL), None)
    if who is None or not clinic.toll.countries:
        pytest.skip("clinic.yml: nobody may call abroad")
    found = Tolls(clinic, pbx, phones, pstn, who, {})
    found.before = found.purse()
    moments = found.moments()
    if moments:
        found.at(moments.open(), who.ext)
    yield found
    phones.tidy()
    time.sleep(0.3)  # the calls' last steps are given back
    found.tidy()


def cli(request: pytest.FixtureRequest, *words: str) -> tuple[int, Any]:
    """`clinicpbx fraud ...` as an engineer runs it -> (exit code, its JSON)"""
    where = ["--at", request.config.getoption("--at") or "lab", "--json"]
    command = [sys.executable, "-m", "clinicpbx", "fraud", words[0], str(request.config.getoption("--clinic"))]
    done = subprocess.run(
        [*command, *words[1:], *where], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode in (0, 1) and done.stdout, f"fraud {words}: {(done.stderr or done.stdout)[-300:]}"
    return done.returncode, json.loads(done.stdout)


def refused(call: Call, within: float = 5) -> str:
    call.wait_ended(within)
    assert not call.info["answered"] and call.info["status"] >= 400, f"not refused: {outcome(call)}"
    return outcome(call)


@pytest.mark.check(
    id="abroad", title="A listed country is reached by who may, and by nobody else; no other country is",
    proves="clinic.yml: toll.countries; case: 2", lab_only=True,
)  # fmt: skip
def test_listed_countries_only(tolls: Tolls, using: Lock, evidence: Evidence, control: Control) -> None:
    """Ensure that both the list and the class are needed, in every spelling of a number."""
    clinic, who = tolls.clinic, tolls.traveller.ext
    below = max((p for p in clinic.people if clinic.class_of(p) is not ServiceClass.INTERNATIONAL and not p.pin_class),
                key=lambda p: clinic.class_of(p).rank)  # fmt: skip
    closed = [
        r for r in ("GB", "LV", "CU", "TN", "AZ", "US", "KZ", "IT") if r not in clinic.toll.countries
    ]  # fmt: skip
    with using(*(t.name for t in enabled(clinic))):
        for country, number in tolls.numbers():
            since = tolls.now()
            call = tolls.call(who, number).wait_answered(6)
            assert len(tolls.arrived(number, since)) == 1
            tolls.end(call)
            since = tolls.now()
            said = refused(tolls.call(below.ext, number))
            assert not tolls.arrived(number, since), f"{below.ext} reached {country}"
            evidence(f"{country} {number}: {who} connected; {below.ext} ({clinic.class_of(below).value}): {said}")
        spelled = []
        for region in closed:
            example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
            bare = f"{example.country_code}{example.national_number}"
            spelled += [f"810{bare}", f"00{bare}", f"+{bare}"]
        spelled += ["88402345678", "89402345678", "88091234567", "88031234567", "89541234567",
                    "8108811234567", "810870123456789", "810883123456789", "810979123456789"]  # fmt: skip
        since = tolls.now()
        calls = [tolls.call(who, number) for number in spelled]
        for call in calls:
            refused(call)
        reached = [n for n in spelled if tolls.arrived(n, since)]
        assert not reached, f"reached: {reached}"
        evidence(
            f"{who} dialled {len(spelled)} closed numbers ({', '.join(closed)}, Abkhazia, satellite ...): none left"
        )
        country, number = tolls.numbers()[0]
        with control(f"the same telephone is not refused {country}"):
            refused(tolls.call(who, number), 1.5)


@pytest.mark.check(
    id="purses", title="At a cap of a person, a trunk or the clinic the toll class closes itself, until reopened",
    proves="clinic.yml: toll", lab_only=True,
)  # fmt: skip
def test_caps_close_themselves(
    tolls: Tolls, alone: Lock, request: pytest.FixtureRequest, evidence: Evidence, control: Control
) -> None:
    """Ensure that a purse pays its last step and not one more."""
    clinic, who, caps = tolls.clinic, tolls.traveller.ext, counted(tolls.clinic).caps
    country, number = tolls.numbers()[0]
    trunks = [t.name for t in enabled(clinic)]
    with alone(*trunks):
        tolls.ready()
        for scope, kind in ((f"person-{who}", "person"), (f"trunk-{trunks[0]}", "trunk"), ("clinic", "clinic")):
            for what, counter, step, cap in (
                ("international", "seconds", tolls.step, caps[kind].seconds),
                ("money", "money", counted(clinic).prices[trunks[0]][country], caps[kind].money),
            ):
                if cap == UNLIMITED:
                    continue
                spent = tolls.purse().get(f"{counter}/{scope}", "0")
                tolls.put(f"{counter}/{scope}", cap - step)
                since = tolls.now()
                tolls.end(tolls.call(who, number).wait_answered(6))
                assert tolls.arrived(number, since) == [trunks[0]]
                assert tolls.purse()[f"{counter}/{scope}"] == str(cap), "the last step was not counted"
                since = tolls.now()
                call = tolls.call(who, number)
                if kind == "trunk" and len(trunks) > 1:
                    tolls.end(call.wait_answered(6))
                    assert tolls.arrived(number, since) == [trunks[1]], "the capped trunk was used"
                    said = f"by {trunks[1]} instead"
                else:
                    said = refused(call)
                    assert not tolls.arrived(number, since), "a provider was asked above the cap"
                key = f"closed/{scope}/{what}"
                assert key in tolls.purse(), f"toll/{key} is not set"
                evidence(f"{scope} at its cap of {what}: {said}; {key}")
                if (kind, what) == ("person", "international"):
                    code, report = cli(request, "status")
                    mine = next(p for p in report["purses"] if p["scope"] == scope)
                    assert code == 1 and mine["closed"], f"fraud status does not tell: {mine}"
                    code, answer = cli(request, "reopen", who)
                    assert code == 0 and key in answer["reopened"]
                    with control(f"after `fraud reopen` {who} is not refused"):
                        refused(tolls.call(who, number), 1.5)
                    tolls.phones.tidy()
                else:
                    tolls.drop(key)
                tolls.put(f"{counter}/{scope}", spent)


@pytest.mark.check(
    id="at-once", title="More calls abroad at once than the cap are refused before a provider is asked",
    proves="clinic.yml: toll", lab_only=True,
)  # fmt: skip
def test_calls_abroad_at_once(tolls: Tolls, using: Lock, evidence: Evidence, control: Control) -> None:
    """Ensure that calls made in the same instant are counted too."""
    clinic, who = tolls.clinic, tolls.traveller.ext
    most, (_, number) = clinic.toll.person.calls, tolls.numbers()[0]
    if most is None or most > 4:
        pytest.skip("clinic.yml: toll.person.calls is not limited, or to many")
    with using(*(t.name for t in enabled(clinic))):
        since = tolls.now()
        calls = [tolls.call(who, number) for _ in range(most + 3)]
        for call in calls:
            with contextlib.suppress(PoolError):
                call.wait_answered(3)
        up = [call for call in calls if call.refresh()["state"] == "answered"]
        assert len(up) <= most and len(tolls.arrived(number, since)) <= most, f"{len(up)} calls abroad at once"
        for call in calls:
            tolls.end(call)
        first = tolls.call(who, number).wait_answered(6)
        more = [tolls.call(who, number).wait_answered(6) for _ in range(most - 1)]
        paid = tolls.purse()[f"money/person-{who}"]
        said = refused(tolls.call(who, number))
        assert f"full/person-{who}" in tolls.purse(), "no alarm is raised"
        assert tolls.purse()[f"money/person-{who}"] == paid, "a refused call was paid for"
        evidence(f"{most + 3} calls in one instant: {len(up)} connected; with {most} up the next one: {said}, unpaid")
        for call in (first, *more):
            tolls.end(call)
        with control("when they have ended, the next one is not refused"):
            refused(tolls.call(who, number), 1.5)


@pytest.mark.check(
    id="in-progress", title="A call abroad in progress is ended when its purse is empty",
    proves="clinic.yml: toll", lab_only=True,
)  # fmt: skip
def test_a_call_in_progress_is_counted(tolls: Tolls, using: Lock, evidence: Evidence, control: Control) -> None:
    """Ensure that a call pays a step ahead of its talk, also after its caller has transferred it."""
    clinic, who, caps = tolls.clinic, tolls.traveller.ext, counted(tolls.clinic).caps
    _, number = tolls.numbers()[0]
    colleague = [p.ext for p in clinic.people if p.role in (Role.STAFF, Role.DOCTOR) and p.ext != who][-3]
    if caps["person"].seconds == UNLIMITED:
        pytest.skip("clinic.yml: toll.person.minutes is not limited")
    with using(*(t.name for t in enabled(clinic))):
        tolls.put(f"seconds/person-{who}", caps["person"].seconds - tolls.step)
        call = tolls.call(who, number).wait_answered(6)
        began = time.monotonic()
        far = next(c for c in tolls.pstn.pool.calls(["pstn"], active=True) if c.info["number"].endswith(number[-9:]))
        call.wait_tone(620, 4, windows=1)  # joined
        told = call.transfer_blind(colleague)
        assert told["ok"], f"the PBX took no transfer from {who}: {told}"
        third = tolls.phones.ringing(colleague, 5).answer(tone=660)
        third.wait_tone(620, 4)
        with control("the step that is paid is talked"):
            far.wait_ended(max(0.5, tolls.step - 6 - (time.monotonic() - began)))
        far.wait_ended(tolls.step + 3)
        took = time.monotonic() - began
        assert tolls.step - 4 <= took <= tolls.step + 1, f"ended after {took:.1f} s of a step of {tolls.step} s"
        spent = int(tolls.purse()[f"seconds/person-{who}"])
        assert spent <= caps["person"].seconds, f"{spent} s counted of {caps['person'].seconds}"
        evidence(
            f"one step of {tolls.step} s left: {who}'s call, transferred to {colleague}, was ended after {took:.1f} s"
        )


@pytest.mark.check(
    id="pin", title="With the right PIN an exception calls abroad; after five wrong ones it is locked",
    proves="clinic.yml: people; case: 2", lab_only=True,
)  # fmt: skip
def test_pin_and_its_lock(
    tolls: Tolls, secrets: Mapping[str, str], using: Lock, request: pytest.FixtureRequest, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure that a PIN is a second secret and cannot be tried out."""
    clinic = tolls.clinic
    person = next((p for p in clinic.people if p.pin_class is ServiceClass.INTERNATIONAL), None)
    if person is None:
        pytest.skip("clinic.yml: nobody has a pin_class")
    who, pin, (_, number) = person.ext, secrets[f"pin/{person.ext}"], tolls.numbers()[0]
    wrong = f"{(int(pin) + 1) % 10**8:08d}"
    if moments := tolls.moments():
        tolls.at(moments.open(), who)

    def dial(*tries: str) -> Call:
        call = tolls.call(who, number).wait_answered(4)
        for digits in tries:
            call.dtmf(digits)
        return call

    every = [t.name for t in enabled(clinic)]
    with using(*every):
        since = tolls.now()
        call = dial(wrong, pin)
        call.wait_tone(620, 8)
        assert tolls.arrived(number, since)
        tolls.end(call)
    assert f"wrong/{who}" not in tolls.purse(), "the right PIN does not forget the wrong one"
    since = tolls.now()
    dial(wrong, wrong, wrong).wait_ended(8)
    dial(wrong, wrong).wait_ended(8)
    assert f"locked/{who}" in tolls.purse(), f"after five wrong PINs it is not locked: {tolls.purse()}"
    said = refused(tolls.call(who, number))
    assert not tolls.arrived(number, since), "a provider was asked with a wrong PIN"
    evidence(f"{who}: right PIN connected; five wrong ones: locked; then {said}")
    code, report = cli(request, "reopen", who)
    assert code == 0 and f"locked/{who}" in report["reopened"]
    with control("after `fraud reopen` the PIN is asked for again, not refused"):
        refused(tolls.call(who, number), 1.5)


@pytest.mark.check(
    id="toll-hours", title="Outside their hours calls abroad are refused",
    proves="clinic.yml: toll.hours", lab_only=True,
)  # fmt: skip
def test_hours_of_calls_abroad(tolls: Tolls, using: Lock, evidence: Evidence, control: Control) -> None:
    """Ensure that at night, when nobody looks, nobody calls abroad."""
    moments, who = tolls.moments(), tolls.traveller.ext
    night = moments.closed() if moments else None
    if night is None:
        pytest.skip("clinic.yml: toll.hours never close")
    _, number = tolls.numbers()[0]
    with using(*(t.name for t in enabled(tolls.clinic))):
        tolls.at(night, who)
        since = tolls.now()
        said = refused(tolls.call(who, number))
        assert not tolls.arrived(number, since)
        evidence(f"{number} ten minutes after the last hour: {said}")
        tolls.at(moments.open() if moments else None, who)
        with control("ten minutes after the first hour it is not refused"):
            refused(tolls.call(who, number), 1.5)


@pytest.mark.check(
    id="emergency-capped", title="With every cap exhausted and everything closed, every emergency number is reached",
    proves="clinic.yml: emergency.numbers, toll; case: 2", lab_only=True,
)  # fmt: skip
def test_emergency_whatever_is_closed(tolls: Tolls, alone: Lock, evidence: Evidence, control: Control) -> None:
    """Ensure that no wall against fraud stands between anybody and 112, by each trunk."""
    clinic, moment = tolls.clinic, int(time.time())
    trunks = [t.name for t in enabled(clinic)]
    lowest = min(clinic.people, key=lambda p: clinic.class_of(p).rank).ext
    people = [lowest, tolls.traveller.ext]
    scopes = ["clinic", *(f"trunk-{t}" for t in trunks), *(f"person-{ext}" for ext in people)]
    with alone(*trunks):
        tolls.ready()
        for scope in scopes:
            for what in ("international", "money"):
                tolls.put(f"closed/{scope}/{what}", moment)
        for ext in people:
            tolls.put(f"locked/{ext}", moment)
        paid = f"8{tolls.pstn.number()[1:]}"
        with control(f"{tolls.traveller.ext} is refused a mobile number now"):
            tolls.call(tolls.traveller.ext, paid).wait_answered(4)
        try:
            for trunk in trunks:
                others = [t for t in trunks if t != trunk]
                for other in others:
                    tolls.pbx.put("trunk", f"{other}/disabled", "1")
                since = tolls.now()
                calls = {n: tolls.call(people[i % 2], n) for i, n in enumerate(clinic.emergency.numbers)}
                for number, call in calls.items():
                    call.wait_answered(8)
                    assert tolls.arrived(number, since) == [trunk], f"{number}: {tolls.arrived(number, since)}"
                    call.hangup()
                evidence(f"{', '.join(calls)} reached by {trunk} from {' and '.join(people)}, everything closed")
                for other in others:
                    tolls.pbx.delete("trunk", f"{other}/disabled")
        finally:
            for trunk in trunks:
                tolls.pbx.delete("trunk", f"{trunk}/disabled")
            tolls.tidy()  # while nobody else calls out


@pytest.mark.check(
    id="fair-share", title="One telephone, stolen or gone wild, never takes every line",
    proves="clinic.yml: trunks; case: 2", lab_only=True,
)  # fmt: skip
def test_one_account_never_takes_every_line(
    phones: Phones, pstn: Pstn, clinic: Clinic, using: Lock, evidence: Evidence, control: Control
) -> None:
    """Ensure that patients can call, and others call out, while an account makes as many calls as it can."""
    share, lines = counted(clinic).share, sum(t.channels for t in enabled(clinic))
    able = [p.ext for p in clinic.people if clinic.class_of(p).includes(ServiceClass.LOCAL) and p.role is Role.DOCTOR]
    if len(able) < 2 or share >= lines or share > 20:
        pytest.skip("clinic.yml: people or trunks are too few, or too many, to try it")
    greedy, other = able[len(able) // 2 :][:2]
    number = f"8{clinic.numbering.area_code}9990000"[:11]
    with using(*(t.name for t in enabled(clinic))):
        calls = []
        for _ in range(share):
            calls.append(phones.call(greedy, number).wait_ringing(6))
        said = [refused(phones.call(greedy, number)) for _ in range(3)]
        evidence(f"{greedy} had {share} of {lines} lines; three calls more: {said[0]}")
        phones.call(greedy, clinic.emergency.numbers[0]).wait_answered(6).hangup()
        evidence(f"{greedy} reaches {clinic.emergency.numbers[0]} all the same")
        with control(f"{other} is not refused meanwhile"):
            refused(phones.call(other, number), 1.5)
        calls[0].hangup()
        time.sleep(0.3)
        with control(f"with one call less {greedy} is not refused"):
            refused(phones.call(greedy, number), 1.5)


@pytest.mark.check(
    id="who-pays", title="A transfer abroad is weighed against, and paid by, the person who transfers",
    proves="clinic.yml: toll; case: 2", lab_only=True,
)  # fmt: skip
def test_transfers_are_paid_by_who_transfers(
    tolls: Tolls, using: Lock, own_number: Lock, evidence: Evidence, control: Control
) -> None:
    """Ensure that nobody calls abroad on a colleague's class or purse."""
    clinic, who = tolls.clinic, tolls.traveller.ext
    country, number = tolls.numbers()[0]
    poor = min((p for p in clinic.people if p.role in (Role.DOCTOR, Role.STAFF) and p.ext != who),
               key=lambda p: clinic.class_of(p).rank).ext  # fmt: skip

    def transferred(caller: str, called: str) -> Call:
        """`called` sends the caller abroad, once they hear each other: in its first milliseconds a call is not joined
        yet, and the REFER fails (400) before the dial plan sees it."""
        call = tolls.call(caller, called)
        far = tolls.phones.ringing(called, 5, caller=caller).answer(tone=620)
        call.wait_tone(620, 8)
        told = far.transfer_blind(number, timeout=8)
        assert told["refer"] == 202 and told["notify"] != 400, f"the PBX took no transfer from {called}: {told}"
        return call

    money, theirs = f"money/person-{who}", f"money/person-{poor}"
    with using(*(t.name for t in enabled(clinic))), own_number(who):
        tolls.ready()
        since = tolls.now()
        transferred(who, poor).wait_ended(8)
        assert not tolls.arrived(number, since), f"{poor} sent {who} abroad"
        evidence(f"{poor} transfers {who} to {number}: refused, though {who} may call there")
        tolls.at(moments.open() if (moments := tolls.moments()) else None, who, poor)
        before = tolls.purse()
        call = transferred(poor, who)
        with control(f"{who} may transfer {poor} there, and it arrives"):
            assert not _within(lambda: bool(tolls.arrived(number, since)), 8)
        purse = tolls.purse()
        paid = int(purse.get(money, 0)) - int(before.get(money, 0))
        price = min(counted(clinic).prices[trunk].get(country, 0) for trunk in tolls.arrived(number, since))
        assert paid >= price > 0, f"{who} paid {paid} of {price}; {outcome(call)}; {purse}"
        assert purse.get(theirs, "0") == before.get(theirs, "0"), f"{poor}, who was transferred, paid: {purse}"
        evidence(f"{who} transfers {poor} there: {money} grew by {paid}")


def _within(done: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.1)
    return False
