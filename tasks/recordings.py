"""Recordings: a disk of their own, readable by one role, guarded against filling."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from pyinfra import host, logger
from pyinfra.api import FactBase, deploy
from pyinfra.operations import files, server, systemd

from clinic.model import Clinic
from clinic.rendering.asterisk import RECORDINGS
from clinicpbx.errors import ClinicError
from tasks.trees import File, Tree, tree

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "/usr/lib/clinicpbx/services"
ROLE = "recordings"
LABEL = "recordings"
# The second disk (scsi1) under the name that QEMU gives it; /dev/sdb may be another disk after a restart.
DEVICE = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1"
MOUNT = "var-spool-asterisk-recordings.mount"


class RecordingsDisk(FactBase[dict[str, Any]]):
    """`{"present", "signatures": [...], "label", "mounted"}` of the second disk. wipefs names any file system,
    partition table, RAID or LVM mark."""

    def command(self, device: str, folder: str) -> str:
        script = (
            "import json,os,stat,subprocess,sys\n"
            "d,f=sys.argv[1:]\n"
            "p=os.path.exists(d) and stat.S_ISBLK(os.stat(d).st_mode)\n"
            "run=lambda *a: subprocess.run(a,capture_output=True,text=True)\n"
            "w=run('wipefs','--no-act','--json',d) if p else None\n"
            "if w and w.returncode: sys.exit(w.stderr)\n"
            "s=json.loads(w.stdout or '{}').get('signatures',[]) if p else []\n"
            "print(json.dumps({'present':p,'signatures':[x.get('type') for x in s],"
            "'label':next((x.get('label') for x in s if x.get('label')),None),'mounted':os.path.ismount(f)}))"
        )
        return f"python3 -c {shlex.quote(script)} {device} {folder}"

    def process(self, output: list[str]) -> dict[str, Any]:
        return dict(json.loads("\n".join(output)))


def must_format(disk: dict[str, Any]) -> bool:
    """Whether the disk is blank. ClinicError when somebody else's data is on it: that is never overwritten."""
    if not disk["present"] or not disk["signatures"]:
        return bool(disk["present"])
    if disk["signatures"] == ["ext4"] and disk["label"] == LABEL:
        return False
    raise ClinicError(
        f"The recordings' disk {DEVICE} holds {', '.join(disk['signatures'])} (label {disk['label'] or 'none'}), not "
        f"ext4 labelled {LABEL}. It was left as it is.",
        remedy=f"if its content is not needed: wipefs --all {DEVICE} on the PBX, then deploy again",
    )


@deploy("Recordings")
def recordings(clinic: Clinic) -> None:
    """After the packages, before Asterisk takes calls: what it records must not land on the system disk."""
    server.group(name="Who may listen to recordings is a role", group=ROLE, system=True)
    disk = host.get_fact(RecordingsDisk, DEVICE, RECORDINGS)
    if disk["present"]:
        _mount(disk)
    else:
        logger.warning(f"{host.print_prefix}no second disk: recordings share the system disk, within their free share")
    files.directory(
        name="Recordings are readable by that role and by nobody else",
        path=RECORDINGS, user="asterisk", group=ROLE, mode="2750",
    )  # fmt: skip
    guard = tree(name="The guard of free space and retention is the deploy's own", wanted=_guard(clinic, disk))
    systemd.daemon_reload(name="systemd knows the guard", _if=guard.did_change)
    systemd.service(name="The guard looks every minute", service="clinic-recordings.timer", running=True, enabled=True)


def _mount(disk: dict[str, Any]) -> None:
    if must_format(disk):
        server.shell(
            name="The blank recordings disk has a file system",
            # asked again at the last moment: blkid ends with 2 only when it finds nothing at all
            commands=[f"blkid -p {DEVICE}; [ $? -eq 2 ] && mkfs.ext4 -q -m 0 -L {LABEL} {DEVICE}"],
        )
    unit = tree(
        name="The recordings disk has its place",
        wanted={f"/etc/systemd/system/{MOUNT}": File((ROOT / "files/recordings" / MOUNT).read_bytes())},
    )
    if not disk["mounted"]:
        server.shell(
            name="The recordings disk is mounted, and nobody can write in its place while it is away",
            commands=[
                f"install -d -o root -g root -m 700 {RECORDINGS}",
                "systemctl daemon-reload", f"systemctl enable --quiet --now {MOUNT}",
            ],
        )  # fmt: skip
    else:
        systemd.daemon_reload(name="systemd knows the mount", _if=unit.did_change)


def _guard(clinic: Clinic, disk: dict[str, Any]) -> Tree:
    settings = {
        "root": RECORDINGS, "retention_days": clinic.recording.retention_days,
        "min_free_percent": clinic.recording.min_free_percent, "own_disk": bool(disk["present"]),
    }  # fmt: skip
    here, services = ROOT / "files/recordings", ROOT / "services"
    wanted = {
        "/etc/clinicpbx/recordings.json": File((json.dumps(settings, indent=1) + "\n").encode()),
        "/usr/local/sbin/clinic-recordings": File((here / "clinic-recordings").read_bytes(), "755"),
        f"{LIBRARY}/__init__.py": File((services / "__init__.py").read_bytes()),
    }
    for path in sorted((services / "recordings").glob("*.py")):
        wanted[f"{LIBRARY}/recordings/{path.name}"] = File(path.read_bytes())
    for unit in ("clinic-recordings.service", "clinic-recordings.timer"):
        wanted[f"/etc/systemd/system/{unit}"] = File((here / unit).read_bytes())
    return wanted
