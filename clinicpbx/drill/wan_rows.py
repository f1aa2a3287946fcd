"""The WAN drill's figures: one run, a fault's row over all its runs, and the row as people read it. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from clinicpbx.drill.wan_breaks import BREAKS, RUNS, Break


@dataclass
class Run:
    """What one run of a fault was like; seconds from the fault, None: it did not happen."""

    decision: float | None = None
    outbound: float | None = None
    inbound: float | None = None
    failed_out: int = 0
    failed_in: int = 0
    placed: int = 0
    talks: int = 0
    kept: int = 0
    gap: float = 0.0
    moves: int = 0
    well: float | None = None
    """Seconds from the fault's end until the main uplink counts as well."""
    back: float | None = None
    """Until calls go by it again, registered by every uplink, when an engineer asks for the return."""
    registered: float | None = None
    """Until the main uplink, which is in again, is registered by Asterisk's word and the provider's; nobody asked."""
    emergency: float | None = None
    troubles: list[str] = field(default_factory=list)


def p(values: Sequence[float | None], percent: float) -> float | None:
    """The percentile, by the nearest rank: with 20 runs p95 is the second worst. What never came (None) is the worst
    of all; None when the percentile is one of these. Pure."""
    if not values:
        return None
    ordered = sorted(math.inf if value is None else value for value in values)
    found = ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
    return None if math.isinf(found) else round(found, 3)


def summed(one: Break, runs: list[Run]) -> dict[str, Any]:
    """A fault's figures over its runs. Pure."""

    def of(name: str) -> list[float | None]:
        return [getattr(run, name) for run in runs]

    decisions = of("decision") if one.moves else [value for value in of("decision") if value is not None]
    planned = next((b for b in BREAKS if b.name == one.name), one)
    return {
        "name": one.name, "meaning": one.meaning, "runs": len(runs),
        "decision_p50": p(decisions, 50), "decision_p95": p(decisions, 95),
        "decision_max": p(decisions, 100),
        "outbound_p50": p(of("outbound"), 50), "outbound_p95": p(of("outbound"), 95),
        "outbound_max": p(of("outbound"), 100),
        "outbound_never": sum(run.outbound is None for run in runs),
        "inbound_p50": p(of("inbound"), 50), "inbound_p95": p(of("inbound"), 95), "inbound_max": p(of("inbound"), 100),
        "inbound_never": sum(run.inbound is None for run in runs),
        "calls_placed": sum(run.placed for run in runs),
        "calls_failed_out": sum(run.failed_out for run in runs), "calls_failed_in": sum(run.failed_in for run in runs),
        "emergency_p50": p(of("emergency"), 50), "emergency_p95": p(of("emergency"), 95),
        "emergency_max": p(of("emergency"), 100),
        "emergency_never": sum(run.emergency is None for run in runs),
        "calls_in_progress": sum(run.talks for run in runs), "calls_kept": sum(run.kept for run in runs),
        "calls_lost": sum(run.talks - run.kept for run in runs),
        "gap_p50": p(of("gap"), 50), "gap_p95": p(of("gap"), 95), "gap_max": p(of("gap"), 100),
        "well_again_p50": p(of("well"), 50), "well_again_p95": p(of("well"), 95), "well_again_max": p(of("well"), 100),
        "back_p50": p(of("back"), 50), "back_p95": p(of("back"), 95), "back_max": p(of("back"), 100),
        "registered_max": p(of("registered"), 100),
        "moves": sum(run.moves for run in runs),
        "false_switches": sum(max(0, run.moves - one.moves) for run in runs),
        "troubles": [t for run in runs for t in run.troubles][:5],
        "watched": one.watch, "whole": len(runs) >= min(RUNS, one.most) and one.watch >= planned.watch, "code": code(),
    }  # fmt: skip


@cache
def code() -> str:
    """A digest of what the figures depend on: rows of different ones are not put into one report."""
    root = Path(__file__).parents[2]
    folders = ("services/wan", "files/wan", "templates/asterisk", "templates/provider", "clinic/rendering", "lab")
    files = [f for folder in folders for f in (root / folder).rglob("*") if f.is_file() and f.suffix != ".pyc"]
    files += [Path(__file__).with_name(name) for name in ("traffic.py", "wan.py", "wan_breaks.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:12]


def neighbour(found: dict[str, Any]) -> dict[str, Any]:
    decisions = found.pop("decisions")
    return found | {"runs": len(decisions), "p50": p(decisions, 50), "p95": p(decisions, 95), "max": p(decisions, 100)}


def line(row: dict[str, Any]) -> str:
    """A row as people read it while it runs."""
    return (
        f"{row['name']:16} {row['runs']:3} runs  decision {row['decision_p50']}/{row['decision_p95']} s  "
        f"out {row['outbound_p50']}/{row['outbound_p95']}/{row['outbound_max']} s  "
        f"in {row['inbound_p50']}/{row['inbound_p95']} s  failed {row['calls_failed_out']}+{row['calls_failed_in']} of "
        f"{row['calls_placed']}  kept {row['calls_kept']}/{row['calls_in_progress']}  "
        f"gap {row['gap_p50']}/{row['gap_max']}  112 {row['emergency_p50']}/{row['emergency_p95']} s  "
        f"moves {row['moves']}, false {row['false_switches']}"
    )
