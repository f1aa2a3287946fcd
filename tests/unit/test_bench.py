"""The benchmark measures what an engineer meets, not what a warm program or a short burst of load makes of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clinic import synthetic
from lab import bench


def test_each_reading_and_rendering_is_the_first_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([5.0, 1.0, 2.0, 9.0, 3.0])
    programs: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        programs.append(command)
        taken = next(times)
        return SimpleNamespace(stdout=json.dumps({"loading": taken, "rendering": taken * 2}))

    monkeypatch.setattr(subprocess, "run", run)
    assert bench._pure_parts(tmp_path / "clinic.yml") == {"loading": 3.0, "rendering": 6.0}
    assert len(programs) == 5


def test_a_larger_clinic_is_seen_to_cost_more(tmp_path: Path) -> None:
    found = {}
    for people in (20, 2000):
        file = tmp_path / f"{people}.yml"
        file.write_text(synthetic.text(people))
        found[people] = min((bench.first(str(file)) for _ in range(3)), key=lambda times: times["rendering"])
    assert found[2000]["rendering"] > found[20]["rendering"] > 0
    assert found[2000]["loading"] > found[20]["loading"] > 0
