"""Bring a whole lab up, take it down, say what stands. `up` may be repeated, also after a crash."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clinicpbx.errors import ClinicError
from lab import clean, netns, network, state, topology
from lab.alerts import AlertsComponent
from lab.components import Component, Context, HypervisorComponent, machines
from lab.dhcpd import DhcpComponent
from lab.dns import DnsComponent
from lab.phones import PhonesComponent
from lab.plan import LabPlan
from lab.providers import ProvidersComponent
from lab.pstn import PstnComponent

HIGHEST = 99
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
PROGRAMS = {
    "ip": "iproute2",
    "nft": "nftables",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "losetup": "mount",
}
CORE: tuple[Component, ...] = (
    HypervisorComponent(), ProvidersComponent(), PstnComponent(), AlertsComponent(), DnsComponent(),
    DhcpComponent(), PhonesComponent(),
)  # fmt: skip


def up(
    clinic: Any,
    lab: int = 0,
    *,
    image: Path | None = None,
    image_name: str = "clinic-pbx.qcow2",
    tools: Path | None = None,
    secrets: Mapping[str, str] | None = None,
    clinic_path: Path | None = None,
    components: Sequence[Component] = CORE,
    journal: Path | None = None,
) -> dict[str, Any]:
    """Everything running; returns the state that is also in the state file.

    `clinic`: the typed description, or a LabPlan. `image`: the base root's directory, offered by the hypervisor
    as import volume `image_name`. A part that runs already is left alone; a network that is incomplete
    or of another plan is built anew, with all that stood on it. Raises ClinicError.
    """
    if os.geteuid():
        raise ClinicError("the lab needs root: it makes network namespaces and machines", remedy="run it with sudo")
    absent = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=SEARCH)]
    if absent:
        raise ClinicError("the lab misses programs of this machine", remedy=f"apt-get install {' '.join(absent)}")
    if not 0 <= lab <= HIGHEST:
        raise ClinicError(f"lab number {lab} is not within 0 to {HIGHEST}", remedy="choose another --lab")
    if image is not None and not (image / "usr").is_dir():
        raise ClinicError(f"the base image {image} holds no system", remedy="clinicpbx bundle")
    plan = clinic if isinstance(clinic, LabPlan) else LabPlan.from_clinic(clinic)
    try:
        wanted = topology.derive(plan, lab)
    except ValueError as error:
        raise ClinicError(f"the lab cannot rehearse this clinic: {error}", remedy="change the description") from error
    mark = {"plan": repr(plan), "image_path": str(image), "image_name": image_name}
    old = state.load(lab) if state.exists(lab) else {}
    if any(old.get(key) != value for key, value in mark.items()) or not network.standing(wanted):
        clean.lab(lab)
        try:
            network.build(wanted)
        except netns.CommandError as error:
            network.remove(lab)
            raise ClinicError(f"the lab's network cannot be built: {error}", remedy="scripts/clean") from error
    state.run_folder(lab).mkdir(parents=True, exist_ok=True)
    state.run_folder(lab).chmod(0o711)
    now: dict[str, Any] = (
        old
        | mark
        | {
            "lab": lab,
            "clinic": getattr(clinic, "name", ""),
            "clinic_path": str(clinic_path) if clinic_path else None,
            "namespaces": wanted.namespaces,
            "routers": {uplink.name: wanted.ns(topology.router(uplink.name)) for uplink in plan.uplinks},
            "engineer": str(wanted.engineer),
            "started": int(time.time()),
        }
    )
    context = Context(
        lab,
        plan,
        wanted,
        None if isinstance(clinic, LabPlan) else clinic,
        image,
        image_name,
        tools,
        secrets or {},
        journal,
    )
    for component in components:
        now |= component.start(context)
        state.save(lab, now)  # after each part, so that a crash in the next one leaves a true file
    return now


def down(lab: int = 0, components: Sequence[Component] = CORE) -> None:
    """Stop every part, the last first, then remove all that is left. Nothing up is no error."""
    for component in reversed(components):
        component.stop(lab)
    clean.lab(lab)


def status(lab: int = 0, components: Sequence[Component] = CORE) -> dict[str, Any]:
    """`{"up": bool, "namespaces": n, "parts": {name: text}, "machines": {vmid: {...}}}`; never raises for a lab
    that is down."""
    known = state.load(lab) if state.exists(lab) else {}
    return {
        "up": bool(known) and all(netns.exists(name) for name in known["namespaces"].values()),
        "clinic": known.get("clinic"),
        "namespaces": len(netns.listed(topology.namespace(lab, ""))),
        "parts": {component.name: component.status(lab) for component in components},
        "machines": {
            str(m.vmid): {
                "ns": m.namespace,
                "pid": m.pid,
                "leader": m.leader,
                "uptime": m.uptime,
                "console": str(m.console),
                "root": f"/proc/{m.leader}/root" if m.leader else None,
            }
            for m in machines(lab)
        },
    }
