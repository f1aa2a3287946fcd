"""One night, in the order an engineer lives it: look, deploy, look again, break it, go back, verify.

The tests of this file build on each other, as the night does.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clinicpbx import descriptions
from clinicpbx.secrets import Store
from clinicpbx.site import Site
from softphone.client import Pool
from tests.lab.conftest import LAB, ROOT, Case
from tests.schema import pve_schema

REPORTS = ROOT / "reports"


def phones() -> Pool:
    return Pool(f"/run/clinicpbx/lab{LAB}/phones/socket")


def test_dry_run_of_nothing_makes_nothing(case: Case) -> None:
    result = case.json("deploy", str(case.file), "--dry")
    assert result["dry"] and result["changed"]
    assert any("does not exist and would be created" in line for line in result["diff"])
    assert case.status()["machines"] == {}


def test_deploy_needs_no_internet(case: Case, deployed: dict[str, object]) -> None:
    assert deployed["failed"] == [] and deployed["changed"]
    assert case.asterisk("core show version").startswith("Asterisk 22.")
    # The control: the PBX really had no way out while it was deployed.
    assert "Registered" not in case.asterisk("pjsip show registrations").replace("Unregistered", "")


def test_second_deploy_changes_nothing(case: Case, deployed: dict[str, object]) -> None:
    again = case.json("deploy", str(case.file))
    assert (again["changed"], again["failed"]) == (0, [])
    assert again["generation"] == deployed["generation"]


def test_dry_run_after_the_deploy_has_no_difference(case: Case, deployed: dict[str, object]) -> None:
    result = case.json("deploy", str(case.file), "--dry")
    assert (result["changed"], result["diff"]) == (0, [])


def test_service_runs_as_its_own_user_from_the_generation(case: Case, deployed: dict[str, object]) -> None:
    line = case.pbx("ps -ww -o user=,args= -C asterisk")
    assert line.startswith("asterisk") and "/generations/current/asterisk.conf" in line
    assert "root" not in line


def test_change_is_shown_first_and_then_done_without_dropping_a_call(case: Case, deployed: dict[str, object]) -> None:
    old = case.file.read_text()
    changed = old.replace("max_wait_seconds: 20", "max_wait_seconds: 25")
    assert changed != old
    started = case.pbx("systemctl show -p ActiveEnterTimestampMonotonic asterisk")
    with phones() as pool:
        assert pool.register(["3101", "3102"])["registered"] == 2
        call = pool.call("3101", "3102", tone=440)
        pool.wait_incoming("3102", 5).answer(tone=620)
        call.wait_answered(5)
        case.file.write_text(changed)
        look = case.json("deploy", str(case.file), "--dry")
        assert look["changed"] == 1
        assert any(line.startswith("+") and "Queue(operators,Cti,,,25" in line for line in look["diff"])
        assert case.json("deploy", str(case.file))["changed"] == 1
        assert call.state == "answered"
        call.wait_tone(620, 3)
        call.hangup()
    assert case.pbx("systemctl show -p ActiveEnterTimestampMonotonic asterisk") == started
    assert "Queue(operators,Cti,,,25" in case.asterisk("dialplan show flow-children")
    case.file.write_text(old)


def test_generations_are_listed_compared_and_switched_back(case: Case, deployed: dict[str, object]) -> None:
    listed = case.json("generations", "list", str(case.file))
    assert len(listed["generations"]) == 2 and listed["current"] != deployed["generation"]
    text = case.run("generations", "diff", "previous", "live", str(case.file), expect=1)
    assert "Queue(operators,Cti,,,25" in text
    case.run("generations", "switch", str(deployed["generation"])[:12], str(case.file))
    assert "Queue(operators,Cti,,,20" in case.asterisk("dialplan show flow-children")
    assert case.json("deploy", str(case.file))["changed"] == 0


def test_configuration_edited_on_the_pbx_is_shown_and_put_right(case: Case, deployed: dict[str, object]) -> None:
    case.pbx("sed -i 's/^retry = 1/retry = 9/' /var/lib/clinicpbx/generations/current/queues.conf")
    look = case.json("deploy", str(case.file), "--dry")
    assert "-retry = 9" in look["diff"] and "+retry = 1" in look["diff"]
    assert case.json("deploy", str(case.file))["changed"] == 1
    assert case.json("deploy", str(case.file))["changed"] == 0


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("dialplan/flows.conf.j2", "Playback(", "Plyback(", "no such application: Plyback"),
        ("dialplan/trunks.conf.j2", "n(done),Return(${result})", "n(done),Return(${result}", "unbalanced bracket"),
        ("pjsip_people.conf.j2", "rtp_symmetric = yes", "rtp_symetric = yes", "rtp_symetric"),
        ("modules.conf.j2", "autoload = no", "autoload = no\nload = app_absent.so", "app_absent"),
        ("queues.conf.j2", "[operators]", "[oprators]", "queue not loaded: operators"),
    ],
)
def test_broken_generation_is_refused_with_its_line_and_the_live_one_stays(
    case: Case, deployed: dict[str, object], tmp_path: Path, file: str, old: str, new: str, complaint: str
) -> None:
    program = (
        "import sys; from clinicpbx import generation; real = dict(generation.templates())\n"
        f"assert {old!r} in real['asterisk/{file}']\n"
        f"real['asterisk/{file}'] = real['asterisk/{file}'].replace({old!r}, {new!r}, 1)\n"
        "generation.templates = lambda: real\n"
        "from clinicpbx.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "deploy", str(case.file)],
        cwd=ROOT, env=case.environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert done.returncode == 1, text
    assert complaint in text and "the running one is untouched" in text
    assert case.json("generations", "list", str(case.file))["current"] == deployed["generation"]
    assert "Queue(operators,Cti,,,20" in case.asterisk("dialplan show flow-children")


def test_machine_that_differs_is_reported_and_left_alone(case: Case, deployed: dict[str, object]) -> None:
    old = case.file.read_text()
    case.file.write_text(old.replace("memory_mib: ", "memory_mib: 1", 1))
    text = case.run("deploy", str(case.file), expect=1)
    case.file.write_text(old)
    assert "memory: has" in text and "should be" in text
    assert case.asterisk("core show version").startswith("Asterisk 22.")


def test_plain_pyinfra_does_the_same(case: Case, deployed: dict[str, object], tmp_path: Path) -> None:
    inventory = tmp_path / "night.py"
    inventory.write_text(f"from clinicpbx.inventory import hosts as clinic\nhosts = clinic({str(case.file)!r})\n")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pyinfra")), "-y", str(inventory), "deploy.py"],
        cwd=ROOT, env=case.environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "No changes" in text or "Grand total" in text
    assert case.json("deploy", str(case.file), "--dry")["changed"] == 0


def test_interrupted_deploy_converges(case: Case, deployed: dict[str, object]) -> None:
    """Ctrl-C at any moment: the configuration is either the old or the new one, and the next run completes it."""
    old = case.file.read_text()
    case.file.write_text(old.replace("max_callers: 30", "max_callers: 31"))
    endings = []
    for delay in (0.5, 0.9, 1.4):
        started = subprocess.Popen(
            [sys.executable, "-m", "clinicpbx", "deploy", str(case.file)],
            cwd=ROOT, env=case.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            # a background shell hands down an ignored SIGINT: then nothing would be interrupted
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        time.sleep(delay)
        started.send_signal(signal.SIGINT)
        endings.append(started.wait(60))
        assert "operators" in case.asterisk("queue show")
    assert endings[0] != 0, f"no deploy was interrupted: {endings}"
    case.json("deploy", str(case.file))
    assert "max 31" in case.asterisk("queue show operators")
    case.file.write_text(old)
    case.json("deploy", str(case.file))
    assert "max 30" in case.asterisk("queue show operators")


def test_every_exchange_with_the_hypervisor_meets_the_published_schema(case: Case, deployed: dict[str, object]) -> None:
    exchanges = list(pve_schema.journal(case.journal))
    assert {"POST", "PUT", "GET"} <= {e["method"] for e in exchanges} and len(exchanges) > 30
    assert [problem for e in exchanges for problem in pve_schema.problems(e)] == []
    # The control: the same check sees a parameter that Proxmox does not have.
    created = next(e for e in exchanges if e["method"] == "POST" and e["path"].endswith("/qemu"))
    assert pve_schema.problems({**created, "params": {**created["params"], "memroy": 1}})


def test_wrong_hypervisor_address_is_one_clear_paragraph(case: Case) -> None:
    state = Path(f"/run/clinicpbx/lab{LAB}/state.json")
    kept = state.read_text()
    wrong = json.loads(kept)
    wrong["api"]["port"] = 8007
    state.write_text(json.dumps(wrong))
    try:
        text = case.run("deploy", str(case.file), expect=1)
    finally:
        state.write_text(kept)
    assert "does not answer at 10.77.10.2:8007" in text and "Remedy:" in text and "Traceback" not in text


def test_clinic_earns_go_with_real_calls(case: Case, online: None) -> None:
    result = case.json("verify", str(case.file))
    assert result["verdict"] == "GO", [c for c in result["checks"] if c["status"] != "passed"]


def contacts(case: Case) -> dict[str, str]:
    """Extension to its telephone's address."""
    stored = json.loads(
        "[" + ",".join(re.findall(r": (\{.*\})", case.asterisk("database show registrar/contact"))) + "]"
    )
    return {one["endpoint"]: one["uri"] for one in stored}


@pytest.fixture
def clinic_of_the_lab(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an engineer has at a real clinic: the hypervisor's authority and token, the providers' passwords."""
    monkeypatch.setenv("CLINICPBX_IDENTITY", case.environment["CLINICPBX_IDENTITY"])
    api = json.loads(Path(f"/run/clinicpbx/lab{LAB}/state.json").read_text())["api"]
    store = Store(case.folder)
    for name, value in store.load().items():
        if name.startswith("lab-trunk/"):
            store.put(name.removeprefix("lab-"), value)
    store.put("hypervisor/token", api["token_secret"])
    alerts = descriptions.read_or_explain(str(case.file)).alerts
    for name, url in Site.at(f"lab{LAB}", case.folder).secrets(store.load(), alerts).items():
        if name.startswith("alert/"):
            store.put(name, url)
    shutil.copy(api["ca"], case.folder / "hypervisor-ca.pem")
    shutil.copy(f"/run/clinicpbx/lab{LAB}/known_hosts", case.folder / "known_hosts")


@pytest.fixture
def forwarded(case: Case, deployed: dict[str, object]) -> Iterator[None]:
    """The chief physician's calls go to his deputy. However the test ends, the telephones are their owners' again."""
    case.asterisk("database put forward 4001 4002")
    yield
    case.asterisk("database del forward 4001")
    with phones() as pool:
        assert pool.register(timeout=4)["failed"] == {}


def test_real_clinic_is_verified_too(case: Case, online: None, forwarded: None, clinic_of_the_lab: None) -> None:
    """`--at clinic` from the engineer's network knows nothing of the lab: no test subscribers, no faults, and
    softphones of the engineer stand in for the telephones."""
    with phones() as pool:
        pool.register(timeout=4)
        call = pool.call("3101", "3102")
        pool.wait_incoming("3102", 5)
        text = case.run("verify", str(case.file), "--borrow", expect=1)
        assert "the PBX is in use: 1 calls are up" in text, text
        call.hangup()
    before = contacts(case)
    assert len(before) == 156
    room = ("ip", "netns", "exec", f"cpx{LAB}-eng")
    again = case.json("deploy", str(case.file), "--at", "clinic", "--yes", room=room)
    assert (again["site"], again["changed"], again["failed"]) == ("clinic", 0, [])
    result = case.json("verify", str(case.file), "--at", "clinic", room=room, expect=1)
    assert (result["at"], result["rehearsal"]) == ("clinic", False)
    # All but what a container has none of: the lab's PBX has no kernel of its own, and only a rehearsal excuses that.
    failed = {check["id"]: check["failure"] for check in result["checks"] if check["status"] == "failed"}
    assert failed.keys() == {"audit", "kernel-memory"}, failed
    tried = {check["id"] for check in result["checks"] if check["status"] == "passed"}
    assert {"inbound-north", "overflow-adults", "unanswered", "recording", "loop-north", "loop-south"} <= tried
    assert contacts(case) == before, "a telephone was not given back"
    assert "4002" in case.asterisk("database get forward 4001")


def test_killed_verification_keeps_no_telephone(case: Case, forwarded: None) -> None:
    """What people had set comes back with the next run; the telephones return by themselves."""
    with phones() as pool:
        assert pool.register(timeout=4)["failed"] == {}
    kept = "/var/lib/clinicpbx/verification.json"
    command = [sys.executable, "-m", "clinicpbx", "verify", str(case.file), "--at", f"lab{LAB}", "--borrow"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, env=case.environment, stdout=quiet, stderr=quiet) as run:
        deadline = time.monotonic() + 30
        while not all(":20" in uri for uri in contacts(case).values()):
            assert run.poll() is None
            assert time.monotonic() < deadline, "no telephone was borrowed"
            time.sleep(0.2)
        run.kill()
    assert "Database entry not found" in case.asterisk("database get forward 4001")
    assert case.pbx(f"cat {kept}")
    text = case.run("verify", str(case.file), "--borrow", "--despite-calls", "--only", "registered", expect=1)
    assert "156 of 156 telephones are not registered" in text, "what is borrowed from nobody counts as registered"
    assert "4002" in case.asterisk("database get forward 4001")
    assert "No such file" in case.pbx(f"ls {kept}")


def private(pem: str) -> str:
    """A PEM text without its certificates, which everybody may see."""
    return re.sub(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", "", pem, flags=re.S).strip()


def test_no_secret_is_in_plain_text_anywhere(case: Case, deployed: dict[str, object]) -> None:
    """Every generated secret, looked for in the repository, reports, logs and process lists of both machines."""
    import os

    os.environ["CLINICPBX_IDENTITY"] = case.environment["CLINICPBX_IDENTITY"]
    try:
        secrets = Store(case.folder).load()
    finally:
        del os.environ["CLINICPBX_IDENTITY"]
    assert len(secrets) > 300
    lines = [line for name, v in secrets.items() if "\n" in v for line in private(v).splitlines()]
    values = [v for v in secrets.values() if "\n" not in v] + [v for v in lines if not v.startswith("-----")]
    here = "\n".join(
        p.read_text(errors="ignore")
        for folder in (ROOT / "inventory", REPORTS, ROOT / "docs", case.folder)
        if folder.exists()
        for p in folder.rglob("*")
        if p.is_file()
    )
    processes = subprocess.run(["ps", "axww", "-o", "args="], capture_output=True, text=True, check=True).stdout
    lab_logs = "\n".join(
        p.read_text(errors="ignore") for p in Path(f"/run/clinicpbx/lab{LAB}").rglob("*log*") if p.is_file()
    )
    there = case.pbx(
        "ps axww -o args=; journalctl --no-pager -q; cat /var/log/asterisk/*.log /var/log/apt/* 2>/dev/null"
    )
    dry = case.run("deploy", str(case.file), "--dry")
    assert len(there) > 10_000
    for place, text in {"files": here, "processes": processes, "lab": lab_logs, "PBX": there, "dry run": dry}.items():
        leaked = [value for value in values if value in text]
        assert not leaked, f"{len(leaked)} secrets in {place}"
    # The control: the same search does find a value where it must be, in the PBX's own configuration.
    configuration = case.pbx("cat /var/lib/clinicpbx/generations/current/pjsip_people.conf")
    assert sum(value in configuration for value in values) >= 150
