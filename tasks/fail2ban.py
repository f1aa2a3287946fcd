"""fail2ban: own filters and jails, bans that survive a restart, and a sandbox. Whom it bans: clinic/rendering/bans.py.

A changed configuration is tried by fail2ban itself before it replaces the running one, and reloading keeps the bans.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra.api import deploy
from pyinfra.operations import systemd

from clinic.model import Clinic
from clinic.rendering.bans import jails
from tasks.trees import File, Tree, tree

FILES = Path(__file__).resolve().parent.parent / "files/fail2ban"
HOME = "/etc/fail2ban"
TRY = (
    f'cp -a {HOME} "$NEW/whole" && cp -a "$NEW{HOME}/." "$NEW/whole/" && fail2ban-client -c "$NEW/whole" -t && '
    # Its own test compiles no expression, and a reload that fails on one leaves no jail at all.
    'for f in "$NEW"/whole/filter.d/clinic-*.conf; do fail2ban-regex x "$f" >"$NEW/said" 2>&1 || '
    '{ tail -n 2 "$NEW/said"; exit 1; }; done'
)
ANSWERS = "for n in $(seq 100); do fail2ban-client ping >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"


@deploy("Bans")
def fail2ban(clinic: Clinic) -> None:
    """After Asterisk: a jail needs the log that it watches."""
    tree(
        name="The logs that are watched are there, and the guard may read what is banned",
        wanted={
            "/etc/sysusers.d/clinic-bans.conf": _file("sysusers"),
            "/etc/tmpfiles.d/clinic-bans.conf": _file("tmpfiles"),
            "/etc/logrotate.d/clinic-bans": _file("logrotate"),
        },
        then=(
            "systemd-sysusers /etc/sysusers.d/clinic-bans.conf",
            "systemd-tmpfiles --create /etc/tmpfiles.d/clinic-bans.conf",
            "touch /var/log/asterisk/security.log /var/log/asterisk/messages.log",
            "chown asterisk:asterisk /var/log/asterisk/security.log /var/log/asterisk/messages.log",
        ),
    )
    tree(
        name="fail2ban runs in a sandbox",
        wanted={"/etc/systemd/system/fail2ban.service.d/clinic.conf": _file("clinic.conf")},
        then=("systemctl daemon-reload", "systemctl try-restart fail2ban"),
    )
    tree(
        name="Jails and filters are the clinic's own, tried before they replace the running ones",
        wanted=_configuration(clinic),
        check=TRY,
        then=(f"! systemctl -q is-active fail2ban || ( ({ANSWERS}) && fail2ban-client reload )",),
    )
    systemd.service(name="fail2ban runs and starts with the machine", service="fail2ban", running=True, enabled=True)


def _configuration(clinic: Clinic) -> Tree:
    wanted = {f"{HOME}/jail.local": File(jails(clinic).encode()), f"{HOME}/fail2ban.local": _file("fail2ban.local")}
    for kind in ("filter.d", "action.d"):
        for path in sorted((FILES / kind).glob("*.conf")):
            wanted[f"{HOME}/{kind}/{path.name}"] = File(path.read_bytes())
    return wanted


def _file(name: str) -> File:
    return File((FILES / name).read_bytes())
