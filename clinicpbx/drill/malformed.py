"""Malformed and hostile SIP at the PBX, from a telephone's address and from a provider's own, while people talk.

Half comes from each side, so that neither reaches the packet filter's limit: what must hold is Asterisk. Nothing may
crash, no call may end, and memory, descriptors and channels must come back.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

from clinic.model import Clinic
from clinicpbx.drill import witness
from clinicpbx.drill.hostile import Message, Peer, handmade, mutations
from clinicpbx.errors import ClinicError
from clinicpbx.verify.desk import enabled
from clinicpbx.verify.place import Place
from lab import netns
from lab.phones import spare_addresses

Say = Callable[[str], None]
RATE = 125  # messages/s from each of the two sides
FULL, QUICK = 10_000, 2_000  # mutated messages from both sides together
SETTLE = 60.0  # seconds at most; a call from a provider that nobody ends rings for 30
SEED = 20
TLS_PORT, TLS_EVERY = 5061, 4  # one of so many handmade messages goes over TLS too


def udp(peer_address: str, namespace: str) -> socket.socket:
    """A socket with a free port at that address."""
    with netns.entered(namespace):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((peer_address, 0))
    made.setblocking(False)
    return made


def send(sock: socket.socket, target: str, messages: Iterable[Message], rate: int) -> dict[str, int]:
    """All messages, at that rate. -> {"sent", "answered", "refused" by our own kernel}"""
    began, counts = time.monotonic(), {"sent": 0, "answered": 0, "refused": 0}
    for number, item in enumerate(messages):
        try:
            sock.sendto(item.data, (target, 5060))
            counts["sent"] += 1
        except OSError:
            counts["refused"] += 1
        time.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))
        with contextlib.suppress(OSError):
            while sock.recv(65_535):
                counts["answered"] += 1
    return counts


def send_tls(address: str, namespace: str, target: str, messages: list[Message]) -> dict[str, int]:
    """Each on a connection of its own, which is then cut. -> {"sent", "failed"}"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # an attacker asks nobody for a certificate
    counts = {"sent": 0, "failed": 0}
    for item in messages:
        try:
            with netns.entered(namespace):
                plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            with plain:
                plain.settimeout(2)
                plain.bind((address, 0))
                plain.connect((target, TLS_PORT))
                with context.wrap_socket(plain) as secure:
                    secure.sendall(item.data)
                    time.sleep(0.02)
            counts["sent"] += 1
        except OSError:
            counts["failed"] += 1
    return counts


def provider(clinic: Clinic) -> tuple[str, str, str]:
    """(trunk, its address, one of its numbers) of a provider that is known by its address."""
    for trunk in enabled(clinic):
        if trunk.auth == "address" and trunk.dids:
            direct = next(
                (d for d in trunk.dids if d.to in clinic.by_ext), trunk.dids[0]
            )  # one person's telephone, if any
            return trunk.name, str(trunk.server), direct.number.lstrip("+")
    raise ClinicError("no provider is known by its address", remedy="use the case's clinic")


def run(clinic: str, at: str, say: Say, *, quick: bool = False) -> dict[str, Any]:
    """crashes, calls_dropped, new_call_worst_ms, memory (KiB), files and channels left, errors, phones_lost."""
    place = Place.of(clinic, at)
    pbx, described, lab = place.connect(), place.clinic, place.lab
    phones, pstn = place.phones(), place.pstn()
    assert phones is not None and pstn is not None and lab is not None  # noqa: S101 - a drill is for a lab
    witness.plug_in(phones)
    one, other, *probe, victim = witness.ordinary(described, 5)
    third = witness.who_dials_out(described, {one, other, victim, *probe})
    trunk, address, did = provider(described)
    spaces, visitor = place.state["namespaces"], spare_addresses(lab)[-2]
    outside = f"8{described.numbering.area_code}9990001"[:11]
    purses = {k: v for k, v in pbx.database().items() if k.startswith("toll/")}
    known, ours = witness.reachable(described, pbx), witness.registered(phones)
    channels, since, before = len(pbx.channels()), witness.lines(pbx), witness.Process.of(pbx)
    count = QUICK if quick else FULL
    counts: dict[str, dict[str, int]] = {}
    try:
        with contextlib.ExitStack() as stack:
            sounds = witness.pair(phones, one, other)
            for sound in sounds:
                stack.callback(_end, sound)
            sounds += witness.outward(phones, pstn, third, outside)
            shown = witness.control(sounds)
            targets = {"voice": str(described.networks.voice.pbx), trunk: str(described.uplinks[0].external_address)}
            sockets = {"voice": udp(visitor, spaces["phones"]), trunk: udp(address, spaces[f"prov-{trunk}"])}
            for sock in sockets.values():
                stack.callback(sock.close)
            peers = {
                name: Peer("{}:{}".format(*sock.getsockname()), targets[name],
                           victim if name == "voice" else "74955550199", probe[1] if name == "voice" else did)
                for name, sock in sockets.items()
            }  # fmt: skip
            tls = handmade(Peer(peers["voice"].own, targets["voice"], victim, victim, "TLS"), "tls")[::TLS_EVERY]
            seen = stack.enter_context(
                witness.watching(described, pbx, phones, sounds, (probe[0], probe[1]), 1.0 if quick else 2.0)
            )
            with ThreadPoolExecutor(3) as pool:
                asked = {
                    name: pool.submit(
                        send, sockets[name], targets[name],
                        chain(handmade(peer, f"h{name}"), mutations(peer, SEED + number, count // 2)), RATE,
                    )
                    for number, (name, peer) in enumerate(peers.items())
                }  # fmt: skip
                asked["tls"] = pool.submit(send_tls, visitor, spaces["phones"], targets["voice"], tls)
                counts = {name: found.result() for name, found in asked.items()}
            say(f"{sum(c['sent'] for c in counts.values())} messages; listening for what comes after")
            time.sleep(0.5 if quick else 2)
        left = witness.quiet(pbx, channels, SETTLE)
        after, began = witness.Process.of(pbx), time.monotonic()
        while not witness.settled(before, after) and time.monotonic() - began < SETTLE:
            time.sleep(1)
            after = witness.Process.of(pbx)
    finally:
        _undo(place, visitor, purses)
    reached, now = witness.reachable(described, pbx), witness.registered(phones)
    lost = sorted((known - reached) | (ours - now))
    return {
        "crashes": int(before.pid != after.pid) + after.restarts - before.restarts,
        **seen.report(),
        "phones_lost": len(lost),
        "lost": lost,
        "memory_kib": {"before": before.rss, "after": after.rss},
        "files": {"before": before.files, "after": after.files},
        "channels": {"before": channels, "after": left},
        "unsettled": ["memory or files"] * (not witness.settled(before, after)) + ["channels"] * (left > channels),
        "errors": witness.errors(pbx, since),
        "sides": counts,
        "seed": SEED,
        "control": shown,
    }


def _end(sound: witness.Sound) -> None:
    with contextlib.suppress(Exception):
        sound.call.hangup()


def _undo(place: Place, visitor: str, purses: dict[str, str]) -> None:
    """The attacker's ban lifted and the purses as they were."""
    pbx = place.connect()
    pbx.run(f"fail2ban-client unban {visitor}", check=False)
    new = {k for k in pbx.database() if k.startswith("toll/")} - purses.keys()
    commands = [f"database del toll {k.removeprefix('toll/')}" for k in new]
    commands += [f'database put toll {k.removeprefix("toll/")} "{v}"' for k, v in purses.items()]
    if commands:
        pbx.asterisk(*commands)
