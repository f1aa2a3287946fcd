"""Provisioning through pyinfra itself, offline: what it does to a bare PBX, and that a second run does nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import PyinfraError

from clinic.loading import load
from clinic.model import Clinic
from clinic.rendering.nginx import CERTIFICATE, KEY
from clinic.rendering.provisioning import HOME
from clinic.synthetic import text
from clinicpbx import secrets
from clinicpbx.errors import ClinicError
from clinicpbx.provisioning import Provisioning, build, firmware
from services.provisioning import leases as lease_files
from tasks import provisioning, trees
from tests.deploy.fake_pbx import FakePbx

KEA = "/etc/kea/kea-dhcp4.conf"
Run = Callable[..., list[str]]


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(text(20))


@pytest.fixture(scope="module")
def values(clinic: Clinic) -> dict[str, str]:
    return secrets.complete({}, clinic)


@pytest.fixture(scope="module")
def wanted(clinic: Clinic, values: dict[str, str]) -> Provisioning:
    return build(clinic, values, Path())


@pytest.fixture
def pbx() -> FakePbx:
    fake = FakePbx()
    fake.met = {0}
    return fake


@pytest.fixture
def run(pbx: FakePbx, wanted: Provisioning, monkeypatch: pytest.MonkeyPatch) -> Run:
    def all_of_it(other: Provisioning | None = None, **options: Any) -> list[str]:
        return pbx.run(monkeypatch, (provisioning.provisioning, other or wanted), **options)

    return all_of_it


def without_dhcp(wanted: Provisioning) -> Provisioning:
    section = wanted.clinic.provisioning.model_copy(update={"dhcp": False})
    return dataclasses.replace(wanted, clinic=wanted.clinic.model_copy(update={"provisioning": section}))


def test_bare_machine_gets_everything_and_the_second_run_does_nothing(run: Run, pbx: FakePbx) -> None:
    assert len(run()) == 11
    services = {"clinic-provisioning.service", "nginx.service", "kea-dhcp4-server.service"}
    assert services <= pbx.running & pbx.enabled
    assert (run(), pbx.commands, pbx.sent) == ([], [], [])


def test_dry_run_names_every_change_makes_none_and_shows_no_secret(
    run: Run, pbx: FakePbx, values: dict[str, str]
) -> None:
    planned = run(dry=True)
    assert (pbx.commands, pbx.sent, pbx.files) == ([], [], {})
    shown = "\n".join(trees.preview)
    assert f"--- {HOME}: " in shown and not [n for n, v in values.items() if v in shown]
    assert set(planned) == set(run())


def test_no_secret_is_in_a_command(run: Run, pbx: FakePbx, values: dict[str, str]) -> None:
    run()
    commands = "\n".join(pbx.commands)
    assert not [name for name, value in values.items() if value in commands]
    assert any(values["sip/2001"].encode() in sent for sent in pbx.sent) or pbx.sent, (
        "the control: they travel as input"
    )


def test_telephones_files_are_the_services_alone_to_read(run: Run, pbx: FakePbx) -> None:
    run()
    modes = {(mode, owner) for path, (_, mode, owner) in pbx.files.items() if path.startswith(HOME)}
    assert modes == {("640", "root:clinic-provisioning")}
    assert pbx.files["/etc/clinicpbx/provisioning.json"][1:] == ("640", "root:clinic-provisioning")
    assert pbx.files[KEA][1:] == ("640", "root:_kea") and pbx.files[KEY][1:] == ("640", "root:www-data")
    assert pbx.files[CERTIFICATE][1:] == pbx.files[KEY][1:]


def test_one_changed_telephone_sends_one_file_and_restarts_nothing(
    run: Run, pbx: FakePbx, wanted: Provisioning
) -> None:
    run()
    name = next(path for path in wanted.files if not path.startswith(("books/", "shared/", "ca.crt")))
    files = {**wanted.files, name: b"<gs_provision/>\n"}
    index = wanted.index.replace('"strict": true', '"strict":  true')
    changed = run(dataclasses.replace(wanted, files=files, index=index))
    assert changed == [
        "Every telephone's files are as described", "The service knows every telephone, by hashes of its credentials",
    ]  # fmt: skip
    assert pbx.files[f"{HOME}/{name}"][0] == b"<gs_provision/>\n"
    assert not any("systemctl" in command for command in pbx.commands)
    assert len(pbx.sent[0]) < 20_000, "one file, and not all of them"


def test_telephone_that_left_takes_its_files_along(run: Run, pbx: FakePbx, wanted: Provisioning) -> None:
    run()
    gone = next(path for path in wanted.files if path.endswith(".xml") and "/" in path)
    run(dataclasses.replace(wanted, files={p: d for p, d in wanted.files.items() if p != gone}))
    assert f"{HOME}/{gone}" not in pbx.files


@pytest.mark.parametrize(("path", "word"), [("/etc/nginx/nginx.conf", "nginx -q -t"), (KEA, "kea-dhcp4 -t")])
def test_configuration_is_tried_before_it_replaces_the_running_one(
    run: Run, pbx: FakePbx, path: str, word: str
) -> None:
    run()
    sent = next(c for c in pbx.commands if word in c)
    assert sent.index(word) < sent.index("--directory=/ ")
    pbx.files[path] = (b"drift", "644", "root:root")
    pbx.refuse = lambda command: word in command
    with pytest.raises(PyinfraError):
        run()
    assert pbx.files[path][0] == b"drift", "what does not load replaces nothing"


@pytest.mark.parametrize(("path", "unit"), [("/etc/nginx/nginx.conf", "nginx"), (KEA, "kea-dhcp4-server")])
def test_running_servers_are_reloaded_and_never_restarted(run: Run, pbx: FakePbx, path: str, unit: str) -> None:
    run()
    pbx.files[path] = (b"drift", "644", "root:root")
    run()
    assert any(f"systemctl reload {unit}" in c for c in pbx.commands)
    assert not any("restart" in c for c in pbx.commands)


def test_where_the_clinic_has_its_own_dhcp_ours_is_stopped_and_knows_nobody(
    run: Run, pbx: FakePbx, wanted: Provisioning
) -> None:
    pbx.met = set()
    run(without_dhcp(wanted))
    assert KEA not in pbx.files and "kea-dhcp4-server.service" not in pbx.running
    assert any("systemctl disable --quiet --now kea-dhcp4-server" in c for c in pbx.commands)


def test_pbx_without_the_voice_address_is_told_before_anything_is_made(run: Run, pbx: FakePbx) -> None:
    pbx.card = ""
    with pytest.raises(PyinfraError, match=r"no network card of the PBX has 10\."):
        run()


def test_firmware_is_held_by_its_hash(clinic: Clinic, tmp_path: Path) -> None:
    from hashlib import sha256

    from clinic.provisioning import Firmware

    known = Firmware(version="1.0", file="fw.bin", sha256=sha256(b"good").hexdigest())
    section = clinic.provisioning.model_copy(update={"firmware": {"GRP2614": known}})
    described = clinic.model_copy(update={"provisioning": section})
    with pytest.raises(ClinicError, match=r"fw\.bin is missing"):
        firmware(described, tmp_path)
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware/fw.bin").write_bytes(b"evil")
    with pytest.raises(ClinicError, match="is not the firmware"):
        firmware(described, tmp_path)
    (tmp_path / "firmware/fw.bin").write_bytes(b"good")
    assert firmware(described, tmp_path) == {"fw.bin": b"good"}


def test_files_take_their_places_by_the_real_program(tmp_path: Path) -> None:
    """The program that runs on the PBX, with the Python that it has: replaced, added, removed, folders tidied."""
    import os
    import subprocess

    home, new = tmp_path / "home", tmp_path / "new"
    for path, data in {"a/x": "old", "a/y": "kept", "b/z": "gone"}.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(data)
    for path, data in {"a/x": "new", "c/w": "new", ".gone": json.dumps(["b/z", "b/never"])}.items():
        (new / path).parent.mkdir(parents=True, exist_ok=True)
        (new / path).write_text(data)
    owner = f"{os.getuid()}:{os.getgid()}"
    program = trees._PLACE.replace("shutil.chown(p,user,group)", "os.chown(p,int(user),int(group))")
    subprocess.run(["python3", "-c", program, str(new), str(home), "750", owner], check=True, timeout=10)
    found = {str(p.relative_to(home)): p.read_text() for p in home.rglob("*") if p.is_file()}
    assert found == {"a/x": "new", "a/y": "kept", "c/w": "new"} and not (home / "b").exists()
    assert {p.stat().st_mode & 0o777 for p in (home, home / "c")} == {0o750}


def test_lease_of_a_telephone_that_nobody_has_any_more_is_freed_and_no_other(tmp_path: Path) -> None:
    """The program that runs on the PBX: the successor of a broken telephone gets the person's address at once."""
    import os

    config, leases = tmp_path / "kea-dhcp4.conf", tmp_path / "kea-leases4.csv"
    ours = [{"ip-address": f"10.77.20.{n}", "hw-address": f"c0:74:ad:00:00:{n}"} for n in (40, 41, 42)]
    config.write_text(json.dumps({"Dhcp4": {"subnet4": [{"reservations": ours}]}}))
    rows = {
        "header": "address,hwaddr,client_id,valid_lifetime",
        "own": "10.77.20.40,c0:74:ad:00:00:40,,7200",
        "gone": "10.77.20.41,00:0b:82:00:00:99,,7200",
        "moving": "10.77.20.42,c0:74:ad:00:00:40,,7200",  # alive: it moves when it asks again
        "quarantine": "10.77.20.11,00:0b:82:00:00:98,,120",
    }
    for path in (leases, tmp_path / "kea-leases4.csv.2"):
        path.write_text("\n".join(rows.values()) + "\n")
        path.chmod(0o640)
    for _ in range(2):
        assert lease_files.main([str(config), str(leases)]) == 0
        for path in (leases, tmp_path / "kea-leases4.csv.2"):
            left = [row for name, row in rows.items() if name != "gone"]
            assert path.read_text().splitlines() == left
            assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o640, os.getuid())


def test_circle_of_telephones_that_wait_for_each_other_is_broken_at_one_address(tmp_path: Path) -> None:
    """A wider pool gives everybody another address: of those who swap nobody would ever be served."""
    import time

    config, leases = tmp_path / "kea-dhcp4.conf", tmp_path / "kea-leases4.csv"
    macs = {n: f"c0:74:ad:00:00:{n}" for n in range(40, 47)}
    ours = [{"ip-address": f"10.77.20.{n}", "hw-address": mac} for n, mac in macs.items()]
    config.write_text(json.dumps({"Dhcp4": {"subnet4": [{"reservations": ours}]}}))
    later, earlier = int(time.time()) + 3600, int(time.time()) - 60

    def row(address: int, holder: int, expires: int = later, seconds: int = 7200) -> str:
        return f"10.77.20.{address},{macs[holder]},,{seconds},{expires},1,0,0,,0,,0\n"

    circle = [row(40, 41), row(41, 42), row(42, 40)]
    chain = [row(43, 44), row(44, 45)]  # 45 is free to take: it unwinds by itself
    old = [row(46, 40, earlier), row(45, 46, later, 0)]  # run out, and released
    leases.write_text("address,hwaddr,client_id,valid_lifetime,expire\n" + "".join(circle + chain + old))
    assert lease_files.main([str(config), str(leases)]) == 0
    left = leases.read_text().splitlines(keepends=True)[1:]
    assert [line for line in left if line in chain + old] == chain + old
    assert len([line for line in left if line in circle]) == 2, "one of the three, and no more"


def test_push_of_a_clinic_that_stands_changes_what_the_deploy_would_and_asks_for_nothing_else(
    run: Run, pbx: FakePbx, wanted: Provisioning, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    short = (provisioning.telephones, wanted)
    assert pbx.run(monkeypatch, short) == [], "after a deploy a push finds nothing"
    name = next(path for path in wanted.files if not path.startswith(("books/", "shared/", "ca.crt")))
    other = dataclasses.replace(wanted, files={**wanted.files, name: b"<gs_provision/>\n"})
    changed = pbx.run(monkeypatch, (provisioning.telephones, other))
    assert changed == ["Every telephone's files are as described"]
    assert pbx.files[f"{HOME}/{name}"][0] == b"<gs_provision/>\n" and run(other) == []
