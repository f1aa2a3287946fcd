"""The benchmark measures what an engineer meets, not what a warm program or a short burst of load makes of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clinic import synthetic
from clinic.loading import load
from clinic.rendering.phones import phones
from clinic.secrets import for_rehearsal
from clinicpbx.secrets import complete
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


@pytest.mark.parametrize(
    "text", [bench.CASE.read_text(encoding="utf-8"), synthetic.text(40)], ids=["case", "synthetic"]
)
def test_changed_key_is_one_telephones_new_version(text: str) -> None:
    clinic = load(text)
    secrets = for_rehearsal(complete({}, clinic))
    before, after = phones(clinic, secrets), phones(load(bench.with_a_key(text)), secrets)
    assert sum(after[mac].version != phone.version for mac, phone in before.items()) == 1
