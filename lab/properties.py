"""Proxmox's property strings: `virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=20`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def parse(text: str, default: str = "") -> dict[str, str]:
    """Keys and values in their order. A part without `=` is the value of the key `default`."""
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {(key if eq else default): (value if eq else key) for key, eq, value in pairs}


def render(values: Mapping[str, str], default: str = "") -> str:
    return ",".join(value if key == default else f"{key}={value}" for key, value in values.items())


def size(text: str) -> int:
    """Bytes of `20G`, `512M`, `1.5T` or a plain number. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if not match:
        raise ValueError(f"unable to parse size '{text}'")
    return int(float(match[1]) * UNITS[match[2]])


def human(count: int) -> str:
    """The largest unit that divides evenly, as Proxmox writes sizes in a configuration."""
    for unit in "TGMK":
        if count and count % UNITS[unit] == 0:
            return f"{count // UNITS[unit]}{unit}"
    return str(count)
