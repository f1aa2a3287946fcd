"""The pytest side of verification: marks, lanes, evidence and controls. Loaded by `-p clinicpbx.verify.plugin`.

Checks run on several workers. What belongs together (the operators, a provider's faults) is one lane, and a lane
stays on one worker, in the order of its file. Results travel to the runner as JSON lines on a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from clinicpbx import descriptions
from clinicpbx.verify.proofs import Description
from clinicpbx.verify.results import Check, Result, settled
from softphone.client import PoolError

ROOT = Path(__file__).resolve().parents[2]
CHECK: pytest.StashKey[Check] = pytest.StashKey()
SEEN: pytest.StashKey[dict[str, list[str]]] = pytest.StashKey()


class ControlFailed(Exception):  # noqa: N818 - a verdict about a check, not an error of the program
    """A control's block succeeded, so the check would pass on a broken PBX. No AssertionError: no control hides it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("clinicpbx verify")
    group.addoption("--clinic", default="case", help="Clinic's name under inventory/, or a folder")
    group.addoption("--at", default="", help="lab, lab1, ... or clinic")
    group.addoption("--borrowed", default="", help="File that says which telephones are borrowed, and from where")
    group.addoption("--only", default="", help="Ids of checks, comma-separated")
    group.addoption("--run-folder", default="", help="Folder for locks shared by the workers")
    group.addoption("--events", type=int, default=-1, help="File descriptor for the results, as JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "check(id, title, proves, mandatory=True, lab_only=False): a check's identity")
    config.addinivalue_line("markers", "lane(name): checks of a lane never overlap")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reporter(config.getoption("--events")), "clinicpbx-reporter")


def check_of(item: pytest.Item) -> Check:
    """A test's identity from its marks; `{trunk}` in texts stands for the parameter of that name."""
    mark = item.get_closest_marker("check")
    if mark is None:
        raise pytest.UsageError(f"{item.nodeid} has no @pytest.mark.check(id=..., title=..., proves=...)")
    values = item.callspec.params if hasattr(item, "callspec") else {}
    given: dict[str, Any] = {
        key: value.format(**values) if isinstance(value, str) else value for key, value in mark.kwargs.items()
    }
    lane = item.get_closest_marker("lane")
    return Check(**given, lane=str(lane.args[0]) if lane else "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse doubtful marks, keep what `--only` names, and refuse a check without a lane."""
    seen: dict[str, str] = {}
    description = Description.of(descriptions.find(config.getoption("--clinic")))
    for item in items:
        check = check_of(item)
        check = replace(check, proves=description.located(check.proves))
        if check.id in seen:
            raise pytest.UsageError(f"the check id {check.id} is used twice: {seen[check.id]} and {item.nodeid}")
        if check.lane != lane_of(item.nodeid):
            raise pytest.UsageError(f"{item.nodeid}: its lane must be named once, by the module's pytestmark")
        seen[check.id] = item.nodeid
        item.stash[CHECK] = check
        seen_here: dict[str, list[str]] = {"evidence": [], "controls": []}
        item.stash[SEEN] = seen_here
    only = [name.strip() for name in config.getoption("--only").split(",") if name.strip()]
    if unknown := sorted(set(only) - set(seen)):
        raise pytest.UsageError(f"no such check: {', '.join(unknown)}")
    if only:
        config.hook.pytest_deselected(items=[i for i in items if i.stash[CHECK].id not in only])
        items[:] = [i for i in items if i.stash[CHECK].id in only]


def lane_of(nodeid: str) -> str:
    """The lane of a test, read from its file: the controlling process never imports the checks."""
    return _lane_in(ROOT / nodeid.partition("::")[0])


@cache
def _lane_in(path: Path) -> str:
    found = re.search(r'^pytestmark = pytest\.mark\.lane\("([^"]+)"\)', path.read_text(encoding="utf-8"), re.M)
    return found[1] if found else ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A lane stays on one worker. (pytest-xdist's own `loadgroup` finds no groups with pytest 9.2: it writes them into
    a name that pytest does not read any more.)"""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class LaneScheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return lane_of(nodeid)

    return LaneScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if item.stash.get(CHECK, None):
        report.clinic_check = _plain(item.stash[CHECK])
        report.clinic_seen = {k: list(v) for k, v in item.stash[SEEN].items()}
        if report.failed and call.excinfo is not None:
            report.clinic_failure = failure_text(call.excinfo, item)
    return report


def _plain(check: Check) -> dict[str, Any]:
    return {name: getattr(check, name) for name in Check.__slots__}


def failure_text(excinfo: pytest.ExceptionInfo[BaseException], item: pytest.Item) -> str:
    """The error in the words of the check, with the line of the check it arose at."""
    where = next((f"{e.path.name}:{e.lineno + 1}" for e in reversed(excinfo.traceback) if e.path == item.path), "")
    text = str(excinfo.value).strip() or excinfo.typename
    kind = "" if isinstance(excinfo.value, AssertionError) else f"{excinfo.typename}: "
    return f"{kind}{text} ({where})" if where else f"{kind}{text}"


class Reporter:
    """Turns pytest's reports into results, on the controlling process."""

    def __init__(self, descriptor: int) -> None:
        self.out = os.fdopen(descriptor, "w", buffering=1) if descriptor >= 0 else None
        self.parts: dict[str, list[Any]] = {}

    def tell(self, **event: Any) -> None:
        if self.out:
            self.out.write(json.dumps(event, ensure_ascii=False) + "\n")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.tell(event="error", text=str(report.longrepr))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.tell(event="start", node=nodeid, at=time.time())

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.parts.setdefault(report.nodeid, []).append(report)
        if report.when == "teardown" and hasattr(report, "clinic_check"):
            result = outcome(self.parts.pop(report.nodeid))
            self.tell(event="result", node=report.nodeid, **result.as_json())

    def pytest_sessionfinish(self) -> None:
        if self.out:
            self.out.close()


def outcome(reports: list[Any]) -> Result:
    """One result of a check's set-up, call and tear-down reports."""
    last = reports[-1]
    seconds = sum(r.duration for r in reports)
    evidence, controls = tuple(last.clinic_seen["evidence"]), tuple(last.clinic_seen["controls"])
    check = Check(**last.clinic_check)
    failed = [r for r in reports if r.failed]
    if failed:
        text = "; ".join(f"{'' if r.when == 'call' else r.when + ': '}{r.clinic_failure}" for r in failed)
        return Result(check, "failed", seconds, evidence, controls, text)
    skipped = next((r for r in reports if r.skipped), None)
    if skipped:
        reason = skipped.longrepr[2] if isinstance(skipped.longrepr, tuple) else str(skipped.longrepr)
        return Result(check, "not-tried", seconds, evidence, controls, reason.removeprefix("Skipped: "))
    return settled(Result(check, "passed", seconds, evidence, controls))


class Evidence:
    """`evidence("5 operators in the queue")` notes what a check saw."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def __call__(self, text: str) -> None:
        self.seen.append(text)


class Control:
    """`with control("an absent tone is not heard"): ...` passes only when its block fails."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    @contextlib.contextmanager
    def __call__(self, claim: str) -> Iterator[None]:
        try:
            yield
        except (AssertionError, PoolError):
            self.seen.append(claim)
            return
        raise ControlFailed(f"the check cannot fail: {claim}, yet it did not hold")


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    return Evidence(request.node.stash[SEEN]["evidence"])


@pytest.fixture
def control(request: pytest.FixtureRequest) -> Control:
    return Control(request.node.stash[SEEN]["controls"])
