"""The ledger: the one service that carries call records from Asterisk's files to PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api import deploy
from pyinfra.operations import systemd

from tasks.trees import File, Tree, tree

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "/usr/lib/clinicpbx/services"
SERVICE = "clinic-ledger"


@deploy("Ledger")
def ledger() -> None:
    """After the database and Asterisk: it reads the files of one and writes the tables of the other."""
    tree(
        name="The ledger's program, user, unit and rotation are the deploy's own",
        wanted=_files(),
        then=(f"systemd-sysusers /etc/sysusers.d/{SERVICE}.conf", "systemctl daemon-reload",
              f"systemctl try-restart {SERVICE} logrotate.timer"),
    )  # fmt: skip
    systemd.service(name="It runs and starts with the machine", service=SERVICE, running=True, enabled=True)


def _files() -> Tree:
    here = ROOT / "files/ledger"
    wanted = {
        f"/etc/systemd/system/{SERVICE}.service": File((here / f"{SERVICE}.service").read_bytes()),
        f"/etc/sysusers.d/{SERVICE}.conf": File((here / "sysusers").read_bytes()),
        "/etc/logrotate.d/asterisk": File((here / "logrotate").read_bytes()),
        "/etc/systemd/system/logrotate.timer.d/clinic.conf": File((here / "logrotate.timer.conf").read_bytes()),
        f"{LIBRARY}/__init__.py": File((ROOT / "services/__init__.py").read_bytes()),
    }
    for path in sorted((ROOT / "services/ledger").glob("*.py")):
        wanted[f"{LIBRARY}/ledger/{path.name}"] = File(path.read_bytes())
    return wanted
