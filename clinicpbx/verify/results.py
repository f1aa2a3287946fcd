"""What a verification found, and the verdict. Pure: no I/O.

A check is `passed`, `failed` or `not-tried`; it is never passed by default. GO needs every mandatory check passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Status = Literal["passed", "failed", "not-tried"]
Verdict = Literal["GO", "NO-GO", "PARTIAL"]
NO_SUBJECT = "clinic.yml: "
"""Begins the reason of a check that the description gives nothing to try: one provider only, so no backup."""
NO_KERNEL = "the rehearsal's container: "
"""Begins the reason of a check that needs a kernel of the machine's own. Only a lab's machine may say so."""
NO_CONTROL = "the check has no control: nothing shows that it can fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One claim about the clinic. `proves`: the line of the description or of the case it stands for.

    `mandatory` checks must pass for GO. `lab_only` ones need faults that nobody may cause at a real clinic, or numbers
    that nobody may ring; there they are not tried and do not count.
    """

    id: str
    title: str
    proves: str
    lane: str = ""
    mandatory: bool = True
    lab_only: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A check's outcome. `evidence` is what was seen, `controls` what was shown to be able to fail."""

    check: Check
    status: Status
    seconds: float = 0.0
    evidence: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    failure: str = ""

    def as_json(self) -> dict[str, Any]:
        check = asdict(self.check)
        return {
            "id": check.pop("id"), "title": check.pop("title"), "proves": check.pop("proves"), "status": self.status,
            "seconds": round(self.seconds, 2), "evidence": list(self.evidence), "controls": list(self.controls),
            "failure": self.failure or None, **check,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verification:
    """A whole run. `started` is ISO 8601 UTC, `at` the site's name; `only` the ids asked for, empty for all.

    `lab`: with a lab's faults and subscribers, so that nothing may be left out.
    """

    clinic: str
    at: str
    started: str
    seconds: float
    results: tuple[Result, ...]
    only: tuple[str, ...] = ()
    interrupted: bool = False
    lab: bool = True
    notes: tuple[str, ...] = field(default=())

    @property
    def against(self) -> tuple[str, ...]:
        """Why this is not GO, one line each; empty for GO and for a clean partial run."""
        lines = [f"{r.check.id} failed" for r in self.results if r.status == "failed"]
        reasons: dict[str, list[str]] = {}
        for r in self.results:
            missing = r.status == "not-tried" and r.check.mandatory and (self.lab or not r.check.lab_only)
            if missing and not r.failure.startswith((NO_SUBJECT, NO_KERNEL)):
                reasons.setdefault(r.failure or "no reason given", []).append(r.check.id)
        for reason, ids in reasons.items():
            lines.append(f"{ids[0] if len(ids) == 1 else f'{len(ids)} checks'} not tried: {reason}")
        if self.interrupted:
            lines.append("the verification was interrupted")
        if not self.results:
            lines.append("no check ran")
        return tuple(lines + list(self.notes))

    @property
    def verdict(self) -> Verdict:
        """A run of chosen checks can fail, but cannot be a GO."""
        if self.against:
            return "NO-GO"
        return "PARTIAL" if self.only else "GO"

    @property
    def left_out(self) -> str:
        """What a reader of the verdict must know; empty when all was tried that the description has."""
        count = sum(r.status == "not-tried" and r.check.lab_only for r in self.results)
        ours = [r.check.id for r in self.results if r.status == "not-tried" and r.failure.startswith(NO_KERNEL)]
        lines = [f"{count} checks break what works or ring strangers: only the rehearsal tries them"]
        lines = lines if count and not self.lab else []
        if ours:
            lines.append(
                f"{', '.join(ours)} not tried: a container has no kernel of its own; only the clinic's machine has"
            )
        return "; ".join(lines)

    def count(self, status: Status) -> int:
        return sum(r.status == status for r in self.results)

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict, "clinic": self.clinic, "at": self.at, "started": self.started,
            "seconds": round(self.seconds, 1), "only": list(self.only), "against": list(self.against),
            "rehearsal": self.lab,
            "passed": self.count("passed"), "failed": self.count("failed"), "not_tried": self.count("not-tried"),
            "checks": [r.as_json() for r in self.results],
        }  # fmt: skip


def settled(result: Result) -> Result:
    """A check that passed without a control is a defect, so it fails."""
    if result.status == "passed" and not result.controls:
        return replace(result, status="failed", failure=NO_CONTROL)
    return result


def complete(checks: Iterable[Check], results: Iterable[Result], reason: str) -> tuple[Result, ...]:
    """A result for every check, in the checks' order; those without one were not tried, for `reason`."""
    known = {r.check.id: r for r in results}
    return tuple(known.get(c.id) or Result(c, "not-tried", failure=reason) for c in checks)
