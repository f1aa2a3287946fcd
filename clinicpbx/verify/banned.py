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


# fail2ban counts each failure of an address double that it has banned once, and threefold after the second time.
_HISTORY = (
    "import sqlite3, sys; database = sqlite3.connect('/var/lib/fail2ban/fail2ban.sqlite3', timeout=10); "
    "[database.execute(f'DELETE FROM {table} WHERE ip = ?', sys.argv[1:]) for table in ('bips', 'bans')]; "
    "database.commit()"
)


@contextlib.contextmanager
def forgotten(pbx: Pbx, address: str, jail: str = "") -> Iterator[None]:
    """Whatever happens within the block, the address is not banned after it and fail2ban knows nothing of it.

    With `jail` nor of failures that did not come to a ban: a verification just before is none of this one's.
    """
    _forget(pbx, address, jail)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # what the block has to say matters more
            _forget(pbx, address, "")


def _forget(pbx: Pbx, address: str, jail: str) -> None:
    pbx.run(f"fail2ban-client unban {address}")
    pbx.run(f'python3 -c "{_HISTORY}" {address}')
    if jail:
        pbx.run(f"fail2ban-client restart {jail}", timeout=30)
