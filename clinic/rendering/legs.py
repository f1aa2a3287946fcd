"""Legs: the ways a call can leave the clinic, one per provider and uplink, cheapest first."""

from __future__ import annotations

from dataclasses import dataclass

from clinic.model import Clinic
from clinic.network import Uplink
from clinic.numbering import written_as
from clinic.trunks import Trunk


@dataclass(frozen=True, slots=True)
class Leg:
    """A provider reached through one uplink; `name` is its PJSIP endpoint, as north-wan-a."""

    trunk: Trunk
    uplink: Uplink
    registers: bool

    @property
    def name(self) -> str:
        return f"{self.trunk.name}-{self.uplink.name}"

    @property
    def caller_id(self) -> str:
        return written_as(self.trunk.caller_id, self.trunk.number_format)


def legs(clinic: Clinic) -> tuple[Leg, ...]:
    """In order of cost, then of the uplinks' preference.
    A provider of one contact is registered by the uplink that the watchdog chose: services/wan/registrar.py.
    """
    return tuple(
        Leg(
            trunk,
            uplink,
            registers=trunk.auth == "registration",
        )
        for trunk in clinic.trunks
        if trunk.enabled
        for uplink in clinic.uplinks
    )
