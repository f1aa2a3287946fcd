"""The clinic's telephones: one agent per person, each with an address of its own on the voice network.

Passwords travel through the pool's socket (mode 0600) only. Once registered, an agent keeps itself registered and
tries again by itself after the PBX was away, as a real telephone does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from clinic.accounts import SIP, SIPS, account
from clinic.model import Clinic
from clinic.secrets import TLS_CA
from clinicpbx.errors import ClinicError
from lab import state
from lab.components import Context
from lab.pools import Agents, Daemon
from softphone.client import Pool, PoolError

KNOCK_SECONDS = 1.0  # one REGISTER and its first repetition
CONCURRENCY = 60


def agents(clinic: Clinic, addresses: list[str], secrets: Mapping[str, str]) -> Agents:
    """What the pool is loaded with; person i has address i. ClinicError for a person without password or address."""
    if len(clinic.people) > len(addresses):
        raise ClinicError(
            f"{len(clinic.people)} people have phones, but the voice network has {len(addresses)} addresses for them",
            remedy="widen networks.voice.phones_from and phones_to",
        )
    without = [person.ext for person in clinic.people if not secrets.get(f"sip/{person.ext}")]
    if without:
        raise ClinicError(
            f"no SIP password for {', '.join(without[:5])}{' ...' if len(without) > 5 else ''}",
            remedy="clinicpbx check creates what is missing",
        )
    if TLS_CA not in secrets:
        raise ClinicError("there is no authority for telephones", remedy="clinicpbx check creates what is missing")
    return [
        {
            "name": person.ext, "bind_ip": address, "port": SIPS if clinic.encrypts(person) else SIP,
            **account(clinic, person, secrets),
        }
        for person, address in zip(clinic.people, addresses, strict=False)
    ]  # fmt: skip


class PhonesComponent:
    """The pool `phones`, loaded with the clinic's people."""

    name = "phones"

    def start(self, context: Context) -> dict[str, Any]:
        """Load the pool; a pool that has just these phones is left alone, so their calls go on."""
        if context.clinic is None or not context.secrets:
            return {}
        daemon = Daemon(context.lab, self.name)
        wanted = agents(context.clinic, [str(a) for a in context.topology.phones], context.secrets)
        daemon.start()
        if not daemon.is_loaded(wanted):
            with daemon.client() as pool:
                pool.remove()
                pool.add_agents(wanted)
            daemon.set_loaded(wanted)
        return {"phones_socket": str(daemon.socket)}

    def stop(self, lab: int) -> None:
        Daemon(lab, self.name).stop()

    def status(self, lab: int) -> str:
        return Daemon(lab, self.name).status()


def pool(lab: int) -> Pool:
    """A client of the lab's telephones; use it in `with`. Raises ClinicError when they do not run."""
    return Daemon(lab, "phones").client()


def register(lab: int, *, timeout: float = 30, some: list[str] | None = None) -> dict[str, Any]:
    """Register all phones, or `some`, as soon as the PBX answers: one knocks, then all follow at once.

    -> {"asked", "registered", "failed": {ext: [state, SIP status]}, "seconds", "waited"}. A PBX that stays silent
    for `timeout` seconds is a ClinicError; a phone that it refuses is only listed.
    """
    began = time.monotonic()
    with pool(lab) as phones:
        first = (some or sorted(phones.registrations()))[:1]
        while not _answered(phones, first):
            if time.monotonic() - began > timeout:
                raise ClinicError(
                    f"the PBX does not answer the phones: no SIP response within {timeout:.0f} s",
                    remedy="clinicpbx lab status; is the clinic deployed (clinicpbx deploy)?",
                )
            time.sleep(0.2)
        waited = time.monotonic() - began
        result: dict[str, Any] = phones.register(some, concurrency=CONCURRENCY, timeout=5, wait=timeout + 60)
    return result | {"waited": round(waited, 2)}


def _answered(phones: Pool, names: list[str]) -> bool:
    """Whether the PBX said anything at all, be it a refusal."""
    try:
        result = phones.register(names, timeout=KNOCK_SECONDS, wait=40)
    except PoolError as error:
        raise ClinicError(f"the lab's phones do not answer: {error}", remedy="scripts/clean, then lab up") from error
    return all(found[0] != "failed" for found in result["failed"].values())


def spare_addresses(lab: int) -> list[str]:
    """Addresses on the voice network that no person's phone has: for visitors and attackers."""
    addresses = list(state.load(lab)["phone_addresses"])
    with pool(lab) as phones:
        taken = len(phones.registrations())
    return addresses[taken:]
