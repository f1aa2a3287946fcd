"""How a person's telephone reaches the PBX: what a softphone, and a provisioned telephone, must be told. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from clinic.model import Clinic
from clinic.people import Person
from clinic.secrets import TLS_CA, certificate_of

SIP, SIPS = 5060, 5061  # the PBX's doors for telephones: UDP and TLS


def account(clinic: Clinic, person: Person, secrets: Mapping[str, str], *, tls: bool | None = None) -> dict[str, str]:
    """The options of a softphone's agent: `user`, `password`, `server`, and for TLS `transport` and `authority`.

    TLS (with it SRTP) where the department requires it, or as `tls` says. KeyError for a missing secret.
    """
    secure = clinic.encrypts(person) if tls is None else tls
    known = {
        "user": person.ext, "password": secrets[f"sip/{person.ext}"], "display": person.name,
        "server": f"{clinic.networks.voice.pbx}:{SIPS if secure else SIP}",
    }  # fmt: skip
    return known | ({"transport": "tls", "authority": certificate_of(secrets[TLS_CA])} if secure else {})
