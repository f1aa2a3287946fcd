"""Recordings: a disk of their own, readable by one role, guarded against filling."""

from __future__ import annotations

import io
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

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "/usr/lib/clinicpbx/services"
ROLE = "recordings"
LABEL = "recordings"
# The second disk (scsi1) under the name that QEMU gives it; /dev/sdb may be another disk after a restart.
DEVICE = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1"
OPTIONS = "rw,nosuid,nodev,noexec,noatime,nofail,x-systemd.device-timeout=10s,x-systemd.before=asterisk.service"


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
    """After the packages, before Asterisk starts: what it records must not land on the system disk."""
    server.group(name="Who may listen to recordings is a role", group=ROLE, system=True)
    _disk()
    files.directory(
        name="Recordings are readable by that role and by nobody else",
        path=RECORDINGS, user="asterisk", group=ROLE, mode="2750",
    )  # fmt: skip
    _guard(clinic)


def _disk() -> None:
    disk = host.get_fact(RecordingsDisk, DEVICE, RECORDINGS)
    if not disk["present"]:
        logger.warning(f"{host.print_prefix}no second disk: recordings share the system disk, within their free share")
        return
    if must_format(disk):
        server.shell(
            name="The blank recordings disk has a file system",
            # asked again at the last moment: blkid ends with 2 only when it finds nothing at all
            commands=[f"blkid -p {DEVICE}; [ $? -eq 2 ] && mkfs.ext4 -q -m 0 -L {LABEL} {DEVICE}"],
        )
    if not disk["mounted"]:
        files.directory(
            name="Nobody can write where the disk belongs while it is away",
            path=RECORDINGS, user="root", group="root", mode="700",
        )  # fmt: skip
    files.line(
        name="The recordings disk is mounted at every start",
        path="/etc/fstab", line=rf"^\S+ {RECORDINGS} .*$", replace=f"{DEVICE} {RECORDINGS} ext4 {OPTIONS} 0 2",
    )  # fmt: skip
    if not disk["mounted"]:
        server.shell(name="The recordings disk is mounted", commands=["systemctl daemon-reload", f"mount {RECORDINGS}"])


def _guard(clinic: Clinic) -> None:
    here = ROOT / "files/recordings"
    settings = {
        "root": RECORDINGS, "retention_days": clinic.recording.retention_days,
        "min_free_percent": clinic.recording.min_free_percent,
        "own_disk": bool(host.get_fact(RecordingsDisk, DEVICE, RECORDINGS)["present"]),
    }  # fmt: skip
    files.directory(name="Services have a folder for their settings", path="/etc/clinicpbx", mode="755")
    files.put(
        name="The guard knows retention and free share",
        src=io.StringIO(json.dumps(settings, indent=1) + "\n"), dest="/etc/clinicpbx/recordings.json", mode="644",
    )  # fmt: skip
    files.put(
        name="The guard's program is the deploy's own",
        src=str(here / "clinic-recordings"), dest="/usr/local/sbin/clinic-recordings", mode="755",
    )  # fmt: skip
    files.sync(
        name="The guard's library is beside the others",
        src=str(ROOT / "services/recordings"), dest=f"{LIBRARY}/recordings", exclude="*.pyc", exclude_dir="__pycache__",
        mode="644", dir_mode="755",
    )  # fmt: skip
    files.put(
        name="The services are one package", src=str(ROOT / "services/__init__.py"), dest=f"{LIBRARY}/__init__.py"
    )
    units = [
        files.put(
            name=f"Unit {unit}", src=str(here / unit), dest=f"/etc/systemd/system/{unit}", mode="644",
        )
        for unit in ("clinic-recordings.service", "clinic-recordings.timer")
    ]  # fmt: skip
    systemd.daemon_reload(name="systemd knows the guard", _if=lambda: any(unit.did_change() for unit in units))
    systemd.service(name="The guard looks every minute", service="clinic-recordings.timer", running=True, enabled=True)
