"""The security drill in short against the deployed case: real tools, real fraud, real emergency calls.

It comes after the night: what it does to the counters and to the guard's memory is no part of a working day.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import time
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import phonenumbers
import pytest

from clinic.rendering.toll import GIVEN_UP
from softphone.client import Pool, PoolError
from tests.lab.conftest import LAB, Case

THIEF, HELPER, OTHER, TRAVELLER = "3271", "3272", "3273", "4001"
LOCAL, ECHO = "84959990001", "*43"
OPERATOR, MOBILE, STEP, CAP = "2001", "89161234567", 15, 60_000  # seconds paid ahead; hundredths of a day


@pytest.mark.parametrize("part", ["scan", "flood", "malformed", "fraud", "emergency"])
def test_attack_finds_nothing_costs_nothing_and_disturbs_nobody(case: Case, online: None, part: str) -> None:
    report = case.json("lab", "drill", "security", str(case.file), "--lab", str(LAB), "--quick", "--only", part)
    assert report["against"] == [], report["against"]
    assert report["parts"][part]["control"], "nothing shows that this part can fail"


@pytest.fixture
def lines(case: Case, online: None) -> Iterator[tuple[Pool, Pool]]:
    """The telephones and the public network; whoever THIEF calls answers at once."""
    folder = f"/run/clinicpbx/lab{LAB}"
    with Pool(f"{folder}/phones/socket") as phones, Pool(f"{folder}/pstn/socket") as pstn:
        phones.register([THIEF, HELPER, OTHER, TRAVELLER])
        phones.set_behaviour(HELPER, "answer", after=0, tone=620)
        yield phones, pstn
        phones.hangup_all()
        pstn.hangup_all()
        phones.set_behaviour(HELPER, "ring")
        time.sleep(1)


def up(pstn: Pool, number: str) -> int:
    return sum(call.info["number"].endswith(number) for call in pstn.calls(["pstn"], active=True))


def transfer(phones: Pool, to: str, times: int) -> None:
    """Calls of THIEF's that it hands on: none of them is its own any more."""
    for _ in range(times):
        with contextlib.suppress(PoolError):
            phones.call(THIEF, HELPER, tone=440).wait_answered(4).transfer_blind(to, timeout=2)


def test_one_password_holds_four_emergency_calls_however_dialled(lines: tuple[Pool, Pool]) -> None:
    phones, pstn = lines
    transfer(phones, "112", 7)
    time.sleep(1)
    assert up(pstn, "112") == 4, "the control: four do get through"
    assert phones.call(OTHER, "103", tone=440).wait_answered(6), "somebody else calls for help meanwhile"


def test_one_password_never_takes_every_port_for_audio(case: Case, lines: tuple[Pool, Pool]) -> None:
    phones, _ = lines
    transfer(phones, ECHO, 45)
    legs = sum(f"PJSIP/{HELPER}-" in row or f"PJSIP/{THIEF}-" in row for row in case.asterisk(
        "core show channels concise").splitlines())  # fmt: skip
    assert 8 < legs <= 2 * 33, f"{legs} legs stand"
    assert phones.call(THIEF, "112", tone=440).wait_answered(6), "its own call for help still goes"


def test_calls_of_one_instant_do_not_pass_the_share_of_lines(lines: tuple[Pool, Pool]) -> None:
    phones, pstn = lines
    for _ in range(16):
        phones.call(THIEF, LOCAL, tone=440)
    time.sleep(3)
    assert 1 <= up(pstn, LOCAL[1:]) <= 10


def test_step_of_a_call_given_up_is_given_back_only_so_often(case: Case, lines: tuple[Pool, Pool]) -> None:
    phones, pstn = lines
    example = phonenumbers.example_number_for_type("BY", phonenumbers.PhoneNumberType.MOBILE)
    assert example
    pstn.set_behaviour("pstn", "ring", pattern=f"*{example.national_number}")
    purse = f"toll/money/person-{TRAVELLER}"
    case.asterisk(f"database put clock {TRAVELLER} {int(time.time()) + 300}:{weekday_noon()}")
    case.asterisk("database deltree toll")

    def given_up() -> int:
        call = phones.call(TRAVELLER, f"810375{example.national_number}", tone=440).wait_ringing(6)
        time.sleep(0.3)
        call.hangup()
        time.sleep(1)
        found = re.search(rf"/{purse}\s*: (-?\d+)", case.asterisk(f"database showkey money/person-{TRAVELLER}"))
        return int(found[1]) if found else -1

    assert given_up() == 0, "the control: the first is given back"
    case.asterisk(f"database put toll given-up/person-{TRAVELLER} {GIVEN_UP}")
    assert given_up() > 0
    case.asterisk("database deltree toll")
    case.asterisk(f"database del clock {TRAVELLER}")


def test_calls_given_up_at_once_leave_no_purse_locked(case: Case, lines: tuple[Pool, Pool]) -> None:
    phones, _ = lines
    for _ in range(40):
        call = phones.call(OPERATOR, MOBILE)
        time.sleep(0.01)
        with contextlib.suppress(PoolError):
            call.hangup()
    time.sleep(2)
    paid, began = spent(case, OPERATOR), time.monotonic()
    phones.call(OPERATOR, MOBILE, tone=440).wait_answered(6)
    assert time.monotonic() - began < 3, "the next call waited for a lock"
    assert spent(case, OPERATOR) > paid, "the control: that call took the lock, too"


def test_forwarding_in_a_circle_ends_busy_and_leaves_nothing(case: Case, lines: tuple[Pool, Pool]) -> None:
    phones, _ = lines
    circle = dict(zip((THIEF, HELPER, OTHER), (HELPER, OTHER, THIEF), strict=True))
    try:
        for ext, to in circle.items():
            done = phones.call(ext, f"*72{to}").wait_ended(5)
            assert done.info["answered"] and done.info["q850"] != 21, f"*72{to} from {ext} was refused"
        call = phones.call(OPERATOR, THIEF).wait_ended(6)
        assert call.info["status"] == 486, call.info
        time.sleep(0.5)
        assert "Local/" not in case.asterisk("core show channels concise")
        phones.call(OTHER, "*73").wait_ended(5)
        assert phones.call(OPERATOR, THIEF).wait_ringing(6), "the control: a chain of two is followed"
    finally:
        for ext in circle:
            case.asterisk(f"database del forward {ext}")


def test_reopening_during_a_call_lets_it_go_on_and_counts_it_anew(case: Case, lines: tuple[Pool, Pool]) -> None:
    phones, _ = lines
    purse = f"toll/money person-{OPERATOR}"
    case.asterisk(f"database del {purse}")
    call = phones.call(OPERATOR, MOBILE, tone=440).wait_answered(6)
    step = spent(case, OPERATOR)
    assert step > 0
    case.asterisk(f"database put {purse} {CAP}")
    case.json("fraud", "reopen", str(case.file), OPERATOR)
    with contextlib.suppress(PoolError):
        call.wait_ended(STEP + 2)
    assert call.refresh()["state"] == "answered", "the control: reopened, it goes on"
    assert spent(case, OPERATOR) == step, "what it costs since is not counted from nothing"


def spent(case: Case, ext: str) -> int:
    """Hundredths of the person's day."""
    found = re.search(r"/toll/money/\S+\s*: (\d+)", case.asterisk(f"database showkey money/person-{ext}"))
    return int(found[1]) if found else 0


def weekday_noon() -> int:
    """The next Wednesday's noon in Moscow, when calls abroad are open."""
    day = dt.datetime.now(ZoneInfo("Europe/Moscow"))
    day += dt.timedelta(days=(2 - day.weekday()) % 7)
    return int(day.replace(hour=12, minute=0, second=0).timestamp())
