"""Calls placed both ways all the time, and calls in progress that are listened to: what an outage looks like to people.

Times are the monotonic clock's, which the softphones of this machine share.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from softphone.client import Call, Pool, PoolError

EVERY = 0.2
SHORT = 0.1  # seconds a placed call lasts
LATE = 5.0  # seconds after which an answer is none
TALK, SILENCE = 440, 0.5
"""Hz of who stays here, and seconds without a packet after which a side of a call is dead."""


@dataclass(frozen=True)
class Placed:
    """A call that was placed: when, and when it was answered (None: it was not)."""

    at: float
    answered: float | None


def first_success(calls: Sequence[Placed], since: float) -> float | None:
    """Seconds from `since` to the first answer of a call that was placed after it. Pure."""
    answers = [c.answered for c in calls if c.at >= since and c.answered is not None]
    return min(answers) - since if answers else None


def failed(calls: Sequence[Placed], since: float, until: float) -> int:
    """Calls placed between the two that nobody answered, or only after people have hung up. Pure."""
    return sum(1 for c in calls if since <= c.at <= until and (c.answered is None or c.answered - c.at > LATE))


class Stream:
    """Calls from some agents of a pool, one every `every` seconds, until stopped. Each number answers at once.

    `ends`: who answers does not hang up (a menu, a queue), so we do.
    """

    def __init__(
        self, pool: Pool, agents: Sequence[str], numbers: Sequence[str], every: float = EVERY, *, ends: bool = False,
        **options: Any,
    ) -> None:  # fmt: skip
        self.ends = ends
        self.pool, self.agents, self.every, self.options = pool, list(agents), every, options
        self._numbers = itertools.cycle(numbers)
        self._callers = itertools.cycle(self.agents)
        self._ids: list[tuple[str, float]] = []
        self._refused: list[float] = []
        self._told: dict[str, Placed] = {}
        """What the pool said of calls that have ended: it remembers the last few hundred."""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._place, daemon=True)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(5)

    def _place(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due = max(due + self.every, time.monotonic() - self.every)
            at = time.monotonic()
            try:
                call = self.pool.call(next(self._callers), next(self._numbers), **self.options)
                self._ids.append((call.id, at))
            except PoolError:
                self._refused.append(at)
            with contextlib.suppress(PoolError):
                if not len(self._ids) % 50:
                    self._listen()
                if self.ends and not len(self._ids) % 5:
                    for one in self.pool.calls(self.agents, active=True):
                        if one.info["state"] == "answered":
                            one.hangup()
        self.pool.close()

    def _listen(self) -> None:
        for call in self.pool.calls(self.agents):
            if (times := call.info.get("times", {})) and "start" in times:
                self._told[call.id] = Placed(times["start"], times.get("answered"))

    def calls(self) -> list[Placed]:
        """All so far, those that wait included."""
        self._listen()
        out = [Placed(at, None) for at in self._refused]
        out += [self._told.get(number, Placed(at, None)) for number, at in list(self._ids)]
        return sorted(out, key=lambda call: call.at)

    def forget(self) -> None:
        """Hang up what is left and drop what ended from the pool's memory."""
        with contextlib.suppress(PoolError):
            self.pool.hangup_all(self.agents)
            self.pool.clear(self.agents)
        self._ids.clear()
        self._told.clear()


@dataclass
class Talk:
    """A call in progress with both its ends, here and outside."""

    name: str
    near: Call
    far: Call
    gaps: list[float] = field(default_factory=list)

    def listen_anew(self) -> None:
        self.near.reset_media()
        self.far.reset_media()

    def lost(self) -> str:
        """Why the call is none any more; empty while both ends talk and hear."""
        for side, end in (("inside", self.near), ("outside", self.far)):
            try:
                info = end.refresh()
            except PoolError as error:
                return f"{self.name}, {side}: {error}"
            if info["state"] != "answered":
                return f"{self.name}, {side}: {info['state']} by {info['ended_by']}, {info['status']} {info['reason']}"
            if (silent := time.time() - float(info["rtp"].get("last_at") or 0)) > SILENCE:
                return f"{self.name}, {side}: silent for {silent:.1f} s"
        return ""

    def gap(self) -> float:
        """Seconds of the longest silence of either end since `listen_anew`, one that goes on included."""
        found = 0.0
        for end in (self.near, self.far):
            with contextlib.suppress(PoolError):
                rtp = end.refresh()["rtp"]
                found = max(found, float(rtp.get("gap_ms_max") or 0) / 1000, time.time() - float(rtp["last_at"] or 0))
        return found

    def end(self) -> None:
        for end in (self.near, self.far):
            with contextlib.suppress(PoolError):
                end.hangup()


def outward(phones: Pool, pstn: Pool, caller: str, number: str) -> Talk:
    """A call to a subscriber who answers by itself."""
    near = phones.call(caller, number, tone=TALK).wait_answered(8)
    ends = [c for c in pstn.calls(active=True) if c.info["direction"] == "in" and c.info["number"][-7:] == number[-7:]]
    return Talk(f"{caller} to outside", near, ends[-1])


def inward(phones: Pool, pstn: Pool, called: str, number: str) -> Talk:
    """A call from outside to a telephone that answers by itself."""
    far = pstn.call("pstn", number, from_number="+79167654321", tone=620).wait_answered(8)
    ends = [c for c in phones.calls([called], active=True) if c.info["direction"] == "in"]
    return Talk(f"outside to {called}", ends[-1], far)
