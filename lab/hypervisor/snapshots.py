"""Snapshots: copies of the machine's folder, taken while the machine is frozen, so that they are consistent."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from lab.hypervisor.errors import TaskError, bad, failed
from lab.hypervisor.qemu import Qemu
from lab.hypervisor.server import Call, Route
from lab.hypervisor.tasks import Log

LONGEST_NAME = 40
COPIED = ("disk", "disks")


class Snapshots:
    def __init__(self, qemu: Qemu) -> None:
        self._qemu, self._store = qemu, qemu.store

    def routes(self) -> list[Route]:
        base, need = "/nodes/{node}/qemu/{vmid}/snapshot", "VM.Snapshot"
        create = {"snapname": "!id", "description": "str", "vmstate": "bool"}
        return [
            Route("GET", base, {}, self._list),
            Route("POST", base, create, self._create, need),
            Route("DELETE", f"{base}/{{snapname}}", {"force": "bool"}, self._delete, need),
            Route("POST", f"{base}/{{snapname}}/rollback", {"start": "bool"}, self._rollback, "VM.Snapshot.Rollback"),
        ]

    def _list(self, call: Call) -> list[dict[str, Any]]:
        vm = self._store.vm(call.vmid)
        found: list[dict[str, Any]] = [
            {"name": name, "description": s["description"], "snaptime": s["snaptime"], "vmstate": 0}
            | ({"parent": s["parent"]} if s["parent"] else {})
            for name, s in vm.snapshots.items()
        ]
        running = 1 if self._qemu.machine(vm.vmid).pid else 0
        now = {"name": "current", "description": "You are here!", "digest": vm.digest, "running": running}
        return [*found, now | ({"parent": vm.parent} if vm.parent else {})]

    def _create(self, call: Call) -> str:
        name = call.params["snapname"]
        if len(name) > LONGEST_NAME:
            raise bad(snapname=f"value may only be {LONGEST_NAME} characters long")
        if name == "current":
            raise failed("unable to use snapshot name 'current' (reserved name)")
        self._store.unlocked(call.vmid)

        def work(log: Log) -> None:
            with self._store.holding(call.vmid):
                vm = self._store.unlocked(call.vmid)
                if name in vm.snapshots:
                    raise TaskError(f"snapshot name '{name}' already used")
                machine = self._qemu.machine(call.vmid)
                vm.lock = "snapshot"
                self._store.save(vm)
                try:
                    with machine.frozen():
                        _copy(machine.folder, machine.folder / "snapshots" / name)
                    vm.snapshots[name] = {
                        "description": call.params.get("description", ""), "snaptime": int(time.time()),
                        "config": dict(vm.config), "parent": vm.parent,
                    }  # fmt: skip
                    vm.parent = name
                finally:
                    vm.lock = None
                    self._store.save(vm)

        return self._qemu.tasks.begin("qmsnapshot", str(call.vmid), call.user, work)

    def _delete(self, call: Call) -> str:
        name = call.path["snapname"]
        self._store.unlocked(call.vmid)

        def work(log: Log) -> None:
            with self._store.holding(call.vmid):
                vm = self._store.unlocked(call.vmid)
                if name not in vm.snapshots:
                    raise TaskError(f"snapshot '{name}' does not exist")
                gone = vm.snapshots.pop(name)
                for other in vm.snapshots.values():
                    if other["parent"] == name:
                        other["parent"] = gone["parent"]
                if vm.parent == name:
                    vm.parent = str(gone["parent"]) if gone["parent"] else None
                self._store.save(vm)
                shutil.rmtree(self._qemu.machine(call.vmid).folder / "snapshots" / name, ignore_errors=True)

        return self._qemu.tasks.begin("qmdelsnapshot", str(call.vmid), call.user, work)

    def _rollback(self, call: Call) -> str:
        name = call.path["snapname"]
        self._store.unlocked(call.vmid)

        def work(log: Log) -> None:
            with self._store.holding(call.vmid):
                vm = self._store.unlocked(call.vmid)
                if name not in vm.snapshots:
                    raise TaskError(f"snapshot '{name}' does not exist")
                machine = self._qemu.machine(call.vmid)
                machine.stop(0)
                for part in COPIED:
                    shutil.rmtree(machine.folder / part, ignore_errors=True)
                _copy(machine.folder / "snapshots" / name, machine.folder)
                vm.config = dict(vm.snapshots[name]["config"])  # type: ignore[call-overload]
                vm.parent = name
                self._store.save(vm)
                if call.params.get("start") == "1":
                    self._qemu.boot(vm)

        return self._qemu.tasks.begin("qmrollback", str(call.vmid), call.user, work)


def _copy(source: Path, target: Path) -> None:
    """Copy the disks whole: an overlay's deletions are device nodes and extended attributes."""
    target.mkdir(parents=True, exist_ok=True)
    parts = [str(source / part) for part in COPIED if (source / part).is_dir()]
    argv = ["cp", "--archive", "--reflink=auto", "--sparse=always", "--", *parts, str(target)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise TaskError(f"copying the disks failed: {done.stderr.strip()[-300:]}")
