"""What calls cost is remembered: by a PBX that restarts, and by one that is killed in the middle of a call."""

from __future__ import annotations

import re
import time

import pytest

from softphone.client import Pool
from tests.lab.conftest import LAB, Case

OPERATOR, MOBILE = "2001", "89161234567"


def purses(case: Case) -> dict[str, int]:
    """Scope to hundredths spent today."""
    return {k: int(v) for k, v in re.findall(r"/toll/money/(\S+)\s*: (\d+)", case.asterisk("database show toll"))}


@pytest.fixture
def pool(case: Case, online: None) -> Pool:
    with Pool(f"/run/clinicpbx/lab{LAB}/phones/socket") as phones:
        yield phones


def up_again(case: Case, pool: Pool) -> None:
    deadline = time.monotonic() + 40
    while "Registered" not in case.asterisk("pjsip show registrations").replace("Unregistered", ""):
        assert time.monotonic() < deadline, "the trunks did not register after the restart"
        time.sleep(0.5)
    assert pool.register([OPERATOR])["registered"] == 1


@pytest.mark.parametrize("end", ["systemctl restart asterisk", "systemctl kill -s KILL asterisk"])
def test_what_calls_cost_survives_a_restart_in_the_middle_of_one(case: Case, pool: Pool, end: str) -> None:
    before = purses(case).get(f"person-{OPERATOR}", 0)
    call = pool.call(OPERATOR, MOBILE, tone=440)
    call.wait_answered(6)
    time.sleep(2)  # AstDB is written a second behind
    spent = purses(case)
    assert spent[f"person-{OPERATOR}"] > before, "the step in progress is not counted"
    case.pbx(end)
    time.sleep(3)
    up_again(case, pool)
    assert purses(case) == spent
    case.asterisk(f"database put toll money/person-{OPERATOR} 99999999")
    try:
        refused = pool.call(OPERATOR, MOBILE).wait_ended(5)
        assert not refused.info["answered"] and refused.info["status"] == 403
        report = case.json("fraud", "status", str(case.file), expect=1)
        mine = next(p for p in report["purses"] if p["scope"] == f"person-{OPERATOR}")
        assert mine["closed"], report
    finally:
        case.json("fraud", "reopen", str(case.file), OPERATOR)
    assert f"person-{OPERATOR}" not in purses(case)
    pool.call(OPERATOR, MOBILE).wait_answered(6).hangup()  # the control: it is the cap that refused


def test_reopening_what_nobody_closed_is_a_clear_error(case: Case, pool: Pool) -> None:
    text = case.run("fraud", "reopen", str(case.file), "7777", expect=1)
    assert "Nothing is counted or closed for `7777`" in text and "Traceback" not in text
