"""The files of all telephones, and of which version each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clinic.model import Clinic


@dataclass(frozen=True)
class PhoneFiles:
    """One telephone's files by the names it asks for. `mac` has 12 hexadecimal digits.

    `version` is 12 hexadecimal digits of a digest of all that this telephone shows or does.
    """

    ext: str
    mac: str
    version: str
    files: Mapping[str, bytes]


def phones(clinic: Clinic, secrets: Mapping[str, str]) -> dict[str, PhoneFiles]:
    """Every telephone's files by its MAC address (12 digits). A missing secret is a KeyError."""
    raise NotImplementedError


def shared(clinic: Clinic) -> dict[str, bytes]:
    """Files without any secret, by name: what a telephone that nobody knows may read."""
    raise NotImplementedError
