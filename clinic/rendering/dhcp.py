"""Kea's configuration: the voice network's addresses, and where telephones find their files. Source: Kea 2.6's manual.

A telephone's address is its own for ever; an unknown MAC address gets one of the quarantine, where nothing but
provisioning answers (clinic/rendering/firewall.py), or none. Contains the first doors' tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from clinic.leases import addresses, mac12
from clinic.model import Clinic

LEASE, RENEW, REBIND = 7200, 300, 5400
"""Seconds. Asked often: an address that the description gives to another telephone is free when its holder asks again.
Kept long, for a server that is away."""
QUARANTINED = 120
"""Seconds of a lease in quarantine: who becomes known need not wait for the description's address."""
VLAN, URL = 132, 160
"""Options of no standard that telephones read: the voice VLAN, and the provisioning address again."""


def dhcp(clinic: Clinic, secrets: Mapping[str, str], card: str) -> str:
    """The whole of kea-dhcp4.conf for the server on this network card. A missing secret is a KeyError."""
    voice, provisioning = clinic.networks.voice, clinic.provisioning
    leases = addresses(clinic)
    server = f"https://{voice.pbx}"
    known = [
        {
            "hw-address": person.phone.mac.lower().replace("-", ":"),
            "ip-address": str(leases[person.ext]),
            "option-data": _where(f"{server}/f/{secrets[f'first-access/{mac12(person.phone.mac)}']}/"),
        }
        for person in clinic.people
    ]
    pools: list[dict[str, Any]] = []
    if provisioning.quarantine:
        pool = {"pool": str(provisioning.quarantine), "client-class": "quarantine"}
        pools.append({**pool, "option-data": _where(f"{server}/n/")})
    everyone = [
        _option("ntp-servers", str(provisioning.time_server or voice.pbx)),
        {"code": VLAN, "data": str(voice.vlan)},
    ]
    if voice.gateway:
        everyone.append(_option("routers", str(voice.gateway)))
    wanted = {
        "interfaces-config": {
            # A telephone without an address is answered by its MAC address: only raw sockets can.
            "interfaces": [f"{card}/{voice.pbx}"], "dhcp-socket-type": "raw",
            "service-sockets-max-retries": 30, "service-sockets-retry-wait-time": 1000,
        },
        "lease-database": {"type": "memfile", "name": "/var/lib/kea/kea-leases4.csv", "lfc-interval": 3600},
        "authoritative": True,
        # A telephone is its MAC address, whatever it calls itself after an update.
        "match-client-id": False,
        "host-reservation-identifiers": ["hw-address"],
        "reservations-global": False, "reservations-in-subnet": True, "reservations-out-of-pool": True,
        "valid-lifetime": LEASE, "renew-timer": RENEW, "rebind-timer": REBIND,
        "client-classes": [
            {"name": "quarantine", "test": "not member('KNOWN')", "valid-lifetime": QUARANTINED},
        ],
        "option-def": [{"name": f"telephone-{code}", "code": code, "type": "string"} for code in (VLAN, URL)],
        "subnet4": [
            {
                "id": 1, "subnet": str(voice.cidr), "interface": card, "option-data": everyone, "pools": pools,
                "reservations": known,
            }
        ],
        # No line for every lease: telephones renew all day.
        "loggers": [
            {"name": "kea-dhcp4", "severity": "WARN", "output-options": [{"output": "stdout", "pattern": "%-5p %m%n"}]}
        ],
    }  # fmt: skip
    return json.dumps({"Dhcp4": wanted}, ensure_ascii=False, indent=1) + "\n"


def _option(name: str, data: str) -> dict[str, Any]:
    return {"name": name, "data": data}


def _where(url: str) -> list[dict[str, Any]]:
    """The provisioning address, sent whether it was asked for or not: telephones differ in what they ask."""
    return [{**_option("tftp-server-name", url), "always-send": True}, {"code": URL, "data": url}]
