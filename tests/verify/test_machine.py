"""The PBX itself: its sandbox, its doors, its secrets, its records, and that a second deploy finds nothing to do."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clinic.model import Clinic
from clinic.people import Role
from clinicpbx.verify.desk import Phones
from clinicpbx.verify.locks import Locks
from clinicpbx.verify.pbx import CDR, CEL, QUEUE_LOG, RECORDINGS, DatabaseAwayError, Pbx, wait_until
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence

pytestmark = pytest.mark.lane("lines")
Lock = Callable[..., contextlib.AbstractContextManager[None]]
ANYWHERE = ("0.0.0.0", "[::]", "*")  # noqa: S104 - what ss prints
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.check(
    id="sandbox", title="Asterisk runs as its own user, in a systemd sandbox", proves="case: 2",
)  # fmt: skip
def test_service_is_sandboxed(pbx: Pbx, evidence: Evidence, control: Control) -> None:
    """Ensure that whoever takes over Asterisk has neither root nor the machine."""
    service = pbx.host.service("asterisk")
    assert service.is_running and service.is_enabled
    pid = pbx.run("systemctl show --property MainPID --value asterisk").strip()  # others may be a CLI's
    user = pbx.run(f"ps -o user= -p {pid}").split()
    assert user == ["asterisk"], f"Asterisk runs as {user}"
    caps = pbx.run(f"grep -h CapEff /proc/{pid}/status").split()[1]
    assert int(caps, 16) == 0, f"Asterisk has capabilities {caps}"
    line = pbx.run("systemd-analyze security --no-pager asterisk.service | tail -1", check=False)
    found = re.search(r"([0-9.]+) ([A-Z]+)", line)
    assert found, f"systemd-analyze says {line!r}"
    exposure = float(found[1])
    evidence(f"systemd-analyze security asterisk: exposure {exposure} {found[2]}; user asterisk, no capability")
    assert exposure <= 4.0, f"exposure {exposure} is more than 4.0"
    inside = f"nsenter --target {pid} --mount --"  # as root: what refuses is the sandbox, not ownership
    pbx.run(f"{inside} sh -c 'touch /var/log/asterisk/.verify && rm /var/log/asterisk/.verify'")
    for path in ("/etc", "/usr/sbin", "/var/lib/clinicpbx"):
        with control(f"from inside the sandbox even root cannot write {path}"):
            pbx.run(f"{inside} sh -c 'touch {path}/.verify && rm {path}/.verify'")


@pytest.mark.check(
    id="doors", title="Only the expected sockets listen", proves="case: 2",
)  # fmt: skip
def test_listening_sockets(pbx: Pbx, clinic: Clinic, locks: Locks, evidence: Evidence, control: Control) -> None:
    """Ensure that nothing listens for the network that the clinic does not need."""
    expected = {
        ("udp", str(clinic.networks.voice.pbx), 5060),
        ("tcp", str(clinic.networks.voice.pbx), 5061),
        *(("udp", str(u.address.ip), 5060) for u in clinic.uplinks),
    }
    local = ("127.", "[::1]", "::1")
    found = set()
    with locks.hold("sockets"):  # another check makes some listen for a moment
        listed = pbx.run("ss -H -lntup")
    for line in listed.splitlines():
        parts = line.split()
        address, _, port = parts[4].rpartition(":")
        program = (re.search(r'"([^"]+)"', line) or ["", "?"])[1]
        if not address.startswith(local):
            found.add((parts[0], address.partition("%")[0], int(port), program))
    sip = {(kind, address, port) for kind, address, port, program in found if program == "asterisk" and port < 10000}
    assert sip == expected, f"Asterisk listens at {sorted(sip)}, expected {sorted(expected)}"
    media = {(address, port) for _, address, port, program in found if program == "asterisk" and port >= 10000}
    outside = sorted((address, port) for address, port in media if port > 12999)
    # pjproject's DNS client has one socket for each address family, on ports the kernel chooses
    assert len(outside) <= 2 and all(a in ANYWHERE for a, _ in outside), f"RTP at {outside}"
    others = {(port, program) for _, _, port, program in found if program != "asterisk"}
    allowed = {22: "sshd", 123: "chronyd", 323: "chronyd", 443: "nginx", 67: "kea-dhcp4", 68: "systemd-network"}
    # The watchdog asks from ports of the kernel's choice: one socket for each uplink, one for the DNS servers.
    asking = sorted(p for p, n in others if n == "python3" and p >= 32768)[: len(clinic.uplinks) + 1]
    others -= {(p, "python3") for p in asking}
    strangers = {(p, n) for p, n in others if p not in allowed or n not in (allowed[p], "systemd", "?")}
    assert not strangers, f"unexpected listeners: {sorted(strangers)}"
    evidence(f"SIP: {', '.join(sorted(f'{a}:{p}' for _, a, p in sip))}; others: {sorted(others)}")
    evidence(f"pjproject's DNS client: {outside}; RTP within 10000 to 12999: {len(media) - len(outside)}")
    with control("the search sees listeners: SSH is there"):
        assert not any(p == 22 for p, _ in others)
    with control("PostgreSQL and the manager interface are not reachable from the network"):
        assert any(p in (5432, 5038) for _, _, p, _ in found)


@pytest.mark.check(
    id="no-secret", title="No secret of the clinic stands in a log, the journal or the process list",
    proves="case: 2",
)  # fmt: skip
def test_no_secret_is_readable(pbx: Pbx, secrets: Mapping[str, str], evidence: Evidence, control: Control) -> None:
    """Ensure that none of the generated secrets leaks. They travel on the command's input, never as arguments."""
    values = sorted({line for value in secrets.values() for line in value.splitlines() if len(line) >= 12})
    values = [v for v in values if not v.startswith("-----")]
    places = "/var/log /run/clinicpbx /tmp /var/tmp /etc/systemd /usr/local /usr/lib/clinicpbx"
    needles = "/dev/shm/.verify-needles"  # noqa: S108 - memory only, readable by root only, removed at once
    search = f"cat > {needles}; chmod 600 {needles}; trap 'rm -f {needles}' EXIT; "
    grep = f"grep -F -f {needles}"
    found = pbx.run(
        f"umask 077; {search} {grep} -rlI -s {places} | head -5; "
        f"journalctl --no-pager -o cat 2>/dev/null | {grep} -c | sed 's/^/journal lines: /'; "
        f"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | {grep} -c | sed 's/^/command lines: /'; "
        f"ls -1 /proc/[0-9]*/environ | xargs cat 2>/dev/null | tr '\\0' '\\n' | {grep} -c | sed 's/^/environments: /'",
        data="\n".join(values).encode() + b"\n", check=False, timeout=40,
    )  # fmt: skip
    clean = {"journal lines: 0", "command lines: 0", "environments: 0"}
    leaks = [line for line in found.splitlines() if line not in clean]
    assert not leaks, f"a secret stands in: {leaks}"
    evidence(f"{len(values)} secrets searched in {places}, the journal, command lines and environments: none found")
    held = pbx.run(
        f"umask 077; {search} {grep} -rlI -s /var/lib/clinicpbx/generations/current/ | wc -l",
        data="\n".join(values).encode() + b"\n",
    )
    with control("the same search finds the passwords where Asterisk reads them"):
        assert held.strip() == "0"
    path = "/var/lib/clinicpbx/generations/current/pjsip_people.conf"
    with control("a user without the role cannot read Asterisk's passwords"):
        pbx.run(f"setpriv --reuid=nobody --regid=nogroup --clear-groups head -c 1 {path}")


@pytest.mark.check(
    id="disk-guard", title="Recordings have a disk of their own and a guard that runs",
    proves="clinic.yml: recording.min_free_percent, recording.retention_days",
)  # fmt: skip
def test_recordings_cannot_fill_the_system_disk(pbx: Pbx, clinic: Clinic, evidence: Evidence, control: Control) -> None:
    """Ensure that recordings end at their own disk's edge, and that the guard acts before that."""
    devices = pbx.run(f"stat -c %d / {RECORDINGS}").split()
    assert devices[0] != devices[1], "recordings lie on the system disk"
    assert pbx.host.service("clinic-recordings.timer").is_running, "the guard's timer does not run"
    settings = json.loads(pbx.run("cat /etc/clinicpbx/recordings.json"))
    assert settings["retention_days"] == clinic.recording.retention_days
    assert settings["min_free_percent"] == clinic.recording.min_free_percent
    guard = "/usr/local/sbin/clinic-recordings --dry"
    report = json.loads(pbx.run(guard))
    assert report["recording"] is True, f"recording is off: {report['reason']}"
    evidence(f"{RECORDINGS}: {report['free_percent']} % free, {clinic.recording.min_free_percent} % kept free")
    tight = json.dumps(settings | {"root": "/var/log"}).encode()
    with control("told of a place that is no disk of its own, the guard stops recording"):
        assert json.loads(pbx.run(f"{guard} /dev/stdin", data=tight, check=False))["recording"] is True


@pytest.mark.check(
    id="records-outage", title="PostgreSQL stops during a call: the call goes on, and every row arrives once",
    proves="case: 8", lab_only=True,
)  # fmt: skip
def test_records_survive_a_stopped_database(
    place: Place, pbx: Pbx, phones: Phones, clinic: Clinic, evidence: Evidence, control: Control
) -> None:
    """Ensure that a stopped database never touches a call, and that its rows are all there afterwards."""
    if place.borrows:
        pytest.skip("a working clinic's database is not stopped for a test")
    plain = [p.ext for p in clinic.people if p.role in (Role.DOCTOR, Role.STAFF)]
    doctors = (plain[8:11] if len(plain) > 10 else [*plain, *(p.ext for p in clinic.people if p.ext not in plain)])[:3]
    if len(doctors) < 3:
        pytest.skip("clinic.yml: people has fewer than three telephones")
    one, other, third = doctors
    call = phones.call(one, other, tone=440)
    far = phones.ringing(other, caller=one)
    far.answer(tone=620)
    call.wait_answered(3)
    from_then = int(time.time())
    try:
        pbx.run("systemctl stop postgresql", timeout=30)
        call.wait_tone(620, 3)
        with control("the database is really away"):
            try:
                pbx.ask("select 1")
            except DatabaseAwayError:
                raise AssertionError("PostgreSQL does not answer") from None
        second = phones.call(one, third, tone=440)
        phones.ringing(third, caller=one).answer(tone=620)
        second.wait_answered(3)
        second.wait_tone(620, 3)
        second.hangup()
        call.hangup()
        evidence(f"with PostgreSQL stopped, {one} and {other} went on talking, and {one} reached {third}")
    finally:
        pbx.run("systemctl start postgresql", timeout=30)
    time.sleep(0.5)
    tail = list(csv.reader(pbx.run(f"tail -n 40 {CDR}").splitlines()))
    ours = {row[16] for row in tail if row[4] == one and row[5] in (other, third)}
    ours = set(sorted(ours)[-2:])
    assert len(ours) == 2, f"the CDR file has {len(ours)} of 2 calls"
    wanted = ", ".join(f"'{unique}'" for unique in ours)
    found = pbx.rows(f"select uniqueid from cdr where uniqueid in ({wanted})", 2, 15)  # noqa: S608 - Asterisk's ids
    assert sorted(row[0] for row in found) == sorted(ours), f"rows in the database: {found}"
    events = [
        row for row in csv.reader(pbx.run(f"tail -n 4000 {CEL}").splitlines()) if len(row) > 12 and row[12] in ours
    ]
    counted = f"select count(*) from cel where linkedid in ({wanted})"  # noqa: S608
    assert wait_until(lambda: pbx.sql(counted)[0][0] == str(len(events)), 10, every=0.4), (
        f"{pbx.sql(counted)[0][0]} CEL rows in the database, {len(events)} in the file"
    )
    evidence(f"after its return: 2 CDR rows and {len(events)} CEL rows of these calls, each exactly once")
    to_then = int(time.time()) - 2
    inside = [
        n for n in pbx.run(f"tail -n 4000 {QUEUE_LOG}").splitlines() if from_then <= int(n.partition("|")[0]) <= to_then
    ]
    window = f"select count(*) from queue_log where extract(epoch from time)::bigint between {from_then} and {to_then}"  # noqa: S608
    assert wait_until(lambda: pbx.sql(window)[0][0] == str(len(inside)), 10, every=0.4), (
        f"{pbx.sql(window)[0][0]} rows of the queue log in the database, {len(inside)} in the file"
    )
    evidence(f"and {len(inside)} rows of the queue log, each exactly once")


@pytest.mark.check(
    id="second-deploy", title="A second deploy finds nothing to change", proves="case: 1",
)  # fmt: skip
def test_second_deploy_changes_nothing(
    place: Place, pbx: Pbx, unchanging: Lock, request: pytest.FixtureRequest, evidence: Evidence, control: Control
) -> None:
    """Ensure that the PBX is what the description says, to the byte."""
    at = request.config.getoption("--at") or "lab"
    began = time.monotonic()
    live = pbx.run("readlink /var/lib/clinicpbx/generations/current").strip()

    def deploy(*options: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "clinicpbx", "deploy", str(request.config.getoption("--clinic")), "--at", at]
        done = subprocess.run(
            [*command, "--json", *options], capture_output=True, text=True, timeout=90, cwd=ROOT, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"the deploy ended with {done.returncode}: {(done.stderr or done.stdout)[-400:]}"
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["changed"] == 0, f"{found['changed']} operations would change something: {found}"
        return found

    if place.lab is None:
        deploy("--dry")  # what differs at a working clinic is told, not put right by a check
    with unchanging():
        report = deploy("--yes")
    evidence(f"clinicpbx deploy: 0 changes in {time.monotonic() - began:.1f} s; {live.rpartition('/')[2][:12]} stays")
    assert pbx.run("readlink /var/lib/clinicpbx/generations/current").strip() == live
    with control("the deploy did look at the machine: it compared what is there"):
        assert report["unchanged"] == 0
