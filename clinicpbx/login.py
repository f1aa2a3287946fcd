"""An SSH connection to the PBX for commands that look or switch: the pinned host key, the toolkit's own key."""

from __future__ import annotations

import io

import paramiko

from clinic import vm
from clinic.secrets import SSH_KEY
from clinicpbx import inventory
from clinicpbx.connection import no_delay
from clinicpbx.errors import ClinicError


def login(clinic: str, at: str) -> paramiko.SSHClient:
    """Connect to the clinic's PBX at a site. ClinicError when it does not answer or does not take our key."""
    night = inventory.night(clinic, at)
    client = paramiko.SSHClient()
    known, address = night.site.known_hosts, str(night.clinic.networks.management.pbx)
    if known.exists():
        client.load_host_keys(str(known))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(night.secrets[SSH_KEY]))
    try:
        client.connect(address, username=vm.USER, pkey=key, look_for_keys=False, allow_agent=False, timeout=10)
    except (OSError, paramiko.SSHException) as error:
        client.close()
        raise ClinicError(
            f"The PBX at {address} does not take our login: {error}",
            remedy=f"is it deployed (clinicpbx deploy {clinic})? its host key is pinned in {known}",
        ) from None
    no_delay(client)
    return client
