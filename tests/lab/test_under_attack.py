"""The security drill in short against the deployed case: real tools, real fraud, real emergency calls.

It comes after the night: what it does to the counters and to the guard's memory is no part of a working day.
"""

from __future__ import annotations

import pytest

from tests.lab.conftest import LAB, Case


@pytest.mark.parametrize("part", ["scan", "flood", "malformed", "fraud", "emergency"])
def test_attack_finds_nothing_costs_nothing_and_disturbs_nobody(case: Case, online: None, part: str) -> None:
    report = case.json("lab", "drill", "security", str(case.file), "--lab", str(LAB), "--quick", "--only", part)
    assert report["against"] == [], report["against"]
    assert report["parts"][part]["control"], "nothing shows that this part can fail"
