"""The WAN watchdog: the service that moves calls to the uplink that lives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyinfra.api import deploy
from pyinfra.operations import systemd

from clinic.model import Clinic
from clinic.rendering.wan import wan as described
from tasks.trees import File, Tree, tree

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "files/wan"
LIBRARY = "/usr/lib/clinicpbx/services"
SERVICE = "clinic-wan"


@deploy("WAN watchdog")
def wan(clinic: Clinic, secrets: Mapping[str, str]) -> None:
    """After Asterisk, which it logs in to, and the ledger, whose notify() it shares. Its restart moves no call."""
    tree(
        name="networkd leaves the watchdog's routes alone",
        wanted={"/etc/systemd/networkd.conf.d/clinic-wan.conf": File((HERE / "networkd.conf").read_bytes())},
        then=("systemctl restart systemd-networkd",),
    )
    tree(
        name="The watchdog has a user of its own",
        wanted={f"/etc/sysusers.d/{SERVICE}.conf": File((HERE / "sysusers").read_bytes())},
        then=(f"systemd-sysusers /etc/sysusers.d/{SERVICE}.conf",),
    )
    tree(
        name="The watchdog's program, unit and what it knows of the clinic are the deploy's own",
        wanted=_files(clinic, secrets),
        then=("systemctl daemon-reload", f"systemctl try-restart {SERVICE}"),
    )
    systemd.service(name="It runs and starts with the machine", service=SERVICE, running=True, enabled=True)


def _files(clinic: Clinic, secrets: Mapping[str, str]) -> Tree:
    wanted = {
        f"/etc/systemd/system/{SERVICE}.service": File((HERE / f"{SERVICE}.service").read_bytes()),
        f"/etc/logrotate.d/{SERVICE}": File((HERE / "logrotate").read_bytes()),
        "/usr/local/sbin/wanctl": File((HERE / "wanctl").read_bytes(), "755"),
        "/etc/clinicpbx/wan.json": File(described(clinic, secrets).encode(), "640", f"root:{SERVICE}", hidden=True),
    }
    for path in sorted((ROOT / "services/wan").glob("*.py")):
        wanted[f"{LIBRARY}/wan/{path.name}"] = File(path.read_bytes())
    return wanted
