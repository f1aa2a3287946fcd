"""A lab's state file: what stands, where, and how to reach it. Read by the toolkit, the CLI and the tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from clinicpbx.errors import ClinicError


def run_folder(lab: int) -> Path:
    """Sockets, logs and pid files; gone after a reboot, as the lab is."""
    return Path("/run/clinicpbx") / f"lab{lab}"


def disk_folder(lab: int) -> Path:
    """The machines' disks."""
    return Path("/var/lib/clinicpbx") / f"lab{lab}"


def file(lab: int) -> Path:
    return run_folder(lab) / "state.json"


def exists(lab: int) -> bool:
    return file(lab).exists()


def load(lab: int) -> dict[str, Any]:
    """The state of a lab that is up. Raises ClinicError when there is none."""
    try:
        state: dict[str, Any] = json.loads(file(lab).read_text())
    except OSError:
        raise ClinicError(f"lab {lab} is not up", remedy=f"clinicpbx lab up --lab {lab}") from None
    except ValueError:
        raise ClinicError(f"lab {lab}'s state file is damaged", remedy="scripts/clean, then lab up again") from None
    return state


def save(lab: int, state: dict[str, Any]) -> None:
    """Write whole and readable by root only: it holds the API token."""
    temporary = file(lab).with_suffix(".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        json.dump(state, out, indent=1)
    temporary.replace(file(lab))
