"""One clinic of the case at full size, brought up and deployed once for all tests that need it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab import rig

ROOT = Path(__file__).resolve().parents[2]
LAB = 58


@pytest.fixture(scope="module", autouse=True)
def clients_are_closed() -> Iterator[None]:
    yield
    rig.close_clients()


@dataclass(frozen=True)
class Case:
    """A copy of the case with secrets of its own, in a lab of its own."""

    folder: Path
    environment: dict[str, str]

    @property
    def file(self) -> Path:
        return self.folder / "clinic.yml"

    @property
    def journal(self) -> Path:
        """Every exchange with the hypervisor's API, secrets masked."""
        return Path(self.environment["CLINICPBX_API_JOURNAL"])

    def run(self, *arguments: str, expect: int | None = 0, timeout: float = 900, room: tuple[str, ...] = ()) -> str:
        """`clinicpbx ...`, its whole output; the exit status is as expected (None: any). `room`: what runs it."""
        done = subprocess.run(
            [*room, sys.executable, "-m", "clinicpbx", *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        text = done.stdout + done.stderr
        assert expect in (None, done.returncode), f"clinicpbx {' '.join(arguments)}: exit {done.returncode}\n{text}"
        return text

    def json(self, *arguments: str, expect: int | None = 0, room: tuple[str, ...] = ()) -> dict[str, Any]:
        text = self.run(*arguments, "--json", expect=expect, room=room)
        start = next(i for i, line in enumerate(text.splitlines()) if line.startswith("{"))
        return dict(json.JSONDecoder().raw_decode("\n".join(text.splitlines()[start:]))[0])

    def status(self) -> dict[str, Any]:
        return self.json("lab", "status", "--lab", str(LAB))

    def pbx(self, command: str) -> str:
        """A root shell on the PBX, from the machine that carries it."""
        from lab import lab as labs

        leader = next(iter(labs.status(LAB)["machines"].values()))["leader"]
        done = subprocess.run(
            ["nsenter", f"--target={leader}", "--all", "sh", "-c", command],
            capture_output=True, text=True, errors="replace", timeout=120, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    def asterisk(self, command: str) -> str:
        return self.pbx(f"asterisk -rx '{command}'")


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """The lab is up, with the PBX's internet cut; nothing is deployed yet."""
    home = tmp_path_factory.mktemp("case")
    folder = home / "inventory" / "case"
    shutil.copytree(ROOT / "inventory/case", folder, ignore=shutil.ignore_patterns("secrets.age", ".secrets.lock"))
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "CLINICPBX_AT": f"lab{LAB}", "CLINICPBX_IDENTITY": str(home / "identity"),
        "CLINICPBX_API_JOURNAL": str(home / "journal.jsonl"), "NO_COLOR": "1", "COLUMNS": "200",
    }  # fmt: skip
    subprocess.run(["scripts/clean", str(LAB)], cwd=ROOT, check=True, capture_output=True)
    found = Case(folder, environment)
    found.run("lab", "up", str(found.file), "--lab", str(LAB))
    found.run("lab", "fault", "pbx-internet", "--lab", str(LAB))
    yield found
    if not os.environ.get("CLINICPBX_KEEP_LAB"):
        subprocess.run(["scripts/clean", str(LAB)], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="session")
def deployed(case: Case) -> dict[str, object]:
    """The first deploy, with the PBX cut off from the internet. Telephones have found their accounts."""
    from lab.phones import settle

    done = case.json("deploy", str(case.file))
    assert settle(LAB) == {}
    return done


@pytest.fixture
def online(case: Case, deployed: dict[str, object]) -> None:
    """The PBX's internet is back and its providers know it again."""
    case.run("lab", "fault", "pbx-internet", "off", "--lab", str(LAB))
    deadline = time.monotonic() + 40
    while "Unregistered" in case.asterisk("pjsip show registrations") or "Registered" not in case.asterisk(
        "pjsip show registrations"
    ):
        assert time.monotonic() < deadline, "the trunks did not register after the internet came back"
        time.sleep(0.5)
