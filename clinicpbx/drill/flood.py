"""A flood of registrations with a wrong password, from the voice network and from the internet against each uplink.

The voice side uses an address where telephones are, which the guard never bans: what protects is Asterisk's own speed.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clinicpbx.drill import witness
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.place import Place
from clinicpbx.verify.stranger import Attack, Stranger
from lab.attackers import INTERNET, attacker
from lab.phones import spare_addresses

Say = Callable[[str], None]
RATE = 70  # REGISTER/s from each side
FULL, QUICK = 60, 10  # seconds


def crack(stranger: Stranger, user: str, seconds: int) -> Attack:
    """RATE guesses a second for so long."""
    with stranger:
        return stranger.crack(user, RATE * seconds, RATE)


def knocks(pbx: Pbx, address: str) -> int:
    """Packets of that stranger which the packet filter met and dropped; the note of them is then removed."""
    text = pbx.run("nft list set inet clinic knocks")
    found = re.search(rf"{re.escape(address)} .*?packets (\d+)", text)
    pbx.run(f"nft delete element inet clinic knocks '{{ {address} }}'", check=False)
    return int(found[1]) if found else 0


def run(clinic: str, at: str, say: Say, *, quick: bool = False) -> dict[str, Any]:
    """phones_lost, calls_dropped, new_call_worst_ms, CPU in cores, answers per second, and what each side sent."""
    place = Place.of(clinic, at)
    pbx, described, seconds = place.connect(), place.clinic, QUICK if quick else FULL
    phones, lab = place.phones(), place.lab
    assert phones is not None and lab is not None  # noqa: S101 - a drill is for a lab
    witness.plug_in(phones)
    one, other, *probe, victim = witness.ordinary(described, 5)
    before = witness.reachable(described, pbx)
    ours = witness.registered(phones)
    space = place.state["namespaces"]["phones"]
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(attacker(lab, "flood", INTERNET, ""))
        stack.callback(phones.hangup_all, [one, other])
        sounds = witness.pair(phones, one, other)
        shown = witness.control(sounds)
        sides = {"voice": Stranger(described, spare_addresses(lab)[-2], space)}
        for uplink in described.uplinks:
            sides[f"internet-{uplink.name}"] = Stranger(described, host.address, host.space)
            sides[f"internet-{uplink.name}"].pbx = str(uplink.external_address)
        seen = stack.enter_context(
            witness.watching(described, pbx, phones, sounds, (probe[0], probe[1]), 1.5 if quick else 3.0)
        )
        start, began = witness.Process.of(pbx), time.monotonic()
        with ThreadPoolExecutor(len(sides)) as pool:
            asked = {name: pool.submit(crack, side, victim, seconds) for name, side in sides.items()}
            attacks = {name: found.result() for name, found in asked.items()}
        end, took = witness.Process.of(pbx), time.monotonic() - began
        say(f"{sum(a.sent for a in attacks.values())} REGISTER in {took:.0f} s")
        arrived = knocks(pbx, host.address)
    after, now = witness.reachable(described, pbx), witness.registered(phones)
    during = before if seen.fewest is None else seen.fewest
    lost = sorted((before - during) | (before - after) | (ours - now))
    return {
        "phones_lost": len(lost),
        "phones": {"before": len(before), "during": len(before & during), "after": len(after), "pool": len(now)},
        "lost": lost,
        **seen.report(),
        "seconds": round(took, 1),
        "cpu_cores": round((end.cpu - start.cpu) / took, 2),
        "answers_per_second": round(attacks["voice"].answered / max(attacks["voice"].seconds, 0.1), 1),
        "sides": {name: {"sent": a.sent, "answered": a.answered} for name, a in attacks.items()},
        "dropped_by_packet_filter": arrived,
        "crashes": int(start.pid != end.pid) + end.restarts - start.restarts,
        "control": shown,
    }
