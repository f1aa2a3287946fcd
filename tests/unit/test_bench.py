"""The benchmark measures what an engineer meets, not what a warm program or a short burst of load makes of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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
