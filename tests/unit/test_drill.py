"""The drill's verdict: literal limits, controls that must be there, and what the tools' words mean."""

from __future__ import annotations

import pytest

from clinic.loading import load
from clinicpbx.drill import fraud, security, sipvicious
from tests.unit.test_fraud import CASE

WITNESS = {"calls_dropped": 0, "new_calls_failed": [], "new_call_worst_ms": 300, "troubles": []}
GOOD = {
    "scan": {
        "answered_to_strangers": 0,
        "attempts_answered_before_ban": 40,
        "seconds_to_ban": 0.8,
        "learned": [],
        "unreported": [],
    },
    "flood": {"phones_lost": 0, "crashes": 0, **WITNESS},
    "malformed": {"crashes": 0, "phones_lost": 0, "unsettled": [], **WITNESS},
    "fraud": {"money_lost": 0.0, "destinations_tried": 310},
    "emergency": {"emergency_refused": 0},
}


def parts(**changed: dict[str, object]) -> dict[str, dict[str, object]]:
    return {name: {**figures, "control": "seen", **changed.get(name, {})} for name, figures in GOOD.items()}


def test_a_drill_within_every_limit_is_go() -> None:
    found = security.summary(parts())
    assert found["verdict"] == "GO" and found["against"] == []
    assert set(security.TOLD) <= found.keys() and None not in [found[k] for k in security.TOLD]


@pytest.mark.parametrize(
    ("part", "figure", "value"),
    [("fraud", "money_lost", 0.01), ("scan", "learned", ["REGISTER 3111 reqauth"]), ("scan", "seconds_to_ban", -1.0),
     ("scan", "unreported", ["svcrack: 2356 answers"]),
     ("flood", "phones_lost", 1), ("malformed", "crashes", 1), ("emergency", "emergency_refused", 1),
     ("scan", "answered_to_strangers", 3), ("flood", "phones_lost", None), ("malformed", "unsettled", ["memory"]),
     ("malformed", "new_call_worst_ms", None), ("flood", "new_calls_failed", ["408"]), ("flood", "troubles", ["?"])],
)  # fmt: skip
def test_one_figure_beyond_its_limit_is_no_go(part: str, figure: str, value: object) -> None:
    found = security.summary(parts(**{part: {figure: value}}))
    assert found["verdict"] == "NO-GO" and any(line.startswith(f"{part}: {figure}") for line in found["against"])


def test_a_part_without_its_control_is_no_go() -> None:
    assert security.summary(parts(fraud={"control": ""}))["verdict"] == "NO-GO"


def test_calls_dropped_are_those_of_every_part_and_chosen_parts_are_no_go_of_all() -> None:
    assert security.summary(parts(flood={"calls_dropped": 1}, malformed={"calls_dropped": 2}))["calls_dropped"] == 3
    some = {name: figures for name, figures in parts().items() if name != "flood"}
    assert security.summary(some)["verdict"] == "PARTIAL"


def test_a_crash_and_a_lost_telephone_of_any_part_are_told_at_the_top() -> None:
    found = security.summary(parts(malformed={"crashes": 1, "phones_lost": 2}))
    assert (found["crashes"], found["phones_lost"]) == (1, 2)


def test_what_svwar_lists_counts_only_when_it_tells_extensions_apart() -> None:
    same = "| 3111 | reqauth |\n| 9998 | reqauth |\n"
    assert sipvicious.told_apart(same, {"3111"}, "REGISTER") == []
    other = "| 3111 | reqauth |\n| 9998 | noauth |\n"
    assert sipvicious.told_apart(other, {"3111"}, "INVITE") == ["INVITE 3111 reqauth"]
    assert sipvicious.cracked("| Extension | Password |\n| 3111 | 1234 |\n") == ["password of 3111"]


def test_a_call_costs_its_tariff_or_the_dearest() -> None:
    clinic = load(CASE.read_text(encoding="utf-8"), "clinic.yml")
    assert fraud.zone_of(clinic, "+375294911911") == "BY" and fraud.zone_of(clinic, "+74959990001") == "local"
    assert fraud.zone_of(clinic, "+79161234567") == "mobile" and fraud.zone_of(clinic, "+78122222222") == "national"
    assert fraud.price(clinic, "+74959990001", "north", 60) == 0
    listed, unlisted = (fraud.price(clinic, n, "north", 60) for n in ("+375294911911", "+5351234567"))
    assert 0 < listed < unlisted


def test_every_notation_holds_the_number() -> None:
    ways = fraud.notations("+375294911911")
    assert len(ways) >= 12 and all("375" in way.replace("%20", "").replace("-", "") for way in ways.values())
    assert fraud.notations("+74951230001")["trunk prefix"] == "84951230001"
