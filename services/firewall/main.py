"""clinic-firewall: the dead man's switch of the PBX's packet filter.

    clinic-firewall apply < rules     check and load them; without a confirmation they are gone after 30 s
    clinic-firewall confirm DIGEST    keep them: they load at boot from now on
    clinic-firewall rollback          load what was confirmed last, or no rules of ours if nothing was
    clinic-firewall status            what is confirmed, live, on trial

Answers are JSON on standard output. Exit 0 done, 1 refused (`problem` says why), 2 wrong use. A reboot ends a trial:
only confirmed rules are in /etc/nftables.conf. The timer is systemd's, so it outlives the session that armed it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from . import core

HOME = Path("/var/lib/clinicpbx/firewall")
BOOT = Path("/etc/nftables.conf")
PENDING, PREVIOUS, CONFIRMED = HOME / "pending.nft", HOME / "previous.nft", HOME / "confirmed.json"
PROGRAM = "/usr/local/sbin/clinic-firewall"
UNIT = "clinic-firewall-rollback"


class RefusedError(Exception):
    """Nothing was changed; the text says why."""


def apply(rules: bytes) -> dict[str, object]:
    """Rules are loaded for a trial. The way back is armed first: whatever dies after that, it happens."""
    _nft("-c", "-f", "-", data=rules)
    _keep(PENDING, rules)
    _disarm()
    _run(
        "systemd-run", "--quiet", "--collect", f"--unit={UNIT}", f"--on-active={core.SECONDS}",
        "--timer-property=AccuracySec=100ms", PROGRAM, "rollback",
    )  # fmt: skip
    try:
        _nft("-f", "-", data=rules)
    except RefusedError:  # one transaction: the old rules are still there
        _disarm()
        PENDING.unlink()
        raise
    return {"digest": core.digest(rules), "seconds": core.SECONDS}


def confirm(digest: str) -> dict[str, object]:
    """Rules on trial become those that load at boot; the earlier ones are kept as previous.nft."""
    rules = PENDING.read_bytes() if PENDING.exists() else b""
    if not rules or core.digest(rules) != digest:
        raise RefusedError("these rules are not on trial: they were taken back, or others are")
    known = {"digest": digest, "fingerprint": _live()}
    if BOOT.exists():
        _keep(PREVIOUS, BOOT.read_bytes())
    _keep(BOOT, rules, 0o644)
    _keep(CONFIRMED, json.dumps(known).encode())
    PENDING.unlink()
    _disarm()
    return {"confirmed": digest}


def rollback() -> dict[str, object]:
    confirmed = _confirmed().get("digest", "")
    _nft("-f", "-", data=BOOT.read_bytes() if confirmed else core.REMOVED.encode())
    PENDING.unlink(missing_ok=True)
    return {"live": confirmed or "no rules"}


def status() -> dict[str, object]:
    boots = BOOT.read_bytes() if BOOT.exists() else None
    pending = core.digest(PENDING.read_bytes()) if PENDING.exists() else ""
    armed = subprocess.run(["systemctl", "-q", "is-active", f"{UNIT}.timer"], check=False).returncode == 0
    return core.status(_confirmed(), boots, _live(), pending, armed)


def _confirmed() -> dict[str, str]:
    return dict(json.loads(CONFIRMED.read_text())) if CONFIRMED.exists() else {}


def _live() -> str:
    done = subprocess.run(
        ["nft", "-j", "list", "table", "inet", core.TABLE], capture_output=True, text=True, check=False
    )
    return core.fingerprint(done.stdout if done.returncode == 0 else "")


def _disarm() -> None:
    subprocess.run(["systemctl", "-q", "stop", f"{UNIT}.timer"], capture_output=True, check=False)


def _nft(*arguments: str, data: bytes) -> None:
    _run("nft", *arguments, data=data)


def _run(*command: str, data: bytes = b"") -> None:
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        raise RefusedError((done.stderr or done.stdout).decode(errors="replace").strip())


def _keep(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Written whole and on disk, or not at all: the machine may lose its power now."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    HOME.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def deed(arguments: list[str]) -> dict[str, object] | None:
    """Do what is asked; None for what nobody can ask."""
    match arguments:
        case ["apply"]:
            return apply(sys.stdin.buffer.read())
        case ["confirm", digest]:
            return confirm(digest)
        case ["rollback"]:
            return rollback()
        case ["status"] | ["status", "--json"]:
            return status()
    return None


def main(arguments: list[str]) -> int:
    try:
        with _alone():
            answer = deed(arguments)
    except RefusedError as refused:
        print(json.dumps({"problem": str(refused)}))
        return 1
    print(json.dumps(answer) if answer is not None else __doc__)
    return 0 if answer is not None else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
