"""The disk for a real hypervisor: its name, its partitions, and the boot loader's addresses."""

from __future__ import annotations

import dataclasses
import shutil
import struct
from pathlib import Path

import pytest

from clinicpbx import disk_image
from clinicpbx.bundle import Bundle, Pinned
from clinicpbx.errors import ClinicError

BUNDLE = Bundle(Path("/bundle"), "aa" * 8, Path("/key"), (), (), (), (Pinned("linux-image", "6.12.1", "cd" * 32),))
BOOT = bytes(range(256)) * 2


def core(sectors: int, *, start: int = 2, length: int | None = None) -> bytes:
    """As grub-mkimage leaves it: the first block list says that the rest follows, from sector 2 on."""
    listed = struct.pack("<QHH", start, sectors - 1 if length is None else length, 0x820)
    return b"\xcc" * 500 + listed + b"\xdd" * (512 * (sectors - 1) - 3)


def test_another_kernel_or_another_bundle_is_another_image() -> None:
    newer = dataclasses.replace(BUNDLE, disk=(Pinned("linux-image", "6.12.2", "ef" * 32),))
    other = dataclasses.replace(BUNDLE, digest="bb" * 8)
    names = {disk_image.name(bundle) for bundle in (BUNDLE, newer, other)}
    assert len(names) == 3
    assert disk_image.name(BUNDLE) == disk_image.name(dataclasses.replace(BUNDLE))


def test_the_name_is_one_that_proxmox_imports() -> None:
    name = disk_image.name(BUNDLE)
    assert name.startswith("clinic-pbx-") and name.endswith(".qcow2") and len(name) == len("clinic-pbx-.qcow2") + 12


def test_the_root_is_last_so_that_it_can_grow_and_the_loader_has_a_partition_of_its_own() -> None:
    lines = disk_image.partitions("0" * 16).splitlines()
    assert lines[0] == "label: gpt"
    loader, root = lines[3:]
    assert loader.startswith("start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649,")
    assert root.startswith("start=4096, size=6285312, ") and root.endswith("name=clinic-root")
    assert lines == disk_image.partitions("0" * 16).splitlines() != disk_image.partitions("1" * 16).splitlines()


def test_the_boot_sector_finds_the_core_and_the_core_the_rest_of_itself() -> None:
    code, rest = disk_image.boot_code(BOOT, core(60))
    assert len(code) == 440  # what follows in the sector is the partition table's
    assert struct.unpack_from("<Q", code, 0x5C) == (2048,)
    assert code[0x66:0x68] == b"\x90\x90"
    assert struct.unpack_from("<QHH", rest, 500) == (2049, 59, 0x820)
    same = [n for n in range(440) if code[n] == BOOT[n]]
    assert len(same) >= 440 - 10


@pytest.mark.parametrize(
    "boot, image",
    [
        (BOOT[:-1], core(60)),
        (BOOT, core(2049 + 1)),
        (BOOT, core(60, start=1)),
        (BOOT, core(60, length=58)),
        (BOOT, b""),
    ],
    ids=["short boot sector", "too long a core", "other start", "other length", "no core"],
)
def test_a_boot_loader_that_is_laid_out_otherwise_is_refused(boot: bytes, image: bytes) -> None:
    with pytest.raises(ClinicError, match="boot loader"):
        disk_image.boot_code(boot, image)


def test_missing_tools_are_named_with_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINICPBX_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda program: None if program in ("sfdisk", "qemu-img") else program)
    with pytest.raises(ClinicError) as refusal:
        disk_image.ensure(BUNDLE)
    assert refusal.value.remedy == "apt-get install --no-install-recommends fdisk qemu-utils"
    assert not (tmp_path / "disk").exists()
