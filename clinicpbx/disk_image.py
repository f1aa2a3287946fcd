"""The base image as a disk for a real hypervisor: what the lab's root holds, with a kernel and a boot loader (SeaBIOS).

Made as plain files, from the bundle and nothing else: no loop device, no mount and no running system is involved, so
an interrupted build leaves nothing behind. The lab never makes it; `clinicpbx bundle image` does.
"""

from __future__ import annotations

import os
import shutil
import struct
import uuid
from pathlib import Path

from clinicpbx import image
from clinicpbx.bundle import Bundle, cache, groups
from clinicpbx.bundle.cache import Progress, quiet
from clinicpbx.errors import ClinicError

CUSTOMISE = Path(__file__).with_name("disk_customise.sh")
LABEL = "clinic-root"
SECTOR = 512
SECTORS = 3 * 2**30 // SECTOR  # grows to the description's size at the first boot, so just enough for the packages
CORE_START, ROOT_START = 2048, 4096  # the boot loader's own MiB, then the root up to the last MiB
ROOT_SECTORS = SECTORS - ROOT_START - 2048
_TOOLS = {"sfdisk": "fdisk", "mke2fs": "e2fsprogs", "qemu-img": "qemu-utils"}
_BIOS_BOOT, _LINUX_ROOT = "21686148-6449-6E6F-744E-656564454649", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
# Where GRUB 2's images hold addresses to fill in: include/grub/i386/pc/boot.h, and struct grub_pc_bios_boot_blocklist.
_BOOT_CODE, _KERNEL_SECTOR, _DRIVE_CHECK, _BLOCKLIST = 440, 0x5C, 0x66, SECTOR - 12


def name(bundle: Bundle) -> str:
    """The image's file name on the hypervisor: another kernel or recipe is another name."""
    return f"clinic-pbx-{_digest(bundle)[:12]}.qcow2"


def place(bundle: Bundle) -> Path:
    """Where the disk image lies once it is made."""
    return cache.root() / "disk" / _digest(bundle)[:12] / name(bundle)


def checksum(path: Path) -> str:
    """The hex SHA-256 of a disk image, as it was when made."""
    return path.with_name("sha256").read_text().split()[0]


def ensure(bundle: Bundle, progress: Progress = quiet) -> Path:
    """The disk image (qcow2), from the cache or made now in about two minutes.

    GPT: a bios_grub partition and an ext4 root. No host key, password, machine id or package source is in it.
    Raises ClinicError when a tool is missing.
    """
    target = place(bundle)
    if not target.exists():
        _need_tools()
        with cache.lock("disk", progress):
            if not target.exists():
                _make(bundle, target, progress)
    return target


def _digest(bundle: Bundle) -> str:
    wanted = groups.load()
    files = [path for shape in ("base", "disk") for path in image.files(shape)]
    recipe = [path.read_bytes() for path in (image.CUSTOMISE, CUSTOMISE, Path(__file__), *files)]
    pins = [package.line() for package in bundle.disk]
    return cache.digest(bundle.digest, " ".join(wanted.image + wanted.disk), *pins, *recipe)


def _make(bundle: Bundle, target: Path, progress: Progress) -> None:
    log = cache.root() / "disk.log"
    log.write_text("")
    wanted = groups.load()
    packages = wanted.image + wanted.disk
    sources = [f"deb [signed-by={bundle.key}] copy://{path} ./" for path in (bundle.path, bundle.disk_path)]
    with cache.atomic(target.parent) as room:
        root, disk = room / "root", room / "disk.raw"
        progress(f"making the disk's root of {len(packages)} packages and what they need")
        hook = f'sh {CUSTOMISE} "$1" {image.FILES}'
        image.make_root(packages, root, sources, "base", hook, log=log)
        progress("making the disk: partitions, file system, boot loader")
        _write_disk(root, disk, _digest(bundle), log)
        shutil.rmtree(root)
        progress("compressing it")
        words: list[str | Path] = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c"]
        options = ["-o", "compat=1.1,compression_type=zstd"]
        cache.run([*words, *options, disk, room / target.name], what="compressing the disk", log=log)
        disk.unlink()
        (room / "sha256").write_text(f"{cache.sha256(room / target.name)}  {target.name}\n")


def _write_disk(root: Path, disk: Path, digest: str, log: Path) -> None:
    """Partitions, then the file system filled from `root` in its place, then the boot loader in front."""
    with disk.open("wb") as stream:
        stream.truncate(SECTORS * SECTOR)
    cache.run(["sfdisk", "--quiet", disk], what="partitioning the disk", stdin=partitions(digest))
    features = "^orphan_file,^metadata_csum_seed"  # the boot loader and older rescue disks read it, too
    words = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL, "-U", _uuid(digest, "root"), "-O", features]
    words += ["-E", f"offset={ROOT_START * SECTOR}", "-d", str(root), str(disk), f"{ROOT_SECTORS // 2}k"]
    cache.run(words, what="making the file system", log=log)
    grub = root / "boot/grub/i386-pc"
    boot, core = boot_code((grub / "boot.img").read_bytes(), (grub / "core.img").read_bytes())
    with disk.open("r+b") as stream:
        stream.write(boot)
        stream.seek(CORE_START * SECTOR)
        stream.write(core)
        os.fsync(stream.fileno())


def partitions(digest: str) -> str:
    """The partition table as sfdisk reads it; its identifiers follow from the content, so nothing is random."""
    return (
        f"label: gpt\nlabel-id: {_uuid(digest, 'disk')}\nfirst-lba: {CORE_START}\n"
        f"start={CORE_START}, size={ROOT_START - CORE_START}, type={_BIOS_BOOT}, uuid={_uuid(digest, 'core')}\n"
        f"start={ROOT_START}, size={ROOT_SECTORS}, type={_LINUX_ROOT}, uuid={_uuid(digest, 'part')}, name={LABEL}\n"
    )


def boot_code(boot: bytes, core: bytes) -> tuple[bytes, bytes]:
    """What grub-bios-setup would write: the boot sector's code (the table behind it stays), and the core image.

    Raises ClinicError when the images are not as GRUB 2 lays them out, or the core does not fit its partition.
    """
    if len(boot) != SECTOR or len(core) <= SECTOR or len(core) > (ROOT_START - CORE_START) * SECTOR:
        raise _unknown(f"boot.img has {len(boot)} bytes and core.img {len(core)}")
    code, rest = bytearray(boot[:_BOOT_CODE]), bytearray(core)
    start, length, _segment = struct.unpack_from("<QHH", rest, _BLOCKLIST)
    sectors = -(-len(core) // SECTOR)
    if start != 2 or length != sectors - 1:
        raise _unknown(f"its first block list is {start}, {length} with {sectors} sectors")
    struct.pack_into("<Q", code, _KERNEL_SECTOR, CORE_START)
    struct.pack_into("<2s", code, _DRIVE_CHECK, b"\x90\x90")  # trust the BIOS's drive number no more than grub-install
    struct.pack_into("<Q", rest, _BLOCKLIST, CORE_START + 1)
    return bytes(code), bytes(rest)


def _unknown(what: str) -> ClinicError:
    return ClinicError(f"The boot loader's images are not what was expected: {what}.", remedy="see docs/decisions/0002")


def _uuid(digest: str, part: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"clinic-pbx {digest} {part}")).upper()


def _need_tools() -> None:
    if missing := [package for program, package in _TOOLS.items() if shutil.which(program) is None]:
        raise ClinicError(
            f"Making a disk image needs what this machine does not have: {', '.join(missing)}.",
            remedy=f"apt-get install --no-install-recommends {' '.join(missing)}",
        )
