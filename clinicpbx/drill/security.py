"""The security drill: every part in turn, its figures held against literal limits, and a dated report."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clinicpbx import descriptions
from clinicpbx.errors import ClinicError
from clinicpbx.verify.report import TEMPLATES, point

Say = Callable[[str], None]
PARTS = {
    "scan": "Scanning, enumerating and cracking with the attackers' own tools",
    "flood": "70 registrations a second while people talk",
    "malformed": "Malformed and hostile SIP",
    "fraud": "Toll fraud with stolen passwords",
    "emergency": "Emergency calls with everything closed",
}
REPORTS = Path(__file__).resolve().parents[2] / "reports"


@dataclass(frozen=True)
class Limit:
    """A figure of a part and the worst value that is still good."""

    part: str
    figure: str
    worst: float
    meaning: str

    def holds(self, value: Any) -> bool:
        size = len(value) if isinstance(value, list) else value
        return size is not None and 0 <= float(size) <= self.worst


# fail2ban counts to 15 attempts and then needs up to a second to look; at full speed the PBX answers 150 in a second.
LIMITS = (
    Limit("scan", "answered_to_strangers", 0, "packets that a stranger at an uplink got answered"),
    Limit("scan", "attempts_answered_before_ban", 200, "answers a cracker got before the ban"),
    Limit("scan", "seconds_to_ban", 10, "seconds from the first attempt to the ban"),
    Limit("scan", "learned", 0, "extensions told apart, passwords found"),
    Limit("scan", "unreported", 0, "attacks on a telephone's account that nobody was told of"),
    Limit("flood", "phones_lost", 0, "telephones that lost their registration"),
    Limit("flood", "crashes", 0, "restarts of Asterisk"),
    *(
        limit
        for part in ("flood", "malformed")
        for limit in (
            Limit(part, "calls_dropped", 0, "calls that ended or lost their audio"),
            Limit(part, "new_calls_failed", 0, "new calls that did not connect"),
            Limit(part, "new_call_worst_ms", 3000, "ms until a new call connected"),
            Limit(part, "troubles", 0, "reasons why the witness did not see everything"),
        )
    ),
    Limit("malformed", "crashes", 0, "restarts of Asterisk"),
    Limit("malformed", "phones_lost", 0, "telephones that lost their registration"),
    Limit("malformed", "unsettled", 0, "memory, files and channels that did not come back"),
    Limit("fraud", "money_lost", 0, "money above the caps"),
    Limit("emergency", "emergency_refused", 0, "emergency calls that nobody answered"),
)
SUMMED = ("calls_dropped", "phones_lost", "crashes")
TOLD = (
    "money_lost", "destinations_tried", "attempts_answered_before_ban", "seconds_to_ban", "phones_lost",
    "calls_dropped", "crashes", "emergency_refused",
)  # fmt: skip


def run(clinic: str, at: str, say: Say, *, quick: bool = False, only: Collection[str] = ()) -> dict[str, Any]:
    """Every part, or those named. The figures at the top, `parts` with all details, `against` and `verdict`."""
    unknown = set(only) - PARTS.keys()
    if unknown:
        raise ClinicError(f"There is no part `{sorted(unknown)[0]}`.", remedy=f"one of: {', '.join(PARTS)}")
    chosen = [part for part in PARTS if not only or part in only]
    started, began = dt.datetime.now(dt.UTC), time.monotonic()
    parts: dict[str, dict[str, Any]] = {}
    for part in chosen:
        say(f"== {part}: {PARTS[part]}")
        at_first = time.monotonic()
        parts[part] = importlib.import_module(f"clinicpbx.drill.{part}").run(clinic, at, say, quick=quick)
        parts[part]["seconds"] = round(time.monotonic() - at_first, 1)
    return summary(parts) | {
        "clinic": clinic,
        "at": at,
        "quick": quick,
        "started": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(time.monotonic() - began, 1),
        "parts": parts,
    }


def summary(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures everybody asks for, and what speaks against them. A part without its control counts for nothing."""
    told: dict[str, Any] = {}
    for figure in TOLD:
        values = [p[figure] for p in parts.values() if figure in p]
        values = [sum(values)] if figure in SUMMED and values and None not in values else values
        told[figure] = values[0] if values else None
    against = [
        f"{limit.part}: {limit.figure} is {parts[limit.part].get(limit.figure)}, {limit.worst:g} at most"
        for limit in LIMITS
        if limit.part in parts and not limit.holds(parts[limit.part].get(limit.figure))
    ]
    against += [f"{name}: nothing shows that it can fail" for name, part in parts.items() if not part.get("control")]
    verdict = "NO-GO" if against else "GO" if parts.keys() == PARTS.keys() else "PARTIAL"
    return {**told, "verdict": verdict, "against": against}


def write(report: dict[str, Any], folder: Path | None = None) -> Path:
    """drill.json and report.html below reports/<clinic>/drill-<stamp>, and `latest-drill`; the folder."""
    name = descriptions.find(report["clinic"]).parent.name
    stamp = report["started"].replace("-", "").replace(":", "")
    target = (folder or REPORTS / name) / f"drill-{stamp}"
    target.mkdir(parents=True, exist_ok=True)
    (target / "drill.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    (target / "report.html").write_text(html(report, descriptions.read_or_explain(report["clinic"]).name))
    point(target.parent / "latest-drill", target.name)
    return target


def html(report: dict[str, Any], name: str) -> str:
    """One page without outside parts."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    limits = [
        {
            "limit": x,
            "value": report["parts"][x.part].get(x.figure),
            "good": x.holds(report["parts"][x.part].get(x.figure)),
        }
        for x in LIMITS
        if x.part in report["parts"]
    ]
    return environment.get_template("drill.html.j2").render(report=report, name=name, parts=PARTS, limits=limits)
