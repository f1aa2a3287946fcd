"""The telephones' phonebook."""

from __future__ import annotations

from clinic.model import Clinic


def phonebooks(clinic: Clinic) -> dict[str, bytes]:
    """Department to its phonebook in Grandstream's form; under `<department>.yealink` in Yealink's."""
    raise NotImplementedError
