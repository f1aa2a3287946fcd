"""Which secrets a clinic has, and how missing ones come to be. Pure: the caller brings the randomness.

Names, never values, are what everything else speaks of:
`sip/<ext>`, `trunk/<name>` (the provider's, entered by the engineer), `lab-trunk/<name>`, `ami/panel`, `ami/wan`,
`db/reports`, `phone-admin`, `first-access/<mac>` (12 digits) and `provisioning/<ext>` (a telephone's first and second
door), `ssh/deploy` (OpenSSH private key), `hypervisor/token` (entered by the engineer), `pin/<ext>` (eight digits),
`alert/<name>` (an Apprise URL, entered).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clinic.leases import mac12
from clinic.model import Clinic

SSH_KEY = "ssh/deploy"
TLS_CA, TLS_PBX = CERTIFICATES = ("tls/ca", "tls/pbx")  # a certificate and its key each, made from each other
RENEWED = ("sip/", "provisioning/", "first-access/", "pin/")
"""A deploy takes new ones of these to where they are used; keys that machines know each other by stay."""
Generate = Callable[[str], str]
_END = "-----END CERTIFICATE-----\n"


def generated(clinic: Clinic) -> tuple[str, ...]:
    """Names of the secrets that the toolkit makes itself."""
    people = [name for p in clinic.people for name in (f"sip/{p.ext}", f"provisioning/{p.ext}")]
    pins = [f"pin/{p.ext}" for p in clinic.people if p.pin_class]
    doors = [f"first-access/{mac12(p.phone.mac)}" for p in clinic.people]
    trunks = [f"lab-trunk/{t.name}" for t in clinic.trunks]
    return (*people, *doors, *pins, *trunks, "ami/panel", "ami/wan", "db/reports", "phone-admin", SSH_KEY)


def entered(clinic: Clinic) -> tuple[str, ...]:
    """Names of the secrets that only the engineer knows; a rehearsal needs none of them."""
    trunks = (f"trunk/{t.name}" for t in clinic.trunks if t.auth == "registration")
    return (*trunks, *(f"alert/{name}" for name in clinic.alerts), "hypervisor/token")


def completed(have: Mapping[str, str], clinic: Clinic, generate: Generate) -> dict[str, str]:
    """`have` and what is missing. What is there is never rewritten, and what belonged to those who left stays."""
    return {**{name: generate(name) for name in generated(clinic) if name not in have}, **have}


def for_rehearsal(have: Mapping[str, str], alerts: Mapping[str, str] | None = None) -> dict[str, str]:
    """The same secrets with the lab's trunk passwords in place of the providers', and no real person is alerted.

    `alerts`: the lab's own Apprise URLs by target.
    """
    lab = {name.removeprefix("lab-"): value for name, value in have.items() if name.startswith("lab-trunk/")}
    kept = {name: value for name, value in have.items() if not name.startswith("alert/")}
    return {**kept, **lab, **{f"alert/{name}": url for name, url in (alerts or {}).items()}}


def explain(name: str) -> str:
    """The name of a secret as an engineer asked for it: an extension means its SIP password."""
    return f"sip/{name}" if name.isdigit() else name


def certificate_of(secret: str) -> str:
    """The certificate of a `tls/` secret: public, PEM."""
    before, end, _ = secret.partition(_END)
    return before + end


def key_of(secret: str) -> str:
    """The private key of a `tls/` secret, PEM."""
    return secret.partition(_END)[2]
