"""After hours, on short days and on holidays the caller hears the right announcement, and nobody is rung."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import pytest

from clinic.model import Clinic
from clinic.people import Role
from clinicpbx.verify.desk import Patients, Phones, moments
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.plugin import Control, Evidence
from clinicpbx.verify.records import cdrs, exactly_one_missed
from softphone.client import Call

pytestmark = pytest.mark.lane("staff")
Lock = Callable[..., contextlib.AbstractContextManager[None]]


def half_a_second(call: Call) -> bool:
    """Whether so much sound has arrived."""
    return int(call.refresh()["rtp"]["packets"]) >= 25


@pytest.mark.check(
    id="hours-{flow}", title="The line {flow} announces closing time, a short day and holidays, and is open in between",
    proves="clinic.yml: flows.{flow}.hours",
)  # fmt: skip
def test_announcements_by_the_clock(
    flow: str, patients: Patients, phones: Phones, pbx: Pbx, clinic: Clinic, calling_in: Lock, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure that a call is treated by the clinic's calendar; each is placed at a moment of its own."""
    plan, path = moments(clinic, flow), clinic.flows[flow]
    wanted: dict[str, tuple[int | None, str]] = {
        "after hours": (plan.closed(), path.closed),
        "after a short day": ((plan.shortened() or (None, 0))[0], path.closed),
        "on a holiday": (plan.holiday(), path.holiday),
        "in opening hours": (plan.open(), path.greeting),
        "at that hour of an ordinary day": ((plan.shortened() or (0, None))[1], path.greeting),
    }
    did = [n for n, (t, d) in clinic.dids.items() if d.flow == flow and t.enabled][-1]
    people = [p.ext for p in clinic.people if p.role in (Role.OPERATOR, Role.RECEPTION)]
    playing: dict[str, str] = {}
    with calling_in(clinic.dids[did][0].name):
        callers = {}
        for name, (moment, _) in wanted.items():
            if moment is not None:
                callers[name] = patients.number()
                patients.pretend(callers[name], moment)
        calls = {name: patients.call(did, caller) for name, caller in callers.items()}
        for call in calls.values():
            call.wait_answered(6)

        def all_playing() -> bool:
            for line in pbx.channels():
                for name, caller in callers.items():
                    if caller in line and "!Playback!" in line:
                        playing[name] = line.split("!Playback!")[1].split("!")[0].rpartition("/")[2]
            return set(playing) == set(callers)

        wait_until(all_playing, 4, every=0.3)
        for name, call in calls.items():
            heard = wait_until(partial(half_a_second, call), 3)
            assert playing.get(name) == wanted[name][1], f"{name} the caller heard {playing.get(name)}"
            assert heard, f"{name} the caller heard nothing"
            evidence(f"{name}: {did} played {playing[name]} to +{callers[name]}")
            call.hangup()
    closed = "after hours" if "after hours" in callers else next(iter(callers))
    if wanted[closed][1] == path.closed:
        row = exactly_one_missed(pbx, f"+{callers[closed]}")
        assert (row.did, row.stage) == (did, "closed"), f"recorded as {row}"
        evidence(f"{closed}: one missed row, stage {row.stage}")
        assert all(r.disposition for r in cdrs(pbx, f"+{callers[closed]}"))
    for caller in callers.values():
        rung = phones.pool.invites(people, caller=caller[-10:])
        assert not rung, f"a telephone rang during an announcement: {rung[0]['to']}"
    with control("in opening hours the closing announcement is not played"):
        assert playing["in opening hours"] == path.closed
