"""What the watchdog thinks: outcomes of probes in, verdicts and decisions out. Pure: no clock, no socket, no file.

An uplink is judged by what answers through it: its router, hosts on the internet (anchors) and the providers' SIP. Only
what was seen to answer can be missed: a router that never answers ping is no evidence. Times are seconds of one clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ROUTER_ROW, ANCHOR_ROW, ISP_ROW, SIP_ROW, LEG_ROW = 2, 4, 6, 2, 3
"""Probes lost in a row: of the router and of the anchors for a dead router; of the anchors and of every provider for a
dead ISP; of a leg for a dead leg. At 5 % random loss each way: in none of 230 simulated half hours."""
RECENT, CLEAN, FAIR = 30, 2, 12
"""Pings of each anchor, and how many of both anchors' may be lost on a clean and on a fair line: of 60, six are at 5 %
each way."""
FILTERED_ROW, SIP_ALONE = 60, 6
"""Pings lost in a row while SIP is answered: somebody filters ping. SIP alone is believed after more in a row."""
SIP_EVERY, SIP_AT_ONCE, SIP_AGAIN = 0.75, 0.2, 0.5
"""Seconds between two requests to the providers in turn, to one in doubt, and to one known to be silent."""
DOUBT_ROW, DOUBT_ENDS, SILENT_ROW = 2 * LEG_ROW, 30, 60
"""Requests to a provider, and pings of anchors, lost in a row after which there is no doubt any more; and requests
after which a provider is asked at leisure again."""
WINDOWS = ((15, 2.5), (50, 1.75), (150, 1.0))
"""Probes of an anchor, and the limit's factor over so few: heavy loss is believed after 3 s, light loss after 30 s."""
DEAD, NO_SIP = 1000.0, 400.0
"""Scores beside loss in percent. Calls move to an uplink whose score is less than half."""
STEADY = 30.0
"""Seconds that an uplink must have been better before calls leave one that carries some of them for it."""
LONGEST_HOLD, MEMORY = 3600.0, 3600.0
SILENT = 90.0
SLOWEST, QUICKEST, LATE = 1.0, 0.1, 2.0


@dataclass
class Track:
    """One target that is asked over and over. `row`: lost since the last answer; `overdue`: not lost yet, but late
    beside the quickest that `took`; `outcomes`: the last ones by number, True is answered. An answer that comes after
    its timeout still counts, and makes the timeout longer (RFC 6298)."""

    least: float = QUICKEST
    row: int = 0
    overdue: int = 0
    heard: float | None = None
    mean: float = 0.0
    deviation: float = 0.0
    outcomes: dict[int, bool] = field(default_factory=dict)
    pending: dict[int, float] = field(default_factory=dict)
    late: dict[int, float] = field(default_factory=dict)
    took: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    row_asked: tuple[float, float] | None = None
    overdue_asked: tuple[float, float] | None = None
    """When the first and the last request of the row, and of what is overdue, were sent."""
    heard_asked: deque[float] = field(default_factory=lambda: deque(maxlen=16))
    """When the last requests that were answered were sent."""

    @property
    def timeout(self) -> float:
        return min(SLOWEST, max(self.least, self.mean + 4 * self.deviation + 0.03))

    @property
    def known(self) -> bool:
        """Whether it ever answered."""
        return self.heard is not None

    @property
    def silence(self) -> tuple[float, float] | None:
        """When the first and the last request that is unanswered were sent."""
        spans = [span for span in (self.row_asked, self.overdue_asked) if span]
        return (spans[0][0], spans[-1][1]) if spans else None

    @property
    def unanswered(self) -> int:
        """In a row. Where other evidence says the same, nobody waits for one slow answer of the past."""
        return self.row + self.overdue

    def sent(self, number: int, at: float) -> None:
        self.pending[number] = at

    def answered(self, number: int, at: float) -> bool:
        """Whether this is the answer to something that was asked."""
        began = self.pending.pop(number, None)
        if late := began is None:
            began = self.late.pop(number, None)
            if began is None:
                return False
            if number in self.outcomes:
                self.outcomes[number] = True
        else:
            self._note(number, True)
        took = at - began
        self.took.append(took)
        if late:  # packets that waited for a neighbour's address come seconds late: that is no round trip
            took = min(took, 2 * self.timeout)
        if not self.heard:
            self.mean, self.deviation = took, took / 2
        else:
            self.deviation += (abs(took - self.mean) - self.deviation) / 4
            self.mean += (took - self.mean) / 8
        self.heard = at
        self.heard_asked.append(began)
        self.begin_row()
        return True

    def expire(self, now: float) -> int:
        """How many probes are lost since the last call."""
        self.overdue, self.overdue_asked = 0, None
        if not self.pending:
            return 0
        limit = now - self.timeout
        lost = [number for number, at in self.pending.items() if at <= limit]
        for number in lost:
            asked = self.late[number] = self.pending.pop(number)
            self.row_asked = (self.row_asked[0] if self.row_asked else asked, asked)
            self._note(number, False)
        self.row += len(lost)
        late = now - max(self.least, 3 * min(self.took, default=SLOWEST))
        if overdue := [at for at in self.pending.values() if at <= late]:
            self.overdue, self.overdue_asked = len(overdue), (overdue[0], overdue[-1])
        if len(self.late) > 16:
            self.late = {number: at for number, at in self.late.items() if at > now - LATE}
        return len(lost)

    def _note(self, number: int, answered: bool) -> None:
        self.outcomes[number] = answered
        if len(self.outcomes) > WINDOWS[-1][0]:
            del self.outcomes[next(iter(self.outcomes))]

    def begin_row(self) -> None:
        """Nothing is missed any more."""
        self.row, self.overdue, self.row_asked, self.overdue_asked = 0, 0, None, None

    def forget(self) -> None:
        """This machine itself stood still: nothing can be said of what is on its way."""
        self.late |= self.pending
        self.pending.clear()
        self.overdue, self.overdue_asked = 0, None

    def loss(self, last: int) -> float:
        """Percent lost of the last so many; 0 while there are fewer."""
        if len(self.outcomes) < last:
            return 0.0
        recent = list(self.outcomes.values())[-last:]
        return 100.0 * recent.count(False) / last


@dataclass
class Line:
    """An uplink and all that is asked through it. `row`: anchors' probes lost since any anchor answered."""

    name: str
    gateway: Track
    anchors: dict[str, Track]
    providers: dict[str, Track]
    carrier: bool = True
    row: int = 0

    def tracks(self) -> Iterable[tuple[str, Track]]:
        """Each with a name that means the same after a restart."""
        yield "gateway", self.gateway
        yield from self.anchors.items()
        yield from self.providers.items()

    def expire(self, now: float) -> int:
        """How many probes are lost since the last call."""
        missed = [a for a in self.anchors.values() if a.heard] or [a for a in self.anchors.values() if a.known]
        far = sum(anchor.expire(now) for anchor in self.anchors.values() if anchor in missed)
        for anchor in self.anchors.values():
            anchor.expire(now)  # of one that never answered here: nothing is lost
        self.row += far
        return far + self.gateway.expire(now) + sum(provider.expire(now) for provider in self.providers.values())

    def suspicious(self) -> bool:
        """Whether the providers should be asked at once, not at their leisure."""
        if ANCHOR_ROW - 2 <= self.row < DOUBT_ENDS:
            return True
        return any(0 < p.unanswered < DOUBT_ROW for p in self.providers.values())

    def loss(self, limit: float) -> float:
        """Loss in percent when it is at the limit or above; else 0. By the best anchor, or of three the second best:
        one may stand in the ISP's own house."""
        known = [anchor for anchor in self.anchors.values() if anchor.known]
        if not known:
            return 0.0
        place = 1 if len(known) > 2 else 0
        if self.row >= FILTERED_ROW or (
            self.row >= ISP_ROW and any(p.known and not p.row and p.outcomes for p in self.providers.values())
        ):
            return 0.0  # somebody filters ping, and nothing else
        for last, factor in WINDOWS:
            found = sorted(anchor.loss(last) for anchor in known)[place]
            if found >= min(limit * factor, SILENT):
                return found
        return 0.0

    def no_accident(self, providers: int) -> int:
        """How many silences in a row of each of so many providers are no accident any more: on a clean line two of two
        providers, on a fair one four of two; how clean it is say the pings of the last seconds."""
        recent = [came for a in self.anchors.values() if a.known for came in list(a.outcomes.values())[-RECENT:]]
        lost, many = recent.count(False), providers > 1
        if self.row <= 1 and lost <= CLEAN:
            return LEG_ROW - 1 if many else LEG_ROW
        return LEG_ROW + 1 if many and lost <= FAIR else DOUBT_ROW

    def begin_anew(self) -> None:
        """After an outage: what was lost in it says nothing of the line as it is now."""
        for track in self.anchors.values():
            track.outcomes.clear()
        for track in self.providers.values():
            track.forget()
            track.begin_row()

    def recent_loss(self) -> float:
        return min((a.loss(min(50, len(a.outcomes) or 1)) for a in self.anchors.values() if a.known), default=0.0)


@dataclass(frozen=True)
class Verdict:
    """What is the matter with an uplink. `kind`: ok, lossy, no-sip, isp-dead, router-dead, no-carrier."""

    kind: str = "ok"
    score: float = 0.0
    evidence: str = ""

    @property
    def dead(self) -> bool:
        return self.score >= DEAD


def judge(line: Line, others: Sequence[Line], limit: float) -> Verdict:
    """An uplink's verdict from what answers through it and, for SIP, through the others."""
    if not line.carrier:
        return Verdict("no-carrier", DEAD, "the card has no carrier")
    anchors = any(anchor.known for anchor in line.anchors.values())
    known = [provider for provider in line.providers.values() if provider.known]
    sip = min((p.unanswered for p in known), default=SIP_ROW)  # of the provider that answers best
    asked = f"{line.row} pings of the anchors, {sip} SIP requests"
    filtered = line.row >= FILTERED_ROW
    first, second = (SIP_ALONE, SIP_ALONE) if filtered else (1, SIP_ROW)
    router = line.gateway.known and line.gateway.row >= ROUTER_ROW
    if (line.row >= ANCHOR_ROW or not anchors) and router and sip >= first:
        return Verdict("router-dead", DEAD, f"unanswered: {line.gateway.row} pings of the router, {asked}")
    if (line.row >= ISP_ROW and sip >= second) or (not anchors and known and sip >= SIP_ALONE):
        return Verdict("isp-dead", DEAD, f"unanswered: {asked}")
    row = line.no_accident(len(known))
    dead = [name for name, p in line.providers.items() if p.known and p.unanswered >= row]
    if known and len(dead) == len(known):
        elsewhere = [n for n in dead if any(_answers(o, n, line.providers[n]) for o in others)]
        if elsewhere:
            return Verdict("no-sip", NO_SIP, f"anchors answer, SIP does not; elsewhere {', '.join(elsewhere)} answers")
    if loss := line.loss(limit):
        return Verdict("lossy", loss, f"{loss:.0f} % of the pings are lost")
    return Verdict()


def known(lines: Iterable[Line]) -> set[str]:
    """What ever answered, by uplink."""
    return {f"{line.name} {name}" for line in lines for name, track in line.tracks() if track.known}


def remember(lines: Sequence[Line], names: Iterable[str]) -> None:
    """What answered in an earlier life, or answers by another uplink, is missed when it is silent here."""
    before = set(names) | {f"{line.name} {a}" for line in lines for o in lines for a, t in o.anchors.items() if t.known}
    for line in lines:
        for name, track in line.tracks():
            if not track.known and f"{line.name} {name}" in before:
                track.heard = 0.0


def _answers(other: Line, provider: str, here: Track) -> bool:
    """Whether it answered there what was asked between two requests that it did not answer here: the uplink is to
    blame. A provider that has just died or come back answers by one before the other, too."""
    there = other.providers.get(provider)
    if there is None or here.silence is None:
        return False
    first, last = here.silence
    return any(first < asked < last for asked in there.heard_asked)


def due(line: Line, asked: Mapping[str, float], others: Collection[Line], now: float) -> list[str]:
    """Providers to be asked by this uplink now; `asked`: when each was last.

    One in doubt by any uplink is asked at once by all. Of the others one has its turn every SIP_EVERY: were they asked
    together, which a doubt leaves behind, the silence between would be as long as all their turns.
    """
    leisure, now_due = {}, []
    for name, provider in line.providers.items():
        since = now - asked.get(name, -LATE)
        doubt = any(0 < o.providers[name].unanswered < DOUBT_ROW for o in others if name in o.providers)
        if doubt or line.suspicious():
            now_due += [name] if since >= SIP_AT_ONCE else []
        elif 0 < provider.row < SILENT_ROW:
            now_due += [name] if since >= SIP_AGAIN else []
        else:
            leisure[name] = since
    if leisure and min(leisure.values()) >= SIP_EVERY:
        now_due.append(max(leisure, key=lambda name: leisure[name]))
    return now_due


@dataclass(frozen=True)
class Decision:
    """A move of calls. `why`: a verdict's kind, `well` for a return, `hold` or `asked` for an engineer's wish."""

    at: float
    left: str
    to: str
    why: str
    evidence: str


@dataclass
class State:
    """What must outlive the program. `current` carries the calls; `left`: when each uplink was left for a fault;
    `clean`: since when it is without one (None: it has one); `hold`: what an engineer wants."""

    current: str
    since: float = 0.0
    left: dict[str, list[float]] = field(default_factory=dict)
    clean: dict[str, float | None] = field(default_factory=dict)
    hold: str = ""
    better: dict[str, float] = field(default_factory=dict)
    """Since when each uplink is better than the current one."""

    def dump(self, offset: float) -> dict[str, Any]:
        """`offset`: what makes this clock's times those of the calendar, which outlive a reboot."""
        left = {name: [t + offset for t in times] for name, times in self.left.items()}
        return {"current": self.current, "since": self.since + offset, "left": left, "hold": self.hold}

    @classmethod
    def load(cls, data: Mapping[str, Any], order: Sequence[str], offset: float) -> State:
        """What was stored, as far as it fits today's uplinks. `offset` as in `dump`, the other way."""
        current = data.get("current", "")
        if current not in order:
            return cls(order[0])
        left = {
            name: [float(t) + offset for t in times] for name, times in data.get("left", {}).items() if name in order
        }
        hold = data.get("hold", "")
        return cls(current, float(data.get("since", 0.0)) + offset, left, {}, hold if hold in order else "")


@dataclass(frozen=True)
class Rules:
    """The description's: uplinks in order of preference, seconds without a fault before a return."""

    order: tuple[str, ...]
    limit: float
    hold: float


def decide(
    state: State, verdicts: Mapping[str, Verdict], calls: Mapping[str, int], now: float, rules: Rules
) -> Decision | None:
    """Where the calls should go from now on; None to leave them. Changes `state` only in `clean` and `better`.

    Quick to leave a dead line. One that still carries something is left for a line that is steadily better: two bad
    ones would else hand the calls to and fro. Slow to return: the more often an uplink was left within the hour, the
    longer it must be well. `calls`: calls that are still carried for an uplink; a return waits for them.
    """
    here = verdicts[state.current]
    for name in rules.order:
        if verdicts[name].score:
            state.clean[name] = None
        elif state.clean.get(name) is None:
            state.clean[name] = now
        if verdicts[name].score < here.score / 2:
            state.better.setdefault(name, now)
        else:
            state.better.pop(name, None)
    waits = {name: waiting(state, name, now) for name in rules.order}
    steady = {n for n in rules.order if (c := state.clean.get(n)) is not None and now - c >= waits[n]}
    if state.hold in steady and state.hold != state.current:
        return _move(state, state.hold, now, "hold", "an engineer holds it")
    better = sorted(state.better, key=lambda name: (verdicts[name].score, rules.order.index(name)))
    if here.score < NO_SIP:
        better = [n for n in better if n in steady or now - state.better[n] >= waits[n]]
    if better and (here.score >= NO_SIP or state.current != state.hold):
        return _move(state, better[0], now, here.kind, here.evidence)
    if state.hold:
        return None
    for name in rules.order[: rules.order.index(state.current)]:
        since = state.clean.get(name)
        if since is not None and now - since >= holding(state, name, now, rules) and not calls.get(name):
            return _move(state, name, now, "well", f"without a fault for {now - since:.0f} s")
    return None


def waiting(state: State, name: str, now: float) -> float:
    """Seconds an uplink must be better before calls leave a bad one for it: twice as many each time it was left."""
    times = [t for t in state.left.get(name, ()) if t > now - MEMORY]
    return min(STEADY * 2.0 ** len(times), LONGEST_HOLD)


def holding(state: State, name: str, now: float, rules: Rules) -> float:
    """Seconds an uplink must be without a fault before calls return to it."""
    times = [t for t in state.left.get(name, ()) if t > now - MEMORY]
    return float(min(rules.hold * 2 ** max(len(times) - 1, 0), max(LONGEST_HOLD, rules.hold)))


def _move(state: State, to: str, now: float, why: str, evidence: str) -> Decision | None:
    return None if to == state.current else Decision(now, state.current, to, why, evidence)


def follow(state: State, decision: Decision) -> None:
    """The state after a decision."""
    if decision.why not in ("well", "hold", "asked"):
        times = [t for t in state.left.get(decision.left, ()) if t > decision.at - MEMORY]
        state.left[decision.left] = [*times, decision.at]
    state.current, state.since = decision.to, decision.at
    state.better.clear()


def avoided(state: State, verdicts: Mapping[str, Verdict], lines: Mapping[str, Line], order: Sequence[str]) -> set[str]:
    """Legs (`provider-uplink`) that calls try last: of an uplink that is not chosen, and of a provider that is silent.

    When nothing is left, nothing is avoided: the dial plan then tries everything in the order of cost.
    """
    found, here = set(), verdicts[state.current].score
    for name, line in lines.items():
        passed_over = order.index(name) < order.index(state.current) or verdicts[name].score > max(here, 0.0)
        for provider, track in line.providers.items():
            if (name != state.current and passed_over) or (track.known and track.row >= LEG_ROW):
                found.add(f"{provider}-{name}")
    every = {f"{provider}-{name}" for name, line in lines.items() for provider in line.providers}
    return set() if found == every else found


def carried(state: State, verdicts: Mapping[str, Verdict]) -> set[str]:
    """Uplinks whose packets the current one takes along, so that calls that were begun there keep their audio.

    Only dead ones: a provider that still hears the old way, however badly, does not follow to the new one.
    """
    if verdicts[state.current].dead:
        return set()
    return {name for name, verdict in verdicts.items() if name != state.current and verdict.dead}


def providers(lines: Mapping[str, Line], verdicts: Mapping[str, Verdict]) -> dict[str, bool]:
    """Provider to whether it answers by any uplink that works; unknown ones are left out."""
    out: dict[str, bool] = {}
    for name, line in lines.items():
        if verdicts[name].dead or verdicts[name].kind == "no-sip":
            continue
        for provider, track in line.providers.items():
            if track.known:
                out[provider] = out.get(provider, False) or track.row < LEG_ROW
    return out
