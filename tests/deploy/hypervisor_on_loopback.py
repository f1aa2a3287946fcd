"""The lab's hypervisor API on 127.0.0.1, real TLS and tokens, with machines that only remember whether they run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clinic.model import Clinic
from clinicpbx.hypervisor import Hypervisor
from clinicpbx.site import ApiAccess
from lab.hypervisor import certs
from lab.hypervisor.errors import failed
from lab.hypervisor.node import Node
from lab.hypervisor.qemu import Qemu
from lab.hypervisor.server import ApiServer, Call, Route
from lab.hypervisor.settings import Settings, Storage, Token
from lab.hypervisor.store import Store
from lab.hypervisor.tasks import Tasks

IMAGE = "clinic-pbx-test.qcow2"


class Machine:
    """A machine without a root: it has a process id while it runs."""

    def __init__(self) -> None:
        self.pid = 0
        self.leader = 0
        self.uptime = 0

    def create(self) -> None: ...

    def destroy(self) -> None:
        self.pid = 0

    def start(self, *_: object) -> None:
        self.pid = 4711

    def stop(self, *_: object, **__: object) -> bool:
        self.pid = 0
        return True


class LightQemu(Qemu):
    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.machines: dict[int, Machine] = {}

    def machine(self, vmid: int) -> Any:
        return self.machines.setdefault(vmid, Machine())


@dataclass(frozen=True)
class Served:
    clinic: Clinic
    qemu: LightQemu
    access: ApiAccess
    journal: Path
    routes: list[Route]

    def refuse(self, method: str, ending: str, reason: str, times: int = 1) -> None:
        """Answer 500 with `reason` to the next requests of this kind, before anything is done."""
        number = next(n for n, r in enumerate(self.routes) if r.method == method and r.template.endswith(ending))
        real, left = self.routes[number], [times]

        def handler(call: Call) -> Any:
            if left[0] > 0:
                left[0] -= 1
                raise failed(reason)
            return real.handler(call)

        self.routes[number] = replace(real, handler=handler)

    def client(self, **changed: Any) -> Hypervisor:
        fields = {name: getattr(self.access, name) for name in ("host", "port", "ca", "token_id", "token_secret")}
        return Hypervisor(ApiAccess(**(fields | changed)), self.clinic.hypervisor.node)


@contextlib.contextmanager
def served(clinic: Clinic, folder: Path) -> Iterator[Served]:
    folder.mkdir(parents=True, exist_ok=True)
    certs.write(folder, "127.0.0.1")
    described, nets = clinic.hypervisor, clinic.networks
    carried = [(n.bridge, n.vlan) for n in (nets.management, nets.voice)]
    carried += [(uplink.bridge, uplink.vlan) for uplink in clinic.uplinks]
    journal = folder / "journal.jsonl"
    settings = Settings(
        lab=99, node=described.node, address="127.0.0.1", port=0, state=str(folder), machines=str(folder / "machines"),
        storages=(
            Storage(described.storage, "lvmthin", ("images", "rootdir")),
            Storage(described.image_storage, "dir", ("import", "iso", "images")),
        ),
        bridges=tuple((bridge, vlan, f"x{vlan}", False) for bridge, vlan in carried),
        tokens=(Token(described.token, "right-secret"), Token("a@pve!auditor", "looks-only", "auditor")),
        images=((IMAGE, str(folder)),), image_storage=described.image_storage, journal=str(journal),
    )  # fmt: skip
    store = Store(folder, described.node)
    tasks = Tasks(described.node, folder / "tasks")
    node = Node(settings, store, tasks)
    qemu = LightQemu(settings, store, tasks, node)
    routes = [*node.routes(), *qemu.routes()]
    server = ApiServer(settings, routes)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    port = int(server.server_address[1])
    access = ApiAccess("127.0.0.1", port, folder / "ca.pem", described.token, "right-secret")
    try:
        yield Served(clinic, qemu, access, journal, routes)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
