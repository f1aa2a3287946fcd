"""Secrets: made once, kept for those who stay, opened by their owner only, and never shown by accident."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clinic import secrets as names
from clinic.loading import load
from clinic.model import Clinic
from clinic.synthetic import text
from clinicpbx import inventory, secrets
from clinicpbx.cli.secrets import app
from clinicpbx.errors import ClinicError
from clinicpbx.inventory import Night, night
from clinicpbx.secrets import Store
from clinicpbx.site import Site
from clinicpbx.verify import runner
from clinicpbx.verify.place import Place
from lab import state


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(text(20))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("CLINICPBX_IDENTITY", str(tmp_path / "safe" / "identity.age-key"))
    return Store(tmp_path / "clinic")


@pytest.fixture
def folder(store: Store) -> Path:
    """A clinic that the command line finds by this path."""
    store.file.parent.mkdir()
    (store.file.parent / "clinic.yml").write_text(text(20), encoding="utf-8")
    return store.file.parent


def refused(action: object, *arguments: object) -> str:
    with pytest.raises(ClinicError) as caught:
        action(*arguments)  # type: ignore[operator]
    assert caught.value.remedy
    return str(caught.value)


def test_everyone_gets_secrets_of_their_own(store: Store, clinic: Clinic) -> None:
    have = store.ensure(clinic)
    assert {f"sip/{p.ext}" for p in clinic.people} <= have.keys()
    assert {"ami/panel", "db/reports", "phone-admin", "ssh/deploy"} <= have.keys()
    assert {f"lab-trunk/{t.name}" for t in clinic.trunks} <= have.keys()
    assert len(set(have.values())) == len(have)
    assert all(
        re.fullmatch(r"[A-Za-z0-9]{24}", v) for n, v in have.items() if n not in ("ssh/deploy", *names.CERTIFICATES)
    )


def test_what_only_the_engineer_knows_is_never_generated(store: Store, clinic: Clinic) -> None:
    assert not set(names.entered(clinic)) & store.ensure(clinic).keys()
    assert "hypervisor/token" in names.entered(clinic)


def test_those_who_stay_keep_theirs_when_people_come_and_go(store: Store, clinic: Clinic) -> None:
    before = store.ensure(clinic)
    more, fewer = load(text(40)), load(text(20))
    after = store.ensure(more)
    assert after.keys() > before.keys()
    assert {n: after[n] for n in before} == before
    assert store.ensure(fewer) == after, "somebody who comes back finds their password as it was"


def test_file_is_written_only_when_something_is_missing(store: Store, clinic: Clinic) -> None:
    store.ensure(clinic)
    before = store.file.stat()
    store.ensure(clinic)
    after = store.file.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_nothing_on_disk_is_in_plain_text_or_readable_by_others(store: Store, clinic: Clinic, tmp_path: Path) -> None:
    have = store.ensure(clinic)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert all(not p.stat().st_mode & 0o077 for p in files if p.suffix in (".age", ".age-key"))
    everything = b"".join(p.read_bytes() for p in files)
    assert [n for n, v in have.items() if v.encode() in everything] == []
    assert have["ami/panel"] not in repr(store) + str(store)


def test_interrupted_write_leaves_the_old_file(store: Store, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.ensure(clinic)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", dies)
    with pytest.raises(KeyboardInterrupt):
        store.put("hypervisor/token", "x")
    monkeypatch.undo()
    monkeypatch.setenv("CLINICPBX_IDENTITY", str(store.file.parents[1] / "safe" / "identity.age-key"))
    assert store.load() == before
    store.put("hypervisor/token", "x")
    assert store.load() == {**before, "hypervisor/token": "x"}


def test_two_who_write_at_once_lose_nothing(store: Store, clinic: Clinic) -> None:
    store.ensure(clinic)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: Store(store.file.parent).put(f"trunk/t{n}", str(n)), range(12)))
    assert {f"trunk/t{n}" for n in range(12)} <= store.load().keys()


def test_lost_identity_is_named_and_never_replaced(store: Store, clinic: Clinic) -> None:
    store.ensure(clinic)
    secrets.identity_file().unlink()
    for action in (store.load, lambda: store.ensure(clinic), lambda: store.put("x", "y")):
        assert str(secrets.identity_file()) in refused(action)
    assert not secrets.identity_file().exists()


def test_wrong_identity_opens_nothing_and_overwrites_nothing(
    store: Store, clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ensure(clinic)
    sealed = store.file.read_bytes()
    monkeypatch.setenv("CLINICPBX_IDENTITY", str(tmp_path / "other"))
    secrets.identity()
    assert "another identity" in refused(store.load)
    assert "another identity" in refused(store.ensure, clinic)
    assert store.file.read_bytes() == sealed


@pytest.mark.parametrize("damage", [b"", b"age-encryption.org/v1\n", b"\0" * 200])
def test_damaged_file_is_refused_and_kept(store: Store, clinic: Clinic, damage: bytes) -> None:
    store.ensure(clinic)
    store.file.write_bytes(damage)
    assert str(store.file) in refused(store.ensure, clinic)
    assert store.file.read_bytes() == damage


def test_truncated_file_is_refused(store: Store, clinic: Clinic) -> None:
    store.ensure(clinic)
    store.file.write_bytes(store.file.read_bytes()[:-40])
    assert "damaged" in refused(store.load)


def test_identity_that_others_can_read_is_refused(store: Store, clinic: Clinic) -> None:
    store.ensure(clinic)
    secrets.identity_file().chmod(0o640)
    assert "chmod 600" in refused(store.load)
    secrets.identity_file().chmod(0o600)
    assert store.load()


def test_file_that_holds_no_identity_is_named(store: Store, clinic: Clinic) -> None:
    store.ensure(clinic)
    secrets.identity_file().write_text("AGE-SECRET-KEY-1NOTHING\n")
    assert "holds no age identity" in refused(store.load)


def test_ssh_key_is_what_openssh_reads() -> None:
    private = secrets.generate("ssh/deploy")
    assert private.startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert re.fullmatch(r"ssh-ed25519 [A-Za-z0-9+/=]+ clinic-pbx", secrets.public_key(private))


def test_rehearsal_uses_the_labs_passwords_and_never_the_providers() -> None:
    have = {"trunk/main": "real", "lab-trunk/main": "lab", "sip/2001": "x"}
    assert names.for_rehearsal(have)["trunk/main"] == "lab"
    assert have["trunk/main"] == "real"


def test_veil_hides_every_secret_and_nothing_else() -> None:
    key = secrets.generate("ssh/deploy")
    veiled = secrets.veil({"a": "abcdefgh12345678", "b": "abcdefgh12345678XYZ", "ssh/deploy": key, "short": "on"})
    shown = veiled(f"on: abcdefgh12345678XYZ, (abcdefgh12345678) {key.splitlines()[1]}")
    assert shown == "on: ********, (********) ********"
    assert secrets.veil({})("nothing to hide") == "nothing to hide"


def test_veil_costs_nothing_until_something_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(secrets.re, "compile", lambda pattern: made.append(pattern) or re.compile(pattern))
    veiled = secrets.veil({"a": "abcdefgh1234"})
    assert not made
    monkeypatch.undo()
    assert veiled("abcdefgh1234") == "********"


def test_show_reveals_one_and_list_reveals_none(folder: Path) -> None:
    run = CliRunner()
    assert run.invoke(app, ["ensure", str(folder)]).exit_code == 0
    have = Store(folder).load()
    ext = next(n for n in have if n.startswith("sip/")).removeprefix("sip/")
    assert run.invoke(app, ["show", str(folder), ext]).output == have[f"sip/{ext}"] + "\n"
    listed = run.invoke(app, ["list", str(folder)]).output + run.invoke(app, ["list", str(folder), "--json"]).output
    assert "hypervisor/token  (missing)" in listed
    assert not [n for n, v in have.items() if v in listed]
    assert "no secret `sip/9999`" in str(run.invoke(app, ["show", str(folder), "9999"]).exception)


def deploying(folder: Path, **options: bool) -> Callable[[], Night]:
    return lambda: night.__wrapped__(str(folder), "lab7", deploying=True, **options)


def test_looking_makes_no_secrets_and_says_how_they_come_to_be(folder: Path, lab7: None) -> None:
    before = sorted(folder.rglob("*"))
    message = refused(lambda: night.__wrapped__(str(folder), "lab7"))
    assert "no secrets for this clinic" in message and "clinicpbx deploy" in message
    assert "no secrets for this clinic" in refused(lambda: Place.of(str(folder), "lab7").secrets)
    reports = folder.parent / "reports"
    assert "no secrets for this clinic" in refused(lambda: runner.verify(str(folder), "lab7", reports=reports))
    assert not reports.exists(), "that is no verdict"
    assert deploying(folder, dry=True)().secrets["sip/2001"], "a dry run compares with secrets it keeps for itself"
    assert sorted(folder.rglob("*")) == before
    deploying(folder)()
    assert night.__wrapped__(str(folder), "lab7").secrets["sip/2001"] == Store(folder).load()["sip/2001"]


def test_a_deploy_to_a_lab_that_is_not_up_makes_no_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "run_folder", lambda number: folder / "absent")
    assert "not up" in refused(deploying(folder))
    assert not (folder / "secrets.age").exists()


@pytest.fixture
def lab7(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab that is up as far as a state file tells, with the bundle at hand."""
    monkeypatch.setattr(state, "run_folder", lambda number: tmp_path / f"lab{number}")
    (tmp_path / "lab7").mkdir()
    state.save(7, {"namespaces": {"eng": "cpx7-absent"}})
    monkeypatch.setattr(Site, "enter", lambda site: None)
    monkeypatch.setattr(inventory, "ensure_bundle", lambda *_, **__: None)


def test_trunk_password_is_asked_for_and_not_shown(folder: Path) -> None:
    run = CliRunner()
    run.invoke(app, ["ensure", str(folder)])
    name = next(n for n in names.entered(load(text(20))) if n.startswith("trunk/"))
    result = run.invoke(app, ["enter", str(folder), name], input="s3cret-of-the-provider\n" * 2)
    assert result.exit_code == 0, result.output
    assert "s3cret" not in result.output
    assert Store(folder).load()[name] == "s3cret-of-the-provider"
    assert "not entered by hand" in str(run.invoke(app, ["enter", str(folder), "sip/2001"]).exception)
    assert "one line" in str(run.invoke(app, ["enter", str(folder), name], input="a;b\na;b\n").exception)


def test_what_others_may_know_is_renewed_and_nothing_else(folder: Path) -> None:
    store = Store(folder)
    before = store.ensure(load(text(20)))
    ext = next(name for name in before if name.startswith("sip/")).removeprefix("sip/")
    result = CliRunner().invoke(app, ["renew", str(folder / "clinic.yml"), ext], catch_exceptions=False)
    assert result.exit_code == 0
    after = store.load()
    assert {name for name in before if after[name] != before[name]} == {f"sip/{ext}"}
    assert after[f"sip/{ext}"] not in result.output
    for kept in ("ssh/deploy", "trunk/north", "sip/99999"):
        with pytest.raises(ClinicError, match="is not renewed so"):
            CliRunner().invoke(app, ["renew", str(folder / "clinic.yml"), kept], catch_exceptions=False)
    assert store.load() == after
