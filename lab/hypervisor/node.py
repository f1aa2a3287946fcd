"""The node's own calls: version, status, storages and their content, downloads, tasks, cluster lists."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import time
import urllib.request
from pathlib import Path
from typing import Any

from lab.hypervisor.errors import TaskError, bad, failed
from lab.hypervisor.server import Call, Route
from lab.hypervisor.settings import Settings, Storage
from lab.hypervisor.store import Store, Volume
from lab.hypervisor.tasks import Log, Tasks
from lab.properties import human

VERSION = {"version": "9.0.3", "release": "9.0", "repoid": "clinicpbxlab"}
IMPORTABLE = (".qcow2", ".raw", ".vmdk", ".ova")
IMAGE_SIZE = 3 << 30
"""Virtual size of the lab's base image, as a built qcow2 would have it."""


class Node:
    def __init__(self, settings: Settings, store: Store, tasks: Tasks) -> None:
        self._settings, self._store, self._tasks = settings, store, tasks
        for name, root in settings.images:
            volid = f"{settings.image_storage}:import/{name}"
            store.keep(Volume(volid, "import", "qcow2", IMAGE_SIZE, root=root))

    def routes(self) -> list[Route]:
        node, storage = "/nodes/{node}", "/nodes/{node}/storage/{storage}"
        content = {"content": "[a-z]+", "vmid": "vmid"}
        return [
            Route("GET", "/version", {}, lambda call: VERSION),
            Route("GET", "/nodes", {}, lambda call: [self._summary()]),
            Route("GET", f"{node}/status", {}, self._status),
            Route("GET", "/storage", {"type": "[a-z]+"}, self._definitions),
            Route("GET", f"{node}/storage", LISTED, self._storages),
            Route("GET", f"{storage}/status", {}, self._one_storage),
            Route("GET", f"{storage}/content", content, self._content),
            Route("DELETE", f"{storage}/content/{{volume}}", {"delay": "int"}, self._delete, "Datastore.Allocate"),
            Route("POST", f"{storage}/download-url", DOWNLOAD, self._download, "Datastore.AllocateTemplate"),
            Route("GET", f"{node}/tasks/{{upid}}/status", {}, lambda call: self._tasks.status(call.path["upid"])),
            Route("GET", f"{node}/tasks/{{upid}}/log", {"start": "int", "limit": "int"}, self._log),
            Route("GET", "/cluster/nextid", {"vmid": "vmid"}, self._nextid),
        ]

    def storage(self, name: str) -> Storage:
        for storage in self._settings.storages:
            if storage.name == name:
                return storage
        raise failed(f"storage '{name}' does not exist")

    def allocate(self, storage: str, vmid: int, size: int) -> Volume:
        """A new disk volume for a VM, named as Proxmox names it. Must be called holding the VM."""
        where = self.storage(storage)
        if "images" not in where.content:
            raise failed(f"storage '{storage}' does not support content-type 'images'")
        thin = where.type == "lvmthin"
        folder, ending = ("", "") if thin else (f"{vmid}/", ".raw")
        taken = {volume.volid for volume in self._store.volumes()}
        volid = next(name for n in range(100) if (name := f"{storage}:{folder}vm-{vmid}-disk-{n}{ending}") not in taken)
        volume = Volume(volid, "images", "raw", size, vmid=vmid)
        self._store.keep(volume)
        return volume

    def summary(self) -> dict[str, Any]:
        return self._summary()

    def storages(self) -> list[dict[str, Any]]:
        return [self._storage_status(storage) for storage in self._settings.storages]

    def _summary(self) -> dict[str, Any]:
        total, available = _memory()
        return {
            "node": self._settings.node, "status": "online", "type": "node", "id": f"node/{self._settings.node}",
            "cpu": 0.01, "maxcpu": os.cpu_count() or 1, "maxmem": total, "mem": total - available,
            "uptime": _uptime(), "level": "",
        }  # fmt: skip

    def _status(self, call: Call) -> dict[str, Any]:
        total, available = _memory()
        disk, system, cpus = shutil.disk_usage(self._settings.folder), platform.uname(), os.cpu_count() or 1
        return {
            "cpu": 0.01, "uptime": _uptime(), "loadavg": [f"{load:.2f}" for load in os.getloadavg()],
            "memory": {"total": total, "free": available, "available": available, "used": total - available},
            "rootfs": {"total": disk.total, "free": disk.free, "avail": disk.free, "used": disk.used},
            "cpuinfo": {"cpus": cpus, "cores": cpus, "sockets": 1, "model": system.machine},
            "pveversion": f"pve-manager/{VERSION['version']}/{VERSION['repoid']}",
            "current-kernel": {"sysname": system.system, "release": system.release,
                               "version": system.version, "machine": system.machine},
            "boot-info": {"mode": "legacy-bios"},
        }  # fmt: skip

    def _definitions(self, call: Call) -> list[dict[str, Any]]:
        return [{"storage": s.name, "type": s.type, "content": ",".join(s.content)} for s in self._settings.storages]

    def _storage_status(self, storage: Storage) -> dict[str, Any]:
        disk = shutil.disk_usage(self._settings.machines)
        return {
            "type": storage.type, "content": ",".join(storage.content), "active": 1, "enabled": 1, "shared": 0,
            "total": disk.total, "used": disk.used, "avail": disk.free,
        }  # fmt: skip

    def _one_storage(self, call: Call) -> dict[str, Any]:
        return self._storage_status(self.storage(call.path["storage"]))

    def _storages(self, call: Call) -> list[dict[str, Any]]:
        wanted, name = call.params.get("content"), call.params.get("storage")
        return [
            self._storage_status(s) | {"storage": s.name, "used_fraction": 0.1}
            for s in self._settings.storages
            if (not wanted or wanted in s.content) and name in (None, s.name)
        ]

    def _content(self, call: Call) -> list[dict[str, Any]]:
        storage = self.storage(call.path["storage"]).name
        kind, vmid = call.params.get("content"), call.params.get("vmid")
        return [
            {"volid": v.volid, "content": v.content, "format": v.format, "size": v.size, "ctime": v.ctime}
            | ({"vmid": v.vmid} if v.vmid else {})
            for v in self._store.volumes()
            if v.volid.startswith(f"{storage}:") and kind in (None, v.content) and (vmid is None or v.vmid == int(vmid))
        ]

    def _delete(self, call: Call) -> None:
        volume = call.path["volume"]
        volid = volume if ":" in volume else f"{call.path['storage']}:{volume}"
        if self._store.volume(volid) is None:
            raise failed(f"volume '{volid}' does not exist")
        self._store.drop(volid)

    def _download(self, call: Call) -> str:
        storage, name, content = self.storage(call.path["storage"]), call.params["filename"], call.params["content"]
        if content not in storage.content:
            raise failed(f"storage '{storage.name}' is not configured for content-type '{content}'")
        if content == "import" and not name.endswith(IMPORTABLE):
            raise bad(filename="wrong file extension")
        if ("checksum" in call.params) != ("checksum-algorithm" in call.params):
            raise bad(checksum="missing property required by 'checksum-algorithm'")
        volid = f"{storage.name}:{content}/{name}"
        if self._store.volume(volid):
            raise failed(f"refusing to override existing file '/var/lib/vz/{content}/{name}'")

        def work(log: Log) -> None:
            target = self._settings.folder / "downloads" / name
            target.parent.mkdir(exist_ok=True)
            size, digest = _fetch(call.params["url"], target, call.params.get("checksum-algorithm", "sha256"), log)
            expected = call.params.get("checksum")
            if expected and digest.lower() != expected.lower():
                target.unlink()
                raise TaskError(f"checksum mismatch: got '{digest}' != expect '{expected}'")
            self._store.keep(Volume(volid, content, target.suffix[1:] or "raw", size, path=str(target)))

        return self._tasks.begin("download", name, call.user, work)

    def _log(self, call: Call) -> list[dict[str, Any]]:
        start, limit = int(call.params.get("start", 0)), int(call.params.get("limit", 50))
        return self._tasks.log(call.path["upid"], start, limit)

    def _nextid(self, call: Call) -> str:
        wanted = call.params.get("vmid")
        if wanted and self._store.exists(int(wanted)):
            raise bad(vmid=f"VM {wanted} already exists")
        return wanted or str(next(n for n in range(100, 1_000_000) if not self._store.exists(n)))


LISTED = {"content": "str", "enabled": "bool", "storage": "storage", "format": "bool"}
DOWNLOAD = {
    "content": "!iso|vztmpl|import", "filename": r"![^/\s]{1,255}", "url": r"!https?://.*", "checksum": "hash",
    "checksum-algorithm": "md5|sha1|sha224|sha256|sha384|sha512", "verify-certificates": "bool", "compression": "str",
}  # fmt: skip


def _fetch(url: str, target: Path, algorithm: str, log: Log) -> tuple[int, str]:
    """Size and digest of what the URL gave. Raises TaskError when it cannot be reached."""
    digest, size = hashlib.new(algorithm), 0
    log(f"downloading {url} to {target.name}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=20) as source, target.open("wb") as file:
            while block := source.read(1 << 20):
                digest.update(block)
                size += file.write(block)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise TaskError(f"download failed: {error}") from error
    log(f"{human(size)} bytes")
    return size, digest.hexdigest()


def _memory() -> tuple[int, int]:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    values = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
    return values["MemTotal"], values["MemAvailable"]


def _uptime() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))
