"""Emergency calls with every cap exhausted and everything closed: from every telephone, by each trunk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from clinic.rendering.toll import UNLIMITED
from clinicpbx.verify.desk import enabled, provider_of
from clinicpbx.verify.place import Place
from softphone.client import Pool, PoolError

Say = Callable[[str], None]
AT_ONCE = 8  # below the smallest trunk: an emergency call that waits for a line is another check
QUICK = 24


def run(clinic: str, at: str, say: Say, *, quick: bool = False) -> dict[str, Any]:
    """emergency_tried and emergency_refused; `refused` names who, which number and by which trunk."""
    place = Place.of(clinic, at)
    pbx, phones, pstn = place.connect(), place.phones(), place.pstn()
    assert phones is not None and pstn is not None  # noqa: S101 - a drill is for a lab, which has both
    described = place.clinic
    people = [p.ext for p in described.people]
    people = people[:: max(1, len(people) // QUICK)] if quick else people
    numbers, trunks = described.emergency.numbers, [t.name for t in enabled(described)]
    pairs = [(ext, numbers[-1]) for ext in people] + [(ext, n) for n in numbers for ext in people[:2]]
    known = {k: v for k, v in pbx.database().items() if k.startswith("toll/")}
    refused: list[str] = []
    tried = 0
    scopes = ["clinic", *(f"trunk-{t}" for t in trunks), *(f"person-{ext}" for ext in people)]
    now = str(int(time.time()))
    try:
        closed = [f"database put toll closed/{s}/{what} {now}" for s in scopes for what in ("international", "money")]
        closed += [f"database put toll {counter}/{s} {UNLIMITED}" for s in scopes for counter in ("seconds", "money")]
        pbx.asterisk(*closed, *(f"database put toll locked/{ext} {now}" for ext in people))
        shut = _is_shut(phones, people, described.numbering.area_code)
        for trunk in trunks:
            for other in trunks:
                if other != trunk:
                    pbx.put("trunk", f"{other}/disabled", "1")
            for start in range(0, len(pairs), AT_ONCE):
                bad = _batch(phones, pstn, place, pairs[start : start + AT_ONCE], trunk)
                refused += bad
                tried += len(pairs[start : start + AT_ONCE])
            pbx.asterisk(*(f"database del trunk {other}/disabled" for other in trunks))
            say(f"emergency by {trunk} alone: {len(pairs)} calls, {len(refused)} not answered so far")
    finally:
        gone = [k for k in pbx.database() if k.startswith("toll/") and k not in known]
        pbx.asterisk(
            *(f"database del trunk {t}/disabled" for t in trunks),
            *(f"database del toll {k.removeprefix('toll/')}" for k in gone),
            *(f'database put toll {k.removeprefix("toll/")} "{v}"' for k, v in known.items()),
        )
    return {"emergency_tried": tried, "emergency_refused": len(refused), "refused": refused, "control": shut}


def _batch(phones: Pool, pstn: Pool, place: Place, pairs: list[tuple[str, str]], trunk: str) -> list[str]:
    """Those of the calls that were not answered by that trunk."""
    since = pstn.stats()["now"]
    calls = [(ext, number, phones.call(ext, number)) for ext, number in pairs]
    bad = []
    for ext, number, call in calls:
        with contextlib.suppress(PoolError):
            call.wait_answered(8)
        if not call.refresh()["answered"]:
            bad.append(f"{number} from {ext} by {trunk}: {call.info['status']}")
    ways = {provider_of(place.clinic, i["source_ip"]) for i in pstn.invites("pstn", since=since)}
    bad += [f"a call went by {way}, though only {trunk} is open" for way in sorted(ways - {trunk})]
    for _, _, call in calls:
        with contextlib.suppress(PoolError):
            call.hangup()
    return bad


def _is_shut(phones: Pool, people: list[str], area_code: str) -> str:
    """The control: with all that closed, a call that costs money is refused."""
    for ext in people:
        call = phones.call(ext, "89161234567")
        with contextlib.suppress(PoolError):
            call.wait_ended(4)
        if call.refresh()["answered"]:
            call.hangup()
            return ""
        if call.info["status"] == 403:
            return f"{ext} is refused a mobile number meanwhile (403)"
    return ""
