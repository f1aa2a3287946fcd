"""What clinic-provisioning must know and hold: its index, and the telephones' files by their path on the PBX. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256

from clinic.leases import addresses
from clinic.model import Clinic
from clinic.phones import MODELS
from clinic.rendering.phones import phonebooks, phones, shared
from clinic.secrets import TLS_CA, certificate_of

HOME = "/var/lib/clinicpbx/phones"
BOOKS = {"phonebook.xml": "{}.xml", "phonebook-yealink.xml": "{}-yealink.xml"}
"""A phonebook's name as telephones ask for it, and as it is kept, by the department that reads it."""


def files(clinic: Clinic, secrets: Mapping[str, str], firmware: Mapping[str, bytes]) -> dict[str, bytes]:
    """Path below HOME to contents: `<mac>/<name>`, `books/`, `shared/`, `firmware/`, `ca.crt`. KeyError: a secret."""
    wanted = {"ca.crt": certificate_of(secrets[TLS_CA]).encode()}
    for mac, phone in phones(clinic, secrets).items():
        wanted |= {f"{mac}/{name}": data for name, data in phone.files.items()}
    for key, data in phonebooks(clinic).items():
        department, _, form = key.partition(".")
        wanted[f"books/{department}{'-yealink' if form else ''}.xml"] = data
    wanted |= {f"shared/{name}": data for name, data in shared(clinic).items()}
    return wanted | {f"firmware/{name}": data for name, data in firmware.items()}


def index(clinic: Clinic, secrets: Mapping[str, str], held: Mapping[str, bytes]) -> str:
    """services/provisioning/core.Index as JSON, of these files. Passwords and tokens are in it as SHA-256 only."""
    leases = addresses(clinic)
    about = {}
    for mac, phone in phones(clinic, secrets).items():
        person = clinic.by_ext[phone.ext]
        model = MODELS[person.phone.model]
        about[mac] = {
            "ext": phone.ext,
            "address": str(leases[phone.ext]),
            "version": phone.version,
            "token": digest(secrets[f"first-access/{mac}"]),
            "password": digest(secrets[f"provisioning/{phone.ext}"]),
            "vendor": model.vendor.lower(),
            "family": model.family.value,
            "files": {name: f"{HOME}/{mac}/{name}" for name in sorted(phone.files)},
            "books": {
                name: f"{HOME}/books/{kept.format(person.department)}"
                for name, kept in BOOKS.items()
                if f"books/{kept.format(person.department)}" in held
            },
        }
    wanted = {
        "network": str(clinic.networks.voice.cidr),
        "strict": clinic.provisioning.dhcp,
        "authority": f"{HOME}/ca.crt",
        "shared": _below("shared", held),
        "firmware": _below("firmware", held),
        "phones": about,
    }
    return json.dumps(wanted, ensure_ascii=False, indent=1) + "\n"


def digest(secret: str) -> str:
    """As the service compares it."""
    return sha256(secret.encode()).hexdigest()


def _below(folder: str, held: Mapping[str, bytes]) -> dict[str, str]:
    return {name.partition("/")[2]: f"{HOME}/{name}" for name in sorted(held) if name.startswith(f"{folder}/")}
