"""The virtual machine: network cards, recordings disk, engineers' keys."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import math
from collections.abc import Iterator

from clinic.mistakes import Finding, Path
from clinic.model import Clinic
from clinic.rules.common import repeated

# G.711 decoded to 16-bit PCM at 8 kHz: 16,000 bytes a second and side.
BYTES_PER_SECOND = 16_000
# A channel is busy this long on an ordinary day: the case's 2,000 calls of 3 minutes on 30 channels are 3.3 h.
BUSY_HOURS = 3.0
GIB = 1024**3
ROUND_THE_CLOCK = 23  # hours


def recordings_gib(clinic: Clinic) -> int:
    """Disk that the retention needs, GiB, estimated from the contracted channels and the free space kept."""
    channels = sum(trunk.channels for trunk in clinic.trunks if trunk.enabled)
    seconds = channels * BUSY_HOURS * 3600 * clinic.recording.retention_days
    usable = 1 - clinic.recording.min_free_percent / 100
    return math.ceil(seconds * BYTES_PER_SECOND / GIB / usable)


def recordings_fit(clinic: Clinic) -> Iterator[Finding]:
    needed, have = recordings_gib(clinic), clinic.hypervisor.vm.recordings_gib
    if have < needed and any(d.record for d in clinic.departments.values()):
        yield Finding(
            ("hypervisor", "vm", "recordings_gib"),
            str(have),
            f"{clinic.recording.retention_days} days of recordings need about {needed} GiB",
            f"Write {needed}, or keep recordings for a shorter time",
        )


def one_card_per_network(clinic: Clinic) -> Iterator[Finding]:
    have, needed = len(clinic.hypervisor.vm.macs), 2 + len(clinic.uplinks)
    if have != needed:
        names = ", ".join(["management", "voice", *(u.name for u in clinic.uplinks)])
        yield Finding(
            ("hypervisor", "vm", "macs"),
            f"{have} addresses",
            f"the machine has {needed} cards: {names}",
            "Write one MAC address for each, in this order",
            "uplinks",
        )


def card_macs(clinic: Clinic) -> Iterator[Finding]:
    phones = {p.phone.mac: f"the phone of {p.ext} {p.name}" for p in clinic.people}
    cards: list[tuple[Path, str, str]] = [
        (("hypervisor", "vm", "macs", i), mac, f"card {i}") for i, mac in enumerate(clinic.hypervisor.vm.macs)
    ]
    yield from repeated(cards, "the MAC address already belongs to {owner}", "Give each card an address of its own")
    for path, mac, _ in cards:
        if mac in phones:
            yield Finding(
                path,
                mac,
                f"the MAC address already belongs to {phones[mac]}",
                "Give the card an address of its own, as bc:24:11:00:00:01",
            )


def tags_once(clinic: Clinic) -> Iterator[Finding]:
    tags = clinic.hypervisor.vm.tags
    yield from repeated(
        ((("hypervisor", "vm", "tags", i), tag, tag) for i, tag in enumerate(tags)),
        "the tag is listed twice",
        "Remove one",
    )


def engineers_keys(clinic: Clinic) -> Iterator[Finding]:
    people = list(enumerate(clinic.engineers))
    yield from repeated(
        ((("engineers", i, "name"), e.name, e.name) for i, e in people), "the engineer is listed twice", "Remove one"
    )
    yield from repeated(
        ((("engineers", i, "ssh_key"), e.ssh_key.split()[1], e.name) for i, e in people if _whole(e.ssh_key)),
        "the key already belongs to {owner}",
        "Everyone logs in with a key of their own",
    )
    for i, engineer in people:
        if not _whole(engineer.ssh_key):
            yield Finding(
                ("engineers", i, "ssh_key"),
                engineer.ssh_key[:24] + "…",
                "the public key is damaged",
                "Copy the whole line of the .pub file",
            )


def updates_at_night(clinic: Clinic) -> Iterator[Finding]:
    """Hours around the clock have no night, and say nothing about when it is quiet."""
    at = dt.time.fromisoformat(clinic.updates.at)
    for slug, hours in clinic.hours.items():
        times = [*hours.week.values(), *hours.short_days.values()]
        if any(o.start <= at < o.end and (o.end.hour - o.start.hour) < ROUND_THE_CLOCK for o in times):
            yield Finding(
                ("updates", "at"), clinic.updates.at, f"the clinic is open then, by the hours `{slug}`",
                "Choose an hour at which nobody calls, as 03:30", "hours",
            )  # fmt: skip
            return


def _whole(key: str) -> bool:
    """Whether the blob is base64 and names its own type, as RFC 4253 section 6.6 lays it out."""
    kind, encoded = key.split()[:2]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    smallest = {"ssh-ed25519": 51, "ecdsa-sha2-nistp256": 104, "ssh-rsa": 200}[kind]
    return (
        blob[:4] == len(kind).to_bytes(4, "big") and blob[4 : 4 + len(kind)] == kind.encode() and len(blob) >= smallest
    )


RULES = (recordings_fit, one_card_per_network, card_macs, tags_once, engineers_keys, updates_at_night)
