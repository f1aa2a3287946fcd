"""Which parameters each call takes, and the checks that Proxmox makes before it acts. Pure: no I/O.

A rule is a regular expression over the whole value, or one of the named kinds below. `!` before the kind
marks a parameter that must be given. Source: the published API schema, narrowed to what the lab serves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lab.hypervisor.errors import ApiError

TRUE, FALSE = ("1", "on", "yes", "true"), ("0", "off", "no", "false")
KINDS = {
    "bool": r"(?i:1|on|yes|true|0|off|no|false)",
    "int": r"[+-]?\d+",
    "number": r"\d+(\.\d+)?",
    "str": r"[\s\S]*",
    "vmid": r"[1-9]\d{2,8}",
    "id": r"(?i:[a-z][a-z0-9_-]+)",
    "storage": r"(?i:[a-z][a-z0-9._-]*[a-z0-9])",
    "dns": r"(?i:[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)",
    "net": r"(virtio|e1000e?|rtl8139|vmxnet3|model)(=[0-9A-Fa-f:]{17})?(,[a-z_]+=[^,]+)*",
    "ipconfig": r"(ip|gw|ip6|gw6)=[^,]+(,(ip|gw|ip6|gw6)=[^,]+)*",
    "tags": r"(?i:[a-z0-9_][a-z0-9_\-+.]*([;, ][a-z0-9_][a-z0-9_\-+.]*)*)?",
    "startup": r"(order=)?\d+(,up=\d+)?(,down=\d+)?|up=\d+(,down=\d+)?|down=\d+",
    "encoded": r"[-%a-zA-Z0-9_.!~*'()]*",
    "size": r"\+?\d+(\.\d+)?[KMGT]?",
    "hash": r"[0-9a-fA-F]+",
}
_COMMON = {
    "acpi": "bool", "agent": "str", "arch": "x86_64|aarch64", "autostart": "bool", "balloon": "int",
    "bios": "seabios|ovmf", "boot": "str", "cicustom": "str", "cipassword": "str",
    "citype": "configdrive2|nocloud|opennebula",
    "ciupgrade": "bool", "ciuser": "str", "cores": "int", "cpu": "str", "cpulimit": "number", "cpuunits": "int",
    "description": "str", "hotplug": "str", "kvm": "bool", "localtime": "bool", "machine": "str", "memory": "str",
    "name": "dns", "nameserver": "str", "numa": "bool", "onboot": "bool", "ostype": "[a-z0-9]+", "protection": "bool",
    "rng0": "str", "scsihw": "lsi|lsi53c810|virtio-scsi-pci|virtio-scsi-single|megasas|pvscsi", "searchdomain": "str",
    "smbios1": "str", "sockets": "int", "sshkeys": "encoded", "startup": "startup", "tablet": "bool", "tags": "tags",
    "template": "bool", "vcpus": "int", "vga": "str", "watchdog": "str", "efidisk0": "str", "tpmstate0": "str",
}  # fmt: skip
_NUMBERED = {"net": ("net", 32), "ipconfig": ("ipconfig", 32), "ide": ("str", 4), "sata": ("str", 6),
             "scsi": ("str", 31), "virtio": ("str", 16), "serial": (r"socket|/dev/.+", 4),
             "unused": ("str", 256)}  # fmt: skip
QEMU = "qemu options"
CREATE = {QEMU: "", "vmid": "!vmid", "start": "bool", "storage": "storage", "pool": "str", "unique": "bool",
          "force": "bool", "archive": "str", "live-restore": "bool", "bwlimit": "int"}  # fmt: skip
UPDATE = {QEMU: "", "digest": "hash", "delete": "str", "revert": "str", "force": "bool", "skiplock": "bool",
          "background_delay": "int", "import-working-storage": "storage"}  # fmt: skip
INTEGERS = {"balloon", "cores", "cpuunits", "sockets", "vcpus"} | {k for k, kind in _COMMON.items() if kind == "bool"}
"""Options that a configuration answers as numbers."""


def check(rules: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """The values, booleans as 0 or 1. Raises the 400 that names every wrong parameter."""
    errors: dict[str, str] = {}
    good: dict[str, str] = {}
    for name, value in values.items():
        rule = rules.get(name) or (_option(name) if QEMU in rules else None)
        if rule is None:
            errors[name] = "property is not defined in schema and the schema does not allow additional properties"
            continue
        kind = rule.lstrip("!")
        if not re.fullmatch(KINDS.get(kind, kind), value):
            errors[name] = _complaint(kind, value)
        good[name] = str(int(value.lower() in TRUE)) if kind == "bool" else value
    for name, rule in rules.items():
        if rule.startswith("!") and name not in values:
            errors[name] = "property is missing and it is not optional"
    if errors:
        raise ApiError(400, "Parameter verification failed.", errors)
    return good


def disk(name: str) -> bool:
    """Whether an option names a drive, a CD included."""
    match = re.fullmatch(r"(scsi|virtio|sata|ide)\d+", name)
    return bool(match) and _option(name) is not None


def _option(name: str) -> str | None:
    if name in _COMMON:
        return _COMMON[name]
    match = re.fullmatch(r"([a-z]+)(0|[1-9]\d*)", name)
    if match and match[1] in _NUMBERED:
        kind, count = _NUMBERED[match[1]]
        return kind if int(match[2]) < count else None
    return None


def _complaint(kind: str, value: str) -> str:
    if kind in ("int", "number", "vmid"):
        return f"type check ('{'number' if kind == 'number' else 'integer'}') failed - got '{value[:80]}'"
    if kind == "bool":
        return f"type check ('boolean') failed - got '{value[:80]}'"
    return "invalid format - value does not match the regex pattern\n"
