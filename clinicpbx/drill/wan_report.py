"""What the WAN drill's figures are held against, and its report: JSON and one page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clinicpbx import descriptions
from clinicpbx.drill.security import REPORTS
from clinicpbx.verify.report import TEMPLATES, point

DOCUMENTED = {
    "pfSense dpinger": "12 to 14",
    "OpenWrt mwan3": "50",
    "MikroTik netwatch": "13",
    "FRR BFD, with a peer that speaks it": "0.9",
}
"""Seconds in which others find a total outage with their defaults, by their documents."""


@dataclass(frozen=True)
class Limit:
    """A figure of a fault and the worst value that is still good; None of a figure is not good."""

    fault: str
    figure: str
    worst: float

    def holds(self, row: Mapping[str, Any]) -> bool:
        value = row.get(self.figure)
        return value is not None and float(value) <= self.worst


HARD, SOFT = ("cable", "router-crash"), ("black-hole", "sip-filtered")
TALKING = (
    "cable", "router-crash", "black-hole", "sip-filtered", "loss-10", "loss-30", "loss-60", "one-way-loss", "dns-dead",
    "provider-503", "address", "watchdog-killed", "failback", "return", "flapping",
)  # fmt: skip
LOSSY = ("loss-30", "loss-60", "one-way-loss")
"""Of a call that was placed before the loss is known, an answer may be lost again and again: RFC 3261, 13.3.1.4."""
EVERY = (*TALKING, "provider-down", "provider-and-cable", "both-then-one", "reboot", "loss-5")
LIMITS = (
    *(Limit(name, "outbound_p95", 1.0) for name in HARD),
    *(Limit(name, "inbound_p95", 1.5) for name in HARD),
    *(Limit(name, "outbound_p95", 2.0) for name in SOFT),
    *(Limit(name, "outbound_never", 0) for name in EVERY),
    *(Limit(name, "inbound_never", 0) for name in EVERY if name != "provider-and-cable"),
    # A call that a PBX between two lives does not hear is sent again by the telephone when RFC 3261 says so.
    *(Limit(name, "emergency_p95", 5.0) for name in EVERY if name not in ("reboot", *LOSSY)),
    *(Limit(name, "emergency_p50", 5.0) for name in LOSSY),
    *(Limit(name, "calls_lost", 0) for name in TALKING),
    *(Limit(name, "false_switches", 0) for name in EVERY),
    *(Limit(name, f"calls_failed_{way}", 0) for name in ("failback", "return") for way in ("out", "in")),
    Limit("return", "registered_max", 10.0),
    Limit("return", "decision_p95", 24 * 3600),  # that it happens; when, says the description
)  # fmt: skip
OTHERS = 20
"""Runs of whoever is measured beside us."""
COSTS = {"core_percent": 1.0, "kbit_per_second": 20.0}


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """`against` and `verdict`: GO when every limit holds over all runs of all faults, PARTIAL over fewer. Pure."""
    rows = {row["name"]: row for row in report["faults"]}
    against = [
        f"{limit.fault}: {limit.figure} is {rows[limit.fault].get(limit.figure)}, {limit.worst:g} at most"
        for limit in LIMITS
        if limit.fault in rows and not limit.holds(rows[limit.fault])
    ]
    against += [
        f"probing: {name} is {report['costs'][name]}, {worst:g} at most"
        for name, worst in COSTS.items()
        if report["costs"][name] > worst
    ]
    against += [f"{name}: no run came to its end" for name, row in rows.items() if not row["runs"]]
    against += [f"{name}: {row['spoilt']} runs were spoilt" for name, row in rows.items() if row["spoilt"] > 1]
    others = report["others"].values()
    beside = bool(others) and all(other.get("runs", 0) >= OTHERS for other in others)
    whole = set(EVERY) <= rows.keys() and all(row["whole"] for row in rows.values()) and beside
    return {"against": against, "verdict": "NO-GO" if against else "GO" if whole else "PARTIAL"}


def latest(clinic: str) -> dict[str, Any]:
    """The last report of this clinic, empty when there is none."""
    try:
        text = (REPORTS / descriptions.find(clinic).parent.name / "latest-wan" / "drill.json").read_text()
    except FileNotFoundError:
        return {}
    return dict(json.loads(text))


def added(report: Mapping[str, Any], former: Mapping[str, Any]) -> dict[str, Any]:
    """The report with the former's rows of what it has not measured, as far as they are of the same code. Pure."""
    own = {row["name"]: row for row in report["faults"]}
    codes = {row["code"] for row in own.values()}
    before = {row["name"]: row for row in former.get("faults", ()) if not codes or row.get("code") in codes}
    others = {who: o for who, o in former.get("others", {}).items() if not codes or o.get("code") in codes}
    rows = before | own
    whole = dict(report) | {
        "faults": [rows[name] for name in sorted(rows, key=EVERY.index)],
        "others": {**others, **report["others"]},
    }
    return whole | summary(whole)


def write(report: Mapping[str, Any], folder: Path | None = None) -> Path:
    """drill.json and report.html below reports/<clinic>/wan-<stamp>, and `latest-wan`; the folder."""
    name = descriptions.find(report["clinic"]).parent.name
    stamp = report["started"].replace("-", "").replace(":", "")
    target = (folder or REPORTS / name) / f"wan-{stamp}"
    target.mkdir(parents=True, exist_ok=True)
    (target / "drill.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    (target / "report.html").write_text(html(report, descriptions.read_or_explain(report["clinic"]).name))
    point(target.parent / "latest-wan", target.name)
    return target


def html(report: Mapping[str, Any], name: str) -> str:
    """One page without outside parts."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    worst = max([1.0, *(row["outbound_max"] or 0 for row in report["faults"])])
    return environment.get_template("wan.html.j2").render(
        report=report, name=name, documented=DOCUMENTED, worst=worst, limits=_limits(report["faults"])
    )


def _limits(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, bool]]:
    """fault -> figure -> whether its limit holds."""
    known = {row["name"]: row for row in rows}
    found: dict[str, dict[str, bool]] = {}
    for limit in LIMITS:
        if limit.fault in known:
            found.setdefault(limit.fault, {})[limit.figure] = limit.holds(known[limit.fault])
    return found
