"""Further disks of a machine: sparse files shown as real block devices through the kernel's loop driver.

So the PBX formats, mounts and fills its recordings disk in the rehearsal by the same commands as on a real
hypervisor, and finds it under the same stable name, /dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-<disk>.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab import netns

BY_ID = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-{name}"


def grow(file: Path, size: int) -> None:
    """Make the disk `size` bytes, taking no space until written. Never shrinks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as handle:
        if os.fstat(handle.fileno()).st_size < size:
            os.truncate(handle.fileno(), size)


def attach(file: Path) -> str:
    """The loop device that shows the file. Raises CommandError where the kernel has no loop devices."""
    return attached(file) or netns.run(["losetup", "--find", "--show", str(file)]).strip()


def attached(file: Path) -> str | None:
    out = netns.run(["losetup", "--noheadings", "--output", "NAME", "--associated", str(file)])
    return out.split()[0] if out.split() else None


def detach(file: Path) -> None:
    """Give the loop device back. It goes when its last user does; nothing attached is no error."""
    if file.exists() and (device := attached(file)):
        netns.run(["losetup", "--detach", device])
