"""The WAN drill in short against the deployed case: real links break while calls are placed both ways."""

from __future__ import annotations

import pytest

from clinicpbx.drill.wan_report import LIMITS
from tests.lab.conftest import LAB, Case


@pytest.mark.parametrize("fault", ["cable", "black-hole", "sip-filtered", "provider-down", "failback"])
def test_clinic_keeps_its_telephone(case: Case, online: None, fault: str) -> None:
    """Whether it does, not how fast: on a busy machine the seconds are the drill's business (twenty runs, quiet)."""
    drill = ("lab", "drill", "wan", str(case.file), "--lab", str(LAB), "--runs", "1", "--only", fault)
    text = case.json(*drill, expect=None)
    (row,) = text["faults"]
    figures = {limit.figure for limit in LIMITS if limit.fault == fault} - {"outbound_p95", "inbound_p95"}
    assert row["runs"] == 1 and all(row[figure] == 0 for figure in figures), row
    assert row["outbound_p95"] is not None and row["calls_kept"] == row["calls_in_progress"], row
    assert row["moves"] == (0 if fault == "provider-down" else 1), row
