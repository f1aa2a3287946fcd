"""Place one real call in the lab and say what happened: `clinicpbx lab call`.

Each side sends a tone of its own, so the answer to "who hears whom" is measured, not guessed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from clinic.model import Clinic
from clinic.numbering import written_as
from clinic.public import EXAMPLE, normalise
from clinicpbx.errors import ClinicError
from lab import phones, pstn
from softphone.client import Call, Pool, PoolError

CALLER_TONE, PHONE_TONE = 440, 1000  # Hz; the public network answers with lab.pstn.TONE
MOBILE = "+79161234567"
PSTN = "pstn:"


@dataclass
class Outcome:
    """`heard` holds (who, Hz, whose tone, share of the windows). Events: seconds since the start, side, what."""

    rang: list[str] = field(default_factory=list)
    answered_by: str = ""
    heard: list[tuple[str, int, str, float]] = field(default_factory=list)
    events: list[tuple[float, str, str]] = field(default_factory=list)
    ended: str = ""

    @property
    def both_ways(self) -> bool:
        return len(self.heard) == 2 and all(share >= 0.5 for *_, share in self.heard)


Say = Callable[[float, str, str], None]


def place(
    lab: int, clinic: Clinic, caller: str, called: str, *, seconds: float = 5, answer: bool = True, wait: float = 60,
    say: Say = lambda at, side, what: None,
) -> Outcome:  # fmt: skip
    """`caller`: an extension or `pstn:NUMBER`. `called`: anything one can dial; from pstn, one of our DIDs.

    Rings until somebody answers (with `answer`, the first telephone that rings does), talks for `seconds` and hangs up.
    Raises ClinicError for a caller or number that cannot be, or a PBX that does not answer.
    """
    if caller.startswith(PSTN):
        outsider(clinic, caller)
    _register(lab, clinic, caller)
    with phones.pool(lab) as inside, pstn.pool(lab) as outside:
        before = {call.id for pool in (inside, outside) for call in pool.calls(active=True)}
        out, began = Outcome(), time.monotonic()

        def note(side: str, what: str) -> None:
            out.events.append((round(time.monotonic() - began, 2), side, what))
            say(*out.events[-1])

        near = _start(clinic, inside, outside, caller, called)
        note(caller, f"calls {called}")
        far: Call | None = None
        try:
            far = _until_talking(near, (inside, outside), before | {near.id}, answer, wait, out, note)
            if far and seconds:
                _listen(near, far, caller, out, seconds, note)
        except PoolError as error:
            note(caller, str(error))
        finally:
            with contextlib.suppress(PoolError):
                near.hangup()
        info = near.refresh()
        out.ended = f"{info['status'] or ''} {info['reason'] or ''}".strip() or f"hung up by {info['ended_by']}"
        note(caller, f"ended: {out.ended}")
        return out


def _register(lab: int, clinic: Clinic, caller: str) -> None:
    with phones.pool(lab) as inside:
        known = inside.registrations()
    if caller.startswith(PSTN):
        there = [name for name, found in known.items() if found["state"] == "registered"]
        everyone = len(there) < len(clinic.people) // 2
    else:
        if caller not in clinic.by_ext:
            raise ClinicError(f"Nobody has the extension {caller}.", remedy="clinicpbx show CLINIC --what people")
        everyone = known.get(caller, {}).get("state") != "registered"
    if everyone:
        phones.register(lab)


def _start(clinic: Clinic, inside: Pool, outside: Pool, caller: str, called: str) -> Call:
    if not caller.startswith(PSTN):
        return inside.call(caller, called, tone=CALLER_TONE)
    wanted = normalise(called, clinic.numbering.area_code, clinic.numbering.country) or ""
    if wanted not in clinic.dids:
        raise ClinicError(f"{called} is none of the clinic's numbers.", remedy=f"one of: {', '.join(clinic.dids)}")
    trunk, did = clinic.dids[wanted]
    number = written_as(did.number, trunk.number_format)
    return outside.call(
        pstn.EXCHANGE, f"sip:{number}@{trunk.server}:{trunk.port}", tone=CALLER_TONE,
        from_number=outsider(clinic, caller),
    )  # fmt: skip


def outsider(clinic: Clinic, caller: str) -> str:
    """The number that a caller from outside shows, in the spelling that was asked for."""
    number = caller.removeprefix(PSTN) or MOBILE
    if normalise(number, clinic.numbering.area_code, clinic.numbering.country) is None:
        raise ClinicError(f"{number} is no telephone number.", remedy=f'write it as "{PSTN}{EXAMPLE}"')
    return "".join(c for c in number if c in "+0123456789")


def _until_talking(
    near: Call, pools: tuple[Pool, Pool], before: set[str], answer: bool, wait: float, out: Outcome,
    note: Callable[[str, str], None],
) -> Call | None:  # fmt: skip
    """The far call once both sides talk; None when the caller's call ended, or rang in vain."""
    inside, _ = pools
    end, state, seen = time.monotonic() + wait, "", set(before)
    while time.monotonic() < end:
        for pool in pools:
            for call in pool.calls(active=True):
                if call.info["direction"] != "in" or call.id in before:
                    continue
                name = _name(call)
                if call.id not in seen:
                    seen.add(call.id)
                    out.rang.append(name)
                    note(name, f"rings, sees {call.info['caller'].get('number') or 'no number'}")
                    if answer and pool is inside and not out.answered_by:
                        out.answered_by = name
                        note(name, "answers")
                        call.answer(tone=PHONE_TONE)
                        continue
                if call.info["state"] == "answered":
                    out.answered_by = name
                    near.wait_answered(5)
                    note(near.info["agent"], "is connected")
                    return call
        info = near.refresh()
        if info["state"] != state:
            state = info["state"]
            if state == "ended":
                return None
            note(info["agent"], f"{state}{', early media' if info['early_media'] else ''}")
        time.sleep(0.1)
    note(near.info["agent"], f"nobody answered within {wait:.0f} s")
    return None


def _listen(near: Call, far: Call, caller: str, out: Outcome, seconds: float, note: Callable[[str, str], None]) -> None:
    """Measure both sides at once; the pool keeps a connection for each thread."""
    with ThreadPoolExecutor(2) as both:
        a, b = both.submit(near.listen, seconds), both.submit(far.listen, seconds)
        found = (a.result(), b.result())
    for side, heard, tone, whose in (
        (caller, found[0], int(far.refresh()["tone"] or PHONE_TONE), _name(far)),
        (_name(far), found[1], CALLER_TONE, caller),
    ):
        share = float(heard["heard"].get(str(tone), 0.0))
        out.heard.append((side, tone, whose, share))
        note(
            side, f"hears {whose} ({tone} Hz) {share:.0%} of the time, {heard['packets']} packets{_others(heard, tone)}"
        )


def _others(heard: dict[str, Any], tone: int) -> str:
    extra = [f"{freq} Hz" for freq in heard["heard"] if freq != str(tone)]
    return f", also {', '.join(extra)}" if extra else ""


def _name(call: Call) -> str:
    return f"{PSTN}{call.info['number']}" if call.info["agent"] == pstn.EXCHANGE else str(call.info["agent"])
