"""Frees Kea's leases that would keep a telephone waiting for its address. Run by the deploy before Kea reads them anew.

    python3 -m services.provisioning.leases [CONFIGURATION [LEASES]]

The lease of a telephone that nobody has any more would keep its successor waiting for two hours. So would a circle of
telephones that each wait for the next one's address, as when the pool is widened: there one address is given before its
holder has left it. One lease that Kea writes between this and its reload is lost, and given again at the next renewal.
Source of the file's format: Kea 2.6's manual, memfile; the files .2 and .1 are older than the one without a number.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

CONFIGURATION, LEASES = Path("/etc/kea/kea-dhcp4.conf"), Path("/var/lib/kea/kea-leases4.csv")
_ADDRESS, _MAC, _SECONDS, _EXPIRES = 0, 1, 3, 4


def held(rows: Iterable[str], now: float) -> dict[str, str]:
    """Address to the MAC that holds it, from the rows of all files, the oldest first: the last row of an address holds.
    Pure."""
    found: dict[str, str] = {}
    for row in rows:
        fields = row.rstrip().split(",")
        if len(fields) <= _SECONDS or not fields[_SECONDS].isdigit():
            continue
        found.pop(fields[_ADDRESS], None)
        lasts = len(fields) <= _EXPIRES or int(fields[_EXPIRES]) > now
        if fields[_SECONDS] != "0" and lasts:
            found[fields[_ADDRESS]] = fields[_MAC]
    return found


def superfluous(owners: Mapping[str, str], holders: Mapping[str, str]) -> set[str]:
    """Addresses to be freed. `owners`: address to the MAC that it is reserved for; `holders`: to the MAC that has it.
    Pure."""
    wanted = {mac: address for address, mac in owners.items()}
    free = {address for address, mac in holders.items() if address in owners and mac not in wanted}
    seen: set[str] = set()
    for start in sorted(holders):
        address, walked = start, []
        while address in owners and address not in seen and holders.get(address, owners[address]) != owners[address]:
            if holders[address] not in wanted:
                break
            seen.add(address)
            walked.append(address)
            address = wanted[holders[address]]
        if address in walked:
            free.add(address)
    return free


def main(arguments: Sequence[str]) -> int:
    configuration = Path(arguments[0]) if arguments else CONFIGURATION
    leases = Path(arguments[1]) if len(arguments) > 1 else LEASES
    reserved = json.loads(configuration.read_text(encoding="utf-8"))["Dhcp4"]["subnet4"][0]["reservations"]
    files = [path for path in (leases.with_name(leases.name + end) for end in (".2", ".1", "")) if path.exists()]
    rows = {path: path.read_text(encoding="utf-8").splitlines(keepends=True) for path in files}
    owners = {one["ip-address"]: one["hw-address"] for one in reserved}
    free = superfluous(owners, held((row for path in files for row in rows[path]), time.time()))
    for path in files:
        kept = [row for row in rows[path] if row.split(",")[_ADDRESS] not in free]
        if kept != rows[path]:
            _replace(path, "".join(kept))
    return 0


def _replace(path: Path, text: str) -> None:
    """With the owner and the mode that the file has."""
    new, status = path.with_name(f"{path.name}.new"), path.stat()
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    os.chown(new, status.st_uid, status.st_gid)
    shutil.copymode(path, new)
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
