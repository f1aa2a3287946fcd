"""The hypervisor's memory: VM configurations and storage volumes, one JSON file each, written atomically."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.hypervisor.errors import ApiError, failed

LOCK_PATIENCE = 10.0


@dataclass
class Vm:
    """A VM: options as Proxmox writes them in its configuration file; `image` is the imported root's directory."""

    vmid: int
    config: dict[str, str]
    image: str | None = None
    lock: str | None = None
    snapshots: dict[str, dict[str, object]] = field(default_factory=dict)
    parent: str | None = None

    @property
    def digest(self) -> str:
        text = "\n".join(f"{key}: {value}" for key, value in sorted(self.config.items()))
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass
class Volume:
    """A volume. `root` is set for import volumes that stand for a root directory, `path` for downloaded files."""

    volid: str
    content: str
    format: str
    size: int
    vmid: int | None = None
    root: str | None = None
    path: str | None = None
    ctime: int = field(default_factory=lambda: int(time.time()))


class Store:
    def __init__(self, folder: Path, node: str) -> None:
        self._folder, self._node = folder, node
        self._locks: dict[int, threading.Lock] = {}
        self._guard = threading.Lock()
        for name in ("vms", "volumes"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def vms(self) -> list[Vm]:
        files = sorted((self._folder / "vms").glob("*.json"), key=lambda f: int(f.stem))
        return [Vm(**json.loads(file.read_text())) for file in files]

    def exists(self, vmid: int) -> bool:
        return self._file(vmid).exists()

    def vm(self, vmid: int) -> Vm:
        """Raises the 500 that Proxmox answers for an unknown VM."""
        try:
            return Vm(**json.loads(self._file(vmid).read_text()))
        except OSError:
            name = f"nodes/{self._node}/qemu-server/{vmid}.conf"
            raise failed(f"Configuration file '{name}' does not exist") from None

    def save(self, vm: Vm) -> None:
        _write(self._file(vm.vmid), json.dumps(asdict(vm), indent=1))

    def forget(self, vmid: int) -> None:
        self._file(vmid).unlink(missing_ok=True)
        for volume in self.volumes():
            if volume.vmid == vmid:
                self._volume_file(volume.volid).unlink(missing_ok=True)

    def unlocked(self, vmid: int) -> Vm:
        """The VM, refused when another action holds its configuration."""
        vm = self.vm(vmid)
        if vm.lock:
            raise ApiError(500, f"VM is locked ({vm.lock})")
        return vm

    @contextlib.contextmanager
    def holding(self, vmid: int) -> Iterator[None]:
        """One action at a time on one VM, as Proxmox's lock file does it."""
        with self._guard:
            lock = self._locks.setdefault(vmid, threading.Lock())
        if not lock.acquire(timeout=LOCK_PATIENCE):
            raise failed(f"can't lock file '/var/lock/qemu-server/lock-{vmid}.conf' - got timeout")
        try:
            yield
        finally:
            lock.release()

    def volumes(self) -> list[Volume]:
        return [Volume(**json.loads(f.read_text())) for f in sorted((self._folder / "volumes").glob("*.json"))]

    def volume(self, volid: str) -> Volume | None:
        return next((volume for volume in self.volumes() if volume.volid == volid), None)

    def keep(self, volume: Volume) -> None:
        _write(self._volume_file(volume.volid), json.dumps(asdict(volume)))

    def drop(self, volid: str) -> None:
        self._volume_file(volid).unlink(missing_ok=True)

    def _file(self, vmid: int) -> Path:
        return self._folder / "vms" / f"{vmid}.json"

    def _volume_file(self, volid: str) -> Path:
        return self._folder / "volumes" / f"{volid.replace('/', '_').replace(':', '_')}.json"


def _write(file: Path, text: str) -> None:
    temporary = file.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(file)
