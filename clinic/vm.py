"""The PBX's virtual machine as the hypervisor must have it: creation parameters, and what differs. Pure.

Parameters are those of `POST /nodes/{node}/qemu` (Proxmox VE API); source: the published API schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Interface
from typing import Any
from urllib.parse import quote, unquote

from clinic.model import Clinic

USER = "clinic"
SYSTEM_DISK = "scsi0"
RECORDINGS_DISK = "scsi1"
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
    """Parameters that make the machine. `image` is the import volume's file name, `ssh_key` the toolkit's public key."""
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
    """What is set after creation: tags need no permission on the pool then; `startup` may need Sys.Modify."""
    vm = clinic.hypervisor.vm
    return {"tags": ";".join(vm.tags), "startup": f"order={vm.start_order}"}


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
