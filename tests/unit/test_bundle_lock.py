"""bundle.lock: what it says, what it refuses, how a change reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinicpbx.bundle import groups, lock
from clinicpbx.bundle.lock import Lock, Pinned, SourcePin
from clinicpbx.errors import ClinicError

HASH = "ab" * 32
SOURCE = SourcePin("asterisk", "1:22.10.1-1", HASH)
EXAMPLE = Lock(SOURCE, (Pinned("acl", "2.3.2-2+b1", HASH), Pinned("openssl", "3.5.1-1", HASH, "security")))
ROOT = Path(__file__).resolve().parents[2]


def test_a_lock_survives_writing_and_reading() -> None:
    assert lock.parse(EXAMPLE.text()) == EXAMPLE


def test_a_lock_has_one_package_a_line() -> None:
    assert EXAMPLE.text().splitlines()[-3:] == [
        f"source asterisk 1:22.10.1-1 {HASH}",
        f"acl 2.3.2-2+b1 {HASH}",
        f"openssl 3.5.1-1 {HASH} security",
    ]


def test_the_pool_name_has_no_epoch() -> None:
    assert Pinned("asterisk", "1:22.10.1-1", HASH).filename == "asterisk_22.10.1-1.deb"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("acl 2.3.2-2", "is not `name version sha256"),
        ("acl", "is not `name version sha256"),
        ("acl 2.3 short", "is not `name version sha256"),
        (f"../acl 2.3 {HASH}", "is not `name version sha256"),
        (f"acl 2.3/../x {HASH}", "is not `name version sha256"),
        (f"acl 2.3 {HASH} somewhere", "is not `name version sha256"),
        (f"acl 2.3 {HASH} security more", "is not `name version sha256"),
        (f"openssl 3.0 {HASH}", "openssl is pinned twice"),
        (f"source asterisk 1 {HASH}", "a second `source` line"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(line: str, reason: str) -> None:
    text = EXAMPLE.text() + line + "\n"
    with pytest.raises(ClinicError) as refusal:
        lock.parse(text, "bundle.lock")
    assert f"line {len(text.splitlines())}: " in str(refusal.value)
    assert reason in str(refusal.value)


def test_a_lock_without_a_source_is_refused() -> None:
    with pytest.raises(ClinicError, match="`source` line is missing"):
        lock.parse(f"acl 2.3 {HASH}\n")


def test_a_missing_lock_names_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ClinicError, match="clinicpbx bundle update"):
        lock.read(tmp_path / "bundle.lock")


def test_a_diff_shows_only_what_changed() -> None:
    newer = Lock(SOURCE, (EXAMPLE.packages[0], Pinned("openssl", "3.5.2-1", HASH, "security")))
    shown = [line for line in lock.diff(EXAMPLE.text(), newer.text()).splitlines() if line[:3] not in ("---", "+++")]
    assert shown[1:] == [f"-openssl 3.5.1-1 {HASH} security", f"+openssl 3.5.2-1 {HASH} security"]
    assert lock.diff(EXAMPLE.text(), EXAMPLE.text()) == ""


def test_changes_name_replaced_new_and_dropped_packages_and_the_source() -> None:
    newer = Lock(SourcePin("asterisk", "1:22.11.0-1", HASH), (Pinned("acl", "2.4", HASH), Pinned("zstd", "1.5", HASH)))
    assert lock.changes(EXAMPLE, newer) == (
        "acl 2.3.2-2+b1 -> 2.4",
        "openssl 3.5.1-1 -> none",
        "source asterisk 1:22.10.1-1 -> 1:22.11.0-1",
        "zstd 1.5 is new",
    )
    assert lock.changes(EXAMPLE, EXAMPLE) == ()


def test_the_projects_lock_pins_what_the_groups_ask_for_and_names_no_address() -> None:
    pinned = lock.read(ROOT / "bundle.lock")
    wanted = groups.load()
    asked = {*wanted.image, *wanted.pbx, *wanted.tools, *wanted.disk}
    absent = asked - set(wanted.rebuild.packages) - set(pinned.versions())
    assert not absent
    assert pinned.source.version.startswith(wanted.rebuild.series)
    assert "://" not in pinned.text()
    assert pinned.text() == (ROOT / "bundle.lock").read_text()
