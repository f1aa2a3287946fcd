"""The Asterisk that carries calls: reloaded with a generation, asked where it listens, restarted only by name."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from pathlib import Path

from . import binds, core, objects, trial

SETTLE_SECONDS = 1.5
_TRANSPORT = re.compile(r"^type\s*=>?\s*transport\b", re.M)


def is_running() -> bool:
    """Whether systemd says so; it may still be booting."""
    return _systemctl("is-active", "asterisk") == "active"


def _systemctl(*words: str) -> str:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False).stdout.strip()


def _asterisk(command: str) -> str:
    return subprocess.run(
        [trial.ASTERISK, "-rx", command], capture_output=True, text=True, timeout=60, check=False
    ).stdout


def reload(target: Path) -> list[core.Problem]:
    """Reload with the generation that `current` now is; what is missing of it after 15 s."""
    expected = json.loads((target / "expected.json").read_text())
    _asterisk("core reload")
    loaded = _asterisk("module show")
    for module in expected["modules"]:
        if f"{module}.so " not in loaded:
            _asterisk(f"module load {module}")
    deadline = time.monotonic() + 15
    problems: list[core.Problem] = []
    while time.monotonic() < deadline:
        endpoints = _asterisk("pjsip show endpoints")
        contexts = _asterisk("dialplan show")
        problems = core.missing("live endpoint", expected["endpoints"], _names(endpoints, "Endpoint:"))
        problems += core.missing("live context", expected["contexts"], _contexts(contexts))
        if not problems:
            return []
        time.sleep(0.3)
    return problems


def _names(text: str, label: str) -> list[str]:
    return [line.split()[1].split("/")[0] for line in text.splitlines() if line.strip().startswith(label)]


def _contexts(text: str) -> list[str]:
    return [line.split("'")[1] for line in text.splitlines() if "Context '" in line]


def restart_needed(live: Path) -> list[dict[str, str]]:
    """Transports that listen elsewhere than the live generation says. None while Asterisk does not run."""
    pid = _systemctl("show", "--property=MainPID", "--value", "asterisk")
    if not is_running() or pid in ("", "0") or not live.is_symlink():
        return []
    _wait_booted()
    files = {path.name: path.read_text() for path in sorted(live.glob("pjsip*.conf"))}
    files = {name: text for name, text in files.items() if _TRANSPORT.search(text)}  # the people's file is the long one
    want, deadline = binds.wanted(objects.sections(files)), time.monotonic() + SETTLE_SECONDS
    while True:  # a transport that is new opens its socket a moment after the reload
        told = subprocess.run(["ss", "-Hlnutp"], capture_output=True, text=True, check=True).stdout
        found = binds.differing(want, binds.shown(_asterisk("pjsip show transports")), binds.sockets(told, pid))
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def restart(live: Path) -> dict[str, object]:
    """Restart Asterisk if a transport needs it. Refused while calls are up, or when the machine lacks the address."""
    needed = restart_needed(live)
    if needed:
        if up := binds.in_use(_asterisk("core show channels count")):
            raise core.RefusedError([core.Problem("asterisk", 0, up, "not restarted while calls are up")])
        homeless = [row["wanted"] for row in needed if row["wanted"] != "none" and not _is_local(row["wanted"])]
        if homeless:
            raise core.RefusedError([core.Problem("machine", 0, a, "no interface has this address") for a in homeless])
        _systemctl("restart", "asterisk")
        if left := restart_needed(live):
            raise core.RefusedError([core.Problem("asterisk", 0, str(row), "restarted, and still") for row in left])
    return {"restarted": bool(needed), "was": needed}


def _wait_booted() -> None:
    deadline = time.monotonic() + trial.BOOT_SECONDS
    while "fully booted" not in _asterisk("core waitfullybooted").lower() and time.monotonic() < deadline:
        time.sleep(0.1)


def _is_local(address: str) -> bool:
    host = address.split()[1].rpartition(":")[0].strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
