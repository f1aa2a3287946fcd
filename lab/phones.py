"""The clinic's telephones: a handset per person, which finds its own address, file, account and password.

The lab gives them electricity, and no secret: as at the clinic, everything comes by DHCP and HTTPS (`lab.handset`).
An account becomes an agent of the softphone pool under its extension. It keeps itself registered and tries again by
itself after the PBX was away, as a real telephone does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from clinic.leases import addresses, mac12
from clinic.model import Clinic
from clinicpbx.errors import ClinicError
from lab import state
from lab.components import Context
from lab.handset.client import HandsetDaemon, Handsets
from lab.pools import Daemon
from softphone.client import Pool, PoolError

KNOCK_SECONDS = 1.0  # one REGISTER and its first repetition
CONCURRENCY = 60
SPARE = 16
"""Addresses of the telephones' range that visitors and attackers may have: the highest that no lease has."""


class PhonesComponent:
    """The pool `phones`, and the handsets of the clinic's people."""

    name = "phones"

    def start(self, context: Context) -> dict[str, Any]:
        """All of them plugged in; a telephone that is there already is left alone, so its calls go on."""
        if context.clinic is None:
            return {}
        pool, daemon = Daemon(context.lab, self.name), HandsetDaemon(context.lab)
        fresh = pool.start()
        daemon.start()
        wanted = telephones(context.clinic)
        with daemon.handsets() as handsets:
            if fresh:  # agents of a pool that died are gone, and the handsets do not know
                handsets.set([])
            handsets.set([{"mac": mac, "model": model} for mac, model in wanted.values()])
        return {
            "phones_socket": str(pool.socket),
            "handsets_socket": str(daemon.socket),
            "telephones": {ext: mac for ext, (mac, _) in wanted.items()},
            "spare_addresses": spares(context.clinic),
        }

    def stop(self, lab: int) -> None:
        HandsetDaemon(lab).stop()
        Daemon(lab, self.name).stop()

    def status(self, lab: int) -> str:
        return Daemon(lab, self.name).status()


def telephones(clinic: Clinic) -> dict[str, tuple[str, str]]:
    """Extension to MAC address and model: all that a telephone on a desk has of its own."""
    return {person.ext: (mac12(person.phone.mac), person.phone.model) for person in clinic.people}


def spares(clinic: Clinic) -> list[str]:
    """Up to 16 addresses of the telephones' range that no lease has, in ascending order."""
    voice, leased = clinic.networks.voice, set(addresses(clinic).values())
    room = range(int(voice.phones_to) - int(voice.phones_from), -1, -1)
    free = (voice.phones_from + n for n in room if voice.phones_from + n not in leased)
    return [str(address) for address, _ in zip(free, range(SPARE), strict=False)][::-1]


def pool(lab: int) -> Pool:
    """A client of the lab's telephones; use it in `with`. Raises ClinicError when they do not run."""
    return Daemon(lab, "phones").client()


def handsets(lab: int) -> Handsets:
    """The telephones as devices; use it in `with`. Raises ClinicError when they do not run."""
    return HandsetDaemon(lab).handsets()


def known(lab: int, exts: Sequence[str] | None = None) -> dict[str, str]:
    """Extension to MAC address of the lab's telephones. ClinicError for an extension without one."""
    every: dict[str, str] = state.load(lab).get("telephones", {})
    if unknown := [ext for ext in exts or () if ext not in every]:
        raise ClinicError(
            f"lab {lab} has no telephone {', '.join(unknown[:5])}",
            remedy="clinicpbx lab up, where the description has changed",
        )
    return every if exts is None else {ext: every[ext] for ext in exts}


def status(lab: int, exts: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """By extension: the handset's snapshot, nothing secret in it."""
    wanted = known(lab, exts)
    with handsets(lab) as box:
        found = box.status(list(wanted.values()))
    return {ext: found[mac] for ext, mac in wanted.items()}


def power(lab: int, exts: Sequence[str] | None, on: bool) -> int:
    """Plug telephones in, or cut their power without a word; all of them for None. How many."""
    with handsets(lab) as box:
        return box.power(on, list(known(lab, exts).values()))


def reset(lab: int, ext: str) -> None:
    """To the factory's settings: it forgets everything, and asks DHCP as on its first day."""
    with handsets(lab) as box:
        box.reset(known(lab, [ext])[ext])


def swap(lab: int, ext: str, mac: str) -> None:
    """Another device of the same model on that desk, fresh from the factory."""
    now = state.load(lab)
    old, new = known(lab, [ext])[ext], mac12(mac)
    with handsets(lab) as box:
        models = {found["mac"]: found["model"] for found in box.status().values()}
        models[new] = models.pop(old)
        box.set([{"mac": one, "model": model} for one, model in models.items()])
    state.save(lab, now | {"telephones": now["telephones"] | {ext: new}})


def settle(lab: int, *, timeout: float = 30, some: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Wait until all telephones that are on have their accounts. -> {ext: [state, error]} of those without

    ClinicError when not one of them has.
    """
    wanted = known(lab)
    wanted = {ext: mac for ext, mac in wanted.items() if some is None or ext in some}
    if not wanted:
        return {}
    with handsets(lab) as box:
        found = box.wait(list(wanted.values()), until="provisioned", timeout=timeout)
    left = {ext: list(found["waiting"][mac]) for ext, mac in wanted.items() if mac in found["waiting"]}
    if len(left) == len(wanted) and any(state != "off" for state, _ in left.values()):
        ext, (what, error) = next(iter(left.items()))
        raise ClinicError(
            f"no telephone has an account after {timeout:.0f} s: {ext} is in state {what} ({error or 'no answer'})",
            remedy="clinicpbx lab status; is the clinic deployed (clinicpbx deploy)?",
        )
    return left


def register(lab: int, *, timeout: float = 30, some: list[str] | None = None) -> dict[str, Any]:
    """Register all phones, or `some`, as soon as they are provisioned and the PBX answers: one knocks, then all follow.

    -> {"asked", "registered", "failed": {ext: [state, SIP status or why]}, "seconds", "waited"}. A PBX that stays
    silent for `timeout` seconds is a ClinicError; a phone that it refuses, or that has no account, is only listed.
    """
    began = time.monotonic()
    absent = settle(lab, timeout=timeout, some=some)
    with pool(lab) as phones:
        there = phones.registrations()
        names = [name for name in (sorted(there) if some is None else some) if name in there]
        while names and not _answered(phones, names[:1]):
            if time.monotonic() - began > timeout:
                raise ClinicError(
                    f"the PBX does not answer the phones: no SIP response within {timeout:.0f} s",
                    remedy="clinicpbx lab status; is the clinic deployed (clinicpbx deploy)?",
                )
            time.sleep(0.2)
        waited = time.monotonic() - began
        result: dict[str, Any] = phones.register(names, concurrency=CONCURRENCY, timeout=5, wait=timeout + 60)
    result["failed"] |= absent
    return result | {"asked": result["asked"] + len(absent), "waited": round(waited, 2)}


def _answered(phones: Pool, names: list[str]) -> bool:
    """Whether the PBX said anything at all, be it a refusal."""
    try:
        result = phones.register(names, timeout=KNOCK_SECONDS, wait=40)
    except PoolError as error:
        raise ClinicError(f"the lab's phones do not answer: {error}", remedy="scripts/clean, then lab up") from error
    return all(found[0] != "failed" for found in result["failed"].values())


def spare_addresses(lab: int) -> list[str]:
    """Addresses on the voice network that no person's phone has: for visitors and attackers."""
    return list(state.load(lab)["spare_addresses"])
