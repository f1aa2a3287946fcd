"""What the staff do on their telephones: call, transfer, pick up, park, forward, and see each other's lamps.

The file is over the usual size because it is the list of what a telephone can do, a check each, with the same people.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping

import pytest

from clinic.accounts import account
from clinic.model import Clinic
from clinic.people import Role
from clinic.rendering.asterisk import all_groups
from clinic.types import ServiceClass
from clinicpbx.verify.desk import (
    FICTIONAL,
    Patients,
    Phones,
    Pstn,
    enabled,
    hear_each_other,
    nothing_rings,
    outcome,
    provider_of,
)  # fmt: skip
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence
from clinicpbx.verify.records import missed
from softphone.client import PoolError

pytestmark = pytest.mark.lane("staff")
Lock = Callable[..., contextlib.AbstractContextManager[None]]
ABSENT = 1500  # Hz, sent by nobody


@pytest.fixture(scope="module")
def colleagues(clinic: Clinic) -> list[str]:
    """Four extensions; as far as the clinic has them, no operators and no receptions: patients' calls ring there."""
    plain = [p.ext for p in clinic.people if p.role in (Role.DOCTOR, Role.STAFF)]
    four = [*plain, *(p.ext for p in reversed(clinic.people) if p.ext not in plain)][:4]
    if len(four) < 4:
        pytest.skip("clinic.yml: people has fewer than four telephones")
    return four


@pytest.fixture(scope="module")
def neighbours(clinic: Clinic) -> list[str]:
    """Three extensions of one department and one of another, of departments where no patient's call rings if any."""
    at_desks = {Role.OPERATOR, Role.RECEPTION}
    ringing = {p.department for p in clinic.people if p.role in at_desks}

    def fitting(slug: str) -> list[str]:
        same = [p.ext for p in clinic.members(slug) if p.role not in at_desks]
        same += [p.ext for p in clinic.members(slug) if p.role in at_desks]
        others = [p for p in clinic.people if p.department != slug]
        others.sort(key=lambda p: (p.department in ringing, p.role in at_desks))
        return [*same[:3], *(p.ext for p in others[:1])] if len(same) >= 3 else []

    found = [
        four for slug in sorted(clinic.departments, key=lambda slug: slug in ringing) if len(four := fitting(slug)) == 4
    ]
    if not found:
        pytest.skip("clinic.yml: no department has three telephones, and another one")
    return found[0]


@pytest.mark.check(
    id="registered", title="Every telephone of the description is registered", proves="clinic.yml: people",
)  # fmt: skip
def test_all_phones_are_registered(
    place: Place, pbx: Pbx, phones: Phones, clinic: Clinic, evidence: Evidence, control: Control
) -> None:
    """Ensure that each person's extension has a reachable telephone, in the voice network."""
    if place.borrowed:  # by now softphones of ours are registered: what counts is what was there before them
        contacts = {ext: contact.uri for ext, contact in place.borrowed.contacts.items()}
    else:
        contacts = pbx.contacts()
    missing = [p.ext for p in clinic.people if p.ext not in contacts]
    assert not missing, (
        f"{len(missing)} of {len(clinic.people)} telephones are not registered: {', '.join(missing[:10])}"
    )
    inside = clinic.networks.voice.cidr
    from ipaddress import ip_address

    for person in clinic.people:
        found = re.search(r"@([0-9.]+)", contacts[person.ext])
        assert found and ip_address(found[1]) in inside, f"{person.ext} is registered from {contacts[person.ext]}"
    evidence(f"{len(clinic.people)} of {len(clinic.people)} extensions registered, all from {inside}")
    spare = next(str(n) for n in range(999_990, 999_999) if str(n) not in clinic.by_ext)
    with control(f"{spare}, which is nobody's extension, is not among them"):
        assert spare in contacts


@pytest.mark.check(
    id="internal", title="A colleague is called by extension, by name, and both hear each other",
    proves="case: 4",
)  # fmt: skip
def test_internal_call(
    phones: Phones, clinic: Clinic, colleagues: list[str], evidence: Evidence, control: Control
) -> None:
    """Ensure that the called telephone shows who calls, whatever the calling one claims."""
    one, other, *_ = colleagues
    call = phones.call(one, other, tone=440, from_display="Главный врач")
    far = phones.ringing(other, caller=one)
    far.answer(tone=620)
    call.wait_answered(3)
    shown = far.info["caller"]
    assert (shown["number"], shown["display"]) == (one, clinic.by_ext[one].name), f"the telephone shows {shown}"
    evidence(f"{one} called {other}, which shows {shown['display']} <{shown['number']}>")
    evidence(hear_each_other(call, 440, far, 620))
    with control(f"{ABSENT} Hz, which nobody sends, is not heard"):
        call.wait_tone(ABSENT, 0.7)
    nobody = next(n for n in (f"{int(other[0]) % 9 + 1}{'9' * (len(other) - 1)}", "4999") if n not in clinic.by_ext)
    with control(f"{nobody}, which is nobody's, cannot be called"):
        phones.call(one, nobody).wait_ringing(2)


@pytest.mark.check(
    id="group", title="A group's number rings its members, and the first to answer has the call",
    proves="clinic.yml: groups; case: 4",
)  # fmt: skip
def test_group(phones: Phones, clinic: Clinic, evidence: Evidence, control: Control) -> None:
    """Ensure that all members ring together, and stop when one answers."""
    busy = {Role.RECEPTION, Role.OPERATOR}
    fitting = [
        g for g in all_groups(clinic)
        if g.strategy == "all" and 1 < len(g.members) <= 30 and not {clinic.by_ext[m].role for m in g.members} & busy
    ]  # fmt: skip
    if not fitting:
        pytest.skip("clinic.yml: no group rings all its members")
    group = fitting[0]
    stranger = next(p.ext for p in clinic.people if p.ext not in group.members and p.role is Role.DOCTOR)
    call = phones.call(stranger, group.number, tone=440)
    rung = [phones.ringing(member, caller=stranger) for member in group.members]
    rung[0].answer(tone=620)
    call.wait_answered(3)
    for other in rung[1:]:
        other.wait_ended(3)
    evidence(
        f"{stranger} called {group.number} ({group.name}): {len(rung)} telephones rang, {group.members[0]} answered"
    )
    evidence(hear_each_other(call, 440, rung[0], 620))
    outsider = next(p.ext for p in clinic.people if p.ext not in (*group.members, stranger) and p.role is Role.DOCTOR)
    with control(f"{outsider}, who is no member, did not ring"):
        phones.ringing(outsider, 0.3, caller=stranger)


@pytest.mark.check(
    id="blind-transfer", title="A call is transferred without asking", proves="case: 9",
)  # fmt: skip
def test_blind_transfer(phones: Phones, colleagues: list[str], evidence: Evidence, control: Control) -> None:
    """Ensure that the third person talks to the caller, and the second is free."""
    one, other, third, _ = colleagues
    call = phones.call(one, other, tone=440)
    middle = phones.ringing(other, caller=one)
    middle.answer(tone=620)
    call.wait_answered(3)
    call.wait_tone(620, 3)
    phones.behave(third, "answer", tone=770)
    result = middle.transfer_blind(third, timeout=6)
    assert result["ok"], f"REFER was answered with {result}"
    far = phones.ringing(third, caller=one)
    evidence(f"{other} transferred {one} to {third}: REFER {result['refer']}, then {result['notify']}")
    evidence(hear_each_other(call, 440, far, 770))
    middle.wait_ended(3)
    with control(f"{other}, who transferred, is not heard any more"):
        call.wait_tone(620, 0.7)


@pytest.mark.check(
    id="attended-transfer", title="A call is transferred after asking", proves="case: 9",
)  # fmt: skip
def test_attended_transfer(phones: Phones, colleagues: list[str], evidence: Evidence, control: Control) -> None:
    """Ensure that caller and third person are joined when the second goes."""
    one, other, third, _ = colleagues
    call = phones.call(one, other, tone=440)
    middle = phones.ringing(other, caller=one)
    middle.answer(tone=620)
    call.wait_answered(3)
    middle.hold()
    phones.behave(third, "answer", tone=770)
    asking = phones.call(other, third, tone=1000).wait_answered(4)
    asking.wait_tone(770, 3)
    with control("before the transfer the caller does not hear the third person"):
        call.wait_tone(770, 0.7)
    result = middle.transfer_attended(asking, timeout=6)
    assert result["ok"], f"REFER was answered with {result}"
    far = next(c for c in phones.pool.calls([third], active=True) if c.info["direction"] == "in")
    phones.keep(far)
    evidence(f"{other} asked {third} and joined {one}: REFER {result['refer']}, then {result['notify']}")
    evidence(hear_each_other(call, 440, far, 770))


@pytest.mark.check(
    id="picked-up", title="A patient's call that a colleague picks up is answered, not missed",
    proves="case: before",
)  # fmt: skip
def test_a_picked_up_call_is_not_missed(
    phones: Phones, patients: Patients, pbx: Pbx, clinic: Clinic, calling_in: Lock, own_number: Lock,
    rings: Lock, evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that supervisors are not sent after patients who were served."""
    did, owner = own_line(clinic)
    taker = next(p.ext for p in clinic.people if p.ext != owner and p.role in (Role.DOCTOR, Role.STAFF))
    with calling_in(clinic.dids[did][0].name), own_number(owner), rings(owner):
        served, given_up = patients.number(), patients.number()
        call = patients.call(did, served, tone=440)
        phones.ringing(owner, caller=served[-10:])
        taken = phones.call(taker, f"**{owner}", tone=620).wait_answered(4)
        evidence(f"{taker} picked up +{served} at {owner}: " + hear_each_other(call, 440, taken, 620))
        call.hangup()
        left = patients.call(did, given_up)
        phones.ringing(owner, caller=given_up[-10:])
        left.hangup()
    rows = missed(pbx, f"+{given_up}")  # by then the ledger has read what happened before it
    wrong = missed(pbx, f"+{served}", at_least=0)
    assert not wrong, f"+{served} talked with {taker} and is recorded as missed, stage {wrong[0].stage}"
    evidence(f"+{served} has no missed row; +{given_up}, who gave up ringing there, has one, stage {rows[0].stage}")
    with control("a caller who gave up at the same telephone is not without a missed row"):
        assert not rows


@pytest.mark.check(
    id="outside-transfer", title="A caller from outside who was parked and fetched can transfer nobody",
    proves="case: 2",
)  # fmt: skip
def test_an_outside_caller_cannot_transfer(
    phones: Phones, patients: Patients, pbx: Pbx, clinic: Clinic, colleagues: list[str], calling_in: Lock,
    own_number: Lock, rings: Lock, evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that feature codes sent by a patient are only sounds: a fetched call has none for either side."""
    did, owner = own_line(clinic)
    park, *places = clinic.numbering.parking.numbers()
    fetcher, aim = [ext for ext in colleagues if ext != owner][:2]
    with calling_in(clinic.dids[did][0].name), own_number(owner), rings(owner):
        number = patients.number()
        call = patients.call(did, number, tone=440)
        first = phones.ringing(owner, caller=number[-10:])
        first.answer(tone=620)
        call.wait_tone(620, 4)
        assert first.transfer_blind(park, timeout=6)["ok"], f"REFER to {park} failed"
        assert wait_until(lambda: bool(parked(pbx, places)), 4, every=0.3), "no call is parked"
        fetched = phones.call(fetcher, parked(pbx, places), tone=770).wait_answered(4)
        call.wait_tone(770, 4)
        for code in ("##", "*2"):
            call.dtmf(code)
            call.dtmf(aim)
            with control(f"{aim} does not ring after the caller's {code}{aim}"):
                phones.ringing(aim, 1.5)
        local = [line for line in pbx.channels() if re.match(r"Local/(?!s@(silence|meter)-)", line)]
        assert not local, f"the call goes on elsewhere: {local}"
        evidence(f"parked by {owner}, fetched by {fetcher}: the caller's ## and *2 moved nobody")
        evidence(hear_each_other(call, 440, fetched, 770))


@pytest.mark.check(
    id="outside-forward", title="A call from outside is never forwarded out of the clinic again",
    proves="case: 2",
)  # fmt: skip
def test_a_call_from_outside_is_not_forwarded_outside(
    phones: Phones, patients: Patients, pbx: Pbx, clinic: Clinic, colleagues: list[str], calling_in: Lock,
    own_number: Lock, rings: Lock, using: Lock, evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that a telephone forwarded to a public number rings itself for a patient, and forwards for a colleague."""
    did, owner = own_line(clinic)
    away = next((n for n, (t, _) in clinic.dids.items() if t.enabled and n != did), did)
    caller = patients.number()
    trunks = [t.name for t in enabled(clinic)]
    with calling_in(clinic.dids[did][0].name), using(*trunks), own_number(owner), rings(owner):
        pbx.put("forward", owner, f"8{away[2:]}")
        try:
            call = patients.call(did, caller, tone=440)
            far = phones.ringing(owner, caller=caller[-10:])
            evidence(f"+{caller} to {did}: {owner} rings, though it is forwarded to 8{away[2:]}")
            far.answer(tone=620)
            evidence(hear_each_other(call, 440, far, 620))
            call.hangup()
            one = next(ext for ext in colleagues if ext != owner)
            with control(f"{one}'s call to {owner} does not ring there: it is forwarded"):
                phones.call(one, owner)
                phones.ringing(owner, 1.5, caller=one)
        finally:
            pbx.delete("forward", owner)
            phones.tidy()


def own_line(clinic: Clinic) -> tuple[str, str]:
    """A public number that leads to one person, and the person."""
    found = next(((n, d.to) for n, (t, d) in clinic.dids.items() if t.enabled and d.to in clinic.by_ext), None)
    if not found:
        pytest.skip("clinic.yml: no public number leads to a person")
    return found[0], str(found[1])


def parked(pbx: Pbx, places: list[str]) -> str:
    """A place that holds a call now, or nothing."""
    answer = pbx.asterisk("parking show default")
    found = re.findall(r"Space\s*:?\s*(\d+)|^(\d{3,6}):?\s", answer, re.M)
    return next((one or other for one, other in found if (one or other) in places), "")


@pytest.mark.check(
    id="parking", title="A parked call is fetched from any telephone", proves="clinic.yml: numbering.parking",
)  # fmt: skip
def test_parking(
    phones: Phones, pbx: Pbx, clinic: Clinic, colleagues: list[str], evidence: Evidence, control: Control
) -> None:
    """Ensure that a transfer to the parking number parks, and the place's number fetches."""
    one, other, third, _ = colleagues
    park, *places = clinic.numbering.parking.numbers()
    call = phones.call(one, other, tone=440)
    middle = phones.ringing(other, caller=one)
    middle.answer(tone=620)
    call.wait_answered(3)
    call.wait_tone(620, 3)  # joined: nobody transfers within the first milliseconds
    result = middle.transfer_blind(park, timeout=6)
    assert result["ok"], f"REFER to {park} was answered with {result}"

    assert wait_until(lambda: bool(parked(pbx, places)), 4, every=0.3), "no call is parked"
    where = parked(pbx, places)
    with control(f"{places[-1]}, an empty place, has no call"):
        phones.call(third, places[-1], tone=1000).wait_answered(1.5)
        raise AssertionError if not phones.mine[-1].heard().get(440) else PoolError
    fetched = phones.call(third, where, tone=770).wait_answered(4)
    evidence(f"{other} parked {one} at {where}, {third} fetched it: " + hear_each_other(call, 440, fetched, 770))


@pytest.mark.check(
    id="do-not-disturb", title="Do not disturb: *78 keeps calls away, *79 lets them in", proves="case: 4",
)  # fmt: skip
def test_do_not_disturb(phones: Phones, pbx: Pbx, colleagues: list[str], evidence: Evidence, control: Control) -> None:
    """Ensure that the telephone stays quiet, and the caller hears busy."""
    one, _, third, _ = colleagues
    phones.confirmed(third, "*78")
    try:
        with nothing_rings(phones, [third], caller=one):
            call = phones.call(one, third)
            with control("while do-not-disturb is on, the telephone cannot be rung"):
                call.wait_ringing(1.2)
            call.hangup()
        evidence(f"*78 from {third}: a call of {one} does not ring there")
    finally:
        phones.confirmed(third, "*79")
    phones.call(one, third).wait_ringing(3)
    evidence(f"*79 from {third}: it rings again")
    assert f"dnd/{third}" not in pbx.database()


@pytest.mark.check(
    id="forwarding", title="Forwarding: *72 sends calls on, *73 ends it, and nobody can forward abroad",
    proves="clinic.yml: forwarding.highest_class; case: 2",
)  # fmt: skip
def test_forwarding(
    phones: Phones, subscribers: Pstn | None, pbx: Pbx, clinic: Clinic, using: Lock, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure that a forwarded leg has the forwarder's class, capped, whoever calls."""
    staff = [p for p in clinic.people if p.role in (Role.DOCTOR, Role.STAFF)]
    able = [p for p in staff if clinic.class_of(p).includes(ServiceClass.MOBILE)]
    person = (able or staff)[0].ext
    caller, target = ([p.ext for p in staff if p.ext != person] * 7)[5:7]
    try:
        phones.confirmed(person, f"*72{target}")
        with nothing_rings(phones, [person], caller=caller):
            call = phones.call(caller, person, tone=440)
            far = phones.ringing(target)
            far.answer(tone=620)
            call.wait_answered(3)
        evidence(f"{person} forwarded to {target}: " + hear_each_other(call, 440, far, 620))
        call.hangup()
        with using(*(t.name for t in enabled(clinic))):
            if subscribers and able and clinic.forwarding.highest_class.includes(ServiceClass.MOBILE):
                to_a_mobile(phones, subscribers, person, caller, evidence)
            for abroad in FICTIONAL if subscribers is None else (*FICTIONAL, "88091234567"):
                with control(f"*72 with {abroad}, which {person} may not call, is refused"):
                    phones.confirmed(person, f"*72{abroad}")
                pbx.put("forward", person, abroad)  # as it was set when the person's class was higher
                since = phones.pool.stats()["now"]
                with control(f"a call forwarded to {abroad} is not connected"):
                    phones.call(caller, person).wait_answered(3)
                phones.mine[-1].wait_ended(5)
                evidence(f"{person} forwarded to {abroad}: {outcome(phones.mine[-1])}")
                assert not (subscribers and subscribers.reached(abroad, since)), (
                    f"a forwarded call went out to {abroad}"
                )
        with control("*72 with a number that does not exist is refused"):
            phones.confirmed(person, f"*72{'9' * (len(person) - 1)}")
    finally:
        phones.confirmed(person, "*73")
    assert f"forward/{person}" not in pbx.database()
    phones.call(caller, person)
    phones.ringing(person, caller=caller)
    evidence(f"*73 from {person}: calls ring there again")


def to_a_mobile(phones: Phones, pstn: Pstn, person: str, caller: str, evidence: Evidence) -> None:
    """A forwarded call reaches a mobile number of the public network."""
    mobile = f"8{pstn.number()[1:]}"
    pstn.behave(mobile, "answer", tone=770)
    phones.confirmed(person, f"*72{mobile}")
    since = pstn.pool.stats()["now"]
    call = phones.call(caller, person, tone=440).wait_answered(6)
    call.wait_tone(770, 3)
    [arrived] = pstn.reached(mobile, since)
    by = provider_of(pstn.clinic, arrived["source_ip"])
    evidence(f"{person} forwarded to {mobile}: answered there, by {by}")
    call.hangup()


@pytest.mark.check(
    id="lamp", title="A busy-lamp key shows a colleague free, ringing and talking",
    proves="clinic.yml: people; case: 9",
)  # fmt: skip
def test_busy_lamp(
    phones: Phones, pbx: Pbx, clinic: Clinic, secrets: Mapping[str, str], colleagues: list[str], evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure that the lamp follows the telephone through a call: ringing must show, or nobody knows what to pick up."""
    one, other, watcher, _ = colleagues
    address = re.search(r"@([0-9.]+)", pbx.contacts()[watcher])
    assert address, f"{watcher} is not registered"
    key = phones.pool.add_agent(
        address[1], 5095, name="verify-lamp", **account(clinic, clinic.by_ext[watcher], secrets)
    )
    try:
        found = phones.pool.subscribe(key, other)
        assert found["status"] == 200, f"SUBSCRIBE was answered with {found['status']}"
        phones.pool.blf_state(key, other, state="idle", timeout=4)
        call = phones.call(one, other)
        far = phones.ringing(other, caller=one)
        phones.pool.blf_state(key, other, state="early", timeout=3)
        with control("the lamp does not show a talk while the telephone only rings"):
            phones.pool.blf_state(key, other, state="confirmed", timeout=0.5)
        far.answer()
        phones.pool.blf_state(key, other, state="confirmed", timeout=4)
        call.hangup()
        phones.pool.blf_state(key, other, state="idle", timeout=4)
        evidence(f"{watcher} watched {other}: idle, early, confirmed, idle")
        nobody = "9" * len(other)
        with control(f"{nobody}, which is nobody's, has no lamp"):
            assert phones.pool.subscribe(key, nobody)["status"] == 200
        phones.pool.subscribe(key, other, expires=0)
    finally:
        phones.pool.remove([key])


@pytest.mark.check(
    id="pick-up", title="A colleague's ringing call is picked up: *8 in the department, **EXT by name",
    proves="clinic.yml: departments; case: 4",
)  # fmt: skip
def test_pick_up(phones: Phones, neighbours: list[str], rings: Lock, evidence: Evidence, control: Control) -> None:
    """Ensure that only one's own department can be picked up with *8.

    *8 takes any call that rings in the department, so no other check may ring there meanwhile; it comes last, because
    in a small clinic that means waiting for the patients' calls.
    """
    with rings(*neighbours, alone=True):
        pick_up(phones, neighbours, evidence, control)


def pick_up(phones: Phones, colleagues: list[str], evidence: Evidence, control: Control) -> None:
    one, other, third, stranger = colleagues
    call = phones.call(one, other, tone=440)
    ringing = phones.ringing(other, caller=one)
    with control(f"{stranger}, of another department, cannot pick it up with *8"):
        phones.call(stranger, "*8", tone=1000).wait_answered(1.5)
    taken = phones.call(third, "*8", tone=620).wait_answered(4)
    ringing.wait_ended(3)
    evidence(f"{one} called {other}; {third} dialled *8: " + hear_each_other(call, 440, taken, 620))
    taken.hangup()
    call.wait_ended(3)
    call = phones.call(one, other, tone=440)
    ringing = phones.ringing(other, caller=one)
    taken = phones.call(stranger, f"**{other}", tone=770).wait_answered(4)
    ringing.wait_ended(3)
    evidence(f"{stranger} dialled **{other}: " + hear_each_other(call, 440, taken, 770))


@pytest.fixture(autouse=True)
def _quiet(phones: Phones) -> Iterator[None]:
    yield
    phones.tidy()
