"""The WAN drill's arithmetic: percentiles, false switches, limits, and reports that are put together in parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clinicpbx.drill import wan, wan_report
from clinicpbx.drill.wan_breaks import BREAKS
from clinicpbx.drill.wan_rows import Run, code, neighbour, p, summed

CABLE = next(one for one in BREAKS if one.name == "cable")
COSTS = {"core_percent": 0.7, "kbit_per_second": 14.0}


def good_rows() -> list[dict[str, Any]]:
    """Every fault's row when all is well."""
    run = Run(decision=0.4, outbound=0.5, inbound=0.6, placed=40, talks=2, kept=2, gap=0.6, well=2, registered=4)
    run.emergency = 0.5
    return [summed(one, [run] * 20) | {"spoilt": 0} for one in BREAKS]


def report(rows: list[dict[str, Any]], **others: Any) -> dict[str, Any]:
    return {"faults": rows, "costs": COSTS, "others": {"keepalived": {"runs": 20, "code": code()}}} | others


@pytest.mark.parametrize(
    ("values", "percent", "is_"),
    [
        ([], 95, None),
        ([1.0], 95, 1.0),
        (list(map(float, range(1, 21))), 95, 19.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([1.0, None], 95, None),
        ([1.0, None], 50, 1.0),
    ],
)
def test_percentiles_are_values_that_were_measured(
    values: list[float | None], percent: float, is_: float | None
) -> None:
    assert p(values, percent) == is_


def test_moves_beyond_the_right_ones_are_false_also_when_another_run_had_none() -> None:
    assert summed(CABLE, [Run(moves=0), Run(moves=1), Run(moves=3)])["false_switches"] == 2


def test_calls_that_never_came_are_counted_beside_the_percentiles() -> None:
    row = summed(CABLE, [Run(outbound=0.5), Run(outbound=None)])
    assert (row["outbound_p50"], row["outbound_p95"], row["outbound_never"], row["inbound_never"]) == (0.5, None, 1, 2)


def test_a_run_begins_when_asterisk_and_the_provider_have_every_leg() -> None:
    legs = {"north-wan-a": ("north", "198.18.1.2"), "north-wan-b": ("north", "198.18.2.2")}
    said = (
        " north-wan-a/sip:198.51.100.10:5060      north-wan-a       Registered        (exp. 99s)\n"
        " north-wan-b/sip:198.51.100.10:5060      north-wan-b       {}\n"
    )
    both = said.format("Registered        (exp. 99s)")
    contact = '/registrar/contact/clinic;@3bc0: {"via_port":"5060","uri":"sip:clinic@%s:5060","endpoint":"clinic"}\n'
    far = {"north": contact % "198.18.1.2" + contact % "198.18.2.2"}
    assert wan.unbound(legs, both) == wan.unbound(legs, both, far) == set()
    assert wan.unbound(legs, said.format("Unregistered")) == {"north-wan-b"}
    assert wan.unbound(legs, both, {"north": contact % "198.18.2.2"}) == {"north-wan-a"}
    assert wan.unbound(legs, both, {"north": contact % "198.18.1.22"}) == legs.keys()
    assert wan.unbound(legs, "", {}) == legs.keys()


def test_a_whole_report_within_every_limit_is_go() -> None:
    assert wan_report.summary(report(good_rows())) == {"against": [], "verdict": "GO"}


def test_few_runs_and_short_looks_are_partial() -> None:
    rows = good_rows()
    few = summed(CABLE, [Run(decision=0.4, outbound=0.5, inbound=0.6, emergency=0.5)] * 2) | {"spoilt": 0}
    assert not few["whole"]
    assert wan_report.summary(report([few, *rows[1:]]))["verdict"] == "PARTIAL"
    long = next(one for one in BREAKS if one.name == "loss-5")
    assert not summed(replace(long, watch=long.quick), [Run()])["whole"] and summed(long, [Run()])["whole"]


def test_rows_of_other_code_are_left_out() -> None:
    rows = good_rows()
    old = [row | {"code": "other"} for row in rows]
    assert [row["name"] for row in wan_report.added(report(rows[3:4]), report(old))["faults"]] == [rows[3]["name"]]


def test_a_fault_or_the_neighbour_that_was_not_measured_makes_it_partial() -> None:
    rows = good_rows()
    assert wan_report.summary(report(rows[1:]))["verdict"] == "PARTIAL"
    assert wan_report.summary(report(rows, others={}))["verdict"] == "PARTIAL"
    assert wan_report.summary(report(rows, others={"keepalived": {"runs": 2}}))["verdict"] == "PARTIAL"


@pytest.mark.parametrize("limit", wan_report.LIMITS, ids=lambda limit: f"{limit.fault}-{limit.figure}")
@pytest.mark.parametrize("beyond", [True, False], ids=["beyond", "missing"])
def test_every_limit_can_fail(limit: wan_report.Limit, beyond: bool) -> None:
    rows = good_rows()
    row = next(row for row in rows if row["name"] == limit.fault)
    row[limit.figure] = limit.worst + 0.01 if beyond else None
    found = wan_report.summary(report(rows))
    assert found["verdict"] == "NO-GO"
    assert [line for line in found["against"] if line.startswith(f"{limit.fault}: {limit.figure} ")]


def test_probing_that_costs_too_much_runs_that_were_spoilt_and_faults_without_a_run_are_no_go() -> None:
    rows = good_rows()
    dear = report(rows, costs={"core_percent": 1.1, "kbit_per_second": 21.0})
    assert len(wan_report.summary(dear)["against"]) == 2
    assert wan_report.summary(report([*rows[1:], rows[0] | {"spoilt": 2}]))["verdict"] == "NO-GO"
    assert wan_report.summary(report([*rows[1:], rows[0] | {"runs": 0}]))["verdict"] == "NO-GO"


def test_a_report_in_parts_keeps_what_was_not_measured_again() -> None:
    rows = good_rows()
    measured = {"keepalived": {"runs": 20, "p95": 2.0, "code": code()}}
    former = report(rows[:5], others=measured | {"of other code": {"runs": 20, "code": "other"}})
    again = rows[4] | {"outbound_p95": 9.0}
    found = wan_report.added(report([again, *rows[5:]], others={}), former)
    assert {row["name"] for row in found["faults"]} == {one.name for one in BREAKS} == set(wan_report.EVERY)
    assert next(row for row in found["faults"] if row["name"] == again["name"])["outbound_p95"] == 9.0
    assert found["others"] == measured
    assert wan_report.added(report(rows), {})["verdict"] == "GO"


def test_a_row_of_the_neighbour_has_its_percentiles() -> None:
    row = neighbour({"decisions": [1.0, 2.0], "false_switches": 3, "lossy_seconds": 60.0})
    assert row == {"runs": 2, "p50": 1.0, "p95": 2.0, "max": 2.0, "false_switches": 3, "lossy_seconds": 60.0}


def test_report_shows_the_worst_of_what_people_notice() -> None:
    runs = [Run(decision=0.4, gap=0.6, well=2, back=3, emergency=0.5)] * 18
    runs += [Run(decision=1.44, gap=1.55, well=6.66, back=7.77, emergency=1.88)] * 2
    runs[-1] = replace(runs[-1], decision=2.11, gap=2.22, well=8.33, back=9.44, emergency=2.55)
    found = report([summed(CABLE, runs) | {"spoilt": 0}], clinic="case", at="lab", started="now", seconds=1.0)
    text = wan_report.html(found | wan_report.summary(found) | {"others": {}}, "case")
    for shown in ("0.40 / 1.44 / 2.11", "0.60 / 1.55 / 2.22", "2.00 / 6.66 / 8.33", "3.00 / 7.77 / 9.44"):
        assert shown in text, shown
    assert "0.50 / 1.88 / 2.55" in text
