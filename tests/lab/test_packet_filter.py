"""The dead man's switch: rules that cut the deploy off are gone again within the time that was promised."""

from __future__ import annotations

import json
import subprocess
import time

from clinic.rendering.firewall import firewall
from clinicpbx import descriptions
from lab import state
from tasks.firewall import greets
from tests.lab.conftest import LAB, Case

PROGRAM = "/usr/local/sbin/clinic-firewall"
SSH = "        tcp dport 22 accept\n"


def reached(case: Case, seconds: float) -> bool:
    """Whether SSH greets on a new connection from the engineer's workstation within that time."""
    from lab import netns

    with netns.entered(state.load(LAB)["namespaces"]["eng"]):
        return greets("10.77.10.10", 22, seconds)


def loaded(case: Case, rules: str) -> dict[str, str]:
    from lab import lab as labs

    leader = next(iter(labs.status(LAB)["machines"].values()))["leader"]
    done = subprocess.run(
        ["nsenter", f"--target={leader}", "--all", PROGRAM, "apply"],
        input=rules.encode(), capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def test_rules_without_ssh_take_themselves_back(case: Case, deployed: dict[str, object]) -> None:
    good = firewall(descriptions.read_or_explain(str(case.file)))
    assert reached(case, 2), "SSH does not answer to begin with"
    before = json.loads(case.pbx(f"{PROGRAM} status"))
    assert SSH in good and before["live"]
    loaded(case, good.replace(SSH, ""))
    began = time.monotonic()
    assert not reached(case, 5), "the wrong rules do not cut anybody off: the rest would prove nothing"
    assert json.loads(case.pbx(f"{PROGRAM} status"))["armed"]
    assert reached(case, 40), "SSH did not come back"
    assert 25 < time.monotonic() - began < 36
    after = json.loads(case.pbx(f"{PROGRAM} status"))
    assert after == before, "other rules are live than before"


def test_rules_that_are_confirmed_stay(case: Case, deployed: dict[str, object]) -> None:
    good = firewall(descriptions.read_or_explain(str(case.file)))
    digest = loaded(case, good)["digest"]
    assert json.loads(case.pbx(f"{PROGRAM} status"))["armed"]
    case.pbx(f"{PROGRAM} confirm {digest}")
    time.sleep(32)
    found = json.loads(case.pbx(f"{PROGRAM} status"))
    assert found["live"] and found["confirmed"] == digest and not found["armed"]


def test_rules_that_do_not_parse_change_nothing(case: Case, deployed: dict[str, object]) -> None:
    before = json.loads(case.pbx(f"{PROGRAM} status"))
    assert "problem" in loaded(case, "table inet clinic { nonsense }")
    assert json.loads(case.pbx(f"{PROGRAM} status")) == before
