"""The files of all telephones, and of which version each is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clinic.model import Clinic
from clinic.phones import MODELS, Family, Model
from clinic.rendering.phones import aliases, pvalues, yealink
from clinic.rendering.phones.device import Device, device
from clinic.rendering.phones.phonebook import phonebooks

FILES: Mapping[Family, Callable[[Device, str], dict[str, bytes]]] = {
    Family.GRP261X: aliases.files,
    Family.GXP21XX: aliases.files,
    Family.GXP16XX: pvalues.files,
    Family.GRP260X: pvalues.files,
    Family.HT8XX: pvalues.files,
    Family.YEALINK: yealink.files,
}
SHARED: Mapping[Family, Callable[[Clinic, Model], dict[str, bytes]]] = {
    Family.GRP261X: aliases.shared,
    Family.GXP21XX: aliases.shared,
    Family.GXP16XX: pvalues.shared,
    Family.GRP260X: pvalues.shared,
    Family.HT8XX: pvalues.shared,
    Family.YEALINK: yealink.shared,
}
NO_VERSION = "0" * 12  # in the place of the version while it is being found


@dataclass(frozen=True)
class PhoneFiles:
    """One telephone's files by the names it asks for. `mac` has 12 hexadecimal digits.

    `version` is 12 hexadecimal digits of a digest of all that this telephone shows or does: its file, its phonebook
    and its firmware.
    """

    ext: str
    mac: str
    version: str
    files: Mapping[str, bytes]


def phones(clinic: Clinic, secrets: Mapping[str, str]) -> dict[str, PhoneFiles]:
    """Every telephone's files by its MAC address (12 digits). A missing secret is a KeyError."""
    books = {slug: hashlib.sha256(book).digest() for slug, book in phonebooks(clinic).items()}
    every = (device(clinic, person, secrets) for person in clinic.people)
    return {one.mac: _phone(one, books) for one in every}


def _phone(one: Device, books: Mapping[str, bytes]) -> PhoneFiles:
    render = FILES[one.model.family]
    total = hashlib.sha256()
    for name, data in render(one, NO_VERSION).items():
        total.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    if one.model.family is not Family.HT8XX:
        total.update(books[one.person.department])
    if one.firmware:
        total.update(f"{one.firmware.file} {one.firmware.sha256}".encode())
    version = total.hexdigest()[:12]
    return PhoneFiles(one.person.ext, one.mac, version, render(one, version))


def shared(clinic: Clinic) -> dict[str, bytes]:
    """Files without any secret, by name: what a telephone that nobody knows may read."""
    models = sorted({person.phone.model for person in clinic.people})
    return {
        name: data for model in models for name, data in SHARED[MODELS[model].family](clinic, MODELS[model]).items()
    }
