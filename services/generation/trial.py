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
from collections.abc import Callable, Mapping
from pathlib import Path

from . import core, objects, plan, sounds, targets

ASTERISK = "/usr/sbin/asterisk"
BOOT_SECONDS = 30
# No network to reach, on purpose, and on a busy machine it lives long enough to miss a provider's answer; by the timing
# of its threads pjproject may say that a module came late; and a thousand phones' states queue up while it boots.
_EXPECTED = re.compile(
    r"'Network is unreachable'|No response received from 'sip:|PJSIP_SAFE_MODULE|taskprocessor\.c: .*high water mark"
)

# Kind of object: what to ask, and how a line of the answer names one.
_LISTS = {
    "endpoint": ("pjsip show endpoints", r"^\s*Endpoint:\s+([^\s/<]+)"),
    "aor": ("pjsip show aors", r"^\s*Aor:\s+([^\s/<]+)"),
    "auth": ("pjsip show auths", r"^\s*Auth:\s+([^\s/<]+)"),
    "identification": ("pjsip show identifies", r"^\s*Identify:\s+([^\s/<]+)"),
    "registration": ("pjsip show registrations", r"^\s*([\w.-]+)/sip:"),
    "transport": ("pjsip show transports", r"^\s*Transport:\s+([\w.-]+)"),
    "queue": ("queue show", r"^([\w.-]+)\s+has "),
    "module": ("module show", r"^(\S+)\.so\s"),
}


def check(candidate: Path) -> list[core.Problem]:
    """Every problem of the candidate, empty when it may be switched in. The live Asterisk is not touched."""
    expected = json.loads((candidate / "expected.json").read_text())
    found = list(core.steps(_texts(candidate, "extensions.conf", "dialplan/*.conf")))
    problems = [f for f in found if isinstance(f, core.Problem)]
    with tempfile.TemporaryDirectory(prefix="clinic-trial-", dir="/run") as text:
        work = Path(text)
        process = _start(candidate, work, expected["binds"])
        try:
            cli = _Cli(work / "asterisk.conf", process)
            unbooted = cli.wait_booted()
            problems += unbooted or _ask(cli, candidate, expected, [f for f in found if isinstance(f, core.Step)])
        finally:
            _stop(process)
        log = work / "log" / "messages.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        problems += [p for p in core.log_problems(text) if not _EXPECTED.search(p.text)]
    return core.ordered(problems)


def _ask(cli: _Cli, candidate: Path, expected: Mapping[str, list[str]], steps: list[core.Step]) -> list[core.Problem]:
    known = plan.read(cli.run("dialplan show"))
    for step in steps:
        if step.label:
            known.label(step.context, step.extension, step.label)
    applications = re.findall(r"^\s*([A-Za-z_]\w*):", cli.run("core show applications"), re.M)
    functions = re.findall(r"^([A-Z][A-Z0-9_]*)\s", cli.run("core show functions"), re.M)
    out = targets.unknown_calls(steps, applications, functions) + targets.jumps_to_nowhere(steps, known)
    settings = _texts(candidate, "queues.conf", "features.conf", "res_parking.conf")
    out += sounds.missing(steps, settings, _finder(candidate, cli.run("core show file formats")))
    loaded = {kind: re.findall(pattern, cli.run(command), re.M) for kind, (command, pattern) in _LISTS.items()}
    out += targets.unknown_queues(steps, loaded["queue"])
    devices = _texts(candidate, "extensions.conf", "dialplan/*.conf", "queues.conf")
    out += targets.unknown_devices(devices, loaded["endpoint"])
    loaded["context"] = list(known.contexts)
    loaded["link"] = objects.links(cli.run("pjsip show endpoints"))
    out += objects.dangling(objects.sections(_texts(candidate, "pjsip*.conf")), loaded)
    for kind, present in loaded.items():
        wanted = expected.get(f"{kind}s", [])
        if kind == "link":  # an endpoint that is missing is told as such
            wanted = [link for link in wanted if link.split()[0] in loaded["endpoint"]]
        out += core.missing(kind, wanted, present)
    return out


def _texts(candidate: Path, *patterns: str) -> dict[str, str]:
    found = [path for pattern in patterns for path in sorted(candidate.glob(pattern))]
    return {str(path.relative_to(candidate)): path.read_text() for path in found}


def _finder(candidate: Path, formats: str) -> Callable[[str], bool]:
    """Whether this Asterisk would find a sound by its name, in any format it can read."""
    endings = {e for line in formats.splitlines()[2:] if len(f := line.split()) == 3 for e in f[2].split("|")}
    conf = (candidate / "asterisk.conf").read_text()
    language, data = _setting(conf, "defaultlanguage"), _setting(conf, "astdatadir")
    own = f"{_setting(conf, 'astetcdir')}/"

    def exists(name: str) -> bool:
        # A generation names its prompts by where they will be when it is live.
        within = str(candidate / name.removeprefix(own)) if name.startswith(own) else name
        stems = [Path(data, "sounds", place) for place in sounds.places(within, language)]
        files = [stem.with_name(f"{stem.name}.{ending}") for stem in stems for ending in endings]
        return any(file.is_file() and file.stat().st_size for file in files)

    return exists


def _setting(conf: str, key: str) -> str:
    found = re.search(rf"^{key} =>? *(.+?)\s*$", conf, re.M)
    return found[1] if found else ""


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
    # In sight of this Asterisk alone, the candidate is `current`: what its files name by that path is its own.
    home, aside = candidate.parent, work / "candidate"
    places_it = (
        f"mkdir {aside}; mount --bind {candidate} {aside}; mount -t tmpfs -o mode=755 tmpfs {home}; mkdir {candidate};"
        f" mount --move {aside} {candidate}; ln -s {candidate.name} {home}/current; "
    )
    script = (
        f"{places_it}ip link set lo up; {addresses}exec setpriv --reuid asterisk --regid asterisk --init-groups "
        f"{ASTERISK} -f -C {work / 'asterisk.conf'}"
    )
    return subprocess.Popen(
        ["unshare", "--net", "--mount", "--", "sh", "-ec", script],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
