"""A throw-away Asterisk: loads a candidate beside the live one, in an empty network, and is asked what it has."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import core

ASTERISK = "/usr/sbin/asterisk"
BOOT_SECONDS = 30
# No network to reach, on purpose; by the timing of its threads pjproject may say that a module came late; and a
# thousand phones' states queue up while it boots.
_EXPECTED = re.compile(r"'Network is unreachable'|PJSIP_SAFE_MODULE|taskprocessor\.c: .*high water mark")


def check(candidate: Path) -> list[core.Problem]:
    """Every problem of the candidate, empty when it may be switched in. The live Asterisk is not touched."""
    expected = json.loads((candidate / "expected.json").read_text())
    files = {
        str(p.relative_to(candidate)): p.read_text()
        for p in [candidate / "extensions.conf", *sorted((candidate / "dialplan").glob("*.conf"))]
    }
    found = list(core.steps(files))
    problems = [f for f in found if isinstance(f, core.Problem)]
    with tempfile.TemporaryDirectory(prefix="clinic-trial-", dir="/run") as text:
        work = Path(text)
        process = _start(candidate, work, expected["binds"])
        try:
            cli = _Cli(work / "asterisk.conf", process)
            problems += cli.wait_booted()
            if not problems or process.poll() is None:
                problems += _ask(cli, expected, [f for f in found if isinstance(f, core.Step)])
        finally:
            _stop(process)
        log = work / "log" / "messages.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        problems += [p for p in core.log_problems(text) if not _EXPECTED.search(p.text)]
    return problems


def _ask(cli: _Cli, expected: dict[str, list[str]], found: list[core.Step]) -> list[core.Problem]:
    applications = re.findall(r"^\s*([A-Za-z_]\w*):", cli.run("core show applications"), re.M)
    functions = re.findall(r"^([A-Z][A-Z0-9_]*)\s", cli.run("core show functions"), re.M)
    contexts = re.findall(r"Context '([^']+)'", cli.run("dialplan show"))
    out = core.unknown_calls(found, applications, functions)
    out += core.jumps_to_nowhere(found, contexts)
    out += core.missing("context", expected["contexts"], contexts)
    endpoints = re.findall(r"^\s*Endpoint:\s+([^\s/<]+)", cli.run("pjsip show endpoints"), re.M)
    out += core.missing("endpoint", expected["endpoints"], endpoints)
    registrations = re.findall(r"^\s*([\w.-]+)/sip:", cli.run("pjsip show registrations"), re.M)
    out += core.missing("registration", expected["registrations"], registrations)
    transports = re.findall(r"^\s*Transport:\s+([\w.-]+)", cli.run("pjsip show transports"), re.M)
    out += core.missing("transport", expected["transports"], transports)
    queues = re.findall(r"^([\w.-]+)\s+has ", cli.run("queue show"), re.M)
    out += core.missing("queue", expected["queues"], queues)
    loaded = re.findall(r"^(\S+)\.so\s", cli.run("module show"), re.M)
    out += core.missing("module", expected["modules"], loaded)
    return out


class _Cli:
    def __init__(self, conf: Path, process: subprocess.Popen[bytes]) -> None:
        self._conf, self._process = conf, process

    def run(self, command: str) -> str:
        try:
            done = subprocess.run(
                [ASTERISK, "-C", str(self._conf), "-rx", command],
                capture_output=True, text=True, timeout=10, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout if done.returncode == 0 else ""

    def wait_booted(self) -> list[core.Problem]:
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return [core.Problem("asterisk", 0, f"exit status {self._process.returncode}", "does not start")]
            if "fully booted" in self.run("core waitfullybooted").lower():
                return []
            time.sleep(0.1)
        return [core.Problem("asterisk", 0, f"not booted after {BOOT_SECONDS} s", "does not start")]


def _start(candidate: Path, work: Path, binds: list[str]) -> subprocess.Popen[bytes]:
    for name in ("run", "spool", "log", "varlib"):
        (work / name).mkdir()
    (work / "log" / "cdr-custom").mkdir()
    (work / "log" / "cel-custom").mkdir()
    (work / "varlib" / "keys").mkdir()
    conf = (candidate / "asterisk.conf").read_text()
    places = {"astetcdir": candidate, "astrundir": work / "run", "astspooldir": work / "spool",
              "astlogdir": work / "log", "astvarlibdir": work / "varlib", "astdbdir": work / "varlib",
              "astkeydir": work / "varlib"}  # fmt: skip
    for key, place in places.items():
        conf = re.sub(rf"^{key} =>.*$", f"{key} => {place}", conf, flags=re.M)
    (work / "asterisk.conf").write_text(conf)
    for path in [work, *work.rglob("*")]:
        shutil.chown(path, "asterisk", "asterisk")
    addresses = "".join(f"ip address add {a}/32 dev lo; " for a in binds)
    script = (
        f"ip link set lo up; {addresses}exec setpriv --reuid asterisk --regid asterisk --init-groups "
        f"{ASTERISK} -f -C {work / 'asterisk.conf'}"
    )
    return subprocess.Popen(
        ["unshare", "--net", "--", "sh", "-ec", script],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
