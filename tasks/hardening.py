"""The machine's own walls: SSH, core dumps, sandboxes of Debian's services, audit, updates, privileges of programs.

After the packages, which bring the files that are tightened here, and before any service first starts. What runs
already is not restarted: a changed sandbox takes effect at the service's next start, and `pending` tells until then.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import FactBase, QuoteString, StringCommand, deploy, operation

from clinic.model import Clinic
from clinic.vm import USER
from tasks.trees import File, Tree, preview, tree

FILES = Path(__file__).resolve().parent.parent / "files/hardening"
SSHD = "/etc/ssh/sshd_config.d/10-clinic.conf"
UNITS = ("chrony.service", "logrotate.service", "nftables.service", "postgresql@.service")
AUDIT = ("auditd.service", "audit-rules.service")
TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer", "logrotate.timer")
# Programs that Debian lets everybody run as root or as shadow, and nobody here needs so: engineers have sudo, nobody a
# password, disks are systemd's.
PRIVILEGED = (
    "/usr/bin/chage", "/usr/bin/chfn", "/usr/bin/chsh", "/usr/bin/expiry", "/usr/bin/gpasswd", "/usr/bin/mount",
    "/usr/bin/passwd", "/usr/bin/ssh-agent", "/usr/bin/su", "/usr/bin/umount", "/usr/lib/openssh/ssh-keysign",
)  # fmt: skip
NO_AUDIT = "the kernel gives its audit to no container: auditd's rules are in place, and nothing is written down"

_PENDING = """
import glob,json,os,subprocess,sys
def show(unit,name): return subprocess.run(['systemctl','show','-P',name,'--timestamp=unix',unit],capture_output=True,
    text=True).stdout.strip()
def changed(paths): return max((os.stat(p).st_ctime for p in paths),default=0)
out=[]
for unit in json.loads(sys.argv[1]):
    at=show(unit,'ActiveEnterTimestamp').lstrip('@')
    files=[f for f in show(unit,'DropInPaths').split() if f.startswith('/etc/')]
    if show(unit,'ActiveState')=='active' and at and changed(files)>=int(at)+1: out.append(unit)
json.dump(out,sys.stdout)
"""


@dataclass(frozen=True)
class Step:
    """What must hold: the shell command `probe` ends with 0. Otherwise `command` makes it so."""

    probe: str
    command: str


class Unmet(FactBase[list[int]]):
    """Numbers of the probes that do not hold; all in one round trip."""

    default = list

    def command(self, probes: str) -> StringCommand:
        lines = [f"{{ {probe}; }} >/dev/null 2>&1 || echo {number}" for number, probe in enumerate(json.loads(probes))]
        return StringCommand("sh", "-c", QuoteString("\n".join(["# unmet", *lines, "true"])))

    def process(self, output: list[str]) -> list[int]:
        return [int(line) for line in output]


class Pending(FactBase[list[str]]):
    """Those of the units that run since before a drop-in of ours last changed."""

    default = list

    def command(self, units: str) -> StringCommand:
        return StringCommand("python3", "-c", QuoteString(_PENDING), QuoteString(units))

    def process(self, output: list[str]) -> list[str]:
        return list(json.loads("\n".join(output) or "[]"))


class Container(FactBase[bool]):
    """Whether the machine is a container, which has no kernel of its own."""

    def command(self) -> str:
        return "systemd-detect-virt --container"

    def process(self, output: list[str]) -> bool:
        return bool(output) and output[-1].strip() not in ("none", "")


@operation()
def steps(wanted: Sequence[Step]) -> Generator[StringCommand, None, None]:
    """Every step whose probe fails is done."""
    unmet = host.get_fact(Unmet, json.dumps([step.probe for step in wanted]))
    if not unmet:
        host.noop("all of it holds")
    for number in unmet:
        preview.append(f"--- {wanted[number].command}")
        yield StringCommand(wanted[number].command)


@operation()
def pending(units: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Tell which services still run as they were before their sandbox changed. Changes nothing."""
    if host.state.is_executing:
        for unit in host.get_fact(Pending, json.dumps(list(units))):
            logger.warning(f"  {unit} runs in its former sandbox until its next start")
    host.noop("told")
    yield from ()


@deploy("Hardening")
def hardening(clinic: Clinic) -> None:
    """SSH first: whatever follows, nobody gets in by a password."""
    tree(
        name="SSH takes the keys of the toolkit and the engineers, and nothing else",
        wanted={SSHD: File(sshd(clinic), "600")},
        # tried before it is used, and taken back when it is wrong: sshd would not start again with it
        then=(f"sshd -t || {{ rm -f {SSHD}; exit 1; }}", "systemctl reload ssh"),
    )
    tree(
        name="No core dumps, no kernel modules for protocols nobody speaks, sandboxes for Debian's services",
        wanted=_machine(), then=("systemctl daemon-reload",),
    )  # fmt: skip
    tree(
        name="The audit's rules are the project's",
        wanted={
            "/etc/audit/rules.d/50-clinic.rules": File(_file("audit.rules"), "640"),
            "/etc/audit/clinic-late.rules": File(_file("audit-late.rules"), "640"),
            "/etc/systemd/system/clinic-audit.service": File(_file("clinic-audit.service")),
            **{f"/etc/systemd/system/{unit}.d/clinic.conf": File(_file("audit-unit.conf")) for unit in AUDIT},
        },
        # once loaded they are immutable: others take effect at the machine's next start
        then=("systemctl daemon-reload", "systemd-detect-virt --container -q || augenrules --load || true"),
    )
    if host.get_fact(Container):
        logger.warning(f"  {NO_AUDIT}")
    tree(
        name=f"Security updates come at {clinic.updates.at}, and restart neither Asterisk nor the machine",
        wanted=updates(clinic), then=("systemctl daemon-reload",),
    )  # fmt: skip
    steps(name="Programs have no more privileges than somebody needs, and timers run", wanted=wanted_steps())


@deploy("Hardening")
def effective() -> None:
    """Last of all, when everything runs and what the audit watches is there."""
    audit = Step("systemctl is-enabled -q clinic-audit", "systemctl enable --quiet --now clinic-audit")
    steps(name="Recordings and generations are watched by the audit", wanted=[audit])
    pending(name="Changed sandboxes are told", units=("asterisk.service", "postgresql@17-main.service"))


def sshd(clinic: Clinic) -> bytes:
    """sshd's drop-in: the toolkit's own user always gets in, so no description locks it out."""
    users = " ".join(dict.fromkeys([USER, *(engineer.name for engineer in clinic.engineers)]))
    text = _file("sshd.conf").decode()
    return text.replace("@users@", users).replace("@management@", str(clinic.networks.management.cidr)).encode()


def updates(clinic: Clinic) -> Tree:
    """apt's settings, when it looks, and Debian's security archive if the description says where that is."""
    source = b"# clinic.yml names no mirror (updates.mirror): packages come with the bundle only.\n"
    if clinic.updates.mirror:
        source = (
            f"Types: deb\nURIs: {clinic.updates.mirror}\nSuites: trixie-security\nComponents: main\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        ).encode()
    # A machine that was off at night does not catch up in the morning.
    timer = (
        f"[Timer]\nOnCalendar=\nOnCalendar=*-*-* {clinic.updates.at}:00\nRandomizedDelaySec=10min\nPersistent=false\n"
    )
    return {
        "/etc/apt/apt.conf.d/61clinic-updates": File(_file("apt.conf")),
        "/etc/apt/sources.list.d/security.sources": File(source),
        **{f"/etc/systemd/system/{name}.d/clinic.conf": File(timer.encode()) for name in TIMERS[:2]},
    }


def wanted_steps() -> list[Step]:
    """Privileges taken away so that a package's update does not bring them back, modes, and what must run."""
    found = [
        Step(
            f"test ! -e {path} || {{ test ! -u {path} && test ! -g {path} && dpkg-statoverride --list {path}; }}",
            f"dpkg-statoverride --force-statoverride-add --update --add root root 755 {path}",
        )
        for path in PRIVILEGED
    ]
    cluster = "/etc/postgresql/17/main"
    found += [
        Step(f'test -z "$(find {cluster} -type f -perm /007)"', f"find {cluster} -type f -exec chmod o= {{}} +"),
        Step('test "$(stat -c %a /etc/clinicpbx)" = 751', "install -d -m 751 /etc/clinicpbx"),
        Step('test "$(stat -c %a /var/lib/postgresql)" = 750', "chmod 750 /var/lib/postgresql"),
        Step('test "$(stat -c %a /etc/ssh/sshd_config)" = 600', "chmod 600 /etc/ssh/sshd_config"),
        Step('test -z "$(find /etc/cron.* -maxdepth 0 -perm /77)"', "chmod 700 /etc/cron.*"),
        Step("! systemctl is-enabled -q lynis.timer", "systemctl disable --quiet --now lynis.timer"),
    ]
    found += [
        Step(
            f"systemctl is-enabled -q {timer} && systemctl is-active -q {timer}",
            f"systemctl unmask --quiet {timer}; systemctl enable --quiet {timer} && systemctl restart {timer}",
        )
        for timer in TIMERS
    ]
    # a package's first start was denied, since its configuration was not there yet; a container may set no clock
    found += [
        Step(f"systemd-detect-virt --container -q || systemctl is-active -q {unit}", f"systemctl start {unit}")
        for unit in ("chrony", "auditd")
    ]
    return found


def _machine() -> Tree:
    return {
        "/etc/security/limits.d/clinic.conf": File(_file("limits.conf")),
        "/etc/systemd/system.conf.d/clinic.conf": File(_file("system.conf")),
        "/etc/issue": File(_file("issue")),
        "/etc/issue.net": File(_file("issue")),
        "/etc/modprobe.d/clinic.conf": File(_file("modprobe.conf")),
        **{f"/etc/systemd/system/{unit}.d/clinic.conf": File(_file(f"units/{unit}.conf")) for unit in UNITS},
    }


def _file(name: str) -> bytes:
    return (FILES / name).read_bytes()
