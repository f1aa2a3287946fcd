"""Recordings: a disk of their own, readable by one role, guarded against filling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import FactBase, QuoteString, StringCommand, deploy
from pyinfra.operations import server

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
TIMER = "clinic-recordings.timer"
MOUNT = "var-spool-asterisk-recordings.mount"


_LOOK = """
import grp,json,os,pwd,stat,subprocess,sys
d,f,g,t=sys.argv[1:]
run=lambda *a: subprocess.run(a,capture_output=True,text=True)
p=os.path.exists(d) and stat.S_ISBLK(os.stat(d).st_mode)
w=run('wipefs','--no-act','--json',d) if p else None
if w and w.returncode: sys.exit(w.stderr)
s=json.loads(w.stdout or '{}').get('signatures',[]) if p else []
try:
    o=os.stat(f); o=f'{pwd.getpwuid(o.st_uid).pw_name}:{grp.getgrgid(o.st_gid).gr_name} {stat.S_IMODE(o.st_mode):o}'
except (OSError,KeyError): o=''
json.dump({'present':p,'signatures':[x.get('type') for x in s],
    'label':next((x.get('label') for x in s if x.get('label')),None),'mounted':os.path.ismount(f),'folder':o,
    'role':any(x.gr_name==g for x in grp.getgrall()),
    'timer':[run('systemctl',v,t).returncode==0 for v in ('is-enabled','is-active')]},sys.stdout)
"""


class Recordings(FactBase[dict[str, Any]]):
    """All there is to know: `present`, `signatures` and `label` of the second disk (wipefs names any file system,
    partition table, RAID or LVM mark), `mounted`, `folder` as `owner:group mode`, `role`, `timer` [enabled, active]."""

    def command(self) -> StringCommand:
        arguments = (DEVICE, RECORDINGS, ROLE, TIMER)
        return StringCommand("python3", "-c", QuoteString(_LOOK), *(QuoteString(text) for text in arguments))

    def process(self, output: list[str]) -> dict[str, Any]:
        return dict(json.loads("\n".join(output)))


def must_format(disk: dict[str, Any]) -> bool:
    """Whether the disk is blank. ClinicError when there is none, so that no deploy quietly moves recordings to the
    system disk, and when somebody else's data is on it: that is never overwritten."""
    if not disk["present"]:
        raise ClinicError(
            f"The PBX has no second disk ({DEVICE}), and recordings have a disk of their own.",
            remedy="attach it as scsi1 of the VM, with the size of `recordings_gib`, and deploy again. Until then calls"
            " go on, unrecorded once the old disk is gone",
        )
    if not disk["signatures"]:
        return True
    if disk["signatures"] == ["ext4"] and disk["label"] == LABEL:
        return False
    raise ClinicError(
        f"The recordings' disk {DEVICE} holds {', '.join(disk['signatures'])} (label {disk['label'] or 'none'}), not "
        f"ext4 labelled {LABEL}. It is left as it is.",
        remedy=f"if its content is not needed: wipefs --all {DEVICE} on the PBX, then deploy again",
    )


@deploy("Recordings")
def recordings(clinic: Clinic) -> None:
    """After the packages, before Asterisk takes calls: what it records must not land on the system disk."""
    now = host.get_fact(Recordings)
    if not now["role"]:
        server.shell(name="Who may listen to recordings is a role", commands=[f"groupadd --system {ROLE}"])
    if must_format(now):
        server.shell(
            name="The blank recordings disk has a file system",
            # asked again at the last moment: blkid ends with 2 only when it finds nothing at all
            commands=[f"blkid -p {DEVICE}; [ $? -eq 2 ] && mkfs.ext4 -q -m 0 -L {LABEL} {DEVICE}"],
        )
    tree(
        name="The disk's place and its guard are the deploy's own", wanted=_files(clinic),
        then=("systemctl daemon-reload",),
    )  # fmt: skip
    if not now["mounted"]:
        server.shell(
            name="The recordings disk is mounted, and nobody can write in its place while it is away",
            commands=[f"install -d -o root -g root -m 700 {RECORDINGS}", f"systemctl enable --quiet --now {MOUNT}"],
        )
    if now["folder"] != f"asterisk:{ROLE} 2750" or not now["mounted"]:
        server.shell(
            name="Recordings are readable by that role and by nobody else",
            commands=[f"install -d -o asterisk -g {ROLE} -m 2750 {RECORDINGS}"],
        )
    if not all(now["timer"]):
        server.shell(name="The guard looks every minute", commands=[f"systemctl enable --quiet --now {TIMER}"])


def _files(clinic: Clinic) -> Tree:
    settings = {
        "root": RECORDINGS, "retention_days": clinic.recording.retention_days,
        "min_free_percent": clinic.recording.min_free_percent, "own_disk": True,
    }  # fmt: skip
    here, services = ROOT / "files/recordings", ROOT / "services"
    wanted = {
        "/etc/clinicpbx/recordings.json": File((json.dumps(settings, indent=1) + "\n").encode()),
        "/usr/local/sbin/clinic-recordings": File((here / "clinic-recordings").read_bytes(), "755"),
        f"{LIBRARY}/__init__.py": File((services / "__init__.py").read_bytes()),
    }
    for path in sorted((services / "recordings").glob("*.py")):
        wanted[f"{LIBRARY}/recordings/{path.name}"] = File(path.read_bytes())
    for unit in ("clinic-recordings.service", TIMER, MOUNT):
        wanted[f"/etc/systemd/system/{unit}"] = File((here / unit).read_bytes())
    return wanted
