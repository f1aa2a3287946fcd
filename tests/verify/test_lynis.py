"""Lynis, an auditor that knows nothing of this project. It takes half a minute, so it works while other checks run."""

from __future__ import annotations

import re

import pytest

from clinicpbx.verify.lynis import Audit
from clinicpbx.verify.plugin import Control, Evidence

pytestmark = pytest.mark.lane("walls")
FLOOR = 70
# What Lynis warns of and we keep, with the reason. Any other warning fails.
KNOWN = {
    "PKGS-7388": "packages come from the signed bundle; a security archive is the description's to name",
}


@pytest.mark.check(
    id="lynis", title=f"Lynis gives the machine {FLOOR} points or more, and no warning we have not weighed",
    proves="case: 2",
)  # fmt: skip
def test_lynis_score(audit: Audit, evidence: Evidence, control: Control) -> None:
    """Ensure that a stranger's list of good practice finds nothing that was forgotten."""
    report = audit.report()
    score = int(report["hardening_index"][0])
    warnings = {line.split("|")[0]: line.split("|")[1] for line in report.get("warning[]", [])}
    ids = sorted({line.split("|")[0] for line in report.get("suggestion[]", [])})
    evidence(
        f"Lynis {report['lynis_version'][0]}: hardening index {score}, {len(warnings)} warnings, {len(ids)} suggestions"
    )
    for name, text in sorted(warnings.items()):
        evidence(f"warning {name}: {text} (kept: {KNOWN.get(name, 'no')})")
    evidence(f"suggestions: {', '.join(ids)}")
    assert score >= FLOOR, f"the hardening index is {score}"
    assert not set(warnings) - set(KNOWN), f"new warnings: {sorted(set(warnings) - set(KNOWN))}"
    tests = re.findall(r"[A-Z]+-[0-9]+", " ".join(report["tests_executed"]))
    assert len(tests) > 150, f"only {len(tests)} tests ran"
    with control("the report is of this machine as it is: Lynis has something to say"):
        assert not ids
