"""What is loaded, told by one value whatever has been counted meanwhile. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

TABLE = "clinic"
SECONDS = 30
"""How long new rules are on trial."""
REMOVED = f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n"


def digest(rules: bytes) -> str:
    return hashlib.sha256(rules).hexdigest()


def fingerprint(listed: str) -> str:
    """SHA-256 of `nft -j list table`, without handles, counts and what dynamic sets collected; empty for no table."""
    if not listed.strip():
        return ""
    objects = [item for item in json.loads(listed)["nftables"] if "metainfo" not in item]
    return hashlib.sha256(json.dumps([_lasting(item) for item in objects], sort_keys=True).encode()).hexdigest()


def _lasting(value: Any) -> Any:
    if isinstance(value, list):
        return [_lasting(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    passing = {"handle", "packets", "bytes"}
    if "dynamic" in value.get("flags", ()):
        passing |= {"elem"}
    return {key: _lasting(item) for key, item in value.items() if key not in passing}


def status(
    confirmed: Mapping[str, str], boots: bytes | None, live: str, pending: str, armed: bool
) -> dict[str, object]:
    """`confirmed`: digest and fingerprint of the rules that were confirmed. `boots`: the file that loads at boot."""
    wanted = confirmed.get("digest", "")
    return {
        "confirmed": wanted, "boots": bool(wanted) and boots is not None and digest(boots) == wanted,
        "live": bool(live) and live == confirmed.get("fingerprint"), "pending": pending, "armed": armed,
    }  # fmt: skip
