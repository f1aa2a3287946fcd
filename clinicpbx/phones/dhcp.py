"""What to set in a clinic's own DHCP server when ours does not run: the options of each telephone, as text and JSON.

The provisioning address holds each telephone's first-access token, a secret: both files are their owner's alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clinic.leases import addresses, mac12
from clinic.model import Clinic
from clinic.phones import MODELS
from clinicpbx.errors import ClinicError

OPTIONS = {
    "42": "NTP server",
    "66": "provisioning address (string); the telephone's own, with its first-access token",
    "132": "voice VLAN (string)",
    "160": "as 66, for telephones that look there",
}


def notes(clinic: Clinic, secrets: Mapping[str, str]) -> dict[str, Any]:
    """`network`, what is for `everybody`, and `phones` with their own. ClinicError for a missing secret."""
    without = [p.ext for p in clinic.people if f"first-access/{mac12(p.phone.mac)}" not in secrets]
    if without:
        raise ClinicError(
            f"{len(without)} telephones have no first-access token yet, as {without[0]}.",
            remedy="clinicpbx secrets ensure CLINIC",
        )
    voice, ours = clinic.networks.voice, clinic.provisioning
    time = str(ours.time_server or voice.pbx)
    leases = addresses(clinic)
    phones = []
    for person in sorted(clinic.people, key=lambda p: p.ext):
        url = f"https://{voice.pbx}/f/{secrets[f'first-access/{mac12(person.phone.mac)}']}/"
        phones.append({
            "ext": person.ext, "name": person.name, "model": person.phone.model,
            "vendor": MODELS[person.phone.model].vendor, "mac": person.phone.mac, "address": str(leases[person.ext]),
            "options": {"42": time, "66": url, "132": str(voice.vlan), "160": url},
        })  # fmt: skip
    return {
        "clinic": clinic.name, "network": str(voice.cidr), "vlan": voice.vlan, "range": [str(voice.phones_from),
        str(voice.phones_to)], "gateway": str(voice.gateway) if voice.gateway else None,
        "everybody": {"42": time, "66": f"https://{voice.pbx}/n/", "132": str(voice.vlan)}, "meaning": OPTIONS,
        "phones": phones,
    }  # fmt: skip


def text(found: Mapping[str, Any]) -> str:
    """The notes for a person, and below them ready lines for dnsmasq and ISC dhcpd, which others can be made from."""
    out = [
        f"DHCP for the telephones of {found['clinic']}",
        f"network {found['network']}, VLAN {found['vlan']}, telephones {found['range'][0]} to {found['range'][1]}"
        + (f", router {found['gateway']}" if found["gateway"] else ", no router"),
        "SECRET: the addresses below hold each telephone's first-access token.", "",
        "Options:", *(f"  {code:>4}  {meaning}" for code, meaning in found["meaning"].items()), "",
        "For everybody without an entry of their own:",
        *(f"  {code:>4}  {value}" for code, value in found["everybody"].items()), "",
    ]  # fmt: skip
    for phone in found["phones"]:
        out.append(f"{phone['ext']}  {phone['name']}  {phone['vendor']} {phone['model']}")
        out.append(f"  {phone['mac']}  {phone['address']}")
        out += [f"  {code:>4}  {value}" for code, value in phone["options"].items()]
    out += ["", "dnsmasq:"]
    for phone in found["phones"]:
        tag = f"t{phone['ext']}"
        out.append(f"dhcp-host={phone['mac']},{phone['address']},set:{tag}")
        out += [f"dhcp-option=tag:{tag},{code},{_quoted(code, v)}" for code, v in phone["options"].items()]
    out += ["", "ISC dhcpd (option prov code 160 = text; option vlan132 code 132 = text;):"]
    for phone in found["phones"]:
        values = phone["options"]
        out.append(
            f"host t{phone['ext']} {{ hardware ethernet {phone['mac']}; fixed-address {phone['address']};"
            f' option tftp-server-name "{values["66"]}"; option prov "{values["160"]}";'
            f' option vlan132 "{values["132"]}"; option ntp-servers {values["42"]}; }}'
        )
    return "\n".join(out) + "\n"


def _quoted(code: str, value: str) -> str:
    return value if code == "42" else f'"{value}"'


def write(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """dhcp-notes.txt and dhcp-notes.json, mode 0600 from their first byte."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "dhcp-notes.txt": text(found),
        "dhcp-notes.json": json.dumps(found, ensure_ascii=False, indent=1) + "\n",
    }
    for name, data in contents.items():
        fresh = folder / f".{name}.new"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(data)
        fresh.replace(folder / name)
    return [folder / name for name in contents]


def public(found: Mapping[str, Any]) -> dict[str, Any]:
    """The notes without anything secret: what a terminal and a log may show."""
    phones = [{k: v for k, v in p.items() if k != "options"} for p in found["phones"]]
    return {**found, "phones": phones}
