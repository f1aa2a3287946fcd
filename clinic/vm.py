"""The PBX's virtual machine as the hypervisor must have it: creation parameters, and what differs. Pure.

Parameters are those of `POST /nodes/{node}/qemu` (Proxmox VE API); source: the published API schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Interface
from typing import Any
from urllib.parse import quote, unquote

from clinic.model import Clinic

USER = "clinic"
SYSTEM_DISK = "scsi0"
RECORDINGS_DISK = "scsi1"
_GIB = {"": 2**-30, "K": 2**-20, "M": 2**-10, "G": 1, "T": 2**10}
# Compared as text; what Proxmox adds by itself (digest, vmgenid, smbios1, meta) is none of ours.
_COMPARED = ("name", "cores", "memory", "scsihw", "machine", "boot", "onboot", "ciuser")


def cards(clinic: Clinic) -> list[dict[str, str]]:
    """Network cards in order: management, voice, uplinks. Each has `net` and `ip` as Proxmox writes them."""
    nets, vm = clinic.networks, clinic.hypervisor.vm
    wanted = [(net.bridge, net.vlan, f"ip={IPv4Interface((net.pbx, net.cidr.prefixlen))}")
              for net in (nets.management, nets.voice)]  # fmt: skip
    for number, uplink in enumerate(clinic.uplinks):
        gateway = f",gw={uplink.gateway}" if number == 0 else ""
        wanted.append((uplink.bridge, uplink.vlan, f"ip={uplink.address}{gateway}"))
    return [
        {"net": f"virtio={mac},bridge={bridge},tag={vlan}", "ip": ip}
        for mac, (bridge, vlan, ip) in zip(vm.macs, wanted, strict=True)
    ]


def creation(clinic: Clinic, image: str, ssh_key: str) -> dict[str, Any]:
    """Parameters that make the machine: `image` is the import volume's file name, `ssh_key` the toolkit's own."""
    hypervisor, vm = clinic.hypervisor, clinic.hypervisor.vm
    parameters: dict[str, Any] = {
        "vmid": vm.id,
        "name": vm.name,
        "ostype": "l26",
        "machine": "q35",
        "cpu": "host",
        "cores": vm.cores,
        "memory": vm.memory_mib,
        "scsihw": "virtio-scsi-single",
        SYSTEM_DISK: f"{hypervisor.storage}:0,import-from={hypervisor.image_storage}:import/{image}",
        RECORDINGS_DISK: f"{hypervisor.storage}:{vm.recordings_gib}",
        "ide2": f"{hypervisor.storage}:cloudinit",
        "boot": f"order={SYSTEM_DISK}",
        "serial0": "socket",
        "onboot": 1,
        "ciuser": USER,
        "ciupgrade": 0,
        "sshkeys": quote(ssh_key.strip(), safe=""),
    }
    for number, card in enumerate(cards(clinic)):
        parameters[f"net{number}"] = card["net"]
        parameters[f"ipconfig{number}"] = card["ip"]
    return parameters


def later(clinic: Clinic) -> dict[str, Any]:
    """What is set last: tags need no permission on the pool then; `startup` may need Sys.Modify.

    So a machine of ours without `startup` is one whose creation was interrupted.
    """
    vm = clinic.hypervisor.vm
    return {"tags": ";".join(vm.tags), "startup": f"order={vm.start_order}"}


def is_ours(clinic: Clinic, found: Mapping[str, Any]) -> bool:
    """Whether an existing machine with our id is the clinic's: its management card has the description's MAC."""
    return clinic.hypervisor.vm.macs[0] in str(found.get("net0", "")).lower()


def is_unfinished(found: Mapping[str, Any]) -> bool:
    """Whether creation was interrupted before its last step."""
    return "startup" not in found


def disk_gib(found: Mapping[str, Any], disk: str) -> float | None:
    """A disk's size as the configuration tells it (`store:vm-120-disk-0,size=32G`), in GiB."""
    match = re.search(r"(?:^|,)size=([0-9.]+)([KMGT]?)", str(found.get(disk, "")))
    return float(match[1]) * _GIB[match[2]] if match else None


def differences(clinic: Clinic, found: Mapping[str, Any], ssh_key: str) -> list[str]:
    """How an existing machine differs from the description, each as `setting: has X, should be Y`."""
    wanted = creation(clinic, "", ssh_key)
    pairs = [(key, str(found.get(key, "")), str(wanted[key])) for key in _COMPARED]
    pairs.append(("tags", _tags(str(found.get("tags", ""))), _tags(str(later(clinic)["tags"]))))
    pairs.append(("startup", str(found.get("startup", "")), str(later(clinic)["startup"])))
    pairs.append(("sshkeys", unquote(str(found.get("sshkeys", ""))).strip(), unquote(wanted["sshkeys"])))
    for number, card in enumerate(cards(clinic)):
        pairs.append((f"net{number}", _options(str(found.get(f"net{number}", ""))), _options(card["net"])))
        pairs.append((f"ipconfig{number}", _options(str(found.get(f"ipconfig{number}", ""))), _options(card["ip"])))
    for disk, gib in (
        (SYSTEM_DISK, clinic.hypervisor.vm.disk_gib),
        (RECORDINGS_DISK, clinic.hypervisor.vm.recordings_gib),
    ):
        has = disk_gib(found, disk)
        pairs.append((disk, "" if has is None else f"{has:g} GiB", f"{gib} GiB"))
    out = [f"{key}: has {have or 'nothing'}, should be {want}" for key, have, want in pairs if have != want]
    surplus = [
        key for key in found if key.startswith("net") and key[3:].isdigit() and int(key[3:]) >= len(cards(clinic))
    ]
    return out + [f"{key}: has {found[key]}, should not exist" for key in sorted(surplus)]


def _options(text: str) -> str:
    """`virtio=AA:..,bridge=x,tag=2` in a canonical order and case, so that only real differences show."""
    parts = sorted(p.strip() for p in text.split(",") if p.strip())
    return ",".join(
        p.lower() if "=" in p and p.count(":") == 5 else p for p in parts if not p.startswith("link_down=0")
    )


def _tags(text: str) -> str:
    return ";".join(sorted(t for t in text.replace(",", ";").split(";") if t))
