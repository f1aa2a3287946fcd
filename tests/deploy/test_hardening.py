"""Hardening through pyinfra itself, offline, and the files it brings tried with the programs that read them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import PyinfraError

from clinic.loading import load
from clinic.model import Clinic, Engineer
from clinic.synthetic import text
from clinic.updates import Updates
from clinicpbx.bundle import Bundle, Pinned
from tasks import bundle, hardening
from tests.deploy.fake_pbx import FakePbx

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "files/base/policy-rc.d"


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(text(20)).model_copy(update={"engineers": ()})


@pytest.fixture
def pbx() -> FakePbx:
    return FakePbx()


def all_met() -> set[int]:
    return set(range(len(hardening.wanted_steps())))


def test_second_run_does_nothing(pbx: FakePbx, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(pbx.run(monkeypatch, (hardening.hardening, clinic))) == 5
    pbx.met = all_met()
    assert pbx.run(monkeypatch, (hardening.hardening, clinic)) == []
    assert (pbx.commands, pbx.sent) == ([], [])


def test_only_the_steps_that_do_not_hold_are_done(
    pbx: FakePbx, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbx.run(monkeypatch, (hardening.hardening, clinic))
    pbx.met = all_met() - {3}
    pbx.run(monkeypatch, (hardening.hardening, clinic))
    assert pbx.commands == [hardening.wanted_steps()[3].command]


def test_nothing_under_calls_is_restarted(pbx: FakePbx, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    pbx.former = ["asterisk.service"]
    pbx.run(monkeypatch, (hardening.hardening, clinic), (hardening.effective,))
    stops = [c for c in pbx.commands if "restart" in c or "stop" in c]
    assert all("timer" in c for c in stops), stops
    assert not any("asterisk" in c or "postgresql@" in c for c in stops)
    assert any("reload ssh" in c for c in pbx.commands), "a reload keeps the running deploy's connection"


def test_former_sandbox_is_told_and_changes_nothing(
    pbx: FakePbx, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pbx.former = ["asterisk.service"]
    with caplog.at_level("WARNING", "pyinfra"):
        pbx.met = {0}
        assert pbx.run(monkeypatch, (hardening.effective,)) == []
    assert [r.getMessage().strip() for r in caplog.records] == [
        "asterisk.service runs in its former sandbox until its next start"
    ]


def test_missing_audit_of_a_container_is_told(
    pbx: FakePbx, clinic: Clinic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pbx.container = "systemd-nspawn"
    with caplog.at_level("WARNING", "pyinfra"):
        pbx.run(monkeypatch, (hardening.hardening, clinic))
    assert hardening.NO_AUDIT in caplog.text
    assert "/etc/audit/rules.d/50-clinic.rules" in pbx.files


def test_wrong_sshd_configuration_is_taken_back_and_stops_the_deploy(
    pbx: FakePbx, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbx.refuse = lambda command: command.startswith("sshd -t")
    with pytest.raises(PyinfraError):
        pbx.run(monkeypatch, (hardening.hardening, clinic))
    assert f"rm -f {hardening.SSHD}" in pbx.commands[-1]
    assert not any("reload ssh" in c for c in pbx.commands)


def test_toolkit_and_engineers_may_log_in_and_the_toolkit_always(clinic: Clinic) -> None:
    people = tuple(Engineer(name=n, ssh_key="ssh-ed25519 AAAA") for n in ("ivanov", "clinic"))
    lines = hardening.sshd(clinic.model_copy(update={"engineers": people})).decode().splitlines()
    assert "AllowUsers clinic ivanov" in lines
    assert f"PerSourcePenaltyExemptList {clinic.networks.management.cidr}" in lines


def test_mirror_is_named_only_by_the_description(clinic: Clinic) -> None:
    path = "/etc/apt/sources.list.d/security.sources"
    without = hardening.updates(clinic)[path].data
    assert all(line.startswith(b"#") for line in without.splitlines())
    there = clinic.model_copy(update={"updates": Updates(mirror="http://mirror.invalid/security", at="02:15")})
    files = hardening.updates(there)
    assert b"URIs: http://mirror.invalid/security\nSuites: trixie-security\n" in files[path].data
    assert b"OnCalendar=*-*-* 02:15:00\n" in files["/etc/systemd/system/apt-daily-upgrade.timer.d/clinic.conf"].data


@pytest.mark.parametrize(
    ("service", "action", "status"),
    [
        ("asterisk.service", "restart", 101), ("asterisk", "stop", 101), ("asterisk", "force-reload", 101),
        ("postgresql@17-*", "stop", 101), ("postgresql.service", "try-restart", 101), ("nftables.service", "stop", 101),
        ("asterisk.service", "start", 0), ("ssh.service", "restart", 0), ("chrony", "stop", 0),
        ("clinic-asterisk-like.service", "restart", 0),
    ],
)  # fmt: skip
def test_package_scripts_restart_all_but_what_carries_calls(service: str, action: str, status: int) -> None:
    assert subprocess.run(["sh", str(POLICY), service, action], timeout=5, check=False).returncode == status
    assert subprocess.run(["sh", str(POLICY), "--quiet", service, action], timeout=5, check=False).returncode == status


def test_while_a_deploy_installs_no_package_script_starts_anything(tmp_path: Path) -> None:
    mark = tmp_path / "installing"
    script = POLICY.read_text().replace(bundle._INSTALLING, str(mark))
    assert str(mark) in script
    ask = ["sh", "-c", script, "policy-rc.d", "ssh.service", "start"]
    assert subprocess.run(ask, timeout=5, check=False).returncode == 0
    mark.touch()
    assert subprocess.run(ask, timeout=5, check=False).returncode == 101


def test_security_update_stays_and_the_bundle_s_own_does_not(
    pbx: FakePbx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pbx").mkdir()
    (tmp_path / "key.gpg").write_bytes(b"key")
    names = ("asterisk", "libssl3t64", "bash")
    pins = tuple(Pinned(name, "1.0", "0" * 64) for name in names)
    wanted = Bundle(tmp_path, "0123456789abcdef", tmp_path / "key.gpg", pins, names)
    newer: dict[str, str] = {"asterisk": "2.0", "libssl3t64": "1.1", "bash": "0.9"}
    pbx.packages, pbx.newer = dict(newer), {"asterisk", "libssl3t64"}
    pbx.run(monkeypatch, (bundle.bundle, wanted, True))
    assert pbx.packages == {"asterisk": "1.0", "libssl3t64": "1.1", "bash": "1.0"}
    pbx.packages = dict(newer)
    pbx.run(monkeypatch, (bundle.bundle, wanted))
    assert pbx.packages == dict.fromkeys(names, "1.0"), "without updates from elsewhere the bundle is all there is"


def test_real_dpkg_compares_the_versions() -> None:
    fact: Any = bundle.Newer()
    command = fact.command("libssl3t64 3.5.4-1~deb13u2 3.5.4-1~deb13u1\nbash 5.2 5.2\ntzdata 2026a-0 2026b-0\n")
    done = subprocess.run(["sh", "-c", command.get_raw_value()], capture_output=True, text=True, timeout=10, check=True)
    assert fact.process(done.stdout.splitlines()) == ["libssl3t64"]
