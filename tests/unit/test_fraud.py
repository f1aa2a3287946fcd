"""Today's purses as AstDB has them, and what reopening removes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from clinic.loading import load
from clinic.rendering.toll import UNLIMITED, counted
from clinicpbx import fraud
from clinicpbx.errors import ClinicError

CASE = Path(__file__).parents[2] / "inventory/case/clinic.yml"
NOON = dt.datetime(2026, 11, 24, 9, 0, tzinfo=dt.UTC)  # 12:00 in Moscow
SHOWN = """\
/toll/closed/person-3111/international            : 1795510000
/toll/closed/trunk-north/money                    : 1795510000
/toll/day                                         : 20261124
/toll/locked/4002                                 : 1795510000
/toll/money/clinic                                : 12345
/toll/money/person-3111                           : 60000
/toll/seconds/person-3111                         : 1800
8 results found.
"""


@pytest.fixture(scope="module")
def clinic():
    return load(CASE.read_text(encoding="utf-8"), "clinic.yml")


def test_purses_of_today_are_shown_with_their_caps(clinic):
    found = fraud.keys(SHOWN)
    report = fraud.status(clinic, found, NOON)
    purses = {p["scope"]: p for p in report["purses"]}
    assert purses["clinic"]["money"] == 123.45 and purses["clinic"]["money_cap"] == float(clinic.toll.clinic.money)
    assert purses["person-3111"]["minutes"] == 30 and "international" in purses["person-3111"]["closed"]
    assert purses["person-3111"]["who"] == clinic.by_ext["3111"].name
    assert report["locked"].keys() == {"4002"} and report["closed"]


def test_a_new_day_empties_purses_and_opens_money_but_not_international(clinic):
    found = {
        **fraud.keys(SHOWN),
        "closed/trunk-north/money": "1795400000",
        "closed/person-3111/international": "1795400000",
    }
    report = fraud.status(clinic, found, NOON + dt.timedelta(days=1))
    purses = {p["scope"]: p for p in report["purses"]}
    assert purses["clinic"]["money"] == 0 and not purses["trunk-north"]["closed"]
    assert purses["person-3111"]["closed"].keys() == {"international"}


def test_reopening_removes_a_scope_and_its_pin_and_nothing_else():
    found = fraud.keys(SHOWN) | {"wrong/4002": "5", "closed/person-4002/money": "1"}
    assert fraud.to_delete(found, ["4002"]) == ["closed/person-4002/money", "locked/4002", "wrong/4002"]
    assert fraud.to_delete(found, ["trunk-north"]) == ["closed/trunk-north/money"]
    assert set(fraud.to_delete(found, ["all"])) == set(found) - {"day"}
    with pytest.raises(ClinicError, match="Nothing is counted"):
        fraud.to_delete(found, ["9999"])


def test_a_step_is_never_cheaper_than_the_contract(clinic):
    found = counted(clinic)
    for trunk in clinic.trunks:
        for zone, price in trunk.tariffs.items():
            assert Decimal(found.prices[trunk.name][zone]) / 100 >= price * found.step / 60
    assert found.step % clinic.toll.billing_seconds == 0 and found.step >= 15


def test_a_cap_left_out_limits_nothing(clinic):
    bare = clinic.model_copy(update={"toll": type(clinic.toll)()})
    assert all(c.money == c.seconds == c.calls == UNLIMITED for c in counted(bare).caps.values())
