"""SIP over TLS and SRTP: who requires it gets nothing less, who may use it can, and all others notice nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from clinic.accounts import SIPS, account
from clinic.model import Clinic
from clinic.people import Person, Role
from clinic.secrets import TLS_CA, TLS_PBX, certificate_of
from clinicpbx import certificates
from clinicpbx.verify.desk import Phones, Pstn, enabled, hear_each_other, outcome
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence
from services.guard import words
from softphone.client import Call

pytestmark = pytest.mark.lane("encryption")
Lock = Callable[..., contextlib.AbstractContextManager[None]]
PORT = 15090
DAYS_OF_WARNING = 90


def those_who_must(clinic: Clinic) -> list[Person]:
    """People whose department requires encryption; the check is not tried where nobody has to."""
    found = [p for p in clinic.people if clinic.encrypts(p)]
    if len(found) < 2:
        pytest.skip("clinic.yml: no department with two telephones requires encryption")
    return found


def somebody_else(clinic: Clinic) -> Person:
    """A telephone that may speak in clear, of a person whom no other check forwards or logs in."""
    plain = [p for p in clinic.people if not clinic.encrypts(p) and p.role in (Role.STAFF, Role.DOCTOR)]
    if len(plain) < 9:
        pytest.skip("clinic.yml: everybody requires encryption")
    return plain[-9]


@contextlib.contextmanager
def telephone(phones: Phones, place: Place, name: str, **options: Any) -> Iterator[str]:
    """One more agent at the visitor's address, within the block."""
    agent = phones.pool.add_agent(place.visitor, PORT, name=f"verify-{name}", **options)
    try:
        yield agent
    finally:
        phones.tidy()
        phones.pool.request("remove", agents=[agent], unregister=False, wait=10)


def talk(phones: Phones, one: str, other: str, tones: tuple[int, int] = (440, 620)) -> tuple[Call, Call, str]:
    """A call from one to the other in which both hear the other's tone. -> both sides, and what was heard"""
    call = phones.call(one, other, tone=tones[0])
    far = phones.ringing(other, 5)
    far.answer(tone=tones[1])
    call.wait_answered(4)
    return call, far, hear_each_other(call, tones[0], far, tones[1])


def sealed(call: Call) -> bool:
    """Whether audio comes as SRTP, and the packets as they came hold no tone."""
    info = call.refresh()
    return bool(info["rtp"]["srtp"] and info["wire_tones"]["windows"] and not info["wire_tones"]["heard"])


@pytest.mark.check(
    id="encrypted-calls", title="A department that requires it talks by TLS and SRTP, also with those who do not",
    proves="clinic.yml: departments",
)  # fmt: skip
def test_calls_are_sealed_and_heard(
    phones: Phones, clinic: Clinic, pbx: Pbx, rings: Lock, evidence: Evidence, control: Control
) -> None:
    """Ensure that both sides hear each other and somebody on the wire hears nothing."""
    one, two = (p.ext for p in those_who_must(clinic)[:2])
    plain = somebody_else(clinic).ext
    contacts = pbx.contacts()
    assert all(";transport=tls" in contacts[ext].lower() for ext in (one, two)), f"registered otherwise: {contacts}"
    with rings(one, two, plain):
        call, far, heard = talk(phones, one, two)
        assert sealed(call) and sealed(far), "the tones can be heard on the wire"
        evidence(f"{one} and {two} by TLS: {heard}; in the sealed packets no tone is found")
        assert (call.hold(), call.resume()) == (200, 200)
        call.reset_media()
        far.reset_media()
        evidence(f"after a hold: {hear_each_other(call, 440, far, 620)}")
        call.hangup()
        for caller, called in ((one, plain), (plain, one)):
            call, far, heard = talk(phones, caller, called)
            ours, theirs = (call, far) if caller == one else (far, call)
            assert sealed(ours), f"{one}'s tones can be heard on the wire"
            evidence(f"{caller} calls {called}: {heard}; sealed at {one} only")
            with control(f"the same ear finds the tone in the packets of {plain}, which are not sealed"):
                assert not theirs.refresh()["wire_tones"]["heard"]
            call.hangup()


@pytest.mark.check(
    id="encrypted-features", title="Transfer, pick-up and calls outside work by TLS and SRTP", proves="case: 4",
)  # fmt: skip
def test_features_work_by_tls(
    phones: Phones, subscribers: Pstn | None, clinic: Clinic, using: Lock, rings: Lock, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure that a telephone that requires encryption can do what the others can."""
    must = [p.ext for p in those_who_must(clinic)]
    plain = somebody_else(clinic).ext
    with rings(must[0], plain, alone=True):
        call, far, _ = talk(phones, must[0], plain)
        result = call.transfer_blind(must[1])
        third = phones.ringing(must[1], 5)
        third.answer(tone=770)
        assert result["refer"] == 202, f"the transfer was answered with {result}"
        evidence(f"{must[0]} transfers {plain} to {must[1]}: {hear_each_other(far, 620, third, 770)}")
        assert sealed(third)
        third.hangup()
        call = phones.call(plain, must[0], tone=440)
        call.wait_ringing(4)
        taken = phones.call(must[1], "*8", tone=620)
        taken.wait_answered(4)
        call.wait_answered(4)
        evidence(f"{must[1]} picks up {plain}'s call to {must[0]}: {hear_each_other(call, 440, taken, 620)}")
        assert sealed(taken)
        call.hangup()
    if subscribers:
        dialled = f"8{subscribers.number()[1:]}"
        with using(*(t.name for t in enabled(clinic))):
            subscribers.behave(dialled, "answer", tone=620)
            out = phones.call(must[0], dialled, tone=440).wait_answered(8)
            out.wait_tone(620, 4)
            assert sealed(out), "the telephone's leg is not sealed"
            evidence(f"{must[0]} calls a mobile number: 620 Hz heard, sealed between telephone and PBX")
            out.hangup()
    with control("a tone that nobody sends is not heard"):
        call, far, _ = talk(phones, must[0], plain)
        call.wait_tone(770, 1)


@pytest.mark.check(
    id="encryption-required", title="Where encryption is required, nothing in clear is accepted or rung",
    proves="clinic.yml: departments",
)  # fmt: skip
def test_required_means_nothing_less(
    phones: Phones, clinic: Clinic, place: Place, secrets: Mapping[str, str], pbx: Pbx, rings: Lock,
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that the right password does not help who speaks in clear, calling or called.

    Asterisk has no rule for how a REGISTER comes: the one by UDP is taken, reaches nothing, and is told of.
    """
    person = those_who_must(clinic)[-1]
    plain = somebody_else(clinic).ext
    own = person.ext

    def tries(name: str, *, tls: bool, srtp: bool) -> None:
        with telephone(phones, place, name, srtp=srtp, **account(clinic, person, secrets, tls=tls)) as agent:
            since = phones.pool.stats()["now"]
            call = phones.call(agent, plain).wait_ended(5)
            assert call.info["status"] in (403, 488), f"answered: {outcome(call)}"
            evidence(f"{name}: INVITE to {plain}: {outcome(call)}")
            assert not phones.numbers_rung(plain, since), f"{plain} rang"
            phones.pool.register([agent], timeout=4)
            call = phones.call(plain, own).wait_ended(8)
            rung = phones.pool.invites(agent, since=since)
            assert not call.info["answered"], f"{own} was reached in clear"
            seen = "its offer of SRTP only was refused" if rung else "no INVITE came"
            evidence(f"{name}: registered, then called by {plain}: {outcome(call)}, {seen}")
            assert tls or not rung, f"{len(rung)} INVITEs went out in clear"

    with rings(own, plain, alone=True):
        try:
            tries("UDP and RTP", tls=False, srtp=False)
            tries("UDP and SRTP", tls=False, srtp=True)
            tries("TLS and RTP", tls=True, srtp=False)
            with telephone(phones, place, "sealed", **account(clinic, person, secrets, tls=True)) as agent:
                with control("by TLS and SRTP the same password from the same address rings"):
                    phones.call(agent, plain).wait_ended(1.5)
                phones.tidy()
                phones.pool.register([agent], timeout=4)
                with control("registered by TLS, the same telephone rings"):
                    phones.call(plain, own).wait_ended(1.5)
        finally:
            phones.pool.register([own], timeout=4)
    ours = pbx.contacts().get(own, "")
    assert ";transport=tls" in ours.lower(), f"{own} is not registered by TLS again: {ours}"
    if place.lab is not None and not place.borrows and clinic.alerts:
        told_of(place.lab, clinic, own, plain, evidence, control)


def told_of(lab: int, clinic: Clinic, own: str, plain: str, evidence: Evidence, control: Control) -> None:
    """That password in clear is an alert, once an hour: an earlier run's counts."""
    from lab.alerts import wait

    def about(ext: str) -> Callable[[dict[str, str]], bool]:
        title = (words.EN if clinic.language == "en" else words.RU)["clear"]
        title = title.format(ext=ext, person=clinic.by_ext[ext].name)
        return lambda row: title in row["title"]

    hour = time.time() - 3600
    alert = wait(lab, about(own), hour, 6)
    assert alert, f"nobody was told that {own}'s password was used in clear"
    evidence(f"told: {alert['title']}")
    with control(f"{plain}, whose department does not require encryption, is not told of"):
        assert wait(lab, about(plain), hour, 0.2)


@pytest.mark.check(
    id="encryption-offered", title="Any telephone may use TLS and SRTP",
    proves="clinic.yml: departments",
)  # fmt: skip
def test_offered_to_all(
    phones: Phones, clinic: Clinic, place: Place, secrets: Mapping[str, str], pbx: Pbx, rings: Lock,
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure that a telephone whose department only offers encryption can use it, calling and called."""
    person = somebody_else(clinic)
    others = [p for p in clinic.people if not clinic.encrypts(p) and p.role in (Role.STAFF, Role.DOCTOR)]
    colleague = next(p.ext for p in reversed(others) if p.department != person.department)
    with rings(person.ext, colleague, alone=True):
        try:
            with telephone(phones, place, "sealed", **account(clinic, person, secrets, tls=True)) as agent:
                assert not phones.pool.register([agent], timeout=4)["failed"], phones.pool.events(agent)
                call, _, heard = talk(phones, agent, colleague)
                assert sealed(call)
                call.hangup()
                evidence(f"{person.ext} by TLS calls {colleague}: {heard}, sealed")
                phones.pool.register([agent], timeout=4)  # its stand-in may have renewed its own meanwhile
                call = phones.call(colleague, person.ext, tone=440)
                far = phones.ringing(agent, 5)
                far.answer(tone=620)
                call.wait_answered(4)
                evidence(f"{colleague} calls {person.ext} at TLS: {hear_each_other(call, 440, far, 620)}, sealed")
                assert sealed(far)
                with control(f"{colleague}'s side, by UDP, is not sealed"):
                    assert sealed(call)
                call.hangup()
        finally:
            phones.pool.register([person.ext], timeout=4)


@pytest.mark.check(
    id="tls-certificate", title="The PBX proves itself by the clinic's own authority, and by TLS 1.2 only",
    proves="case: 2",
)  # fmt: skip
def test_certificate(
    phones: Phones, clinic: Clinic, place: Place, secrets: Mapping[str, str], pbx: Pbx, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure that the certificate on the wire is the description's, lasts, and is asked for by TLS 1.2 only."""
    address = str(clinic.networks.voice.pbx)
    said = pbx.run(f"openssl s_client -connect {address}:{SIPS} -tls1_2 </dev/null 2>/dev/null", check=False)
    assert "BEGIN CERTIFICATE" in said, f"no certificate at {address}:{SIPS}"
    shown = said[said.index("-----BEGIN") : said.index("-----END CERTIFICATE-----") + 25] + "\n"
    assert shown == certificate_of(secrets[TLS_PBX]), "another certificate than the clinic's is shown"
    now = dt.datetime.now(dt.UTC)
    fits = certificates.fits(shown, secrets[TLS_CA], clinic.networks.voice.pbx, now)
    left, authority = certificates.days_left(shown), certificates.days_left(secrets[TLS_CA])
    assert left >= DAYS_OF_WARNING, f"it ends in {left} days; clinicpbx deploy {place.clinic_name} makes a new one"
    assert authority >= DAYS_OF_WARNING, f"the authority ends in {authority} days; every telephone needs a new one"
    assert fits, f"telephones would not accept it: {certificates.read(shown).subject.rfc4514_string()}"
    evidence(f"{certificates.read(shown).issuer.rfc4514_string()}: {left} days left, the authority {authority}")
    for version in ("tls1", "tls1_1"):
        ask = f"openssl s_client -connect {address}:{SIPS} -{version} -cipher ALL:@SECLEVEL=0 </dev/null 2>&1"
        answer = pbx.run(ask, check=False)
        assert "Cipher is (NONE)" in answer, f"{version} is spoken"
        refusal = "alert protocol version" if "alert protocol version" in answer else "no handshake"
        evidence(f"{version.replace('tls1', 'TLS 1').replace('_', '.')}: {refusal}")
    person = those_who_must(clinic)[0]
    told = account(clinic, person, secrets, tls=True)
    impostor = certificate_of(certificates.authority("impostor", now))
    with telephone(phones, place, "fooled", **(told | {"authority": impostor})) as agent:
        state = phones.pool.register([agent], timeout=4)["failed"][agent][0]
        why = [event["error"] for event in phones.pool.events(agent) if event["event"] == "tls_failed"]
        assert state == "failed" and why and "verify failed" in why[0], f"{state}: {why}"
        evidence(f"a telephone that trusts another authority hangs up: {why[0][:90]}")
    with telephone(phones, place, "knowing", **told) as agent, control("one that trusts the clinic's goes on"):
        phones.call(agent, somebody_else(clinic).ext).wait_ended(1.5)
