"""Drives and network cards of a VM's options: allocate, import, give MACs, and say what to boot."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from lab.hypervisor.errors import bad, failed
from lab.hypervisor.node import Node
from lab.hypervisor.params import disk
from lab.hypervisor.settings import Settings
from lab.hypervisor.store import Store, Vm
from lab.machines import Card
from lab.plan import vlan_device
from lab.properties import human, parse, render, size

MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3")


def check(node: Node, store: Store, options: Mapping[str, str]) -> None:
    """Refuse at once what Proxmox refuses at once: unknown storages and import volumes."""
    for key, value in options.items():
        if not disk(key):
            continue
        drive = parse(value, "file")
        file = drive.get("file", "none")
        if file != "none" and ":" in file:
            node.storage(file.partition(":")[0])
        elif file != "none":
            raise bad(**{key: f"invalid format - format error\n{key}.file: invalid format - unable to parse volume ID"})
        source = drive.get("import-from")
        if source:
            volume = store.volume(source)
            if volume is None:
                raise failed(f"volume '{source}' does not exist")
            if volume.content != "import" and volume.content != "images":
                raise bad(**{key: f"import-from: wrong type '{volume.content}' - needs to be 'images' or 'import'"})


def apply(node: Node, store: Store, vm: Vm, options: Mapping[str, str]) -> None:
    """Put options into the VM's configuration, allocating the drives that they ask for (`STORE:GiB`)."""
    for key, value in options.items():
        if disk(key):
            value = _drive(node, store, vm, value)
        elif key.startswith("net") and key[3:].isdigit():
            value = _card(value)
        vm.config[key] = value


def further(vm: Vm) -> dict[str, int]:
    """Drives besides the one with the imported image: name -> bytes."""
    found = {}
    for key, value in vm.config.items():
        drive = parse(value, "file") if disk(key) else {}
        if drive and drive.get("media") != "cdrom" and key != boot_drive(vm):
            found[key] = size(drive.get("size", "1G"))
    return found


def boot_drive(vm: Vm) -> str:
    """The first drive of the boot order, else scsi0."""
    order = parse(vm.config.get("boot", "")).get("order", "scsi0").split(";")
    return next((name for name in order if disk(name)), "scsi0")


def cards(vm: Vm, settings: Settings) -> tuple[Card, ...]:
    """Cards in the order net0, net1... Raises failed() for a bridge that the hypervisor does not have."""
    keys = sorted((k for k in vm.config if k.startswith("net") and k[3:].isdigit()), key=lambda k: int(k[3:]))
    found = []
    for key in keys:
        net = parse(vm.config[key])
        mac = next(net[model] for model in MODELS if model in net)
        device = _device(settings, net.get("bridge", ""), int(net.get("tag", "0")))
        found.append(Card(int(key[3:]), mac.lower(), device, net.get("link_down", "0") != "1"))
    return tuple(found)


def _device(settings: Settings, bridge: str, tag: int) -> str:
    known = [entry for entry in settings.bridges if entry[0] == bridge]
    if not known:
        raise failed(f"bridge '{bridge}' does not exist")
    for _, vlan, device, untagged in known:
        if tag == vlan or (not tag and untagged):
            return device
    return vlan_device(bridge, tag)  # a VLAN where nobody else is


def _drive(node: Node, store: Store, vm: Vm, value: str) -> str:
    drive = parse(value, "file")
    storage, _, rest = drive["file"].partition(":")
    source = drive.pop("import-from", None)
    if rest == "cloudinit":
        return render({**drive, "file": f"{storage}:vm-{vm.vmid}-cloudinit", "media": "cdrom"}, "file")
    if source:
        volume = store.volume(source)
        if volume is None or not volume.root:
            raise failed(f"the lab boots only its own base image, not '{source}'")
        vm.image = volume.root
        made = node.allocate(storage, vm.vmid, volume.size)
    elif rest.replace(".", "", 1).isdigit():
        made = node.allocate(storage, vm.vmid, int(float(rest) * (1 << 30)))
    else:
        return value
    return render({**drive, "file": made.volid, "size": human(made.size)}, "file")


def _card(value: str) -> str:
    """Without a MAC address Proxmox invents one; the MAC is upper case in the configuration."""
    net = parse(value, "model")
    if "model" in net:
        net = {net["model"]: _mac()} | {k: v for k, v in net.items() if k != "model"}
    return render({k: v.upper() if k in MODELS else v for k, v in net.items()})


def _mac() -> str:
    return "BC:24:11:" + ":".join(f"{byte:02X}" for byte in secrets.token_bytes(3))
