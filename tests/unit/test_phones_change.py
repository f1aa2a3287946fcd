"""Replacing and moving a telephone, DHCP notes and firmware: files on disk, secrets kept secret."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clinic import secrets as names
from clinic.leases import mac12
from clinic.loading import load
from clinic.model import Clinic
from clinic.provisioning import Firmware
from clinicpbx.cli import describe
from clinicpbx.cli.phones import app
from clinicpbx.errors import ClinicError
from clinicpbx.phones import change, dhcp
from clinicpbx.phones.firmware import listed
from clinicpbx.secrets import Store

CASE = (Path(__file__).parents[2] / "inventory/case/clinic.yml").read_text(encoding="utf-8")
MAC = "c0:74:ad:99:88:77"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clinic of its own, with an identity of its own."""
    monkeypatch.setenv("CLINICPBX_IDENTITY", str(tmp_path / "identity"))
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "inventory" / "alpha"
    home.mkdir(parents=True)
    (home / "clinic.yml").write_text(CASE, encoding="utf-8")
    return home


def described(folder: Path) -> Clinic:
    return load((folder / "clinic.yml").read_text(encoding="utf-8"))


# -- the description ---------------------------------------------------------------------------------------------------


def test_edit_is_tried_first_and_written_in_one_step_with_owner_and_mode(folder: Path) -> None:
    path = folder / "clinic.yml"
    path.chmod(0o640)
    edit = change.edit(path, "3111", {"mac": MAC})
    assert path.read_text(encoding="utf-8") == CASE and edit.changes
    edit.write()
    assert described(folder).by_ext["3111"].phone.mac == MAC
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in folder.iterdir()] == ["clinic.yml"], "nothing is left beside it"
    assert not change.edit(path, "3111", {"mac": MAC}).changes, "a second time changes nothing"


def test_link_to_a_description_stays_a_link(folder: Path) -> None:
    real = folder / "real.yml"
    (folder / "clinic.yml").rename(real)
    (folder / "clinic.yml").symlink_to(real)
    change.edit(folder / "clinic.yml", "3111", {"mac": MAC}).write()
    assert (folder / "clinic.yml").is_symlink() and MAC in real.read_text(encoding="utf-8")


def test_description_that_somebody_changed_meanwhile_is_not_overwritten(folder: Path) -> None:
    edit = change.edit(folder / "clinic.yml", "3111", {"mac": MAC})
    (folder / "clinic.yml").write_text(CASE + "# mine\n", encoding="utf-8")
    with pytest.raises(ClinicError, match="changed by somebody else"):
        edit.write()
    assert (folder / "clinic.yml").read_text(encoding="utf-8").endswith("# mine\n")


def test_taken_mac_and_taken_port_leave_the_description_as_it_is(folder: Path) -> None:
    other = described(folder).by_ext["3112"].phone
    with pytest.raises(ClinicError, match=r"left as it is.*already belongs"):
        change.edit(folder / "clinic.yml", "3111", {"mac": other.mac})
    with pytest.raises(ClinicError, match="left as it is"):
        change.edit(folder / "clinic.yml", "3111", {"socket": "9-9-9", "switch": other.switch, "port": other.port})
    with pytest.raises(ClinicError, match="left as it is"):
        change.edit(folder / "clinic.yml", "3111", {"socket": "9-9-9", "switch": "sw-9", "port": 1})
    assert (folder / "clinic.yml").read_text(encoding="utf-8") == CASE


@pytest.mark.parametrize("written", ["C0:74:AD:99:88:77", "c074ad998877", "C074-AD99-8877", "c0-74-ad-99-88-77"])
def test_mac_address_is_taken_in_any_usual_spelling(written: str) -> None:
    assert change.address(written) == MAC


@pytest.mark.parametrize("written", ["c0:74:ad:99:88", "c0:74:ad:99:88:7z", "", "01:00:5e:00:00:01", "3111"])
def test_what_is_no_mac_address_is_refused_with_the_rule(written: str) -> None:
    with pytest.raises(ClinicError, match="no telephone's MAC address"):
        change.address(written)


def test_dry_run_shows_one_line_and_changes_nothing(folder: Path) -> None:
    result = CliRunner().invoke(app, ["replace", "alpha", "3111", "C074AD998877", "--dry"])
    assert result.exit_code == 0, result.output
    lines = [li for li in result.output.splitlines() if li[:1] in "+-" and not li.startswith(("+++", "---"))]
    assert [MAC in line for line in lines] == [False, True]
    assert (folder / "clinic.yml").read_text(encoding="utf-8") == CASE and not (folder / "secrets.age").exists()


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_replacement_gets_new_secrets_and_nobody_else_does(folder: Path) -> None:
    before = described(folder)
    old = Store(folder).ensure(before)
    _, after = (None, change.edit(folder / "clinic.yml", "3111", {"mac": MAC}).clinic)
    renewed = change.renew(folder, before, after, "3111")
    new = Store(folder).load()
    assert {n for n in old if new[n] != old[n]} == {"sip/3111", "provisioning/3111"}
    assert set(new) - set(old) == {f"first-access/{mac12(MAC)}"}
    assert set(renewed) == {"sip/3111", "provisioning/3111", f"first-access/{mac12(MAC)}"}


def test_telephone_that_comes_back_from_repair_gets_another_token(folder: Path) -> None:
    before = described(folder)
    there = change.edit(folder / "clinic.yml", "3111", {"mac": MAC}).clinic
    change.renew(folder, before, there, "3111")
    token = Store(folder).load()[f"first-access/{mac12(before.by_ext['3111'].phone.mac)}"]
    change.renew(folder, there, before, "3111")
    assert Store(folder).load()[f"first-access/{mac12(before.by_ext['3111'].phone.mac)}"] != token


# -- DHCP --------------------------------------------------------------------------------------------------------------


def test_notes_give_each_telephone_its_options_and_keep_the_tokens_off_the_screen(folder: Path) -> None:
    clinic = described(folder)
    tokens = {k: v for k, v in Store(folder).ensure(clinic).items() if k.startswith("first-access/")}
    notes = dhcp.notes(clinic, tokens)
    files = dhcp.write(notes, folder / "out")
    assert len(notes["phones"]) == len(clinic.people)
    for phone in notes["phones"]:
        assert phone["options"]["66"] == phone["options"]["160"]
        assert phone["options"]["66"].startswith(f"https://{clinic.networks.voice.pbx}/f/")
        assert phone["options"]["132"] == str(clinic.networks.voice.vlan)
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert all(token in file.read_text(encoding="utf-8") for token in tokens.values())
    assert not any(token in str(dhcp.public(notes)) for token in tokens.values())
    assert set(tokens) == {n for n in names.generated(clinic) if n.startswith("first-access/")}


def test_notes_are_private_from_their_first_byte_whatever_the_umask(folder: Path) -> None:
    clinic = described(folder)
    old = os.umask(0)
    try:
        (folder / ".dhcp-notes.txt.new").write_text("left by a crash")
        files = dhcp.write(dhcp.notes(clinic, Store(folder).ensure(clinic)), folder)
    finally:
        os.umask(old)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_notes_without_tokens_are_refused(folder: Path) -> None:
    with pytest.raises(ClinicError, match="no first-access token"):
        dhcp.notes(described(folder), {})


# -- firmware ----------------------------------------------------------------------------------------------------------


def with_firmware(folder: Path, data: bytes, sha256: str) -> None:
    text = CASE.replace(
        "provisioning:\n",
        f"provisioning:\n  firmware: {{GXP1625: {{version: 1.0.7.64, file: gxp1600fw.bin, sha256: {sha256}}}}}\n",
    )
    (folder / "clinic.yml").write_text(text, encoding="utf-8")
    (folder / "firmware").mkdir(exist_ok=True)
    (folder / "firmware" / "gxp1600fw.bin").write_bytes(data)


def test_right_firmware_passes_check_and_is_listed(folder: Path) -> None:
    with_firmware(folder, b"firmware", hashlib.sha256(b"firmware").hexdigest())
    assert CliRunner().invoke(describe.app, ["check", "alpha"]).exit_code == 0
    row = next(r for r in listed(described(folder), folder) if r["model"] == "GXP1625")
    assert row["state"] == "right" and row["phones"] > 0
    assert CliRunner().invoke(app, ["firmware", "alpha"]).exit_code == 0


@pytest.mark.parametrize("fault", ["other", "missing"])
def test_other_or_missing_firmware_is_refused_at_check_with_its_file(folder: Path, fault: str) -> None:
    with_firmware(folder, b"firmware", hashlib.sha256(b"what was meant").hexdigest())
    if fault == "missing":
        (folder / "firmware" / "gxp1600fw.bin").unlink()
    result = CliRunner().invoke(describe.app, ["check", "alpha"])
    assert result.exit_code == 1 and isinstance(result.exception, ClinicError | SystemExit)
    assert "gxp1600fw.bin" in str(result.exception) + result.output
    row = next(r for r in listed(described(folder), folder) if r["model"] == "GXP1625")
    assert row["state"] == fault
    assert CliRunner().invoke(app, ["firmware", "alpha"]).exit_code == 1


def test_model_without_firmware_keeps_what_it_was_delivered_with() -> None:
    clinic = load(CASE).model_copy(update={"provisioning": load(CASE).provisioning.model_copy(update={"firmware": {}})})
    assert {r["state"] for r in listed(clinic, Path("nowhere"))} == {"none"}
    assert Firmware(version="1", file="x.bin", sha256="0" * 64).file == "x.bin"
