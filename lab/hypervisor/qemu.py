"""The VM calls: list, create, configuration, resize, power, guest agent, delete."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from lab import cloudinit, netns
from lab.hypervisor import drives
from lab.hypervisor.errors import ApiError, TaskError, bad, failed
from lab.hypervisor.node import Node
from lab.hypervisor.params import CREATE, INTEGERS, UPDATE, disk
from lab.hypervisor.server import Call, Route
from lab.hypervisor.settings import Settings
from lab.hypervisor.store import Store, Vm
from lab.hypervisor.tasks import Log, Tasks
from lab.machines import Machine
from lab.properties import human, parse, render, size
from lab.topology import namespace

POWER = {"skiplock": "bool", "timeout": "int"}
SHUTDOWN_SECONDS = 60


class Qemu:
    def __init__(self, settings: Settings, store: Store, tasks: Tasks, node: Node) -> None:
        self.settings, self.store, self.tasks, self._node = settings, store, tasks, node

    def routes(self) -> list[Route]:
        every, one = "/nodes/{node}/qemu", "/nodes/{node}/qemu/{vmid}"
        stop = POWER | {"keepActive": "bool", "overrule-shutdown": "bool"}
        down = POWER | {"keepActive": "bool", "forceStop": "bool"}
        looks = {"current": "bool", "snapshot": "id"}
        return [
            Route("GET", every, {"full": "bool"}, lambda call: [self._brief(vm) for vm in self.store.vms()]),
            Route("POST", every, CREATE, self._create, "VM.Allocate"),
            Route("GET", one, {}, lambda call: [{"subdir": name} for name in ("config", "status", "snapshot")]),
            Route("DELETE", one, DESTROY, self._destroy, "VM.Allocate"),
            Route("GET", f"{one}/config", looks, self._config),
            Route("PUT", f"{one}/config", UPDATE, self._update, "VM.Config.Options"),
            Route("POST", f"{one}/config", UPDATE, self._update_later, "VM.Config.Options"),
            Route("GET", f"{one}/pending", {}, self._pending),
            Route("PUT", f"{one}/resize", RESIZE, self._resize, "VM.Config.Disk"),
            Route("GET", f"{one}/status/current", {}, self._current),
            Route("POST", f"{one}/status/start", POWER, self._start, "VM.PowerMgmt"),
            Route("POST", f"{one}/status/stop", stop, self._stop, "VM.PowerMgmt"),
            Route("POST", f"{one}/status/shutdown", down, self._shutdown, "VM.PowerMgmt"),
            Route("POST", f"{one}/status/reboot", {"timeout": "int"}, self._reboot, "VM.PowerMgmt"),
            Route("POST", f"{one}/agent/ping", {}, self._ping, "VM.GuestAgent.Audit"),
            Route("GET", "/cluster/resources", {"type": "vm|storage|node|sdn"}, self._resources),
        ]

    def machine(self, vmid: int) -> Machine:
        folder = Path(self.settings.machines) / str(vmid)
        return Machine(self.settings.lab, vmid, folder, self.settings.folder.parent)

    def boot(self, vm: Vm) -> None:
        """Start the machine by its configuration. Raises TaskError or MachineError."""
        if vm.image is None:
            raise TaskError("no bootable device: the lab boots only a drive with its base image imported")
        ready = {key: value for key, value in vm.config.items() if key != "description"}
        has_drive = any("cloudinit" in value for key, value in ready.items() if disk(key))
        seed = cloudinit.seed(ready) if has_drive else {}
        self.machine(vm.vmid).start(Path(vm.image), drives.cards(vm, self.settings), seed, drives.further(vm))

    # --- making and unmaking

    def _create(self, call: Call) -> str:
        options = {key: value for key, value in call.params.items() if key not in CREATE}
        vmid = int(call.params["vmid"])
        if self.store.exists(vmid):
            place = f"VM {vmid} already exists on node '{self.settings.node}'"
            raise failed(f"unable to create VM {vmid} - {place}")
        if "archive" in call.params:
            raise ApiError(501, "the lab restores no backups")
        drives.check(self._node, self.store, options)
        now = int(time.time())
        made = {"meta": f"creation-qemu=10.0.2,ctime={now}", "smbios1": f"uuid={uuid.uuid4()}"}
        self.store.save(Vm(vmid, {}, lock="create"))

        def work(log: Log) -> None:
            vm = Vm(vmid, made)
            try:
                with self.store.holding(vmid):
                    self.machine(vmid).destroy()
                    drives.apply(self._node, self.store, vm, options)
                    self.machine(vmid).create()
                    self.store.save(vm)
            except BaseException:
                self.store.forget(vmid)
                raise
            log(f"VM {vmid}: {', '.join(key for key in vm.config if disk(key)) or 'no drives'}")
            if call.params.get("start") == "1":
                self.boot(vm)

        return self.tasks.begin("qmcreate", str(vmid), call.user, work)

    def _destroy(self, call: Call) -> str:
        vm = self.store.unlocked(call.vmid)
        if vm.config.get("protection") == "1":
            raise failed(f"can't remove VM {vm.vmid} - protection mode enabled")
        if self.machine(vm.vmid).pid:
            raise failed(f"VM {vm.vmid} is running - destroy failed")

        def work(log: Log) -> None:
            with self.store.holding(vm.vmid):
                self.machine(vm.vmid).destroy()
                self.store.forget(vm.vmid)

        return self.tasks.begin("qmdestroy", str(vm.vmid), call.user, work)

    # --- configuration

    def _config(self, call: Call) -> dict[str, Any]:
        vm = self.store.vm(call.vmid)
        config: dict[str, Any] = dict(vm.config)
        if name := call.params.get("snapshot"):
            if name not in vm.snapshots:
                raise failed(f"snapshot '{name}' does not exist")
            config = dict(vm.snapshots[name]["config"])  # type: ignore[call-overload]
        if "cipassword" in config:
            config["cipassword"] = "**********"
        lock = {"lock": vm.lock} if vm.lock else {}
        return {k: int(v) if k in INTEGERS else v for k, v in config.items()} | lock | {"digest": vm.digest}

    def _pending(self, call: Call) -> list[dict[str, Any]]:
        config = self.store.vm(call.vmid).config
        return [{"key": key, "value": value} for key, value in sorted(config.items()) if key != "cipassword"]

    def _update(self, call: Call) -> None:
        options = {key: value for key, value in call.params.items() if key not in UPDATE}
        with self.store.holding(call.vmid):
            vm = self.store.unlocked(call.vmid)
            given = call.params.get("digest")
            if given and given != vm.digest:
                raise failed("detected modified configuration - file changed by other user? Try again.")
            drives.check(self._node, self.store, options)
            gone = [name for name in call.params.get("delete", "").replace(";", ",").split(",") if name]
            both = next((name for name in gone if name in options), None)
            if both:
                raise bad(**{both: "cannot set and delete at the same time"})
            for name in gone:
                vm.config.pop(name, None)
            drives.apply(self._node, self.store, vm, options)
            self.store.save(vm)
            if self.machine(vm.vmid).pid:
                self._hotplug(vm, options)

    def _update_later(self, call: Call) -> str:
        self.store.unlocked(call.vmid)
        return self.tasks.begin("qmconfig", str(call.vmid), call.user, lambda log: self._update(call))

    def _hotplug(self, vm: Vm, changed: dict[str, str]) -> None:
        """A running machine feels a card unplugged or moved to another bridge; the rest waits for its next start."""
        lines = []
        for card in drives.cards(vm, self.settings):
            if f"net{card.index}" in changed:
                tap = f"tap{vm.vmid}i{card.index}"
                lines += [f"link set {tap} master {card.device}", f"link set {tap} {'up' if card.plugged else 'down'}"]
        netns.ip_batch(lines, namespace=namespace(self.settings.lab, "hv"))

    def _resize(self, call: Call) -> str:
        name, wanted = call.params["disk"], call.params["size"]
        vm = self.store.unlocked(call.vmid)
        if name not in vm.config:
            raise failed(f"disk '{name}' does not exist")
        digest = call.params.get("digest")
        if digest and digest != vm.digest:
            raise failed("detected modified configuration - file changed by other user? Try again.")

        def work(log: Log) -> None:
            with self.store.holding(vm.vmid):
                latest = self.store.vm(vm.vmid)
                drive = parse(latest.config[name], "file")
                now = size(drive.get("size", "0"))
                target = now + size(wanted[1:]) if wanted.startswith("+") else size(wanted)
                if target < now:
                    raise TaskError("shrinking disks is not supported")
                latest.config[name] = render(drive | {"size": human(target)}, "file")
                self.store.save(latest)

        return self.tasks.begin("resize", str(vm.vmid), call.user, work)

    # --- power

    def _start(self, call: Call) -> str:
        self.store.unlocked(call.vmid)

        def work(log: Log) -> None:
            with self.store.holding(call.vmid):
                if self.machine(call.vmid).pid:
                    raise TaskError(f"VM {call.vmid} already running")
                self.boot(self.store.unlocked(call.vmid))

        return self.tasks.begin("qmstart", str(call.vmid), call.user, work)

    def _stop(self, call: Call) -> str:
        self.store.unlocked(call.vmid)

        def work(log: Log) -> None:
            with self.store.holding(call.vmid):
                self.machine(call.vmid).stop(0)

        return self.tasks.begin("qmstop", str(call.vmid), call.user, work)

    def _shutdown(self, call: Call) -> str:
        self.store.unlocked(call.vmid)
        patience, force = int(call.params.get("timeout", SHUTDOWN_SECONDS)), call.params.get("forceStop") == "1"

        def work(log: Log) -> None:
            with self.store.holding(call.vmid):
                if not self.machine(call.vmid).stop(patience, force=force):
                    if not force:
                        raise TaskError("VM quit/powerdown failed - got timeout")
                    log("VM still running - terminating now")

        return self.tasks.begin("qmshutdown", str(call.vmid), call.user, work)

    def _reboot(self, call: Call) -> str:
        self.store.unlocked(call.vmid)
        if not self.machine(call.vmid).pid:
            raise failed(f"VM {call.vmid} not running")

        def work(log: Log) -> None:
            with self.store.holding(call.vmid):
                if not self.machine(call.vmid).stop(int(call.params.get("timeout", SHUTDOWN_SECONDS)), force=False):
                    raise TaskError("VM quit/powerdown failed - got timeout")
                self.boot(self.store.unlocked(call.vmid))

        return self.tasks.begin("qmreboot", str(call.vmid), call.user, work)

    # --- looking

    def _ping(self, call: Call) -> dict[str, Any]:
        vm = self.store.vm(call.vmid)
        if parse(vm.config.get("agent", "0"), "enabled").get("enabled") != "1":
            raise failed("No QEMU guest agent configured")
        machine = self.machine(vm.vmid)
        if not machine.pid:
            raise failed(f"VM {vm.vmid} is not running")
        if not any((root / "usr/sbin/qemu-ga").exists() for root in (machine.disk, Path(vm.image or "/nonexistent"))):
            raise failed("QEMU guest agent is not running")
        return {"result": {}}

    def _brief(self, vm: Vm) -> dict[str, Any]:
        machine = self.machine(vm.vmid)
        drive = parse(vm.config.get(drives.boot_drive(vm), ""), "file")
        brief: dict[str, Any] = {
            "vmid": vm.vmid, "status": "running" if machine.pid else "stopped", "name": vm.config.get("name", ""),
            "cpus": int(vm.config.get("cores", "1")) * int(vm.config.get("sockets", "1")), "cpu": 0,
            "maxmem": int(parse(vm.config.get("memory", "512"), "m")["m"]) << 20, "mem": 0, "uptime": machine.uptime,
            "maxdisk": size(drive.get("size", "0")), "netin": 0, "netout": 0, "diskread": 0, "diskwrite": 0,
        }  # fmt: skip
        optional = {"pid": machine.pid, "tags": vm.config.get("tags"), "lock": vm.lock}
        return brief | {key: value for key, value in optional.items() if value}

    def _current(self, call: Call) -> dict[str, Any]:
        vm = self.store.vm(call.vmid)
        brief = self._brief(vm)
        agent = parse(vm.config.get("agent", "0"), "enabled").get("enabled") == "1"
        return brief | {"qmpstatus": brief["status"], "ha": {"managed": 0}} | ({"agent": 1} if agent else {})

    def _resources(self, call: Call) -> list[dict[str, Any]]:
        node, kind = self.settings.node, call.params.get("type")
        found: list[dict[str, Any]] = []
        for vm in self.store.vms():
            brief = {key: value for key, value in self._brief(vm).items() if key not in ("cpus", "pid")}
            place = {"id": f"qemu/{vm.vmid}", "type": "qemu", "node": node, "template": 0}
            found.append(brief | place | {"maxcpu": int(vm.config.get("cores", "1")), "disk": 0})
        found.append(self._node.summary())
        for storage, known in zip(self._node.storages(), self.settings.storages, strict=True):
            entry = {"id": f"storage/{node}/{known.name}", "type": "storage", "node": node, "storage": known.name}
            used = {"disk": storage["used"], "maxdisk": storage["total"], "content": storage["content"], "shared": 0}
            found.append(entry | used | {"status": "available", "plugintype": known.type})
        types = {"vm": "qemu", "storage": "storage", "node": "node", "sdn": "sdn"}
        return [entry for entry in found if kind is None or entry["type"] == types[kind]]


DESTROY = {"purge": "bool", "destroy-unreferenced-disks": "bool", "skiplock": "bool"}
RESIZE = {"disk": r"!(scsi|virtio|sata|ide)\d+", "size": "!size", "digest": "hash", "skiplock": "bool"}
