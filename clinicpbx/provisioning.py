"""What a deploy brings for the telephones: their files, the service's index, nginx's and Kea's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from clinic.model import Clinic
from clinic.rendering import provisioning as rendered
from clinic.rendering.dhcp import dhcp
from clinic.rendering.nginx import nginx
from clinic.secrets import TLS_CA, TLS_PBX, certificate_of, key_of
from clinicpbx.errors import ClinicError


@dataclass(frozen=True, repr=False)
class Provisioning:
    """Not printable: it holds secrets. `files` lie below rendered.HOME."""

    clinic: Clinic
    files: Mapping[str, bytes]
    index: str
    nginx: str
    certificate: str
    key: str
    secrets: Mapping[str, str] = field(compare=False)

    def dhcp(self, card: str) -> str:
        """Kea's configuration for the server on this card; which that is, only the machine knows."""
        return dhcp(self.clinic, self.secrets, card)


def build(clinic: Clinic, secrets: Mapping[str, str], clinic_dir: Path) -> Provisioning:
    """Everything rendered. ClinicError for firmware that is missing or is not what the description says."""
    files = rendered.files(clinic, secrets, firmware(clinic, clinic_dir))
    chain = certificate_of(secrets[TLS_PBX]) + certificate_of(secrets[TLS_CA])
    index = rendered.index(clinic, secrets, files)
    return Provisioning(clinic, files, index, nginx(clinic), chain, key_of(secrets[TLS_PBX]), secrets)


def firmware(clinic: Clinic, clinic_dir: Path) -> dict[str, bytes]:
    """Name to contents of the firmware that the description names, each by its hash."""
    found = {}
    for model, wanted in clinic.provisioning.firmware.items():
        path = clinic_dir / "firmware" / wanted.file
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ClinicError(
                f"{path} is missing: provisioning.firmware.{model} names it.",
                remedy="put the vendor's file there, or take the line out of the description",
            ) from None
        if (actual := sha256(data).hexdigest()) != wanted.sha256:
            raise ClinicError(
                f"{path} is not the firmware that provisioning.firmware.{model} names: its SHA-256 is {actual}.",
                remedy="fetch it again from the vendor; if it is the right one, correct the description",
            )
        found[wanted.file] = data
    return found
