"""Security updates by night. Without a mirror, packages come with a new bundle only, on a night an engineer chooses."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from clinic.types import Frozen


def _mirror(text: str) -> str:
    if "@" in text:
        raise ValueError("the description holds no password, so a mirror has none, as http://mirror.example/security")
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", text):
        raise ValueError("a mirror is an http or https address, as http://mirror.example/security")
    return text.rstrip("/")


def _clock(text: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError('a time of day is written "HH:MM", as "03:30"')
    return text


Mirror = Annotated[str, AfterValidator(_mirror), Field(json_schema_extra={"pattern": "^https?://[^@]+$"})]
Clock = Annotated[str, AfterValidator(_clock), Field(json_schema_extra={"pattern": "^[0-2][0-9]:[0-5][0-9]$"})]


class Updates(Frozen):
    """Where Debian's security updates come from and when. Asterisk and the machine are never restarted by them."""

    mirror: Mirror | None = Field(default=None, description="A mirror of Debian's security archive")
    at: Clock = Field(default="03:30", description="The clinic's quiet hour, local time")
