"""The guard of the recordings' disk: what it deletes, when recording pauses, and that it reads no more than needed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clinicpbx.errors import ClinicError
from services.recordings import main
from services.recordings.core import DAY, Disk, Policy, Recording, decide
from tasks.recordings import must_format

ROOT = Path(__file__).parents[2]

NOW = 1_800_000_000.0
POLICY = Policy(retention_days=60, min_free_percent=15, own_disk=True)


def recording(days: float, size: int = 10) -> Recording:
    return Recording(f"{days}.wav", size, NOW - days * DAY)


def disk(free: int, mounted: bool = True) -> Disk:
    return Disk(total=1000, free=free, mounted=mounted)


def names(found: tuple[Recording, ...]) -> list[str]:
    return [item.path for item in found]


def test_recordings_past_their_retention_go_whatever_the_space() -> None:
    decision = decide([recording(90), recording(61), recording(59)], disk(900), POLICY, NOW, False)
    assert names(decision.expired) == ["90.wav", "61.wav"]
    assert not decision.early
    assert not decision.pause


def test_the_day_of_retention_itself_is_kept() -> None:
    assert not decide([recording(60)], disk(900), POLICY, NOW, False).delete


def test_the_oldest_go_until_the_free_share_is_there_and_no_further() -> None:
    decision = decide([recording(d) for d in (30, 20, 10, 5)], disk(131), POLICY, NOW, False)
    assert names(decision.early) == ["30.wav", "20.wav"]
    assert decision.free_percent == pytest.approx(15.1)
    assert not decision.pause


def test_expired_recordings_count_towards_the_free_share() -> None:
    decision = decide([recording(90, 30), recording(10)], disk(120), POLICY, NOW, False)
    assert names(decision.delete) == ["90.wav"]


def test_a_call_that_goes_on_keeps_its_recording_even_on_a_full_disk() -> None:
    decision = decide([Recording("live.wav", 900, NOW - 5)], disk(10), POLICY, NOW, False)
    assert not decision.delete
    assert decision.pause


def test_nothing_is_deleted_in_vain_when_something_else_fills_the_disk() -> None:
    decision = decide([recording(90, 10), recording(3, 20)], disk(100), POLICY, NOW, False)
    assert names(decision.delete) == ["90.wav"]
    assert decision.pause
    assert "11.0 %" in decision.reason


@pytest.mark.parametrize(("free", "pause"), [(150, True), (169, True), (170, False)])
def test_recording_returns_only_with_a_margin(free: int, pause: bool) -> None:
    assert decide([], disk(free), POLICY, NOW, True).pause is pause


def test_without_a_pause_the_share_itself_is_enough() -> None:
    assert not decide([], disk(150), POLICY, NOW, False).pause


def test_an_unmounted_disk_pauses_recording_and_deletes_nothing() -> None:
    decision = decide([recording(900)], disk(900, mounted=False), POLICY, NOW, False)
    assert decision.pause
    assert not decision.delete
    assert "not mounted" in decision.reason


def test_a_clinic_without_a_disk_of_its_own_still_keeps_the_share() -> None:
    shared = Policy(60, 15, own_disk=False)
    assert names(decide([recording(5)], disk(145, mounted=False), shared, NOW, False).early) == ["5.wav"]


def test_younger_recordings_are_not_even_looked_at() -> None:
    def endless() -> Iterator[Recording]:
        yield recording(90)
        yield recording(10)
        pytest.fail("read past the first recording worth keeping")

    assert names(decide(endless(), disk(900), POLICY, NOW, False).expired) == ["90.wav"]


def write(root: Path, path: str, age_days: float) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * 5000)
    os.utime(file, (time.time() - age_days * DAY,) * 2)
    return file


@pytest.fixture
def asterisk(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A stand-in for Asterisk's database."""
    database: dict[str, str] = {}

    def answer(command: str) -> str:
        verb, value = command.split()[1], command.split()[-1]
        if verb == "put":
            database["off"] = value
        elif verb == "del":
            database.pop("off", None)
        return f"Value: {database['off']}" if "off" in database else "Database entry not found."

    monkeypatch.setattr(main, "_asterisk", answer)
    return database


def config(tmp_path: Path, **changes: object) -> str:
    file = tmp_path / "recordings.json"
    settings = {"root": str(tmp_path / "r"), "retention_days": 60, "min_free_percent": 0, "own_disk": False}
    file.write_text(json.dumps(settings | changes))
    return str(file)


def test_scan_yields_the_oldest_day_first_and_follows_no_link(tmp_path: Path) -> None:
    write(tmp_path, "2026/10/02/b.wav", 2)
    write(tmp_path, "2026/10/02/a.wav", 1)
    write(tmp_path, "2025/12/31/z.wav", 9)
    write(tmp_path, "elsewhere/secret.wav", 900)
    (tmp_path / "2025/12/31/link.wav").symlink_to(tmp_path / "elsewhere/secret.wav")
    found = [item.path for item in main.scan(tmp_path)]
    assert found == ["2025/12/31/z.wav", "2026/10/02/b.wav", "2026/10/02/a.wav"]


def test_a_round_deletes_for_real_and_removes_empty_days(tmp_path: Path, asterisk: dict[str, str]) -> None:
    old, young = write(tmp_path / "r", "2026/01/05/1.wav", 80), write(tmp_path / "r", "2026/03/05/2.wav", 5)
    assert main.main([config(tmp_path)]) == 0
    assert not old.exists()
    assert young.exists()
    os.utime(old.parent, (time.time() - 2 * DAY,) * 2)
    assert main.main([config(tmp_path)]) == 0
    assert not (tmp_path / "r/2026/01").exists()


def test_a_dry_round_changes_nothing(
    tmp_path: Path, asterisk: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    old = write(tmp_path / "r", "2026/01/05/1.wav", 80)
    main.main(["--dry", config(tmp_path)])
    assert old.exists()
    assert json.loads(capsys.readouterr().out)["expired"] == 1


def test_the_switch_is_set_and_cleared_by_the_guard_only(tmp_path: Path, asterisk: dict[str, str]) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r").chmod(0)  # as the empty mount point is
    assert main.main([config(tmp_path, own_disk=True)]) == 1  # a folder, not a mount
    (tmp_path / "r").chmod(0o700)
    assert asterisk == {"off": "disk"}
    assert main.main([config(tmp_path)]) == 0
    assert asterisk == {}
    asterisk["off"] = "1"  # an engineer's own
    assert main.main([config(tmp_path)]) == 0
    assert asterisk == {"off": "1"}


def test_the_first_recording_finds_its_own_disk() -> None:
    """Asterisk starts to take calls, and to record them, only after the disk is mounted."""
    steps = [line for line in (ROOT / "deploy.py").read_text().splitlines() if line.endswith(")")]
    assert steps.index("recordings.recordings(night.clinic)") < steps.index("asterisk.asterisk(night.generation)")


def test_a_lost_disk_stops_the_deploy_and_says_what_to_do() -> None:
    with pytest.raises(ClinicError, match="no second disk") as refused:
        must_format(second_disk(present=False))
    assert "scsi1" in refused.value.remedy


def second_disk(*signatures: str, label: str | None = None, present: bool = True) -> dict[str, object]:
    return {"present": present, "signatures": list(signatures), "label": label}


@pytest.mark.parametrize(
    ("found", "formats"),
    [
        (second_disk(), True),
        (second_disk("ext4", label="recordings"), False),
    ],
    ids=["blank", "ours"],
)
def test_only_a_blank_disk_is_formatted(found: dict[str, object], formats: bool) -> None:
    assert must_format(found) is formats


@pytest.mark.parametrize(
    "foreign", [second_disk("ext4", label="backup"), second_disk("gpt"), second_disk("LVM2_member")]
)
def test_a_disk_with_anything_on_it_stops_the_deploy(foreign: dict[str, object]) -> None:
    with pytest.raises(ClinicError, match="left as it is"):
        must_format(foreign)
