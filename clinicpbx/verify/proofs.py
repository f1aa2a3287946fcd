"""What a check proves: lines of the description and points of the case, as its mark names them.

`clinic.yml: trunks.north.dids, uplinks; case: 3, 6` becomes `clinic.yml:268 trunks.north.dids, clinic.yml:259 uplinks;
case: 3, 6`. Pure but for `Description.of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinic.document import Document, read

NAMES = ("name", "ext", "number")


@dataclass(frozen=True)
class Description:
    """A description's lines. `file` is the name that people are told."""

    file: str
    document: Document

    @classmethod
    def of(cls, path: Path) -> Description:
        return cls(path.name, read(path.read_text(encoding="utf-8"), path.name))

    def located(self, proves: str) -> str:
        """The text with a line at each place of the description; a place that it leaves to the default has none."""
        parts = []
        for part in proves.split("; "):
            kind, _, places = part.partition(": ")
            parts.append(", ".join(self._at(p) for p in places.split(", ")) if kind == "clinic.yml" else part)
        return "; ".join(parts)

    def _at(self, place: str) -> str:
        steps, value = [], self.document.data
        for name in place.split("."):
            step = _step(value, name)
            if step is None:
                return f"{self.file} {place} (default)"
            steps.append(step)
            value = value[step]
        return f"{self.file}:{self.document.line(tuple(steps))} {place}"


def _step(value: Any, name: str) -> str | int | None:
    """The key or index that `name` means here: a key, a number, or the name of a list's item."""
    if isinstance(value, dict):
        return name if name in value else None
    if not isinstance(value, list):
        return None
    named = (n for n, item in enumerate(value) if isinstance(item, dict) and name in [str(item.get(k)) for k in NAMES])
    found = int(name) if name.isdigit() and int(name) < len(value) else next(named, None)
    return found
