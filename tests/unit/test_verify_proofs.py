"""Each check names the line of the description or the point of the case that it proves, and both exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clinicpbx.verify import runner
from clinicpbx.verify.proofs import Description
from clinicpbx.verify.results import Check

ROOT = Path(__file__).resolve().parents[2]
CASE = ROOT / "inventory/case/clinic.yml"


@pytest.fixture(scope="module")
def checks() -> list[Check]:
    return list(runner.catalogue("case", "lab").values())


def test_each_check_names_lines_that_hold_what_it_proves(checks: list[Check]) -> None:
    lines, seen = CASE.read_text().splitlines(), 0
    for check in checks:
        for number, place in re.findall(r"clinic\.yml:(\d+) (\S+?)(?=[,;]|$)", check.proves):
            key = place.rpartition(".")[2]
            assert key in lines[int(number) - 1], f"{check.id}: {place} is not in line {number}"
            seen += 1
        assert "(default)" not in check.proves, f"{check.id}: {check.proves}"
    assert seen > 25


def test_each_point_of_the_case_exists(checks: list[Check]) -> None:
    case = (ROOT / "docs/case.md").read_text()
    points = {p for check in checks for p in re.findall(r"[\w]+", check.proves.partition("case: ")[2])}
    assert points >= {"before", "2", "7", "10"}
    for point in points:
        assert re.search(rf"^{point}\. \*\*", case, re.M) or (point == "before" and "clinic before" in case), point


def test_what_the_description_leaves_to_the_default_is_said() -> None:
    found = Description.of(CASE).located("clinic.yml: trunks.north.nothing, trunks.south; case: 3")
    assert re.fullmatch(
        r"clinic\.yml trunks\.north\.nothing \(default\), clinic\.yml:\d+ trunks\.south; case: 3", found
    )
