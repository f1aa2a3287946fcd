"""The tasks through pyinfra itself, offline: what they do to a bare PBX, and that a second run does nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import PyinfraError

from clinic.loading import load
from clinic.model import Clinic
from clinic.synthetic import text
from clinicpbx.bundle import Bundle, Pinned
from tasks import base, bundle, database, network, trees
from tests.deploy.fake_pbx import FakePbx

PASSWORD = "Zq7secretOfTheReportsRole"
Run = Callable[..., list[str]]


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(text(20)).model_copy(update={"engineers": ()})


@pytest.fixture
def packages(tmp_path: Path) -> Bundle:
    home = tmp_path / "bundle"
    (home / "pbx" / "pool").mkdir(parents=True)
    (home / "pbx" / "Packages").write_text("index")
    (home / "pbx" / "pool" / "asterisk_22.deb").write_bytes(b"a" * 70_000)
    (home / "key.gpg").write_bytes(b"key")
    pins = tuple(Pinned(name, version, "0" * 64) for name, version in (("asterisk", "1:22.1~x+1"), ("bash", "5")))
    return Bundle(home, "0123456789abcdef", home / "key.gpg", pins, ("asterisk",))


@pytest.fixture
def pbx() -> FakePbx:
    return FakePbx()


@pytest.fixture
def run(pbx: FakePbx, clinic: Clinic, packages: Bundle, monkeypatch: pytest.MonkeyPatch) -> Run:
    def all_of_it(**options: Any) -> list[str]:
        deploys = (
            (base.base, clinic),
            (bundle.bundle, packages),
            (network.network, clinic),
            (database.database, PASSWORD),
        )
        return pbx.run(monkeypatch, *deploys, **options)

    return all_of_it


def test_bare_machine_gets_everything_and_the_second_run_does_nothing(run: Run, pbx: FakePbx, clinic: Clinic) -> None:
    assert len(run()) >= 8
    assert pbx.packages == {"asterisk": "1:22.1~x+1"}
    assert pbx.zone.endswith(clinic.timezone)
    assert pbx.running == {"postgresql@17-main.service", "postgresql.service"}
    assert pbx.enabled == {"postgresql.service"}
    assert (run(), pbx.commands, pbx.sent) == ([], [], [])


def test_dry_run_names_every_change_and_makes_none(run: Run, pbx: FakePbx) -> None:
    planned = run(dry=True)
    assert (pbx.commands, pbx.sent, pbx.files) == ([], [], {})
    assert "--- package asterisk=1:22.1~x+1 (has none)" in trees.preview
    assert set(planned) == set(run())
    assert run(dry=True) == [] and trees.preview == []


def test_drift_is_repaired_and_nothing_else_is_touched(run: Run, pbx: FakePbx) -> None:
    run()
    data, _, owner = pbx.files["/etc/sysctl.d/60-clinic.conf"]
    pbx.files["/etc/sysctl.d/60-clinic.conf"] = (data, "666", owner)
    assert run() == ["Log limits, kernel settings, names and locale are the project's"]
    assert pbx.files["/etc/sysctl.d/60-clinic.conf"][1] == "644"
    assert not any("apt-get" in command or "networkctl" in command for command in pbx.commands)


def test_run_cut_short_before_its_follow_up_is_completed(run: Run, pbx: FakePbx) -> None:
    pbx.refuse = lambda command: command == "networkctl reload"
    with pytest.raises(PyinfraError):
        run()
    pbx.refuse = lambda command: False
    assert any("unfinished" in path for path in pbx.files)
    assert "Each uplink has its own routes" in run()
    assert "networkctl reload" in pbx.commands
    assert not any("unfinished" in path for path in pbx.files)
    assert run() == []


def test_no_password_is_ever_in_a_command_or_a_preview(run: Run, pbx: FakePbx) -> None:
    run(dry=True)
    assert PASSWORD not in "\n".join(trees.preview)
    run()
    assert PASSWORD not in "\n".join(pbx.commands)
    assert PASSWORD.encode() not in b"".join(pbx.sent), "PostgreSQL gets the SCRAM verifier, not the password"
    assert b"SCRAM-SHA-256$" in b"".join(pbx.sent)


def test_new_password_reaches_the_database_and_only_it(run: Run, pbx: FakePbx, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    assert pbx.run(monkeypatch, (database.database, "another")) == ["Roles, database and tables are there"]


def test_bundle_is_the_only_source_and_installs_before_services_may_start(run: Run, pbx: FakePbx) -> None:
    run()
    assert pbx.files["/etc/apt/sources.list"][0].decode().split() == [
        "deb", f"[signed-by={bundle.KEY}]", f"file:{bundle.HOME}", "./",
    ]  # fmt: skip
    words = ("touch /run/clinicpbx-installing", "apt-get install")
    order = [n for n, c in enumerate(pbx.commands) for word in words if word in c]
    assert order == sorted(order) and len(order) == 2
    install = next(c for c in pbx.commands if "apt-get install" in c)
    assert "rm -f /run/clinicpbx-installing" in install and "exit $status" in install
    assert pbx.files["/usr/sbin/policy-rc.d"][1:] == ("755", "root:root"), "it is there before the first package"


def test_only_missing_files_of_the_bundle_are_sent(run: Run, pbx: FakePbx, packages: Bundle) -> None:
    run()
    (packages.pbx_path / "pool" / "sngrep_1.deb").write_bytes(b"s" * 300)
    run()
    sent = b"".join(pbx.sent)
    assert b"sngrep_1.deb" in sent and b"asterisk_22.deb" not in sent


def test_index_of_another_bundle_is_sent_though_its_size_is_the_same(run: Run, pbx: FakePbx, packages: Bundle) -> None:
    run()
    (packages.pbx_path / "Packages").write_text("other")
    assert run() == ["The bundle is on the PBX"]
    assert pbx.files[f"{bundle.HOME}/Packages"][0] == b"other"


def test_damaged_package_is_removed_so_that_the_next_run_sends_it(tmp_path: Path) -> None:
    """The real command, with the shell, awk and sha256sum that the PBX has."""
    (tmp_path / "pool").mkdir()
    stanzas = ""
    for name in ("good", "damaged"):
        (tmp_path / "pool" / f"{name}_1+x.deb").write_text(name)
        stanzas += (
            f"Package: {name}\nFilename: pool/{name}_1+x.deb\nSize: 4\nSHA256: {sha256(name.encode()).hexdigest()}\n\n"
        )
    (tmp_path / "Packages").write_text(stanzas)
    (tmp_path / "pool" / "damaged_1+x.deb").write_text("DAMAGED")
    subprocess.run(["sh", "-c", bundle._DAMAGED_DROPPED.replace(bundle.HOME, str(tmp_path))], check=True, timeout=10)
    assert [p.name for p in (tmp_path / "pool").iterdir()] == ["good_1+x.deb"]


def test_each_uplink_routes_its_own_address(run: Run, pbx: FakePbx, clinic: Clinic) -> None:
    run()
    for number, uplink in enumerate(clinic.uplinks):
        unit = pbx.files[f"/etc/systemd/network/05-clinic-{uplink.name}.network"][0].decode()
        assert f"From={uplink.address.ip}" in unit and f"Metric={100 * (number + 1)}" in unit
