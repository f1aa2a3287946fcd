"""`python -m lab.hypervisor SETTINGS`: serve one lab's hypervisor until told to end. Runs inside its namespace."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path

from lab.hypervisor.node import Node
from lab.hypervisor.qemu import Qemu
from lab.hypervisor.server import ApiServer
from lab.hypervisor.settings import Settings
from lab.hypervisor.snapshots import Snapshots
from lab.hypervisor.store import Store
from lab.hypervisor.tasks import Tasks


def main() -> None:
    settings = Settings.load(Path(sys.argv[1]))
    store = Store(settings.folder, settings.node)
    for vm in store.vms():  # a daemon that died within an action left its lock
        if vm.lock == "create":
            store.forget(vm.vmid)
        elif vm.lock:
            vm.lock = None
            store.save(vm)
    tasks = Tasks(settings.node, settings.folder / "tasks")
    node = Node(settings, store, tasks)
    qemu = Qemu(settings, store, tasks, node)
    server = ApiServer(settings, [*node.routes(), *qemu.routes(), *Snapshots(qemu).routes()])
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.5}, daemon=True).start()
    (settings.folder / "ready").touch()
    # Machines are our children: ignoring their end keeps them from staying as zombies.
    with contextlib.suppress(KeyboardInterrupt):
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.server_close()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
