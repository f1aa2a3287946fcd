"""The guard: the service that tells people of wrong passwords, bans and closed toll classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pyinfra.api import deploy
from pyinfra.operations import systemd

from clinic.model import Clinic
from clinic.rendering.guard import guard as described
from tasks.trees import File, Tree, tree

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "files/guard"
LIBRARY = "/usr/lib/clinicpbx/services"
SERVICE = "clinic-guard"


@deploy("Guard")
def guard(clinic: Clinic, secrets: Mapping[str, str]) -> None:
    """After the bans and the ledger: it reads what fail2ban writes, and shares a few lines with the other services."""
    tree(
        name="The guard has a user of its own",
        wanted={f"/etc/sysusers.d/{SERVICE}.conf": File((HERE / "sysusers").read_bytes())},
        then=(f"systemd-sysusers /etc/sysusers.d/{SERVICE}.conf",),
    )
    tree(
        name="The guard's program, unit, people and targets are the deploy's own",
        wanted=_files(clinic, secrets),
        then=("systemctl daemon-reload", f"systemctl try-restart {SERVICE}"),
    )
    systemd.service(name="It runs and starts with the machine", service=SERVICE, running=True, enabled=True)


def _files(clinic: Clinic, secrets: Mapping[str, str]) -> Tree:
    urls = {name: secrets[f"alert/{name}"] for name in clinic.alerts}
    group = f"root:{SERVICE}"
    wanted = {
        f"/etc/systemd/system/{SERVICE}.service": File((HERE / f"{SERVICE}.service").read_bytes()),
        f"/usr/local/sbin/{SERVICE}": File((HERE / SERVICE).read_bytes(), "755"),
        "/etc/clinicpbx/guard.json": File(described(clinic).encode(), "640", group),
        "/etc/clinicpbx/alerts.json": File(json.dumps(urls).encode() + b"\n", "640", group, hidden=True),
    }
    for path in sorted((ROOT / "services/guard").glob("*.py")):
        wanted[f"{LIBRARY}/guard/{path.name}"] = File(path.read_bytes())
    return wanted
