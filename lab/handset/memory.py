"""What a telephone keeps without power: settings, the authority it was given, its last address."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.handset.parse import Settings


@dataclass
class Memory:
    """Empty as from the factory. It holds passwords: never printed, and its file is for root only."""

    settings: Settings = field(default_factory=dict, repr=False)
    authority: str = field(default="", repr=False)
    address: str = ""

    @classmethod
    def load(cls, file: Path) -> Memory:
        """Empty when there is no file, or one that makes no sense."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        return cls()

    def save(self, file: Path) -> None:
        temporary = file.with_suffix(".new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(asdict(self), out, ensure_ascii=False)
        temporary.replace(file)
