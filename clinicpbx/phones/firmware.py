"""Firmware files as an engineer sees them; what is not the described file, `clinicpbx.provisioning` refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from clinic.model import Clinic
from clinic.provisioning import Firmware

FOLDER = "firmware"
"""Below the clinic's own folder of inventory/."""


def listed(clinic: Clinic, clinic_dir: Path) -> list[dict[str, Any]]:
    """A row each model that has telephones or firmware: version, file, hash, `state` (right, missing, other, none)."""
    counts: dict[str, int] = {}
    for person in clinic.people:
        counts[person.phone.model] = counts.get(person.phone.model, 0) + 1
    rows = []
    for model in sorted(counts.keys() | clinic.provisioning.firmware.keys()):
        wanted = clinic.provisioning.firmware.get(model)
        rows.append({
            "model": model, "phones": counts.get(model, 0),
            "version": wanted.version if wanted else "", "file": wanted.file if wanted else "",
            "sha256": wanted.sha256 if wanted else "", "state": _state(wanted, clinic_dir),
        })  # fmt: skip
    return rows


def _state(wanted: Firmware | None, clinic_dir: Path) -> str:
    if wanted is None:
        return "none"
    path = clinic_dir / FOLDER / wanted.file
    if not path.is_file():
        return "missing"
    return "right" if hashlib.sha256(path.read_bytes()).hexdigest() == wanted.sha256 else "other"
