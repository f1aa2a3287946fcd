"""Who is banned, who never is, and who is told of it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from clinic.model import Clinic
from clinicpbx.verify.banned import banned, forgotten
from clinicpbx.verify.locks import Locks
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence

pytestmark = pytest.mark.lane("walls")
JAILS = {"sip-auth", "sip-scan", "sshd", "provisioning", "panel"}
LINES = Path(__file__).parents[1] / "unit/data/asterisk-log.txt"
WEEK = 7 * 24 * 3600
RATE = 70.0
"""Attempts a second, as crackers have been seen to try."""


def ignored(pbx: Pbx, jail: str) -> list[str]:
    """The networks that a jail spares."""
    return re.findall(r"[|`]- (\S+)", pbx.run(f"fail2ban-client get {jail} ignoreip"))


@pytest.fixture
def attacker(place: Place, clinic: Clinic, pbx: Pbx) -> Iterator[str]:
    """An address of the voice network outside the telephones' range, on the engineer's workstation."""
    if place.lab is None or place.borrows:
        pytest.skip("an attack is tried in a lab only, never at a working clinic")
    from clinicpbx.verify.stranger import lent, outside_the_phones

    space = place.state["namespaces"]["eng"]
    address = outside_the_phones(clinic, space)
    with lent(address, clinic.networks.voice.cidr.prefixlen, space), forgotten(pbx, address):
        yield address


def _lab(place: Place, clinic: Clinic) -> int:
    """The lab's number. Real people are not alerted by a check, and borrowed telephones hide the real ones."""
    if place.lab is None or place.borrows:
        pytest.skip("alerts are tried in a lab only: at a clinic, `clinicpbx alert test`")
    if not clinic.alerts:
        pytest.skip("clinic.yml names nobody under alerts")
    return place.lab


@pytest.mark.check(
    id="bans", title="Attackers are banned; providers, telephones and management never are", proves="case: 2",
)  # fmt: skip
def test_jails_run_and_spare_who_belongs(pbx: Pbx, clinic: Clinic, evidence: Evidence, control: Control) -> None:
    """Ensure that every jail runs and that none of them can cut off those whom the clinic lives by."""
    assert pbx.host.service("fail2ban").is_running and pbx.host.service("fail2ban").is_enabled
    listed = re.search(r"Jail list:\s*(.*)", pbx.run("fail2ban-client status"))
    running = set(re.split(r",\s*", listed[1])) if listed else set()
    assert running >= JAILS, f"these jails do not run: {sorted(JAILS - running)}"
    voice = clinic.networks.voice
    belong = [voice.phones_from, voice.phones_to, clinic.networks.management.pbx, ip_address("127.0.0.1")]
    belong += [trunk.server for trunk in clinic.trunks]
    belong += [network[0] for trunk in clinic.trunks for network in trunk.media]
    strangers = [voice.phones_from - 1, voice.phones_to + 1, ip_address("192.0.2.1")]
    for jail in sorted(JAILS):
        networks = [ip_network(text) for text in ignored(pbx, jail)]
        outside = [str(a) for a in belong if not any(a in n for n in networks)]
        assert not outside, f"{jail} could ban {outside}"
        if jail == "sip-auth":
            evidence(f"spared: {', '.join(map(str, networks))}")
            with control("an ordinary address is not spared"):
                assert all(any(a in n for n in networks) for a in strangers)
    grows = [pbx.run(f"fail2ban-client get sip-auth {key}").strip() for key in ("bantime.increment", "bantime.maxtime")]
    assert grows == ["True", str(WEEK)], f"bantime.increment and maxtime are {grows}"
    kept = int((re.search(r"(\d+)seconds", pbx.run("fail2ban-client get dbpurgeage")) or ["", "0"])[1])
    assert kept > WEEK, f"bans are remembered for {kept} s, the longest lasts {WEEK} s"
    lines = [
        pbx.run(f"systemd-analyze security --no-pager {unit}.service | tail -1", check=False).strip("→ \n")
        for unit in ("fail2ban", "clinic-guard")
    ]
    exposures = [float((re.search(r"([0-9.]+) [A-Z]+", line) or ["", "10"])[1]) for line in lines]
    evidence("; ".join(lines))
    assert max(exposures) <= 2.5, f"exposures {exposures} are more than 2.5"


@pytest.mark.check(
    id="filters", title="Forged names and call ids in Asterisk's logs accuse nobody else", proves="case: 2",
)  # fmt: skip
def test_filters_on_real_lines(pbx: Pbx, evidence: Evidence, control: Control) -> None:
    """Ensure that fail2ban itself finds in lines that a real Asterisk wrote whom the test's author expects."""
    rows = [row.split("\t", 2) for row in LINES.read_text(encoding="utf-8").splitlines() if not row.startswith("#")]
    data = "".join(f"{line}\n" for _, _, line in rows).encode()
    seen = {}
    for name in ("auth", "scan"):
        file = f"/run/verify-{name}.log"
        command = f"fail2ban-regex -o '<ip>' {file} /etc/fail2ban/filter.d/clinic-asterisk-{name}.conf"
        found = pbx.run(f"trap 'rm -f {file}' EXIT; cat > {file} && {command}", data=data, check=False)
        seen[name] = sorted(found.split())
        wanted = sorted(address for who, address, _ in rows if who == name)
        assert seen[name] == wanted, f"clinic-asterisk-{name} accuses {seen[name]}, expected {wanted}"
    forged = sum("1.2.3.4" in line for _, _, line in rows)
    evidence(f"{len(rows)} lines, {forged} with the forged address 1.2.3.4: {len(seen['auth'])} wrong passwords and "
             f"{len(seen['scan'])} scans, each its sender's")  # fmt: skip
    with control("the lines do accuse somebody"):
        assert not seen["auth"] and not seen["scan"]


@pytest.mark.check(
    id="cracker", title="A password cracker is banned within two seconds, and the ban outlives a restart",
    proves="case: 2", lab_only=True,
)  # fmt: skip
def test_cracker_is_banned(
    place: Place, pbx: Pbx, clinic: Clinic, attacker: str, locks: Locks, evidence: Evidence, control: Control
) -> None:
    """Ensure that guessing ends after a few dozen tries, and that the next try is not even answered."""
    from clinicpbx.verify.stranger import Stranger

    ext = clinic.people[0].ext
    with Stranger(clinic, attacker, place.state["namespaces"]["eng"]) as stranger:
        with control("before the attack the same address is answered"):
            assert not stranger.ask(stranger.register(ext))
        tried = stranger.crack(ext, attempts=210, rate=RATE)
        assert wait_until(lambda: bool(banned(pbx, attacker)), 2), "the attacker is not banned"
        evidence(
            f"{tried.sent} passwords at {RATE:.0f}/s from {attacker}: {tried.answered} answered, the last after "
            f"{tried.seconds:.2f} s, none right"
        )
        assert tried.seconds < 2.5, f"the last answer came after {tried.seconds:.2f} s"
        assert not stranger.ask(stranger.register(ext, method="OPTIONS"), 0.5), "a banned address is answered"
        with locks.hold("fail2ban", alone=True):  # other checks ask it meanwhile
            pbx.run("systemctl restart fail2ban", timeout=30)
            assert wait_until(lambda: bool(banned(pbx, attacker)), 5), "a restart forgot the ban"
            assert wait_until(lambda: pbx.raw("fail2ban-client ping")[0] == 0, 10), "it does not answer"
        assert not stranger.ask(stranger.register(ext), 0.5), "a restart forgot the ban"
        evidence("the ban stands again after a restart of fail2ban, from its database")
        pbx.run(f"fail2ban-client unban {attacker}")
        with control("once the ban is lifted the address is answered again"):
            assert not stranger.ask(stranger.register(ext))


@pytest.mark.check(
    id="ban-grows", title="Who comes back is banned for twice as long", proves="case: 2", lab_only=True,
)  # fmt: skip
def test_ban_times_grow(
    place: Place, pbx: Pbx, clinic: Clinic, attacker: str, evidence: Evidence, control: Control
) -> None:
    """Ensure that each ban of an address is longer than the one before; for the check the first lasts four seconds."""
    from clinicpbx.verify.stranger import Stranger

    def told() -> list[int]:
        """Seconds of each ban, as fail2ban told the guard."""
        rows = [line.split() for line in pbx.run("cat /var/log/clinic-bans/bans.log").splitlines()]
        return [int(row[3]) for row in rows if row[2] == attacker]

    usual = pbx.run("fail2ban-client get sip-auth bantime").strip()
    before, ext = len(told()), clinic.people[0].ext
    try:
        # A ban that is over before fail2ban has written it down is none to it: on a busy machine a third may be needed.
        pbx.run("fail2ban-client set sip-auth bantime 4")
        with Stranger(clinic, attacker, place.state["namespaces"]["eng"]) as stranger:
            for _ in range(3):
                known = len(told())
                stranger.crack(ext, attempts=80, rate=150)
                assert wait_until(lambda: len(told()) > known, 4), "no ban came"  # noqa: B023
                if known > before and wait_until(lambda: max(told()[before:]) > 4, 2):
                    break
                assert wait_until(lambda: not banned(pbx, attacker), 8), "a ban of 4 s did not end"
    finally:
        pbx.run(f"fail2ban-client set sip-auth bantime {usual}")
    first, longest = told()[before], max(told()[before:])
    evidence(f"bans of {attacker} in a row: {first} s, then {longest} s; usually the first is {usual} s")
    assert first == 4 and longest >= 8, f"bans in a row lasted {told()[before:]} s"
    with control("the later ban was not as long as the first"):
        assert longest == first


@pytest.mark.check(
    id="phone-fails", title="A telephone that keeps failing its password is reported, and never banned",
    proves="clinic.yml: people, alerts; case: 2", lab_only=True,
)  # fmt: skip
def test_failing_phone_is_reported(
    place: Place, pbx: Pbx, clinic: Clinic, evidence: Evidence, control: Control
) -> None:
    """Ensure that somebody hears whose telephone it is and at which switch port, though it can go on trying."""
    lab = _lab(place, clinic)
    from clinicpbx.verify.stranger import Stranger
    from lab.alerts import received, wait
    from lab.phones import spare_addresses

    hour = " ".join(row["title"] for row in received(lab, time.time() - 3600))
    ours = clinic.people[:-2]  # the last two fail in other checks
    person = next((p for p in reversed(ours) if f" {p.ext} " not in hour), None)
    if person is None:
        pytest.skip("everybody's telephone was reported within the hour already")
    address, began = spare_addresses(lab)[-1], time.time()

    def about(row: dict[str, str]) -> bool:
        return f" {person.ext} " in row["title"] and person.name in row["title"]

    with Stranger(clinic, address, place.state["namespaces"]["phones"]) as phone:
        for _ in range(4):
            phone.ask(phone.register(person.ext, phone.wrong(person.ext, "guess")))
        with control("four failures are not told of"):
            assert wait(lab, about, began, 1.5)
        fifth = time.time()
        for _ in range(76):  # more than any jail allows
            phone.ask(phone.register(person.ext, phone.wrong(person.ext, "guess")), 0.3)
        alert = wait(lab, about, began, 5)
        assert alert, "no alert came within 5 s of the fifth failure"
        evidence(f"{alert['title']} came to {alert['target']} {alert['at'] - fifth:.2f} s after the fifth failure")
        where = person.phone
        for fact in (person.name, where.socket, where.switch, f" {where.port}\n", address):
            assert fact in alert["body"], f"the alert does not name {fact.strip()}: {alert['body']}"
        assert not banned(pbx, address), "a telephone's address was banned"
        assert phone.ask(phone.register(person.ext)), "the telephone is not answered any more"
    evidence(f"80 wrong passwords from {address}, a telephone's address, and it is still answered")
    again = [row for row in received(lab, began) if about(row) and row["target"] == alert["target"]]
    assert len(again) == 1, f"the same was told {len(again)} times"
    assert person.phone.mac not in alert["body"] and not re.search(r"json://", alert["body"])


@pytest.mark.check(
    id="alerts", title="Alerts reach everyone they are for, and wait for who is away", proves="clinic.yml: alerts",
    lab_only=True,
)  # fmt: skip
def test_alerts_arrive(place: Place, pbx: Pbx, clinic: Clinic, evidence: Evidence, control: Control) -> None:
    """Ensure that each target of the description takes an alert from the PBX itself, through its own sandbox."""
    import json

    lab = _lab(place, clinic)
    from lab.alerts import received, refusing

    began = time.time()
    found = json.loads(pbx.run("clinic-guard test", timeout=60))["targets"]
    assert found == dict.fromkeys(clinic.alerts, "accepted"), f"targets answered {found}"
    came = {row["target"] for row in received(lab, began)}
    assert came >= set(clinic.alerts), f"only {sorted(came)} got it"
    evidence(f"a test alert was accepted by, and arrived at: {', '.join(sorted(came))}")
    with refusing(lab), control("a target that refuses is not taken for one that accepted"):
        refused = json.loads(pbx.run("clinic-guard test", timeout=60, check=False))["targets"]
        assert "accepted" in refused.values()
    status = json.loads(pbx.run("clinic-guard status"))
    evidence(f"waiting at the guard: {status['waiting'] or 'nothing'}")
