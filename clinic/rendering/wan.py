"""What the watchdog must know of the clinic, with its passwords. Read by services/wan."""

from __future__ import annotations

import json
from collections.abc import Mapping

from clinic.model import Clinic


def wan(clinic: Clinic, secrets: Mapping[str, str]) -> str:
    """JSON: uplinks in their order, anchors, providers, limits, the AMI's secret. A missing secret is a KeyError."""
    uplinks = [
        {
            "name": uplink.name, "address": str(uplink.address.ip), "gateway": str(uplink.gateway),
            "external": str(uplink.external_address),
        }
        for uplink in clinic.uplinks
    ]  # fmt: skip
    providers = [
        {
            "name": trunk.name, "server": str(trunk.server), "port": trunk.port, "one": trunk.contacts == "one",
            "user": trunk.username or "" if trunk.auth == "registration" else "",
            "password": secrets[f"trunk/{trunk.name}"] if trunk.auth == "registration" else "",
        }
        for trunk in clinic.trunks
        if trunk.enabled
    ]  # fmt: skip
    wanted = {
        "uplinks": uplinks,
        "anchors": [str(anchor) for anchor in clinic.wan.anchors],
        "providers": providers,
        "resolvers": [str(resolver) for resolver in clinic.resolvers],
        "loss_percent": clinic.wan.loss_percent,
        "return_seconds": 60 * clinic.wan.return_minutes,
        "secret": secrets["ami/wan"],
    }
    return json.dumps(wanted, ensure_ascii=False, indent=1) + "\n"
