"""The verdict, the report's files and the controls, from results made up here. No PBX, no network."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET  # we wrote it ourselves

import pytest

from clinic.callflow import Hours
from clinicpbx.verify import report, restore
from clinicpbx.verify.locks import Locks
from clinicpbx.verify.moments import Moments
from clinicpbx.verify.plugin import Control, ControlFailed, outcome
from clinicpbx.verify.results import NO_CONTROL, Check, Result, Verification, complete, settled
from softphone.client import PoolError

CALL = Check("inbound-north", "A call by north reaches an operator", "clinic.yml: trunks.north", "operators")
FAULT = Check("backup-503", "The backup connects within 4 s", "CASE: what was built, 10", "lines", lab_only=True)
EXTRA = Check("extra", "Nice to have", "CASE", mandatory=False)


def passed(check: Check = CALL) -> Result:
    return Result(check, "passed", 1.5, ("620 Hz heard",), ("an absent tone is not heard",))


def run(*results: Result, lab: bool = True, **more: object) -> Verification:
    return Verification("case", "lab" if lab else "clinic", "2026-11-22T23:00:00Z", 41.2, results, lab=lab, **more)  # type: ignore[arg-type]


def test_go_needs_every_check_passed() -> None:
    assert run(passed(), passed(FAULT)).verdict == "GO"


@pytest.mark.parametrize("status", ["failed", "not-tried"])
def test_one_check_that_did_not_pass_is_no_go(status: str) -> None:
    verdict = run(passed(), Result(FAULT, status, failure="the provider went silent"))  # type: ignore[arg-type]
    assert verdict.verdict == "NO-GO"
    assert "backup-503" in verdict.against[0]


def test_faults_that_nobody_may_cause_at_a_clinic_do_not_count_there() -> None:
    skipped = Result(FAULT, "not-tried", failure="provider-503 is caused in a lab only")
    clinic = run(passed(), skipped, lab=False)
    assert clinic.verdict == "GO"
    assert clinic.left_out.startswith("1 checks break what works"), "a reader must see what nobody tried"
    assert clinic.left_out in report.html(clinic, "Клиника")
    assert run(passed(), skipped).left_out == ""
    assert run(passed(), skipped, lab=True).verdict == "NO-GO"


def test_what_the_description_does_not_have_does_not_count() -> None:
    single = Result(FAULT, "not-tried", failure="clinic.yml: trunks names one provider only, so there is no backup")
    assert run(passed(), single).verdict == "GO"
    assert run(passed(), Result(FAULT, "not-tried", failure="no test telephones")).verdict == "NO-GO"


def test_what_a_container_cannot_show_is_told_and_does_not_count_in_a_rehearsal() -> None:
    audit = Check("audit", "Who read recordings is written down", "case: 2", "walls")
    untried = Result(
        audit, "not-tried", failure="the rehearsal's container: the kernel gives its audit to no container"
    )
    rehearsal = run(passed(), untried)
    assert rehearsal.verdict == "GO"
    assert rehearsal.left_out.startswith("audit not tried: a container"), "a reader must see what nobody tried"
    assert rehearsal.as_json()["checks"][1]["status"] == "not-tried"
    assert run(passed(), Result(audit, "not-tried", failure="auditd is not there")).verdict == "NO-GO"
    assert run(passed(), Result(audit, "failed", failure="nothing was written"), lab=False).verdict == "NO-GO"


def test_a_check_that_failed_counts_even_when_it_is_not_mandatory() -> None:
    assert run(passed(), Result(EXTRA, "not-tried", failure="no telephones")).verdict == "GO"
    assert run(passed(), Result(EXTRA, "failed", failure="no audio")).verdict == "NO-GO"


def test_a_run_of_chosen_checks_is_never_a_go() -> None:
    assert run(passed(), only=("inbound-north",)).verdict == "PARTIAL"
    assert run(Result(CALL, "failed"), only=("inbound-north",)).verdict == "NO-GO"


def test_nothing_run_interrupted_or_left_behind_is_no_go() -> None:
    assert run().verdict == "NO-GO"
    assert run(passed(), interrupted=True).verdict == "NO-GO"
    assert run(passed(), notes=("the PBX could not be left as it was found",)).verdict == "NO-GO"


def test_a_check_without_a_result_was_not_tried() -> None:
    results = complete([CALL, FAULT], [passed()], "the verification was interrupted")
    assert [r.status for r in results] == ["passed", "not-tried"]
    assert results[1].failure == "the verification was interrupted"


def test_a_check_that_passed_without_a_control_fails() -> None:
    bare = Result(CALL, "passed", 1.0, ("it seemed fine",))
    assert (settled(bare).status, settled(bare).failure) == ("failed", NO_CONTROL)
    assert settled(passed()) == passed()


# -- controls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [AssertionError("as it must"), PoolError("no ringing call")])
def test_a_control_whose_block_fails_is_noted(error: Exception) -> None:
    seen: list[str] = []
    with Control(seen)("an absent tone is not heard"):
        raise error
    assert seen == ["an absent tone is not heard"]


def test_a_control_whose_block_succeeds_fails_the_check() -> None:
    seen: list[str] = []
    with (
        pytest.raises(ControlFailed, match="cannot fail: an absent tone"),
        Control(seen)("an absent tone is not heard"),
    ):
        pass
    assert not seen


def test_a_control_cannot_hide_a_failed_control_or_another_error() -> None:
    seen: list[str] = []
    with pytest.raises(ControlFailed), Control(seen)("outer"), Control(seen)("inner"):
        pass
    with pytest.raises(KeyError), Control(seen)("a mistake in the check"):
        raise KeyError("typo")
    assert not seen


# -- from pytest's reports -----------------------------------------------------------------------------------------


def part(when: str, state: str, controls: tuple[str, ...] = ("c",), **more: object) -> SimpleNamespace:
    fields = {name: getattr(CALL, name) for name in Check.__slots__}
    seen = {"evidence": ["seen"], "controls": list(controls)}
    return SimpleNamespace(
        when=when, duration=0.5, clinic_check=fields, clinic_seen=seen, passed=state == "passed",
        clinic_failure="silence",
        failed=state == "failed", skipped=state == "skipped", longrepr=("f", 1, "Skipped: no telephones"), **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("states", "status", "failure"),
    [
        (("passed", "passed", "passed"), "passed", ""),
        (("passed", "failed", "passed"), "failed", "silence"),
        (("failed", "passed"), "failed", "setup: silence"),
        (("passed", "passed", "failed"), "failed", "teardown: silence"),
        (("passed", "skipped", "passed"), "not-tried", "no telephones"),
    ],
)
def test_a_result_is_made_of_set_up_call_and_tear_down(states: tuple[str, ...], status: str, failure: str) -> None:
    whens = ("setup", "call", "teardown") if len(states) == 3 else ("setup", "teardown")
    result = outcome([part(when, state) for when, state in zip(whens, states, strict=True)])
    assert (result.status, result.failure, result.evidence) == (status, failure, ("seen",))


def test_a_passed_report_without_controls_becomes_a_failure() -> None:
    assert outcome([part("setup", "passed"), part("call", "passed"), part("teardown", "passed", ())]).status == "failed"


# -- files ---------------------------------------------------------------------------------------------------------


def test_the_three_files_and_the_link_to_the_latest(tmp_path: Path) -> None:
    done = run(passed(), Result(FAULT, "failed", 4.2, failure="connected after 6.1 s\x00, 4 s allowed"))
    folder = report.write(done, "Детская клиника", tmp_path)
    assert folder == tmp_path / "20261122T230000Z" and (tmp_path / "latest").resolve() == folder
    found = json.loads((folder / "verify.json").read_text())
    assert (found["verdict"], found["clinic"], found["at"], found["seconds"]) == ("NO-GO", "case", "lab", 41.2)
    keys = {"id", "title", "proves", "status", "seconds", "evidence", "controls", "failure"}
    assert all(keys <= set(check) for check in found["checks"])
    assert found["checks"][0]["controls"] == ["an absent tone is not heard"]
    suite = ET.parse(folder / "junit.xml").find("testsuite")  # noqa: S314 - our own
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_a_second_run_in_the_same_second_has_a_folder_of_its_own(tmp_path: Path) -> None:
    first, second = (report.write(run(passed()), "Клиника", tmp_path) for _ in range(2))
    assert first != second and (tmp_path / "latest").resolve() == second


def test_a_partial_run_does_not_replace_the_latest(tmp_path: Path) -> None:
    whole = report.write(run(passed()), "Клиника", tmp_path)
    report.write(run(passed(), only=("inbound-north",)), "Клиника", tmp_path)
    assert (tmp_path / "latest").resolve() == whole


def test_a_rehearsal_does_not_replace_the_verdict_of_the_clinic(tmp_path: Path) -> None:
    real = report.write(run(passed(), lab=False), "Клиника", tmp_path)
    assert (tmp_path / "latest").resolve() == real
    report.write(run(passed(), lab=False, only=("inbound-north",)), "Клиника", tmp_path)
    rehearsed = report.write(run(passed()), "Клиника", tmp_path)
    assert (tmp_path / "latest").resolve() == rehearsed
    assert (tmp_path / "latest-clinic").resolve() == real
    found = json.loads((tmp_path / "latest-clinic" / "verify.json").read_text())
    assert found["at"] == "clinic"


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    page = report.html(run(Result(CALL, "failed", failure="<script>alert(1)</script>")), "Клиника «Север»")
    assert "NO-GO" in page and "Клиника «Север»" in page
    assert "<script>alert(1)" not in page
    assert "http://" not in page and "https://" not in page and "src=" not in page


# -- leaving the PBX as it was -------------------------------------------------------------------------------------


def snapshot(keys: Mapping[str, str] = {}, members: Mapping[str, tuple[str, str | None]] = {}) -> restore.Snapshot:
    return restore.Snapshot(keys, members)


@pytest.mark.parametrize(
    ("before", "now", "wanted"),
    [
        (snapshot({"dnd/3111": "1"}), snapshot({"dnd/3111": "1"}), []),
        (snapshot(), snapshot({"clock/+79990000001": "9:8"}), ["database del clock +79990000001"]),
        (snapshot({"forward/3111": "3112"}), snapshot(), ['database put forward 3111 "3112"']),
        (
            snapshot(), snapshot({"CustomDevstate/LOGIN2001": "INUSE"}),
            ["devstate change Custom:LOGIN2001 NOT_INUSE", "database del CustomDevstate LOGIN2001"],
        ),
        (snapshot(), snapshot({"trunk/north/disabled": "1"}), ["database del trunk north/disabled"]),
        (snapshot(), snapshot({}, {"PJSIP/2001": ("Анна", None)}), ["queue remove member PJSIP/2001 from operators"]),
        (
            snapshot({}, {"PJSIP/2001": ("Анна", "Обед")}), snapshot(),
            ['queue add member PJSIP/2001 to operators penalty 0 as "Анна" state_interface PJSIP/2001',
             'queue pause member PJSIP/2001 queue operators reason "Обед"'],
        ),
        (
            snapshot({}, {"PJSIP/2001": ("Анна", None)}), snapshot({}, {"PJSIP/2001": ("Анна", "Обед")}),
            ["queue unpause member PJSIP/2001 queue operators"],
        ),
    ],
)  # fmt: skip
def test_only_what_changed_is_put_back(before: restore.Snapshot, now: restore.Snapshot, wanted: list[str]) -> None:
    assert restore.commands(before, now) == wanted


def test_members_are_read_from_the_queue() -> None:
    answer = (
        "operators has 0 calls (max 30) in 'leastrecent' strategy (0s holdtime, 0s talktime), W:0, C:0, A:0, SL:0.0%\n"
        "   Members: \n"
        "      Лебедева Анна (PJSIP/2001) (ringinuse disabled) (dynamic) (Not in use) has taken no calls yet\n"
        "      Соколова (PJSIP/2002) (ringinuse disabled) (dynamic) (paused:Обед was 3 secs ago) (Not in use)\n"
        "   No Callers\n"
    )
    assert restore.members(answer) == {"PJSIP/2001": ("Лебедева Анна", None), "PJSIP/2002": ("Соколова", "Обед")}


# -- moments and locks ---------------------------------------------------------------------------------------------


def test_moments_are_found_in_the_calendar() -> None:
    import datetime as dt
    from zoneinfo import ZoneInfo

    day = dt.date(2026, 12, 31)
    hours = Hours.model_validate(
        {"week": {"mon-fri": "08:00-20:00"}, "short_days": {day: "08:00-14:00"}, "holidays": [dt.date(2027, 1, 1)]}
    )
    zone = ZoneInfo("Europe/Moscow")
    found = Moments(hours, "Europe/Moscow", dt.date(2026, 12, 30))

    def local(epoch: int | None) -> str:
        assert epoch is not None
        return f"{dt.datetime.fromtimestamp(epoch, zone):%Y-%m-%d %H:%M}"

    assert local(found.open()) == "2026-12-30 08:10"
    assert local(found.closed()) == "2026-12-30 20:10"
    short, usual = found.shortened() or (None, None)
    assert local(short) == "2026-12-31 14:10" and local(usual).endswith("14:10")
    assert local(found.holiday()) == "2027-01-01 12:00"
    always = Hours.model_validate({"week": {"mon-sun": "00:00-24:00"}})
    assert Moments(always, "Europe/Moscow", day).closed() is None


def test_one_breaks_a_provider_only_while_nobody_uses_it(tmp_path: Path) -> None:
    locks, others, breaker = Locks(tmp_path), Locks(tmp_path), Locks(tmp_path)
    with locks.hold("in-north"), others.hold("in-north"):
        with pytest.raises(TimeoutError), breaker.hold("in-north", alone=True, patience=0.1):
            pass
        with breaker.hold("in-south", alone=True, patience=0.1):
            pass
    with breaker.hold("in-north", alone=True, patience=0.1):
        pass


def test_who_waits_to_break_a_provider_is_next_and_a_check_may_use_it_twice(tmp_path: Path) -> None:
    users, late, breaker = Locks(tmp_path), Locks(tmp_path), Locks(tmp_path)
    turns: list[str] = []

    def breaks() -> None:
        with breaker.hold("in-north", alone=True, patience=5):
            turns.append("breaker")

    with users.hold("in-north"), users.hold("in-north"):
        waiting = threading.Thread(target=breaks)
        waiting.start()
        time.sleep(0.3)
        with pytest.raises(TimeoutError), late.hold("in-north", patience=0.2):
            pass
    waiting.join(5)
    with late.hold("in-north", patience=1):
        turns.append("late")
    assert turns == ["breaker", "late"]
