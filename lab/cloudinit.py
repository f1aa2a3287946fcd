"""The NoCloud seed of a machine, written as Proxmox VE writes it from the ci* options. Pure: no I/O.

Source: PVE::QemuServer::Cloudinit (user-data, network-config version 1, instance id = digest of the content).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from ipaddress import IPv4Interface
from typing import Any
from urllib.parse import unquote

from lab.properties import parse


def seed(config: Mapping[str, str]) -> dict[str, str]:
    """File name -> content. JSON is YAML, so no YAML writer is needed."""
    user = _user_data(config)
    network = json.dumps(_network(config), indent=1)
    instance = hashlib.sha1((user + network).encode(), usedforsecurity=False).hexdigest()
    return {"user-data": user, "network-config": network, "meta-data": f"instance-id: {instance}\n"}


def _user_data(config: Mapping[str, str]) -> str:
    name = config.get("name", "VM")
    data: dict[str, Any] = {"hostname": name, "manage_etc_hosts": True, "fqdn": name}
    if config.get("searchdomain"):
        data["fqdn"] = f"{name}.{config['searchdomain']}"
    if config.get("ciuser"):
        data["user"] = config["ciuser"]
        data["disable_root"] = config["ciuser"] != "root"
    if config.get("cipassword"):
        data["password"] = config["cipassword"]
    keys = [key for key in unquote(config.get("sshkeys", "")).splitlines() if key.strip()]
    if keys:
        data["ssh_authorized_keys"] = keys
    data |= {"chpasswd": {"expire": False}, "users": ["default"]}
    data["package_upgrade"] = config.get("ciupgrade", "1") == "1"
    return "#cloud-config\n" + json.dumps(data, indent=1) + "\n"


def _network(config: Mapping[str, str]) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    for key in sorted((k for k in config if k.startswith("net") and k[3:].isdigit()), key=lambda k: int(k[3:])):
        net, ip = parse(config[key]), parse(config.get(f"ipconfig{key[3:]}", ""))
        mac = next((net[model] for model in ("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3") if model in net), "")
        subnets: list[dict[str, str]] = []
        if ip.get("ip") == "dhcp":
            subnets.append({"type": "dhcp4"})
        elif "ip" in ip:
            address = IPv4Interface(ip["ip"])
            subnet = {"type": "static", "address": str(address.ip), "netmask": str(address.netmask)}
            subnets.append(subnet | ({"gateway": ip["gw"]} if "gw" in ip else {}))
        entries.append({"type": "physical", "name": f"eth{key[3:]}", "mac_address": mac.lower(), "subnets": subnets})
    if config.get("nameserver"):
        search = {"search": [config["searchdomain"]]} if config.get("searchdomain") else {}
        entries.append({"type": "nameserver", "address": config["nameserver"].split(), **search})
    return {"version": 1, "config": entries}
