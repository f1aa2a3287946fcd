"""What the guard says about an account: who, where and at which switch port. No secrets. Read by services/guard."""

from __future__ import annotations

import json

from clinic.model import Clinic


def guard(clinic: Clinic) -> str:
    """JSON: clinic, language, phones [first, last address], people {ext: {...}}, trunks {name: provider},
    uplinks {name: ISP}, switches {name: where it is}, off_minutes (a telephone off for so long is told of)."""
    voice = clinic.networks.voice
    people = {
        person.ext: {
            "name": person.name,
            "department": clinic.departments[person.department].name,
            "room": person.room or "",
            "socket": person.phone.socket,
            "switch": person.phone.switch,
            "port": person.phone.port,
            "encrypted": clinic.encrypts(person),
        }
        for person in clinic.people
    }
    wanted = {
        "clinic": clinic.name,
        "language": clinic.language,
        "phones": [str(voice.phones_from), str(voice.phones_to)],
        "people": people,
        "trunks": {trunk.name: trunk.provider for trunk in clinic.trunks},
        "uplinks": {uplink.name: uplink.isp for uplink in clinic.uplinks},
        "switches": {name: switch.location for name, switch in clinic.switches.items()},
        "off_minutes": clinic.provisioning.off_minutes,
    }
    return json.dumps(wanted, ensure_ascii=False, indent=1) + "\n"
