"""Fixed addresses for the clinic's telephones. Pure: the same people get the same addresses for ever."""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address
from math import gcd

from clinic.model import Clinic


def mac12(mac: str) -> str:
    """A MAC address as file names and logins have it: c0:74:ad:3a:25:10 is c074ad3a2510."""
    return "".join(c for c in mac.lower() if c in "0123456789abcdef")


def addresses(clinic: Clinic) -> dict[str, IPv4Address]:
    """Extension to address, within `phones_from` to `phones_to`. ValueError when the pool is too small.

    By double hashing of the extension, in the order of extensions: who comes or goes moves only those whose first
    choice they share, and those are few. Not of the MAC address: a new telephone at the same desk would move others,
    and have to wait for their leases.
    """
    voice = clinic.networks.voice
    size = int(voice.phones_to) - int(voice.phones_from) + 1
    if size < len(clinic.people):
        raise ValueError(f"{size} addresses for {len(clinic.people)} telephones: widen networks.voice.phones_to")
    taken: set[int] = set()
    out: dict[str, IPv4Address] = {}
    for person in sorted(clinic.people, key=lambda p: p.ext):
        place, step = _choices(person.ext, size)
        while place in taken:
            place = (place + step) % size
        taken.add(place)
        out[person.ext] = voice.phones_from + place
    return out


def _choices(ext: str, size: int) -> tuple[int, int]:
    """The first place and the step to the next ones; a step prime to the size meets every place."""
    seed = hashlib.sha256(ext.encode()).digest()
    step = 1 + int.from_bytes(seed[8:16]) % max(1, size - 1)
    while gcd(step, size) != 1:
        step += 1
    return int.from_bytes(seed[:8]) % size, step
