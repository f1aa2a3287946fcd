"""Whom fail2ban has banned, asked of the kernel, and how a check's own ban is forgotten."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from clinicpbx.verify.pbx import Pbx


def banned(pbx: Pbx, address: str) -> list[str]:
    """The jails that ban the address, asked of the kernel: what counts is what is dropped."""
    found = pbx.run("nft list table inet clinic-bans 2>/dev/null", check=False)
    sets = re.findall(r"set addr-set-(\S+) \{[^}]*elements = \{([^}]*)\}", found)
    return [name for name, elements in sets if address in re.split(r"[\s,]+", elements)]


@contextlib.contextmanager
def forgotten(pbx: Pbx, address: str) -> Iterator[None]:
    """Whatever happens within the block, the address is not banned after it and fail2ban knows nothing of it."""
    pbx.run(f"fail2ban-client unban {address}")
    try:
        yield
    finally:
        pbx.run(f"fail2ban-client unban {address}", check=False)
