"""Where a deploy goes: the rehearsal by default, the clinic only when it is said, and what each needs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clinic.loading import load
from clinic.model import Clinic
from clinic.synthetic import text
from clinicpbx.errors import ClinicError
from clinicpbx.site import Site
from lab import state


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(text(20))


@pytest.fixture
def lab7(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lab 7's state file, without the lab."""
    monkeypatch.setattr(state, "run_folder", lambda number: tmp_path / f"lab{number}")
    (tmp_path / "lab7").mkdir()
    api = {"host": "10.0.0.2", "port": 8006, "ca": "/ca.pem", "token_id": "a@pve!b", "token_secret": "hidden-token"}
    state.save(7, {"api": api, "namespaces": {"eng": "cpx7-absent"}})
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "environment", "name", "lab"),
    [
        ("", "", "lab", 0),
        ("lab", "clinic", "lab", 0),
        ("lab3", "", "lab3", 3),
        ("", "lab12", "lab12", 12),
        ("clinic", "lab1", "clinic", None),
        ("", "clinic", "clinic", None),
    ],
)
def test_rehearsal_is_the_default_and_the_word_given_wins(
    asked: str, environment: str, name: str, lab: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINICPBX_AT", environment)
    site = Site.at(asked, Path("x"))
    assert (site.name, site.lab, site.is_lab) == (name, lab, lab is not None)


@pytest.mark.parametrize("name", ["prod", "lab100", "lab-1", "clinic2", "Lab"])
def test_unknown_site_is_refused(name: str) -> None:
    with pytest.raises(ClinicError, match="no site"):
        Site.at(name, Path("x"))


def test_rehearsal_takes_the_labs_hypervisor_and_passwords(lab7: Path, clinic: Clinic) -> None:
    site = Site.at("lab7", lab7)
    access = site.api(clinic, {"hypervisor/token": "the clinic's"})
    assert (access.host, access.token_secret) == ("10.0.0.2", "hidden-token")
    assert site.secrets({"trunk/a": "real", "lab-trunk/a": "lab"})["trunk/a"] == "lab"


def test_clinic_takes_its_own_hypervisor_and_passwords(tmp_path: Path, clinic: Clinic) -> None:
    site = Site.at("clinic", tmp_path)
    (tmp_path / "hypervisor-ca.pem").write_text("-")
    access = site.api(clinic, {"hypervisor/token": "the clinic's"})
    assert (access.host, access.token_id) == (str(clinic.hypervisor.api), clinic.hypervisor.token)
    assert site.secrets({"trunk/a": "real", "lab-trunk/a": "lab"})["trunk/a"] == "real"
    assert site.known_hosts == tmp_path / "known_hosts"


def test_clinic_without_a_pinned_authority_or_token_is_never_contacted(tmp_path: Path, clinic: Clinic) -> None:
    site = Site.at("clinic", tmp_path)
    with pytest.raises(ClinicError, match="pinned, never skipped"):
        site.api(clinic, {"hypervisor/token": "t"})
    (tmp_path / "hypervisor-ca.pem").write_text("-")
    with pytest.raises(ClinicError, match="token is not known") as caught:
        site.api(clinic, {})
    assert "secrets enter" in caught.value.remedy


def test_access_never_prints_its_token(lab7: Path, clinic: Clinic) -> None:
    access = Site.at("lab7", lab7).api(clinic, {})
    assert "hidden-token" not in f"{access} {access!r}"


def test_lab_that_is_not_up_says_how_to_bring_it_up(lab7: Path, clinic: Clinic) -> None:
    for action in (Site.at("lab8", lab7).enter, lambda: Site.at("lab8", lab7).api(clinic, {})):
        with pytest.raises(ClinicError, match="not up") as caught:
            action()
        assert "lab up --lab 8" in caught.value.remedy


def test_lab_whose_network_is_gone_says_so(lab7: Path) -> None:
    with pytest.raises(ClinicError, match="cpx7-absent"):
        Site.at("lab7", lab7).enter()


def test_entering_the_clinic_changes_no_network(tmp_path: Path) -> None:
    before = Path("/proc/self/ns/net").readlink()
    Site.at("clinic", tmp_path).enter()
    assert Path("/proc/self/ns/net").readlink() == before


def test_state_of_a_lab_is_readable_by_its_owner_only(lab7: Path) -> None:
    file = lab7 / "lab7" / "state.json"
    assert file.stat().st_mode & 0o077 == 0 and file.stat().st_uid == os.geteuid()
    assert json.loads(file.read_text())["namespaces"]
