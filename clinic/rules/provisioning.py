"""The `provisioning` section: addresses, firmware, consoles, who sees whom in the phonebook."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from clinic.keys import PAGE
from clinic.mistakes import Finding, Path
from clinic.model import Clinic
from clinic.phones import MODELS
from clinic.rules.common import unknown


def quarantine_apart(clinic: Clinic) -> Iterator[Finding]:
    """An unknown telephone must never get an address that is somebody's."""
    pool, voice = clinic.provisioning.quarantine, clinic.networks.voice
    if pool is None:
        return
    path: Path = ("provisioning", "quarantine")
    outside = [a for a in (pool.first, pool.last) if a not in voice.cidr]
    if outside or voice.cidr.network_address in pool or voice.cidr.broadcast_address in pool:
        yield Finding(
            path, str(pool), f"the quarantine lies inside the voice network {voice.cidr}", "Correct the range"
        )
    elif pool.overlaps(voice.phones_from, voice.phones_to):
        yield Finding(
            path, str(pool), f"the quarantine lies outside the telephones' {voice.phones_from} to {voice.phones_to}",
            "Move the range, or `networks.voice.phones_from`",
        )  # fmt: skip
    for name, address in (("PBX", voice.pbx), ("gateway", voice.gateway), *_servers(clinic)):
        if address and address in pool:
            yield Finding(
                path, str(pool), f"the quarantine holds the {name}'s {address}", "Move the range beside it"
            )  # fmt: skip


def _servers(clinic: Clinic) -> list[tuple[str, IPv4Address | None]]:
    ours = clinic.provisioning
    return [("time server", ours.time_server), ("backup server", ours.backup_server)]


def servers_apart(clinic: Clinic) -> Iterator[Finding]:
    voice, ours = clinic.networks.voice, clinic.provisioning
    for key, address in (("time_server", ours.time_server), ("backup_server", ours.backup_server)):
        if address and voice.phones_from <= address <= voice.phones_to:
            yield Finding(
                ("provisioning", key), str(address),
                f"the address lies in the telephones' {voice.phones_from} to {voice.phones_to}",
                "Give the server an address of its own",
            )  # fmt: skip
    if ours.backup_server == voice.pbx:
        yield Finding(
            ("provisioning", "backup_server"), str(ours.backup_server), "the backup is another server than the PBX",
            "Remove the key while there is one server",
        )  # fmt: skip


def known_firmware(clinic: Clinic) -> Iterator[Finding]:
    first: dict[str, tuple[str, str]] = {}
    for model, firmware in clinic.provisioning.firmware.items():
        if model not in MODELS:
            yield unknown(("provisioning", "firmware", model), model, "provisioning.firmware", MODELS, "phone model")
        owner, digest = first.setdefault(firmware.file, (model, firmware.sha256))
        if digest != firmware.sha256:
            yield Finding(
                ("provisioning", "firmware", model, "sha256"), firmware.sha256[:12],
                f"{firmware.file} already has another hash at {owner}", "Print it again: sha256sum FILE",
            )  # fmt: skip


def consoles_hold_their_pages(clinic: Clinic) -> Iterator[Finding]:
    for role, slugs in clinic.provisioning.consoles.items():
        path: Path = ("provisioning", "consoles", role.value)
        for j, slug in enumerate(slugs):
            if slug not in clinic.departments:
                yield unknown((*path, j), slug, "departments", clinic.departments, "department")
        for person in clinic.with_role(role):
            model = MODELS.get(person.phone.model)
            consoles = min(person.phone.consoles, model.max_consoles) if model else 0
            room = consoles * model.console_keys // PAGE if model else 0
            if consoles and room < len(slugs):
                yield Finding(
                    path, f"{len(slugs)} pages",
                    f"the consoles of {person.ext} {person.name} have {room} pages",
                    "Name fewer departments, or add a console",
                )  # fmt: skip
                break


def phonebook_readers(clinic: Clinic) -> Iterator[Finding]:
    for slug, department in clinic.departments.items():
        for j, reader in enumerate(department.phonebook or ()):
            if reader not in clinic.departments:
                yield unknown(
                    ("departments", slug, "phonebook", j), reader, "departments", clinic.departments, "department"
                )


RULES = (quarantine_apart, servers_apart, known_firmware, consoles_hold_their_pages, phonebook_readers)
