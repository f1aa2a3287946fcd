"""The parts that a lab starts over its network, in order. Each is started, asked and stopped alike.

A part's `start` must do nothing when the part runs already, and return what belongs into the state file.
"""

from __future__ import annotations

import secrets as random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from clinicpbx.errors import ClinicError
from lab import netns, process, state
from lab.hypervisor.settings import Settings, Storage, Token
from lab.machines import Machine, tail
from lab.plan import LabPlan
from lab.topology import Topology

PROJECT = Path(__file__).resolve().parent.parent
API_SECONDS = 10
EVERYTHING = ("images", "rootdir", "iso", "vztmpl", "import", "backup", "snippets")


@dataclass(frozen=True)
class Context:
    """What a part may need. `clinic` is the typed description or None for a lab of network and hypervisor only."""

    lab: int
    plan: LabPlan
    topology: Topology
    clinic: Any = None
    image: Path | None = None
    image_name: str = "clinic-pbx.qcow2"
    tools: Path | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    journal: Path | None = None

    @property
    def run(self) -> Path:
        return state.run_folder(self.lab)


class Component(Protocol):
    """A part of the lab."""

    name: str

    def start(self, context: Context) -> dict[str, Any]: ...
    def stop(self, lab: int) -> None: ...
    def status(self, lab: int) -> str: ...


class HypervisorComponent:
    """The API daemon and the machines that it made."""

    name = "hypervisor"

    def start(self, context: Context) -> dict[str, Any]:
        folder = context.run / "hypervisor"
        folder.mkdir(parents=True, exist_ok=True)
        settings_file, pid_file = folder / "settings.json", folder / "pid"
        if not process.recall(pid_file):
            from lab.hypervisor import certs  # here, so that cleaning up needs no third-party library

            settings = _settings(context, folder)
            Path(settings.machines).mkdir(parents=True, exist_ok=True)
            certs.write(folder, settings.address)
            settings.save(settings_file)
            (folder / "ready").unlink(missing_ok=True)
            launch(
                ["-m", "lab.hypervisor", str(settings_file)],
                namespace=context.topology.ns("hv"),
                pid_file=pid_file,
                log=folder / "log",
                ready=folder / "ready",
            )
        settings = Settings.load(settings_file)
        token, auditor = settings.tokens
        return {
            "api": {
                "host": settings.address,
                "port": settings.port,
                "node": settings.node,
                "ca": str(folder / "ca.pem"),
                "token_id": token.id,
                "token_secret": token.secret,
                "auditor_id": auditor.id,
                "auditor_secret": auditor.secret,
                "journal": settings.journal,
            },
            "image": {"name": settings.images[0][0] if settings.images else None},
        }

    def stop(self, lab: int) -> None:
        pid_file = state.run_folder(lab) / "hypervisor/pid"
        if pid := process.recall(pid_file):
            process.stop(pid)
        pid_file.unlink(missing_ok=True)
        for machine in machines(lab):
            machine.destroy()

    def status(self, lab: int) -> str:
        if not process.recall(state.run_folder(lab) / "hypervisor/pid"):
            return "stopped"
        running = [str(machine.vmid) for machine in machines(lab) if machine.pid]
        return f"running, machines on: {', '.join(running) or 'none'}"


def machines(lab: int) -> list[Machine]:
    """Every machine that has disks or a pid file, on or off."""
    run, disks = state.run_folder(lab), state.disk_folder(lab) / "machines"
    found = {int(folder.name) for folder in disks.glob("*") if folder.name.isdigit()}
    found |= {int(file.stem[2:]) for file in run.glob("vm*.pid") if file.stem[2:].isdigit()}
    return [Machine(lab, vmid, disks / str(vmid), run) for vmid in sorted(found)]


def launch(argv: list[str], *, namespace: str, pid_file: Path, log: Path, ready: Path) -> int:
    """Start a Python daemon of ours in a namespace, in a session of its own, and wait for its `ready` file.

    Raises ClinicError with the end of its log when it does not come up.
    """
    with netns.entered(namespace), log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd=PROJECT,
        )
    process.remember(pid_file, child.pid)
    if not process.wait_for(lambda: ready.exists() or child.poll() is not None, API_SECONDS) or not ready.exists():
        process.stop(child.pid, timeout=1)
        raise ClinicError(f"{argv[1]} does not start: {tail(log)}", remedy="scripts/clean, then lab up again")
    process.detach(child)
    return child.pid


def _settings(context: Context, folder: Path) -> Settings:
    hyper, segments = context.plan.hypervisor, context.plan.segments
    if hyper.storage == hyper.image_storage:
        storages: tuple[Storage, ...] = (Storage(hyper.storage, "dir", EVERYTHING),)
    else:
        files = tuple(kind for kind in EVERYTHING if kind not in ("images", "rootdir"))
        disks = Storage(hyper.storage, "lvmthin", ("images", "rootdir"))
        storages = (disks, Storage(hyper.image_storage, "dir", files))
    shared = [segment.bridge for segment in segments]
    user = hyper.token.partition("!")[0]
    return Settings(
        lab=context.lab,
        node=hyper.node,
        address=str(hyper.api),
        port=hyper.port,
        state=str(folder),
        machines=str(state.disk_folder(context.lab) / "machines"),
        storages=storages,
        bridges=tuple((s.bridge, s.vlan, s.device, shared.count(s.bridge) == 1) for s in segments),
        tokens=(Token(hyper.token, random.token_hex(16)), Token(f"{user}!auditor", random.token_hex(16), "auditor")),
        images=((context.image_name, str(context.image)),) if context.image else (),
        image_storage=hyper.image_storage,
        journal=str(context.journal) if context.journal else None,
    )
