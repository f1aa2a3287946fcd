"""Outgoing calls: the cheapest provider first, the backup when it fails, and never a second call to a busy person.

The checks that cut a provider off come first: calls from outside, which other checks hold for long, wait for them.
The file is over the usual size because their order is the point and they share who dials and what is dialled.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator

import pytest

from clinic.model import Clinic
from clinic.people import Person, Role
from clinic.trunks import NumberFormat, Trunk
from clinic.types import ServiceClass
from clinicpbx.verify.desk import (
    Patients,
    Phones,
    Pstn,
    enabled,
    hear_each_other,
    loop_caller,
    outcome,
    provider_of,
    ringing_at,
)
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.plugin import Control, Evidence
from softphone.client import Call

pytestmark = pytest.mark.lane("lines")
Lock = Callable[..., contextlib.AbstractContextManager[None]]
ABSENT = 1500  # Hz, sent by nobody
WITHIN = 4.0  # seconds from dialling to the far end's answer, whatever the first provider does


@pytest.fixture(scope="module")
def primary(clinic: Clinic) -> Trunk:
    return enabled(clinic)[0]


@pytest.fixture(scope="module")
def backup(clinic: Clinic) -> Trunk:
    trunks = enabled(clinic)
    if len(trunks) < 2:
        pytest.skip("clinic.yml: trunks names one provider only, so there is no backup")
    return trunks[1]


@pytest.fixture(scope="module")
def caller(clinic: Clinic) -> Person:
    """Who may dial most and has no public number of their own; no operator, no reception."""
    own, at_desks = {did.to for _, did in clinic.dids.values()}, (Role.OPERATOR, Role.RECEPTION)
    free = [p for p in reversed(clinic.people) if p.ext not in own and p.role not in at_desks]
    best = max(free or clinic.people, key=lambda p: min(clinic.class_of(p).rank, ServiceClass.MOBILE.rank))
    if not clinic.class_of(best).includes(ServiceClass.LOCAL):
        pytest.skip("clinic.yml: nobody may dial a number outside")
    return best


@pytest.fixture(scope="module")
def subscriber(clinic: Clinic, caller: Person) -> Callable[[Pstn], str]:
    """A number that the caller may dial and nobody used before, as 7 and ten digits: a mobile one, or one in town."""
    if clinic.class_of(caller).includes(ServiceClass.MOBILE):
        return lambda pstn: pstn.number()
    area = clinic.numbering.area_code
    return lambda pstn: f"7{area}{pstn.number()[len(area) + 1 :]}"


@pytest.fixture
def calling(
    phones: Phones, pstn: Pstn, caller: Person, subscriber: Callable[[Pstn], str]
) -> Callable[..., tuple[Call, list[str]]]:
    """Dial a number that answers at once. -> (the call, the providers that brought it, in order)"""

    def dial(expect_answer: bool = True, **behaviour: object) -> tuple[Call, list[str]]:
        number = f"8{subscriber(pstn)[1:]}"
        pstn.behave(number, **{"action": "answer", "tone": 620, **behaviour})  # type: ignore[arg-type]
        since = pstn.pool.stats()["now"]
        call = phones.call(caller.ext, number, tone=440)
        call.wait_answered(8) if expect_answer else call.wait_ended(8)
        call.refresh()
        return call, [provider_of(pstn.clinic, i["source_ip"]) for i in pstn.reached(number, since)]

    return dial


def seconds(call: Call) -> float:
    times = call.refresh()["times"]
    return float(times["answered"] - times["start"])


def written(trunk: Trunk, number: str) -> str:
    """79161234567 as a provider's contract has it."""
    return {NumberFormat.PLUS: f"+{number}", NumberFormat.E164: number, NumberFormat.NATIONAL: f"8{number[1:]}"}[
        trunk.number_format
    ]


@pytest.fixture
def recovered(pbx: Pbx, clinic: Clinic) -> Iterator[None]:
    """After the check every way out is reachable again, so that the next one starts from a whole clinic."""
    yield
    legs = [f"{t.name}-{u.name}" for t in enabled(clinic) for u in clinic.uplinks]

    def whole() -> bool:
        contacts = pbx.contacts()
        if any(key.startswith("wan/avoid/") for key in pbx.database()):
            return False  # the watchdog has yet to hear it
        return all("Avail" in contacts.get(leg, "") or "NonQual" in contacts.get(leg, "") for leg in legs)

    assert wait_until(whole, 20, every=0.4), "the providers do not become reachable again"


def by_backup(
    calling: Callable[..., tuple[Call, list[str]]], backup: Trunk, evidence: Evidence, what: str
) -> tuple[Call, list[str]]:
    call, ways = calling()
    took = seconds(call)
    assert ways == [backup.name], f"with the primary {what} the call went by {ways}"
    assert took <= WITHIN, f"connected after {took:.1f} s, {WITHIN} s allowed"
    evidence(f"primary {what}: connected by {backup.name} after {took:.2f} s")
    return call, ways


@pytest.mark.check(
    id="trunks", title="Every provider is reachable and registered by every uplink",
    proves="clinic.yml: trunks, uplinks; case: 3, 11",
)  # fmt: skip
def test_every_way_out_is_ready(pbx: Pbx, clinic: Clinic, evidence: Evidence, control: Control) -> None:
    """Ensure that both paths stay registered, so that a failover is a choice already made."""
    said = pbx.asterisk("pjsip show registrations")
    registered = registered_ways(said)
    contacts = pbx.contacts()
    for trunk in enabled(clinic):
        for index, uplink in enumerate(clinic.uplinks):
            way = f"{trunk.name}-{uplink.name}"
            assert "Avail" in contacts.get(way, ""), f"{way} is not reachable: {contacts.get(way)}"
            registers = trunk.auth == "registration" and (trunk.contacts == "every-uplink" or index == 0)
            assert not registers or way in registered, f"{way} is not registered: {said}"
            evidence(f"{way}: {'registered, ' if registers else ''}answers {contacts[way].split()[0]}")
    with control("a way whose registration the PBX reports as rejected does not count"):
        assert registered_ways(said.replace("Registered", "Rejected  ")) >= (registered or {"nothing"})


def registered_ways(said: str) -> set[str]:
    """The ways that `pjsip show registrations` reports as registered."""
    return set(re.findall(r"^\s*(\S+?)/sip:\S+\s+\S+\s+Registered", said, re.M))


@pytest.mark.check(
    id="backup-silent", title="The primary is silent: the backup connects within 4 s", lab_only=True,
    proves="case: 10",
)  # fmt: skip
def test_primary_silent(
    faults: Lock, calling: Callable[..., tuple[Call, list[str]]], primary: Trunk, backup: Trunk, recovered: None,
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that a provider that says nothing costs a caller no more than 4 s."""
    with faults("provider-silent", primary.name):
        call, _ = by_backup(calling, backup, evidence, "silent")
        call.wait_tone(620, 3)
        call.hangup()
        with control("the primary carries nothing while it is silent"):
            assert primary.name in calling()[1]


@pytest.mark.check(
    id="emergency-{trunk}", title="Every emergency number goes out by {trunk} alone, from the lowest class",
    proves="clinic.yml: emergency.numbers", lab_only=True,
)  # fmt: skip
def test_emergency_by_each_provider_alone(
    trunk: str, faults: Lock, phones: Phones, pstn: Pstn, clinic: Clinic, using: Lock, recovered: None,
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that 112 works from any phone while any provider lives."""
    lowest = sorted(clinic.people, key=lambda p: clinic.class_of(p).rank)
    people = [p.ext for p in lowest if clinic.class_of(p) == clinic.class_of(lowest[0])]
    people = [ext for ext in people if clinic.by_ext[ext].role not in (Role.OPERATOR, Role.RECEPTION)] or people
    numbers = clinic.emergency.numbers
    with contextlib.ExitStack() as stack:
        for other in reversed(enabled(clinic)):
            if other.name != trunk:
                stack.enter_context(faults("provider-down", other.name))
        stack.enter_context(using(trunk))
        since = pstn.pool.stats()["now"]
        calls = {n: phones.call(people[i % len(people)], n, tone=440) for i, n in enumerate(numbers)}
        for number, call in calls.items():
            call.wait_answered(8)
            ways = [(i["number"], provider_of(clinic, i["source_ip"])) for i in pstn.reached(number, since)]
            assert ways == [(number, trunk)], f"{number} arrived as {ways}"
            assert seconds(call) <= WITHIN, f"{number} was answered after {seconds(call):.1f} s, {WITHIN} s allowed"
            person = clinic.by_ext[call.info["agent"]]
            by = f"{person.ext} (class {clinic.class_of(person).value}) by {trunk} alone"
            evidence(f"{number} from {by}: answered after {seconds(call):.2f} s")
        first = next(iter(calls.values()))
        first.wait_tone(770, 3)
        for call in calls.values():
            call.hangup()
        denied = next((p.ext for p in lowest if not clinic.class_of(p).includes(ServiceClass.MOBILE)), None)
        if denied:
            with control(f"{denied}, who may call emergency, may not call a mobile number"):
                phones.call(denied, f"8{pstn.number()[1:]}").wait_answered(4)
        else:
            with control("a number that is no emergency number does not exist"):
                phones.call(people[0], "199").wait_answered(4)


@pytest.mark.check(
    id="emergency-refused", title="An emergency number that one provider refuses is asked of every other one",
    proves="clinic.yml: emergency.numbers; case: 10", lab_only=True,
)  # fmt: skip
def test_emergency_refused_by_a_provider(
    phones: Phones, pstn: Pstn, clinic: Clinic, using: Lock, calling: Callable[..., tuple[Call, list[str]]],
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that nothing a provider says, but an answer, ends an emergency call's search."""
    number, everybody = clinic.emergency.numbers[-1], {t.name for t in enabled(clinic)}
    person = min(clinic.people, key=lambda p: clinic.class_of(p).rank).ext
    with using(*everybody):
        for code in (404, 480, 486, 403, 603):
            pstn.behave(number, "reject", code=code)
            since = pstn.pool.stats()["now"]
            phones.call(person, number).wait_ended(8)
            asked = [provider_of(clinic, i["source_ip"]) for i in pstn.reached(number, since)]
            assert set(asked) == everybody, f"{number} refused with {code} was asked of {asked} only"
            evidence(f"{number} refused with {code}: asked of {', '.join(asked)}")
        if len(everybody) > 1:
            with control("any other number that does not exist is asked of one provider only"):
                assert len(calling(False, action="reject", code=404)[1]) > 1
        pstn.behave(number, "answer", tone=770)
        with control(f"{number} is not refused when it answers"):
            phones.call(person, number).wait_ended(1.5)


@pytest.mark.check(
    id="slow-ring", title="A called network that takes 3.5 s to ring is waited for, not dialled again",
    proves="case: 3, 10", lab_only=True,
)  # fmt: skip
def test_slow_network_is_waited_for(
    phones: Phones, pstn: Pstn, clinic: Clinic, primary: Trunk, caller: Person, subscriber: Callable[[Pstn], str],
    using: Lock, evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that a provider that said 100 Trying is alive: mobile networks often take longer than a silent leg may."""
    number = subscriber(pstn)
    with using(*(t.name for t in enabled(clinic))):
        pstn.behave(number, "manual")
        since = pstn.pool.stats()["now"]
        call = phones.call(caller.ext, f"8{number[1:]}", tone=440)
        with control("before the network rings, the call is not answered"):
            call.wait_answered(3.5)
        far = next(c for c in pstn.pool.calls(["pstn"], active=True) if c.info["number"].endswith(number[-10:]))
        far.answer(tone=620)
        call.wait_answered(2)
        call.wait_tone(620, 3)
        ways = [provider_of(clinic, i["source_ip"]) for i in pstn.reached(number, since)]
        assert ways == [primary.name], f"dialled by {ways}"
        evidence(f"8{number[1:]}: only 100 Trying for {seconds(call):.1f} s, then connected by {ways[0]}, dialled once")
        call.hangup()


@pytest.mark.check(
    id="quick-transfer", title="A call that is transferred within two seconds of dialling goes on",
    proves="case: 3, 9", lab_only=True,
)  # fmt: skip
def test_a_quick_transfer_is_not_cut(
    phones: Phones, pstn: Pstn, clinic: Clinic, primary: Trunk, caller: Person, subscriber: Callable[[Pstn], str],
    using: Lock, evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that what looks after silent providers never touches a call that was answered."""
    number = subscriber(pstn)
    colleague = next(p.ext for p in reversed(clinic.people) if p.role is Role.DOCTOR and p.ext != caller.ext)
    with using(*(t.name for t in enabled(clinic))):
        pstn.behave(number, "answer", tone=620)
        phones.behave(colleague, "answer", tone=770)
        since = phones.pool.stats()["now"]
        call = phones.call(caller.ext, f"8{number[1:]}", tone=440).wait_answered(4)
        far = next(c for c in pstn.pool.calls(["pstn"], active=True) if c.info["number"].endswith(number[-10:]))
        call.wait_tone(620, 2, windows=1)  # joined
        assert call.transfer_blind(colleague, timeout=6)["ok"], "the transfer was refused"
        took = pstn.pool.stats()["now"] - call.info["times"]["start"]
        assert took < 2.5, f"the transfer took {took:.1f} s: too slow to prove anything"
        far.wait_tone(770, 3)
        time.sleep(3)
        far.wait_tone(770, 2)
        evidence(f"transferred to {colleague} {took:.1f} s after dialling; the outside still hears it 3 s later")
        shown = [n for n in phones.numbers_rung(colleague, since) if n.endswith(number[-10:])]
        assert shown, f"{colleague} is shown {phones.numbers_rung(colleague, since)}, not who is handed over"
        evidence(f"{colleague} is shown {shown[0]}")
        with control("the one who transferred is not heard any more"):
            far.wait_tone(440, 0.7)


@pytest.mark.check(
    id="primary", title="Outgoing calls take the cheapest provider, with the right number and caller-ID",
    proves="clinic.yml: trunks.0.caller_id; case: 3", lab_only=True,
)  # fmt: skip
def test_primary_carries_calls(
    phones: Phones, pstn: Pstn, primary: Trunk, caller: Person, subscriber: Callable[[Pstn], str], using: Lock,
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that the far end sees the clinic's number, and both sides hear each other."""
    number = subscriber(pstn)
    with using(primary.name):
        pstn.behave(number, "answer", tone=620, after=0.2)
        since = pstn.pool.stats()["now"]
        call = phones.call(caller.ext, f"8{number[1:]}", tone=440).wait_answered(6)
        [arrived] = pstn.reached(number, since)
        assert provider_of(pstn.clinic, arrived["source_ip"]) == primary.name
        assert arrived["number"] == written(primary, number), f"dialled as {arrived['number']}"
        shown = arrived["caller"]["number"]
        assert shown == written(primary, primary.caller_id.lstrip("+")), f"the far end saw {shown}"
        evidence(f"{caller.ext} dialled 8{number[1:]}: {primary.name} brought {arrived['number']} from {shown}")
        call.wait_tone(620, 3)
        far = next(c for c in pstn.pool.calls(["pstn"], active=True) if c.info["number"] == arrived["number"])
        far.wait_tone(440, 3)
        evidence("620 Hz heard at the phone, 440 Hz at the far end")
        call.hangup()
        with control("a number that was not dialled did not arrive"):
            assert pstn.reached(f"7{int(number[1:]) + 500:010d}", since)
        with control("the caller's extension is not what the far end saw"):
            assert shown == caller.ext


@pytest.mark.check(
    id="backup-503", title="The primary answers 503: the backup connects within 4 s", lab_only=True,
    proves="case: 10",
)  # fmt: skip
def test_primary_answers_503(
    faults: Lock, calling: Callable[..., tuple[Call, list[str]]], primary: Trunk, backup: Trunk, using: Lock,
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that a refusal by the provider is not the caller's problem."""
    with using(backup.name):
        with faults("provider-503", primary.name):
            by_backup(calling, backup, evidence, "answering 503")[0].hangup()
        with using(primary.name), control("without the fault the backup does not carry the call"):
            assert calling()[1] == [backup.name]


@pytest.mark.check(
    id="backup-full", title="The primary has no channel left: the backup connects within 4 s", lab_only=True,
    proves="clinic.yml: trunks.0.channels",
)  # fmt: skip
def test_primary_full(
    faults: Lock, calling: Callable[..., tuple[Call, list[str]]], primary: Trunk, backup: Trunk, using: Lock,
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that the provider's own limit sends the next call to the backup."""
    with using(backup.name):
        with faults("provider-full", primary.name, "0"):
            by_backup(calling, backup, evidence, "full")[0].hangup()
        with using(primary.name), control("with a channel free the backup does not carry the call"):
            assert calling()[1] == [backup.name]


@pytest.mark.check(
    id="loop-{trunk}", title="A call that goes out by another provider comes in by {trunk}; both sides hear each other",
    proves="clinic.yml: trunks.{trunk}.dids; case: 3, 10",
)  # fmt: skip
def test_out_by_one_provider_in_by_the_other(
    trunk: str, alone: Lock, calling_in: Lock, own_number: Lock, rings: Lock, phones: Phones, patients: Patients,
    clinic: Clinic, pbx: Pbx, evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that real providers carry a call both ways; nobody but the clinic itself is called."""
    trunks = enabled(clinic)
    away = next((t for t in trunks if t.name != trunk), trunks[0])
    caller = loop_caller(clinic)
    did, (_, target) = min(
        ((n, found) for n, found in clinic.dids.items() if found[0].name == trunk), key=lambda one: bool(one[1][1].flow)
    )
    shown = away.caller_id.lstrip("+")
    answering = ringing_at(clinic, target)
    patience = 45.0 if target.flow else 8.0  # of a flow the greeting comes first
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone(*(t.name for t in trunks)))
        stack.enter_context(calling_in(trunk))
        stack.enter_context(own_number(answering[0]))
        stack.enter_context(rings(*answering))
        if target.flow:
            patients.pretend_open(shown, target.flow)
        for other in trunks:
            if other.name != away.name:
                pbx.put(f"trunk/{other.name}", "disabled", "1")
                stack.callback(pbx.delete, f"trunk/{other.name}", "disabled")
        call = phones.call(caller, f"8{did[2:]}", tone=440)
        far = phones.ringing(answering, patience, caller=shown[-10:])
        far.answer(tone=620)
        call.wait_answered(5)
        evidence(f"{caller} dialled 8{did[2:]}: out by {away.name}, in by {trunk}, {far.info['agent']} answered")
        evidence(hear_each_other(call, 440, far, 620))
        up = " ".join(pbx.channels())
        for name in (away.name, trunk):
            assert f"PJSIP/{name}-" in up, f"no channel of {name} carries the call"
        if away.name != trunk:
            with control("the call does not go out by the provider it comes in by"):
                outgoing = [line for line in pbx.channels() if "!AppDial!" in line and f"PJSIP/{trunk}-" in line]
                assert outgoing
        with control(f"{ABSENT} Hz, which nobody sends, is not heard"):
            call.wait_tone(ABSENT, 0.7)
        call.hangup()


@pytest.mark.check(
    id="contract", title="No more calls at once than the contract allows; the next take the backup",
    proves="clinic.yml: trunks.0.channels", lab_only=True,
)  # fmt: skip
def test_contracted_channels(
    alone: Lock, using: Lock, phones: Phones, pstn: Pstn, clinic: Clinic, pbx: Pbx, primary: Trunk, backup: Trunk,
    caller: Person, calling: Callable[..., tuple[Call, list[str]]], evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that the PBX counts the provider's channels itself."""
    able = [p.ext for p in clinic.people if clinic.class_of(p).includes(ServiceClass.LOCAL) and p.ext != caller.ext]
    able = [e for e in able if clinic.by_ext[e].role is Role.DOCTOR][::-1] or [caller.ext]
    if primary.channels > 40:
        pytest.skip(f"clinic.yml: trunks.0.channels is {primary.channels}, more calls than a check should make")
    able *= -(-primary.channels // len(able))  # in a small clinic a telephone makes several calls
    with alone(primary.name), using(backup.name):
        before = trunk_calls(pbx, primary.name)
        number = f"{clinic.numbering.area_code}9990000"[:10]
        pstn.behave(number, "ring")
        since = pstn.pool.stats()["now"]
        fill = able[: primary.channels - before]
        calls = [phones.call(ext, f"8{number}") for ext in fill]
        for call in calls:
            call.wait_ringing(8)
        ways = [provider_of(clinic, i["source_ip"]) for i in pstn.reached(number, since)]
        assert ways.count(primary.name) == len(fill), (
            f"{ways.count(primary.name)} of {len(fill)} went by {primary.name}"
        )
        one_more, way = calling()
        assert way == [backup.name], f"call number {primary.channels + 1} went by {way}"
        evidence(f"{before} calls were up, {len(fill)} more ring by {primary.name}; the next went by {backup.name}")
        one_more.hangup()
        for call in calls:
            call.hangup()
        with control(f"with channels free again {backup.name} does not carry the call"):
            assert calling()[1] == [backup.name]


def trunk_calls(pbx: Pbx, trunk: str) -> int:
    """Calls that count against a provider's contract, from Asterisk's own groups."""
    lines = pbx.asterisk("group show channels").splitlines()
    return sum(f" {trunk} " in f" {' '.join(line.split())} " for line in lines)


@pytest.mark.check(
    id="backup-disabled", title="The primary is disabled: the backup carries every call",
    proves="case: 10, 14", lab_only=True,
)  # fmt: skip
def test_primary_disabled(
    alone: Lock, using: Lock, calling: Callable[..., tuple[Call, list[str]]], pbx: Pbx, primary: Trunk, backup: Trunk,
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that an engineer can take a provider out of use, and back, without a deploy."""
    with alone(primary.name), using(backup.name):
        pbx.put(f"trunk/{primary.name}", "disabled", "1")
        try:
            by_backup(calling, backup, evidence, "disabled")[0].hangup()
        finally:
            pbx.delete(f"trunk/{primary.name}", "disabled")
        with control("enabled again, the primary leaves the backup nothing"):
            assert calling()[1] == [backup.name]


@pytest.mark.check(
    id="no-redial", title="A busy, absent or unwilling person is not dialled a second time over the backup",
    proves="case: 10", lab_only=True,
)  # fmt: skip
def test_an_answer_is_not_redialled(
    using: Lock, calling: Callable[..., tuple[Call, list[str]]], clinic: Clinic, primary: Trunk, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure that the called party's own answer ends the call."""
    with using(*(t.name for t in enabled(clinic))):
        for name, behaviour in (
            ("busy (486)", {"action": "busy"}),
            ("no answer (480)", {"action": "reject", "code": 480, "after": 0.3}),
            ("declined (603)", {"action": "reject", "code": 603}),
            ("no such number (404)", {"action": "reject", "code": 404}),
        ):
            call, ways = calling(False, **behaviour)
            assert ways == [primary.name], f"{name} was dialled by {ways}"
            assert not call.info["answered"]
            evidence(f"{name}: dialled once, by {ways[0]}; the phone was told {outcome(call)}")
        with control("a number that answers is connected"):
            assert not calling()[0].info["answered"]
