"""The machine's walls: SSH, sandboxes, file modes, the kernel, the audit, updates that leave calls alone.

What is expected is written out here: read from the files of the deploy it would only say that the deploy wrote them.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import paramiko
import pytest

from clinic.model import Clinic
from clinic.people import Role
from clinic.secrets import SSH_KEY
from clinic.vm import USER
from clinicpbx.verify.desk import Phones
from clinicpbx.verify.pbx import RECORDINGS, Pbx, wait_until
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence
from clinicpbx.verify.results import NO_KERNEL

pytestmark = pytest.mark.lane("walls")
Lock = Callable[..., contextlib.AbstractContextManager[None]]

SSHD = {
    "permitrootlogin": "no", "passwordauthentication": "no", "kbdinteractiveauthentication": "no",
    "permitemptypasswords": "no", "authenticationmethods": "publickey", "x11forwarding": "no",
    "allowagentforwarding": "no", "allowstreamlocalforwarding": "no", "allowtcpforwarding": "local",
    "permitopen": "127.0.0.1:5432 localhost:5432", "permittunnel": "no", "maxauthtries": "3", "logingracetime": "20",
    "macs": "hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com,umac-128-etm@openssh.com",
}  # fmt: skip
# Exposure as systemd-analyze counts it, 0 to 10.
EXPOSURE = {
    "asterisk.service": 1.4,
    "clinic-ledger.service": 0.6,
    "clinic-recordings.service": 0.8,
    "clinic-audit.service": 3.7,  # it names files to the kernel, so it must see those that everybody sees
    "postgresql@17-main.service": 2.6,  # (9.4)
    "chrony.service": 3.2,  # (3.5)
    "logrotate.service": 1.8,  # (6.4)
    "nftables.service": 2.2,  # (9.4)
    "fail2ban.service": 2.0,  # (9.4)
    "clinic-provisioning.service": 0.4,
    "nginx.service": 1.6,  # (9.4)
    "kea-dhcp4-server.service": 1.7,  # (9.1)
}
OURS = 3.0  # any other service of ours
PRIVILEGED = {"/usr/bin/sudo", "/usr/sbin/unix_chkpwd", "/usr/lib/dbus-1.0/dbus-daemon-launch-helper"}
MODES = {
    RECORDINGS: "2750 asterisk:recordings", "/etc/clinicpbx": "751 root:root",
    "/var/lib/clinicpbx/generations": "750 root:asterisk", "/var/log/asterisk": "750 asterisk:asterisk",
    "/var/log/audit": "750 root:adm", "/etc/sudoers.d/clinicpbx": "440 root:root", "/root": "700 root:root",
    "/etc/ssh/sshd_config.d/10-clinic.conf": "600 root:root",
    "/var/lib/clinicpbx/phones": "750 root:clinic-provisioning", "/etc/nginx/clinic.key": "640 root:www-data",
    "/etc/clinicpbx/provisioning.json": "640 root:clinic-provisioning",
    "/var/log/clinic-provisioning": "750 clinic-provisioning:clinic-provisioning",
}  # fmt: skip
EACH_CARD = {
    "ipv4": {"accept_redirects": "0", "secure_redirects": "0", "send_redirects": "0", "accept_source_route": "0"},
    "ipv6": {"accept_redirects": "0", "accept_source_route": "0"},
}
NETWORK = {
    "net.ipv4.ip_forward": "0", "net.ipv4.tcp_syncookies": "1", "net.ipv4.icmp_echo_ignore_broadcasts": "1",
    "net.ipv4.conf.all.rp_filter": "2",
}  # fmt: skip
KERNEL = {
    "kernel.dmesg_restrict": "1", "kernel.kptr_restrict": "2", "kernel.unprivileged_bpf_disabled": "1",
    "kernel.randomize_va_space": "2", "kernel.core_pattern": "|/bin/false", "kernel.perf_event_paranoid": "3",
    "fs.suid_dumpable": "0", "fs.protected_symlinks": "1", "fs.protected_hardlinks": "1", "fs.protected_fifos": "2",
    "fs.protected_regular": "2", "net.core.bpf_jit_harden": "2",
}  # fmt: skip


def needs_a_kernel(place: Place, pbx: Pbx, what: str) -> None:
    """Not tried in a lab's container. A clinic's machine has no such excuse."""
    if place.lab is not None and pbx.run("systemd-detect-virt --container", check=False).strip() != "none":
        pytest.skip(NO_KERNEL + what)


@pytest.mark.check(
    id="ssh-keys-only", title="SSH takes keys of the toolkit and the engineers only: no password, no root",
    proves="clinic.yml: engineers",
)  # fmt: skip
def test_ssh_takes_keys_only(
    place: Place, pbx: Pbx, clinic: Clinic, secrets: Mapping[str, str], evidence: Evidence, control: Control, audit: Any
) -> None:
    """Ensure that a stolen or guessed password is worth nothing, by trying."""
    ours = paramiko.Ed25519Key.from_private_key(io.StringIO(secrets[SSH_KEY]))
    address = str(clinic.networks.management.pbx)

    def login(how: str, user: str) -> str:
        """Empty when sshd lets `user` in, otherwise what it says. The way of the toolkit, by another transport."""
        with place.network():
            transport = paramiko.Transport((address, 22))
            transport.banner_timeout = transport.auth_timeout = 10
        try:
            transport.start_client(timeout=10)
            if how == "key":
                transport.auth_publickey(user, ours)
            elif how == "another key":
                transport.auth_publickey(user, paramiko.ECDSAKey.generate())
            elif how == "password":
                transport.auth_password(user, "clinic", fallback=False)
            else:
                transport.auth_interactive(user, lambda *_: ["clinic"])
        except paramiko.SSHException as error:
            return f"{type(error).__name__}: {error}"
        else:
            return "" if transport.is_authenticated() else "not authenticated"
        finally:
            transport.close()

    for how, user in (
        ("key", "root"), ("password", "root"), ("password", USER), ("questions", USER), ("key", "asterisk"),
        ("key", "postgres"), ("another key", USER),
    ):  # fmt: skip
        refused = login(how, user)
        assert refused, f"sshd lets {user} in by {how}"
        evidence(f"{user} by {how}: {refused}")
    with control(f"the same way {USER} gets in with the toolkit's key"):
        assert login("key", USER)
    told = dict(line.partition(" ")[::2] for line in pbx.run("sshd -T").splitlines())
    wrong = {key: told.get(key) for key, value in SSHD.items() if told.get(key) != value}
    assert not wrong, f"sshd -T: {wrong}"
    wanted = {USER, *(engineer.name for engineer in clinic.engineers)}
    users = {line.split()[1] for line in pbx.run("sshd -T | grep ^allowusers").splitlines()}
    assert users == wanted, f"sshd lets in {sorted(users)}, expected {sorted(wanted)}"
    usable = pbx.run("awk -F: '$2 !~ /^[!*]/ {print $1}' /etc/shadow").split()
    assert not usable, f"these accounts have a password: {usable}"
    evidence(
        f"sshd -T: {len(SSHD)} settings as they should be; users {', '.join(sorted(users))}; no account has a password"
    )


@pytest.mark.check(
    id="sandboxes", title="Every service of ours, and those of Debian's it needs, run in a sandbox", proves="case: 2",
)  # fmt: skip
def test_services_run_in_sandboxes(pbx: Pbx, evidence: Evidence, control: Control) -> None:
    """Ensure that who takes over a service has that service and no more; as Debian ships it, it would not."""
    listed = pbx.run("ls /etc/systemd/system /usr/lib/systemd/system | grep -x 'clinic-[a-z-]*\\.service' || true")
    units = sorted({*EXPOSURE, *listed.split()})
    found = exposures(pbx, [*units, "ssh.service"])
    before = exposures(pbx, units, packaged=True)
    for unit in units:
        limit = EXPOSURE.get(unit, OURS)
        assert found[unit] <= limit, f"{unit}: exposure {found[unit]} is more than {limit}"
        shipped = f"{before[unit]} as Debian ships it, " if unit in before else ""
        evidence(f"systemd-analyze security {unit}: {shipped}{found[unit]} now, at most {limit}")
        assert found[unit] < before.get(unit, 10.0), f"{unit} is no safer than Debian's"
    with control("asterisk.service as Debian ships it would not pass"):
        assert before["asterisk.service"] <= EXPOSURE["asterisk.service"]
    with control("ssh.service, which is root's way in and has no sandbox, would not pass"):
        assert found["ssh.service"] <= max(EXPOSURE.values())

    def filters(pid: str) -> tuple[str, int]:
        """NoNewPrivs, and how many filters of system calls: a container brings some of its own."""
        status = dict(line.split() for line in pbx.run(f"grep -E '^(NoNew|Seccomp_f)' /proc/{pid}/status").splitlines())
        return status["NoNewPrivs:"], int(status["Seccomp_filters:"])

    _, brought = filters("1")
    for unit in ("asterisk", "postgresql@17-main", "clinic-ledger", "fail2ban", "clinic-provisioning", "nginx"):
        pid = pbx.run(f"systemctl show -P MainPID {unit}").strip()
        privileges, number = filters(pid)
        assert (privileges, number > brought) == ("1", True), f"{unit} runs outside its sandbox until its next start"
    evidence(
        "asterisk, postgresql, clinic-ledger, fail2ban, clinic-provisioning, nginx: no new privileges, filtered calls"
    )
    with control("a process without a sandbox is told from these"):
        assert filters("self") == ("1", brought + 1)


def exposures(pbx: Pbx, units: list[str], *, packaged: bool = False) -> dict[str, float]:
    """What systemd-analyze says of each; `packaged`: of the packages' own files, without what is ours."""
    option = "--offline=yes --root=$r" if packaged else ""
    copy = "r=$(mktemp -d); trap 'rm -rf $r' EXIT; mkdir -p $r/usr/lib; cp -a /usr/lib/systemd $r/usr/lib; "
    asked = "; ".join(
        f"echo {u} $(systemd-analyze security --no-pager {option} {u} 2>/dev/null | tail -1)"
        for u in map(shlex.quote, units)
    )
    return {
        line.split()[0]: float(match[1])
        for line in pbx.run((copy if packaged else "") + asked, timeout=30).splitlines()
        if (match := re.search(r": ([0-9.]+) [A-Z]+", line))
    }


@pytest.mark.check(
    id="file-modes", title="No secret is readable, nothing writable and nothing runs as root for just anybody",
    proves="case: 2",
)  # fmt: skip
def test_files_are_for_those_who_need_them(
    pbx: Pbx, secrets: Mapping[str, str], evidence: Evidence, control: Control
) -> None:
    """Ensure that a stranger's process on the PBX, whatever let it in, finds nothing to read, write or rise by."""
    places = "/etc /home /opt /root /run /srv /tmp /usr/local /var --exclude-dir=bundle"
    values = sorted({line for value in secrets.values() for line in value.splitlines() if len(line) >= 12})
    needles = ("\n".join(v for v in values if not v.startswith("-----")) + "\n").encode()
    search = f"grep -rlIF -s --devices=skip -f - {places} | head -5"
    nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
    leaks = pbx.run(f"{nobody} {search}", data=needles, check=False, timeout=30).split()
    assert not leaks, f"anybody can read secrets in {leaks}"
    with control("root's same search finds the secrets where they belong"):
        assert not pbx.run(search, data=needles, check=False, timeout=30).split()

    def privileged() -> set[str]:
        return set(pbx.run("find / /usr/local -xdev -type f -perm /6000").split())

    strangers = "find / /run /tmp /var/tmp -xdev \\( -type f -perm -2 -o -type d -perm -2 ! -perm -1000 \\) | head"
    assert privileged() == PRIVILEGED, f"run as somebody else: {sorted(privileged() ^ PRIVILEGED)}"
    assert not pbx.run(strangers).split(), f"anybody may write {pbx.run(strangers).split()}"
    trial = "/usr/local/lib/.verify-mode"
    try:
        pbx.run(f"install -m 4757 /dev/null {trial}")
        with control("a new program that runs as root is found"):
            assert privileged() == PRIVILEGED
        with control("a file that anybody may write is found"):
            assert not pbx.run(strangers).split()
    finally:
        pbx.run(f"rm -f {trial}")
    modes = pbx.run(f"stat -c '%n %a %U:%G' {' '.join(MODES)}").splitlines()
    found = {name: rest for name, _, rest in (line.partition(" ") for line in modes)}
    assert found == MODES, f"{ {p: found.get(p) for p in MODES if found.get(p) != MODES[p]} }"
    closed = "/var/log/asterisk /var/log/audit /var/lib/clinicpbx/generations/current/ /etc/postgresql/17"
    for_all = f"find {closed} -type f -perm /7"
    assert not pbx.run(for_all).split(), f"for everybody: {pbx.run(for_all).split()[:5]}"
    unowned = pbx.run("find / -xdev \\( -nouser -o -nogroup \\) | head -3").split()
    assert not unowned, f"nobody's files: {unowned}"
    evidence(f"as nobody, none of {len(values)} secrets is found in {places}")
    evidence(f"set-uid or set-gid: {', '.join(sorted(PRIVILEGED))}; nothing is writable for everybody")


@pytest.mark.check(
    id="kernel-settings", title="Nobody on a network tells the PBX other ways, and it is no router",
    proves="clinic.yml: networks",
)  # fmt: skip
def test_network_settings_of_the_kernel(pbx: Pbx, evidence: Evidence, control: Control) -> None:
    """Ensure the settings of each card, as the kernel has them now. `rp_filter` is loose: there are two uplinks."""

    read: list[str] = []

    def wrong() -> dict[str, str]:
        lines = pbx.run("sysctl -a -r '^net[.]ipv[46][.]' 2>/dev/null").splitlines()
        live = {key: value for key, _, value in (line.partition(" = ") for line in lines)}
        cards = pbx.run("ls /sys/class/net /proc/sys/net/ipv4/conf").split()
        wanted = dict(NETWORK)
        for card in {*cards} - {"/sys/class/net:", "/proc/sys/net/ipv4/conf:"}:
            for family, settings in EACH_CARD.items():
                key = f"net.{family}.conf.{card.replace('.', '/')}"
                wanted |= {f"{key}.{n}": v for n, v in settings.items() if f"{key}.{n}" in live}
        read[:] = wanted
        return {key: live.get(key, "") for key, value in wanted.items() if live.get(key) != value}

    assert not wrong(), f"the kernel has {wrong()}"
    assert len(read) > 20, f"only {read} were read"
    evidence(f"{len(read)} settings of net.* as they should be, for every card")
    pbx.run("sysctl -q -w net.ipv4.conf.lo.accept_redirects=1")
    try:
        with control("a card that takes redirects is seen"):
            assert not wrong()
    finally:
        pbx.run("sysctl -q -w net.ipv4.conf.lo.accept_redirects=0")


@pytest.mark.check(
    id="kernel-memory", title="The kernel's memory, its rare doors and core dumps are closed", proves="case: 2",
)  # fmt: skip
def test_settings_of_the_whole_kernel(place: Place, pbx: Pbx, evidence: Evidence, control: Control) -> None:
    """Ensure what one kernel has for all: a container shows its host's."""
    needs_a_kernel(place, pbx, "kernel.* and fs.* are its host's, and cannot be set by it")
    lines = pbx.run(f"sysctl {' '.join(KERNEL)}").splitlines()
    live = {key: value for key, _, value in (line.partition(" = ") for line in lines)}
    assert live == KERNEL, f"the kernel has { {k: live.get(k) for k in KERNEL if live.get(k) != KERNEL[k]} }"
    evidence(", ".join(f"{key} {value}" for key, value in KERNEL.items()))
    dump = "cd /tmp && sh -c 'ulimit -c unlimited; kill -SEGV $$'; ls /tmp/core* 2>/dev/null"
    assert not pbx.run(dump, check=False).split(), "a core dump was written"
    with control("nobody reads the kernel's log or addresses"):
        pbx.run("setpriv --reuid=nobody --regid=nogroup --clear-groups dmesg")


@pytest.mark.check(
    id="audit", title="Who changed /etc or read a recording is written down", proves="case: 2",
)  # fmt: skip
def test_audit_writes_it_down(place: Place, pbx: Pbx, evidence: Evidence, control: Control) -> None:
    """Ensure by doing it. The rules cannot be taken away without a restart of the machine."""
    needs_a_kernel(place, pbx, "the kernel gives its audit to no container, so nothing is written down there")
    assert pbx.host.service("auditd").is_running, "auditd does not run"
    assert "enabled 2" in pbx.run("auditctl -s"), "the rules can be changed"
    keys = set(re.findall(r"key=(\S+)", pbx.run("auditctl -l")))
    assert keys >= {"etc", "generations", "recordings", "sudo", "time", "modules"}, f"rules for {sorted(keys)} only"
    began = pbx.run("date '+%H:%M:%S'").strip()
    pbx.run(f"touch /etc/.verify-audit {RECORDINGS}/.verify-audit; rm -f /etc/.verify-audit {RECORDINGS}/.verify-audit")

    def written(key: str, name: str) -> bool:
        return name in pbx.run(f"ausearch -i -k {key} -ts {began} 2>/dev/null", check=False)

    for key in ("etc", "recordings"):
        assert wait_until(lambda key=key: written(key, ".verify-audit"), 5, every=0.5), f"nothing under {key}"  # type: ignore[misc]
    evidence(f"auditd wrote down who made a file in /etc and in {RECORDINGS}; rules for {', '.join(sorted(keys))}")
    with control("what nobody did is not found"):
        assert written("etc", ".verify-never")
    with control("root cannot take a rule away"):
        pbx.run("auditctl -D")


@pytest.mark.check(
    id="updates", title="Security updates come by night and never restart Asterisk under calls",
    proves="clinic.yml: updates",
)  # fmt: skip
def test_updates_leave_calls_alone(
    place: Place, pbx: Pbx, clinic: Clinic, unchanging: Lock, request: pytest.FixtureRequest, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure who may restart what; in a rehearsal, that Asterisk's own package is replaced during a call."""

    def may(service: str, action: str) -> bool:
        return pbx.raw(f"/usr/sbin/policy-rc.d {service} {action}")[0] in (0, 104)

    for service in ("asterisk.service", "postgresql@17-main.service", "nftables.service"):
        for action in ("stop", "restart"):
            assert not may(service, action), f"a package may {action} {service}"
    with control("other services may be restarted by their packages"):
        assert not may("chrony.service", "restart")
    settings = pbx.run("apt-config dump")
    origins = re.findall(r'^Unattended-Upgrade::Origins-Pattern:: "(.*)";', settings, re.M)
    assert origins == [
        "origin=clinicpbx,label=clinicpbx", "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    ], f"updates come from {origins}"  # fmt: skip
    for line in (
        'APT::Periodic::Unattended-Upgrade "1";', 'Unattended-Upgrade::Automatic-Reboot "false";',
        'Unattended-Upgrade::Package-Blacklist:: "asterisk";',
    ):  # fmt: skip
        assert line in settings, f"apt has no {line}"
    mirror = clinic.updates.mirror
    asked = pbx.run("apt-get update --print-uris")
    sources = set(re.findall(r"'(\S+?)/(?:dists/[^/]+/|\./)InRelease'", asked))
    assert sources == {"file:/var/lib/clinicpbx/bundle", *([mirror] if mirror else [])}, f"packages come from {sources}"
    if mirror:  # a clinic that counts on it must not learn in a year that it never answered
        answer = pbx.run(
            "apt-get update -qq -o Acquire::http::Timeout=10 -o APT::Update::Error-Mode=any 2>&1", timeout=60
        )
        evidence(f"{mirror} answers{': ' + answer.strip() if answer.strip() else ''}")
    timer = pbx.run("systemctl show -P NextElapseUSecRealtime apt-daily-upgrade.timer").split()
    hour = clinic.updates.at[:2]
    assert len(timer) > 2 and timer[2][:2] in (hour, f"{int(hour) + 1:02}"), f"the next updates are at {timer}"
    evidence(f"origins: bundle{' and ' + mirror if mirror else ''}; next at {' '.join(timer[1:3])}; no reboot")
    replaced = "grep -qs '[.]so.*(deleted)' /proc/$p/maps && cat /proc/$p/comm"
    old = pbx.run(f"for p in $(ls /proc | grep -x '[0-9]*'); do {replaced}; done | sort -u", check=False).split()
    evidence(f"services with replaced libraries in memory: {', '.join(old) or 'none'}")
    if place.borrows:
        return
    phones: Phones = request.getfixturevalue("phones")
    plain = [p.ext for p in clinic.people if p.role in (Role.DOCTOR, Role.STAFF)] or [p.ext for p in clinic.people]
    one, other = plain[5:7] if len(plain) > 6 else plain[-2:]
    call = phones.call(one, other, tone=440)
    far = phones.ringing(other, caller=one)
    far.answer(tone=620)
    call.wait_answered(5)
    before = pbx.run("systemctl show -P MainPID -P ActiveEnterTimestampMonotonic asterisk")
    with unchanging(alone=True):
        said = pbx.run(
            "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --reinstall -o DPkg::Lock::Timeout=60 asterisk 2>&1",
            timeout=60,
        )
    evidence(f"the package's script: {next((n for n in said.splitlines() if 'policy-rc.d' in n), '')}")
    assert "101" in said or "denied" in said, f"the package asked for no restart: {said[-300:]}"
    assert pbx.run("systemctl show -P MainPID -P ActiveEnterTimestampMonotonic asterisk") == before, "it was restarted"
    assert pbx.run(f"stat -c '%a %G' {RECORDINGS}").split() == ["2750", "recordings"], "the package took the recordings"
    call.wait_tone(620, 5)
    far.wait_tone(440, 5)
    evidence(f"Asterisk's package was installed again while {one} and {other} talked: same process, both still hear")
    call.hangup()
    started = "systemctl show -P ActiveEnterTimestampMonotonic logrotate.timer"
    earlier = pbx.run(started)
    pbx.run("deb-systemd-invoke restart logrotate.timer")
    with control("what a package script may restart, it does restart"):
        assert pbx.run(started) == earlier
