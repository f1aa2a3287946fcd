"""Who may dial what, and who may dial nothing: the wall against toll fraud."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Mapping

import pytest

from clinic.accounts import account
from clinic.model import Clinic
from clinic.people import Person, Role
from clinic.types import ServiceClass
from clinicpbx.verify.desk import FICTIONAL, Phones, Pstn, enabled, outcome
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence
from softphone.client import PoolError

pytestmark = pytest.mark.lane("lines")
Lock = Callable[..., contextlib.AbstractContextManager[None]]
ABROAD = (*FICTIONAL, "88402345678", "88091234567")
"""Great Britain in both spellings, Abkhazia behind +7, a premium number."""


def people_by_class(clinic: Clinic) -> dict[ServiceClass, Person]:
    """One person of each class that the clinic has."""
    found: dict[ServiceClass, Person] = {}
    for person in reversed(clinic.people):
        found.setdefault(clinic.class_of(person), person)
    return found


@pytest.mark.check(
    id="international", title="Countries that are not listed, and premium numbers, are refused to everyone",
    proves="case: 2",
)  # fmt: skip
def test_international_is_refused_to_everyone(
    phones: Phones,
    subscribers: Pstn | None,
    clinic: Clinic,
    pbx: Pbx,
    using: Lock,
    evidence: Evidence,
    control: Control,
) -> None:
    """Ensure that no class of service reaches a closed country or a premium number."""
    if "GB" in clinic.toll.countries:
        pytest.skip("clinic.yml: toll.countries opens the only country whose numbers are nobody's")
    people = people_by_class(clinic)
    numbers = ABROAD if subscribers else FICTIONAL  # at a real clinic a refusal that fails must disturb nobody
    best = people[max(people, key=lambda c: c.rank)]
    with using(*(t.name for t in enabled(clinic))):
        since, moment = phones.pool.stats()["now"], pbx.run("date +%s").strip()
        for number in numbers:
            calls = [phones.call(person.ext, number) for person in people.values()]
            for call in calls:
                call.wait_ended(5)
                assert not call.info["answered"] and call.info["status"] >= 400, f"{number}: {outcome(call)}"
            evidence(f"{number} from {', '.join(p.ext for p in people.values())}: {outcome(calls[0])}")
        arrived = [i["number"] for n in numbers for i in subscribers.reached(n, since)] if subscribers else []
        assert not arrived, f"the public network was asked for {arrived}"
        if subscribers and clinic.class_of(best).includes(ServiceClass.NATIONAL):
            number = "88122222222"
            with control(f"{best.ext} may dial a city in Russia, so the refusals are about the number"):
                phones.call(best.ext, number).wait_answered(6).hangup()
                assert not subscribers.reached(number, since)
        else:
            colleague = next(p.ext for p in clinic.people if p.ext != best.ext and p.role is not Role.OPERATOR)
            with control(f"{best.ext} may call {colleague}, so the refusals are about the number"):
                call = phones.call(best.ext, colleague).wait_ended(1.5)
    listed = ", ".join(f"'{person.ext}'" for person in people.values())
    columns = f"from cdr where src in ({listed}) and start >= to_timestamp({moment})"
    rows = pbx.rows(f"select dst, trunk, stage {columns} and stage = 'refused'", len(numbers) * len(people))
    tried = [row for row in rows if row[1]]
    assert not tried, f"a provider was tried: {tried}"
    evidence(f"{len(rows)} CDR rows of these calls say `refused` and name no trunk")


@pytest.mark.check(
    id="classes", title="Each class of service reaches what it may, and nothing above it",
    proves="clinic.yml: departments", lab_only=True,
)  # fmt: skip
def test_classes_of_service(
    phones: Phones, pstn: Pstn, clinic: Clinic, using: Lock, evidence: Evidence, control: Control
) -> None:
    """Ensure that a doctor's local class dials the city, a manager's dials mobiles, and no further."""
    area = clinic.numbering.area_code
    city = "3433000" if area != "343" else "8122000"
    numbers = {
        ServiceClass.LOCAL: f"8{area}{'9990001' if len(area) == 3 else '990001'}"[:11],
        ServiceClass.MOBILE: f"8{pstn.number()[1:]}",
        ServiceClass.NATIONAL: f"8{city}001"[:11],
    }
    people = people_by_class(clinic)
    with using(*(t.name for t in enabled(clinic))):
        calls = {(has, needs): phones.call(p.ext, n) for has, p in people.items() for needs, n in numbers.items() if p}
        for (has, needs), call in calls.items():
            allowed = has.includes(needs)
            with contextlib.suppress(PoolError):
                call.wait_answered(6)
            info = call.refresh()
            assert info["answered"] is allowed, f"{has.value} dialled a {needs.value} number: {outcome(call)}"
            said = "connected" if allowed else outcome(call)
            evidence(f"{has.value} ({info['agent']}) to {needs.value} ({info['peer']}): {said}")
            if allowed:
                call.hangup()
    refused = [pair for pair in calls if not pair[0].includes(pair[1])]
    granted = [pair for pair in calls if pair[0].includes(pair[1])]
    if not (refused and granted):
        pytest.skip("clinic.yml: every class may dial the same")
    with control("a call above the class was not answered"):
        assert any(calls[pair].info["answered"] for pair in refused)
    with control("a call within the class was not refused"):
        assert any(not calls[pair].info["answered"] for pair in granted)


@pytest.mark.check(
    id="class-evasion", title="Nothing added to a number raises the class of who dials it",
    proves="clinic.yml: departments; case: 2", lab_only=True,
)  # fmt: skip
def test_nothing_added_to_a_number_raises_a_class(
    phones: Phones, pstn: Pstn, clinic: Clinic, using: Lock, evidence: Evidence, control: Control
) -> None:
    """Ensure that what a phone sends is a number to the dial plan, and never an argument or an expression."""
    people = people_by_class(clinic)
    low = people[min(people, key=lambda c: c.rank)]
    if clinic.class_of(low).includes(ServiceClass.MOBILE):
        pytest.skip("clinic.yml: everybody may dial mobile numbers")
    number = pstn.number()
    added = (",3", ",9", ",9,9", ")", "),9", "&", "${RANK}", "$[9]", ";9", "@", "%2C9", "^9")
    dialled = [f"{prefix}{number}{more}" for prefix in ("00", "810", "+", "8") for more in added]
    with using(*(t.name for t in enabled(clinic))):
        since = pstn.pool.stats()["now"]
        calls = [phones.call(low.ext, one) for one in dialled]
        with contextlib.suppress(PoolError):
            calls[0].wait_ended(4)
        time.sleep(1)  # what the PBX takes for no SIP at all it does not even refuse
        for call in calls:
            assert not call.refresh()["answered"], (
                f"{low.ext} ({clinic.class_of(low).value}) reached {call.info['peer']}"
            )
        arrived = [i["number"] for i in pstn.pool.invites("pstn", since=since) if number[-10:] in i["number"]]
        assert not arrived, f"the public network was asked for {arrived}"
        evidence(
            f"{low.ext} ({clinic.class_of(low).value}) dialled {len(dialled)} spellings of a mobile number: none left"
        )
        best = people[max(people, key=lambda c: c.rank)]
        if clinic.class_of(best).includes(ServiceClass.MOBILE):
            with control(f"{best.ext}, who may dial it, is not refused"):
                phones.call(best.ext, f"00{number}").wait_answered(6).hangup()
                assert not pstn.reached(number, since)
        else:
            with control("an emergency number is not refused"):
                phones.call(low.ext, clinic.emergency.numbers[0]).wait_ended(1.5)


@pytest.mark.check(
    id="inbound-no-transit", title="A call from a provider can never reach a trunk, a code or an extension directly",
    proves="case: 2", lab_only=True,
)  # fmt: skip
def test_inbound_cannot_reach_a_trunk(
    place: Place,
    phones: Phones,
    pstn: Pstn,
    clinic: Clinic,
    pbx: Pbx,
    using: Lock,
    own_number: Lock,
    rings: Lock,
    evidence: Evidence,
    control: Control,
) -> None:
    """Ensure that whatever a provider asks for, only the clinic's own numbers exist."""
    if place.borrows or place.lab is None:
        pytest.skip("only a lab's provider can be told to dial what no provider should")
    from lab import providers

    trunk = enabled(clinic)[0]
    provider = providers.known(place.lab)[trunk.name]
    outside = f"+{pstn.number()}"
    wanted = [outside, f"8{outside[2:]}", clinic.people[0].ext, clinic.call_centre.number, clinic.emergency.numbers[0]]
    did = next((n for n, (t, d) in clinic.dids.items() if t.name == trunk.name and d.to in clinic.by_ext), "")
    did = did or trunk.dids[0].number

    def rejected(*numbers: str) -> list[str]:
        """Dial these as the provider; those that the PBX's log names as not existing."""
        before = pbx.run("wc -c < /var/log/asterisk/messages.log").strip()
        for number in numbers:
            provider.cli(f"channel originate Local/{number}@to-clinic application Echo")
        time.sleep(0.8)
        log = pbx.run(f"tail -c +{int(before) + 1} /var/log/asterisk/messages.log")
        for line in provider.cli("core show channels concise").splitlines():
            if line.startswith(tuple(f"Local/{number}@to-clinic" for number in numbers)):
                provider.cli(f"channel request hangup {line.partition('!')[0]}")
        return [n for n in numbers if f"to extension '{n}' rejected" in log]

    with using(*(t.name for t in enabled(clinic))):
        since = pstn.pool.stats()["now"]
        refused = rejected(*wanted)
        assert refused == wanted, f"the PBX did not refuse {sorted(set(wanted) - set(refused))}"
        evidence(f"{trunk.name} asked for {', '.join(refused)}: no such extension in from-{trunk.name}")
        assert not pstn.reached(outside, since), "the call went out to the public network"
        rung = phones.numbers_rung(clinic.people[0].ext, since)
        assert not rung, f"{clinic.people[0].ext} rang, called by {rung}"
        owner = clinic.dids[did][1].to or ""
        with (
            own_number(owner),
            rings(*[owner] if owner else []),
            control(f"{did}, which is the clinic's, is not rejected"),
        ):
            assert rejected(did if trunk.number_format == "plus" else did.lstrip("+"))


@pytest.mark.check(
    id="unknown-source", title="Nobody without a password gets through: wrong password, no password, from the internet",
    proves="case: 2",
)  # fmt: skip
def test_unknown_sources_are_refused(
    place: Place, phones: Phones, clinic: Clinic, secrets: Mapping[str, str], evidence: Evidence, control: Control
) -> None:
    """Ensure that registration and calls need the right password, and that the outside is deaf to strangers."""
    victim, other = clinic.people[-1].ext, clinic.people[-2].ext
    address = place.visitor
    server = f"{clinic.networks.voice.pbx}:5060"
    added: list[str] = []
    since = phones.pool.stats()["now"]
    try:
        wrong = {"user": victim, "password": "not-the-password", "server": server}
        added.append(phones.pool.add_agent(address, 15070, name="verify-wrong", **wrong))
        result = phones.pool.register(["verify-wrong"], timeout=4)
        status = result["failed"]["verify-wrong"][1]
        assert status in (401, 403), f"a wrong password was answered with {status}"
        evidence(f"REGISTER as {victim} with a wrong password from {address}: {status}")
        for name, user, password in (("nobody", "nobody", ""), ("claims", other, ""), ("guesses", other, "guess")):
            added.append(
                phones.pool.add_agent(
                    address, 15071 + len(added), name=f"verify-{name}", user=user, password=password, server=server
                )
            )
            call = phones.call(f"verify-{name}", victim)
            call.wait_ended(5)
            assert not call.info["answered"] and call.info["status"] in (401, 403, 404), outcome(call)
            evidence(f"INVITE as {user}, {'a wrong' if password else 'no'} password, from {address}: {outcome(call)}")
        for uplink in () if place.borrows else clinic.uplinks:
            said = stranger_invites(place, str(uplink.external_address), victim)
            assert not said, f"{uplink.external_address} answered a stranger with {said}"
            evidence(f"INVITE from the internet to {uplink.external_address}: no answer")
        rung = phones.numbers_rung(victim, since)
        assert not rung, f"{victim} rang, called by {rung}"
        with control(f"the same call from {other}'s own telephone rings at {victim}"):
            call = phones.call(other, victim).wait_ringing(4)
            call.hangup()
            assert not phones.numbers_rung(victim, since)
        right = account(clinic, clinic.by_ext[other], secrets)
        added.append(phones.pool.add_agent(address, 15079, name="verify-right", **right))
        with control("with the right password the same call from the same address rings"):
            phones.call("verify-right", victim).wait_ended(1.5)
    finally:
        phones.tidy()
        if added:
            phones.pool.remove(added)


def stranger_invites(place: Place, address: str, extension: str) -> str:
    """SIP status that a host on the internet gets for an INVITE, above 100; empty for silence."""
    from lab import netns

    with netns.entered(place.state["namespaces"]["net"]), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as knock:
        knock.settimeout(1.0)
        knock.connect((address, 5060))
        own = f"{knock.getsockname()[0]}:{knock.getsockname()[1]}"
        tag = time.time_ns()
        lines = (
            f"INVITE sip:{extension}@{address} SIP/2.0", f"Via: SIP/2.0/UDP {own};branch=z9hG4bK{tag};rport",
            "Max-Forwards: 70", f"From: <sip:100@{own}>;tag={tag}", f"To: <sip:{extension}@{address}>",
            f"Call-ID: {tag}@{own}", "CSeq: 1 INVITE", f"Contact: <sip:100@{own}>", "Content-Length: 0", "", "",
        )  # fmt: skip
        knock.send("\r\n".join(lines).encode())
        try:
            while True:
                status = knock.recv(4096).split(b" ", 2)[1].decode()
                if status != "100":
                    return status
        except OSError:
            return ""
