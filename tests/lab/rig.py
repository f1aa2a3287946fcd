"""What the lab's own tests share: a plan of a small clinic, sockets in namespaces, a client of the API.

Labs of these tests have the numbers from 51, so that they never meet an engineer's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from proxmoxer import ProxmoxAPI

from lab import netns, process
from lab.plan import HypervisorPlan, LabPlan, TrunkPlan, UplinkPlan, segments

MACS = ("02:00:00:00:01:0a", "02:00:00:00:01:0b", "02:00:00:00:01:0c", "02:00:00:00:01:0d")
PBX = "10.77.10.10"


def plan() -> LabPlan:
    """A clinic with two uplinks and two providers, the second of which knows it by its address."""
    wanted = [
        ("management", "vmbr-mgmt", 10),
        ("voice", "vmbr-voice", 20),
        ("a", "vmbr-wan", 31),
        ("b", "vmbr-wan", 32),
    ]
    return LabPlan(
        uplinks=(
            UplinkPlan("a", IPv4Interface("10.77.31.2/24"), IPv4Address("10.77.31.1"), IPv4Address("198.18.1.2")),
            UplinkPlan("b", IPv4Interface("10.77.32.2/24"), IPv4Address("10.77.32.1"), IPv4Address("198.18.2.2")),
        ),
        trunks=(
            TrunkPlan("main", IPv4Address("198.51.100.10")),
            TrunkPlan("backup", IPv4Address("203.0.113.10"), by_address=True),
        ),
        voice=IPv4Network("10.77.20.0/24"),
        phones_from=IPv4Address("10.77.20.32"),
        phones_to=IPv4Address("10.77.20.250"),
        management=IPv4Network("10.77.10.0/24"),
        pbx=(IPv4Address(PBX), IPv4Address("10.77.20.10")),
        segments=segments(wanted),
        hypervisor=HypervisorPlan(IPv4Address("10.77.10.2"), 8006, "pve1", "deploy@pve!ci", "local-lvm", "local"),
        vmid=100,
        quarantine=(IPv4Address("10.77.20.11"), IPv4Address("10.77.20.30")),
    )


def options(key: str = "") -> dict[str, Any]:
    """Create parameters of the PBX's machine, as a deploy sends them."""
    bridges = ("vmbr-mgmt,tag=10", "vmbr-voice,tag=20", "vmbr-wan,tag=31", "vmbr-wan,tag=32")
    addresses = (f"ip={PBX}/24", "ip=10.77.20.10/24", "ip=10.77.31.2/24,gw=10.77.31.1", "ip=10.77.32.2/24")
    return {
        "vmid": 100, "name": "pbx", "memory": 4096, "cores": 2, "scsihw": "virtio-scsi-single", "machine": "q35",
        "serial0": "socket", "agent": "enabled=1", "boot": "order=scsi0", "ide2": "local-lvm:cloudinit",
        "scsi0": "local-lvm:0,import-from=local:import/clinic-pbx-test.qcow2", "scsi1": "local-lvm:2",
        "ciuser": "engineer", "ciupgrade": 0, "sshkeys": key, "nameserver": "10.77.10.5", "onboot": 1,
        **{f"net{n}": f"virtio={MACS[n]},bridge={bridges[n]}" for n in range(4)},
        **{f"ipconfig{n}": addresses[n] for n in range(4)},
    }  # fmt: skip


_clients: list[ProxmoxAPI] = []


def api(state: dict[str, Any], who: str = "token", secret: str | None = None) -> ProxmoxAPI:
    """A client of the lab's hypervisor. The calling thread must be in the engineer's namespace."""
    at = state["api"]
    user, name = at[f"{who}_id"].split("!")
    value = secret or at[f"{who}_secret"]
    client = ProxmoxAPI(
        at["host"], port=at["port"], user=user, token_name=name, token_value=value, verify_ssl=at["ca"], timeout=20
    )
    _clients.append(client)
    return client


def close_clients() -> None:
    """proxmoxer leaves its connections to the garbage collector, whose warning ends a run in which all passed."""
    while _clients:
        _clients.pop()._store["session"].close()


def ended(client: ProxmoxAPI, upid: str, timeout: float = 60) -> str:
    """The exit status of a task."""
    end = time.monotonic() + timeout
    while (status := client.nodes("pve1").tasks(upid).status.get())["status"] != "stopped":
        assert time.monotonic() < end, f"{upid} still runs after {timeout} s"
        time.sleep(0.05)
    return str(status["exitstatus"])


def banner(namespace: str, timeout: float = 30) -> bytes:
    """The SSH banner of the PBX as seen from a namespace; empty when none comes in time."""
    found: list[bytes] = []

    def ask() -> bool:
        with netns.entered(namespace), socket.socket() as client:
            client.settimeout(1)
            with contextlib.suppress(OSError):
                client.connect((PBX, 22))
                found.append(client.recv(64))
        return any(found)

    process.wait_for(ask, timeout, step=0.05)
    return found[-1] if found else b""


def inside(leader: int | None, command: str) -> str:
    """Run a shell command in a machine."""
    argv = ["nsenter", f"--target={leader}", "--all", "sh", "-c", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


@contextlib.contextmanager
def listening(namespace: str, address: str, port: int) -> Iterator[socket.socket]:
    """A TCP server's socket that lives in a namespace; the thread itself stays where it is."""
    with netns.entered(namespace):
        server = socket.create_server((address, port))
    with server:
        server.settimeout(2)
        yield server


def caller_seen(namespace: str, server: socket.socket) -> str | None:
    """Connect to the server from a namespace: the address it saw, or None when nothing arrived within 1 s."""
    with netns.entered(namespace):
        client = socket.socket()
    with client:
        client.settimeout(1)
        try:
            client.connect(server.getsockname())
        except OSError:
            return None
        peer, (address, _) = server.accept()
        peer.close()
        return str(address)


def image() -> Path | None:
    """The base root to boot: the one that CLINICPBX_LAB_IMAGE names, else the newest that was built here."""
    cache = Path(os.environ.get("CLINICPBX_CACHE", "/var/cache/clinicpbx"))
    built = sorted(cache.glob("image/*/root"), key=lambda root: root.stat().st_mtime)
    named = os.environ.get("CLINICPBX_LAB_IMAGE")
    found = Path(named) if named else built[-1] if built else None
    return found if found and (found / "usr").is_dir() else None
