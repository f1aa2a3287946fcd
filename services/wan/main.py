"""clinic-wan: the watchdog. Probes every uplink, decides where calls go, and makes it so; it runs until SIGTERM.

Nothing waits for it: if it dies, Asterisk stays on the path that was chosen last, and it comes back to that decision.
The order of a move: calls first (AstDB, then those that nobody has answered), then packets, registrations, and words.
"""

from __future__ import annotations

import contextlib
import json
import math
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Collection
from functools import partial
from pathlib import Path
from subprocess import TimeoutExpired
from types import FrameType
from typing import Any

from services.ledger.notify import notify

from . import core, routes
from .ami import Manager, Message
from .control import Control
from .events import Events
from .probes import Provider, Uplink
from .registrar import Registrar
from .resolvers import Resolvers

SITE = Path("/etc/clinicpbx/wan.json")
STATE, METRICS = Path("/var/lib/clinic-wan/state.json"), Path("/run/clinic-wan/metrics.prom")
TICK, CALM_TICK, STALL = 0.05, 0.1, 0.4
"""Seconds between two looks, the same while all is well, and how late one may be before nothing can be said of what was
on its way."""
POLL, TOLD, WRITTEN, RECONNECT, JUDGED, COUNTED = 5.0, 1.0, 5.0, 1.0, 0.5, 0.5
SWEEPS = (0.25, 0.75)
"""Seconds after the first look for calls on a silent leg: a call needs a moment from its choice of a way to the way."""
WELL = 2.0
"""Seconds an uplink must be well before it registers again and its packets go their own way."""
LONGEST_CARRY = 900.0
HEAVY = 50.0
"""Percent lost, above which a call that has heard nothing yet had better set out again by the other uplink."""
UNHEARD = ("Down", "Dialing")
"""States of a channel that we call on, before anything came back. `Ring` is one that calls us."""
UP_AGAIN = 30.0
"""Seconds an uplink must be well before people are told so: one that flaps is told of once."""


class Watchdog:
    def __init__(self) -> None:
        site = json.loads(SITE.read_text(encoding="utf-8"))
        self.providers = [Provider(**one) for one in site["providers"]]
        self.uplinks = {u["name"]: Uplink(u, site["anchors"], self.providers) for u in site["uplinks"]}
        self.lines = {name: uplink.line for name, uplink in self.uplinks.items()}
        self.rules = core.Rules(tuple(self.uplinks), float(site["loss_percent"]), float(site["return_seconds"]))
        stored = _stored()
        self.state = core.State.load(stored, self.rules.order, time.monotonic() - time.time())
        self.known = set(stored.get("known", ()))
        core.remember(list(self.lines.values()), self.known)
        self.verdicts = dict.fromkeys(self.rules.order, core.Verdict())
        self.manager = Manager("wan", site["secret"])
        self.events = Events()
        self.registrar = Registrar(
            self.manager, self.uplinks, self.providers, self.events, lambda name: routes.forget(self.way(name))
        )
        self.resolvers = Resolvers(site["resolvers"])
        self.selector = selectors.DefaultSelector()
        self.control = Control(self)
        self.put: set[str] | None = None
        """Legs that AstDB has as avoided; None: not known."""
        self.taken: dict[str, float] = {}
        """Uplinks whose packets are taken along, and since when."""
        self.taker = ""
        """The uplink that takes them."""
        self.legs = {f"{p.name}-{name}": (p.name, name) for p in self.providers for name in self.uplinks}
        self.calls: dict[str, int] = {}
        """Of each uplink, by the last answer; `counted_at`: when that was asked for."""
        self.counted_at = 0.0
        self.sweeps: list[float] = []
        """When to look for calls that wait on a silent leg."""
        self.offered: set[str] = set()
        """Channels that offered their one codec."""
        self.told_bad: set[str] = set()
        self.told_none = False
        self.told_silent: set[str] = set()
        self.tests: dict[str, float] = {}
        self.stopping, self.started, self.moves = False, time.monotonic(), 0
        self.calm = False
        """Nothing is lost, nothing is asked of Asterisk or a provider: there is no hurry."""
        self._next: dict[str, float] = {}
        self._last = time.monotonic()
        self._known_ami: socket.socket | None = None
        self.stalls = 0
        self.reactions: deque[float] = deque(maxlen=100)

    # -- the loop ------------------------------------------------------------------------------------------------------

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def run(self) -> None:
        self.selector.register(self.resolvers.socket, selectors.EVENT_READ, (self.resolvers.hear, None))
        self.selector.register(self.control.socket, selectors.EVENT_READ, (self.control.serve, None))
        self.plug()
        self.restore()
        self.events.tell("started", uplink=self.state.current)
        notify(READY="1", STATUS=f"calls by {self.state.current}")
        due = time.monotonic()
        while not self.stopping:
            left = max(0.0, due - time.monotonic())
            if self.calm:  # one look for all that came meanwhile: the kernel noted when it came
                time.sleep(left)
                left = 0.0
            for key, _ in self.selector.select(left):
                hear, then = key.data
                others = hear(time.monotonic())
                if then and others:
                    then(others, time.monotonic())
            now = time.monotonic()
            if now >= due:
                due = now + (CALM_TICK if self.calm else TICK)
                self.tick(now)
        notify(STOPPING="1")

    def plug(self) -> None:
        """Cards come and go: an uplink is asked by the one that has its address."""
        for uplink in self.uplinks.values():
            try:
                if not uplink.moved():
                    continue
                for old in uplink.sockets[:2]:
                    self.selector.unregister(old)
                uplink.open()
            except OSError as error:
                say(f"{uplink.name}: {error}", 3)
                continue
            self.selector.register(uplink.echo, selectors.EVENT_READ, (uplink.hear_echo, None))
            self.selector.register(uplink.sip, selectors.EVENT_READ, (uplink.hear_sip, self.registrar.heard))

    @property
    def ways(self) -> list[routes.Way]:
        return [
            routes.Way(u.name, number, u.address, u.gateway, u.card) for number, u in enumerate(self.uplinks.values())
        ]

    def restore(self) -> None:
        """What the last run left in the kernel, made what this one believes."""
        routes.ready()
        routes.take_along(self.ways, [], None, self.ways)
        routes.main_way(self.way(self.state.current))

    def tick(self, now: float) -> None:
        if now - self._last > STALL:
            self.stalls += 1
            for line in self.lines.values():
                for _, track in line.tracks():
                    track.forget()
        self._last = now
        self.manager.poll(now)
        lost = False
        for uplink in self.uplinks.values():
            lost |= uplink.look()
            lost |= uplink.line.expire(now) > 0
            uplink.ask(now, [line for line in self.lines.values() if line is not uplink.line])
        self.calm = not (lost or self.sweeps or self.registrar.busy or self.manager.waiting or self.troubled())
        if not self.calm or self.due("judge", JUDGED, now):
            self.judge(now)
            self.registrar.tick(now)
        if self.sweeps and now >= self.sweeps[0]:
            self.sweeps.pop(0)
            self.sweep()
        if self.due("poll", POLL, now):
            self.slow(now)
        if self.due("told", TOLD, now):
            notify(WATCHDOG="1", STATUS=f"calls by {self.state.current}; {self.words()}")
            if self.due("cards", POLL, now) or not all(uplink.sockets for uplink in self.uplinks.values()):
                self.plug()
        if self.manager.socket is None and self.due("ami", RECONNECT, now):
            self.put = None
            self.manager.connect(now)
        if self.manager.connected and self.manager.socket is not self._known_ami:
            self._known_ami = self.manager.socket
            self.put = None
            self.registrar.forget()
        if self.due("metrics", WRITTEN, now):
            _write(METRICS, self.metrics())

    def troubled(self) -> bool:
        """Whether something is the matter that may change with any answer."""
        if any(v.score for v in self.verdicts.values()) or self.taken or self.tests:
            return True
        return any(line.row or line.gateway.row for line in self.lines.values())

    def due(self, name: str, every: float, now: float) -> bool:
        if now < self._next.get(name, 0.0):
            return False
        self._next[name] = now + every
        return True

    # -- thinking ------------------------------------------------------------------------------------------------------

    def judge(self, now: float) -> None:
        lines = list(self.lines.values())
        for line in lines:
            others = [other for other in lines if other is not line]
            found = core.judge(line, others, self.rules.limit)
            if now >= self.tests.get(line.name, now + 1):
                del self.tests[line.name]
            if line.name in self.tests:
                found = core.Verdict("test", core.DEAD, "an engineer tests the failover")
            if self.verdicts[line.name].dead and not found.dead:
                line.begin_anew()
                found = core.judge(line, others, self.rules.limit)
            self.verdicts[line.name] = found
        decision = core.decide(self.state, self.verdicts, self.carrying(), now, self.rules)
        if decision:
            self.move(decision)
        else:
            self.calls_follow(False)
        self.packets(now)
        self.news(now)

    def move(self, decision: core.Decision) -> None:
        began = time.monotonic()
        core.follow(self.state, decision)
        self.moves += 1
        self.calls_follow(True)
        self.packets(decision.at)
        self.registrar.want(self.state, self.verdicts, self.taken, decision.at, at_once=True)
        routes.main_way(self.way(self.state.current))
        self.save()
        kind = "returned" if decision.why == "well" else "left"
        if kind == "left":
            self.told_bad.add(decision.left)
        self.events.tell(
            kind, left=decision.left, uplink=decision.to, why=decision.why, evidence=decision.evidence,
            acted=round(time.monotonic() - began, 3),
        )  # fmt: skip

    def calls_follow(self, moved: bool) -> None:
        """AstDB says which legs calls avoid; calls that wait for an answer on such a leg are sent on."""
        wanted = core.avoided(self.state, self.verdicts, self.lines, self.rules.order)
        if not self.manager.connected or wanted == self.put:
            return
        if self.put is None:
            self.manager.act("DBDelTree", Family="wan", Key="avoid")
            self.put = set()
        new = wanted - self.put
        for leg in sorted(new):
            self.manager.act("DBPut", Family="wan", Key=f"avoid/{leg}", Val="1")
        for leg in sorted(self.put - wanted):
            self.manager.act("DBDel", Family="wan", Key=f"avoid/{leg}")
        self.put = wanted
        if any(self.silent(leg) for leg in new):
            now = time.monotonic()
            self.sweeps = [now, *(now + later for later in SWEEPS)]

    def sweep(self) -> None:
        """Calls that wait where nobody will answer; again a little later for those that set out in the same moment."""
        self.manager.act("CoreShowChannels", self.send_on, "CoreShowChannelsComplete")

    def silent(self, leg: str) -> bool:
        provider, uplink = self.legs[leg]
        return self.verdicts[uplink].score >= HEAVY or self.lines[uplink].providers[provider].row >= core.LEG_ROW

    def deaf(self, uplink: str) -> bool:
        return self.verdicts[uplink].score >= core.NO_SIP

    def send_on(self, channels: list[Message]) -> None:
        """Nobody has answered there, and nobody will: the dial plan tries the next way.

        Not those that called us, and not those where it rings already while only the provider is in doubt.
        """
        legs = {leg for leg in self.put or () if self.silent(leg)}
        for one in channels:
            leg, state = leg_of(one.get("Channel", "")), one.get("ChannelStateDesc", "")
            if leg in legs and (state in UNHEARD or (state == "Ringing" and self.deaf(self.legs[leg][1]))):
                self.manager.act("Hangup", Channel=one["Channel"], Cause=38)

    def carrying(self) -> dict[str, int]:
        return {name: self.calls.get(name, 0) for name in self.taken}

    def packets(self, now: float) -> None:
        """Take along what has a dead uplink's address, until it lives and its calls have ended: by a count that was
        asked for when it was well. One that began before is carried, too."""
        wanted = core.carried(self.state, self.verdicts)
        for name, since in self.taken.items():
            clean = self.state.clean.get(name)
            well = math.inf if clean is None else clean + WELL
            ended = self.counted_at >= well and not self.calls.get(name, 0)
            if now < well or (not ended and now - since < LONGEST_CARRY):
                wanted.add(name)
            if now >= well > self.counted_at and self.due("count", COUNTED, now):
                self.count(now)
        wanted.discard(self.state.current)
        current = self.state.current
        if wanted == self.taken.keys() and (not wanted or self.taker == current):
            return
        if now < self._next.get("carry", 0.0):  # it failed just now
            return
        changed = wanted | self.taken.keys() if self.taker != current else wanted ^ self.taken.keys()
        by = self.way(current)
        try:
            routes.take_along(
                self.ways, [self.way(n) for n in sorted(wanted)], by, [self.way(n) for n in sorted(changed)]
            )
        except (OSError, TimeoutExpired) as error:
            say(f"packets cannot be taken along: {error}", 3)
            self._next["carry"] = now + TOLD
            return
        new = wanted ^ self.taken.keys() if self.taker == current else wanted | self.taken.keys()
        self.taker = current
        self.taken = {name: self.taken.get(name, now) for name in wanted}
        if new:
            self.manager.act("CoreShowChannels", lambda found: self.renew(found, new), "CoreShowChannelsComplete")
        self._next["poll"] = 0.0  # count the calls now

    def renew(self, channels: list[Message], names: Collection[str]) -> None:
        """Calls in progress introduce themselves again (re-INVITE) by the new way, or by their own once more: a
        provider that guards a stream's source listens anew, and sends its own requests of the call to where this one
        came from."""
        for one in channels:
            channel, leg = one.get("Channel", ""), leg_of(one.get("Channel", ""))
            if one.get("ChannelStateDesc") == "Up" and leg in self.legs and self.legs[leg][1] in names:
                self.manager.act(
                    "Getvar", partial(self.offer, channel), Channel=channel, Variable="CHANNEL(audionativeformat)"
                )

    def offer(self, channel: str, found: list[Message]) -> None:
        """Asterisk sends nothing that offers what it offered before: so the codec in use, alone or with another."""
        codec = found[0].get("Value", "").strip("()").partition("|")[0] or "alaw"
        again = channel in self.offered
        other = "ulaw" if codec == "alaw" else "alaw"
        self.offered = (self.offered - {channel}) if again else {*list(self.offered)[-999:], channel}
        wanted = f"!all,{codec},{other}" if again else f"!all,{codec}"
        self.manager.act("Setvar", Channel=channel, Variable="PJSIP_MEDIA_OFFER(audio)", Value=wanted)
        self.manager.act("Setvar", Channel=channel, Variable="PJSIP_SEND_SESSION_REFRESH()", Value="invite")

    def way(self, name: str) -> routes.Way:
        return next(way for way in self.ways if way.name == name)

    # -- at leisure ----------------------------------------------------------------------------------------------------

    def slow(self, now: float) -> None:
        self.count(now)
        self.registrar.want(self.state, self.verdicts, self.taken, now)
        self.registrar.look(now)
        self.resolvers.ask(now)
        lines = list(self.lines.values())
        core.remember(lines, ())
        if not core.known(lines) <= self.known:
            self.known |= core.known(lines)
            self.save()
        if not routes.main_way_is(self.way(self.state.current)):
            routes.main_way(self.way(self.state.current))

    def count(self, now: float) -> None:
        self.manager.act("CoreShowChannels", partial(self.counted, now), "CoreShowChannelsComplete")

    def counted(self, asked: float, channels: list[Message]) -> None:
        if not any(one.get("Event") == "CoreShowChannelsComplete" for one in channels):
            return  # an error is no count
        found = dict.fromkeys(self.lines, 0)
        for one in channels:
            if (leg := leg_of(one.get("Channel", ""))) in self.legs:
                name = self.legs[leg][1]
                found[name] += 1
        self.calls, self.counted_at = found, asked

    def news(self, now: float) -> None:
        """What people are told besides a move of calls."""
        none = all(v.dead for v in self.verdicts.values())
        if none and not self.told_none:
            here = self.verdicts[self.state.current]
            self.events.tell("no-line", uplink=self.state.current, why=here.kind, evidence=here.evidence)
            self.told_bad |= self.verdicts.keys()
        self.told_none = none
        for name, verdict in self.verdicts.items():
            clean = self.state.clean.get(name)
            if verdict.score and name not in self.told_bad:
                self.told_bad.add(name)
                self.events.tell("down", uplink=name, why=verdict.kind, evidence=verdict.evidence)
            elif name in self.told_bad and clean is not None and now - clean >= UP_AGAIN:
                self.told_bad.discard(name)
                self.events.tell("up", uplink=name, current=self.state.current)
        for provider, alive in core.providers(self.lines, self.verdicts).items():
            if alive == (provider in self.told_silent):
                (self.told_silent.discard if alive else self.told_silent.add)(provider)
                self.events.tell("provider-up" if alive else "provider-down", provider=provider)
        for kind, fields in self.resolvers.news():
            self.events.tell(kind, **fields)

    # -- what engineers ask --------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "current": self.state.current,
            "hold": self.state.hold,
            "moves": self.moves,
            "stalls": self.stalls,
            "asterisk": self.manager.connected,
            "avoided": sorted(self.put or ()),
            "uplinks": {
                name: {
                    "verdict": verdict.kind, "evidence": verdict.evidence,
                    "loss_percent": round(self.lines[name].recent_loss(), 1),
                    "rtt_ms": round(1000 * min((a.mean for a in self.lines[name].anchors.values() if a.known),
                                               default=0.0), 1),
                    "clean_seconds": round(now - c) if (c := self.state.clean.get(name)) is not None else None,
                    "returns_after": round(core.holding(self.state, name, now, self.rules)),
                    "carried_calls": self.calls.get(name, 0) if name in self.taken else None,
                    "octets": self.uplinks[name].octets,
                    "silent": [about for about, track in self.lines[name].tracks() if not track.heard],
                    "seen_as": sorted(self.uplinks[name].addresses()),
                }
                for name, verdict in self.verdicts.items()
            },
            "legs": {
                f"{provider}-{name}": {
                    "answers": track.known and track.row < core.LEG_ROW, "row": track.row,
                    "code": self.uplinks[name].codes.get(provider),
                    "registration": self.registrar.statuses.get(f"{provider}-{name}", ""),
                }
                for name, line in self.lines.items() for provider, track in line.providers.items()
            },
            "resolvers": self.resolvers.alive(),
            "seconds": round(now - self.started),
        }  # fmt: skip

    def hold(self, name: str) -> None:
        self.state.hold = name
        self.events.tell("held" if name else "released", uplink=name or self.state.current)
        if name and name != self.state.current and not self.verdicts[name].dead:
            self.move(core.Decision(time.monotonic(), self.state.current, name, "hold", "an engineer holds it"))
        self.save()

    def back(self) -> str:
        """Return now to the most preferred uplink that is without a fault."""
        best = next((name for name in self.rules.order if not self.verdicts[name].score), "")
        if best and best != self.state.current:
            self.state.left.clear()
            self.registrar.forgive()
            self.lines[best].begin_anew()
            self.move(core.Decision(time.monotonic(), self.state.current, best, "asked", "an engineer asked"))
        return best

    def words(self) -> str:
        return ", ".join(f"{name} {verdict.kind}" for name, verdict in self.verdicts.items())

    def metrics(self) -> str:
        """Prometheus' text format, for a node exporter's directory of text files."""
        lines = [f"clinic_wan_moves_total {self.moves}", f"clinic_wan_stalls_total {self.stalls}"]
        for name, verdict in self.verdicts.items():
            mark = f'{{uplink="{name}"}}'
            lines += [
                f"clinic_wan_up{mark} {int(not verdict.score)}",
                f"clinic_wan_current{mark} {int(name == self.state.current)}",
                f"clinic_wan_loss_percent{mark} {self.lines[name].recent_loss():.1f}",
                f"clinic_wan_probe_octets_total{mark} {self.uplinks[name].octets}",
            ]
            for provider, track in self.lines[name].providers.items():
                both = f'{{uplink="{name}",provider="{provider}"}}'
                lines.append(f"clinic_wan_provider_up{both} {int(track.known and track.row < core.LEG_ROW)}")
        return "\n".join(lines) + "\n"

    def save(self) -> None:
        _write(STATE, json.dumps(self.state.dump(time.time() - time.monotonic()) | {"known": sorted(self.known)}))


def leg_of(channel: str) -> str:
    """`PJSIP/north-wan-a-0000002a` belongs to north-wan-a."""
    return channel.removeprefix("PJSIP/").rpartition("-")[0] if channel.startswith("PJSIP/") else ""


def _stored() -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(STATE.read_text(encoding="utf-8")))
    return {}


def _write(path: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        new = path.with_name(f".{path.name}")
        new.write_text(text, encoding="utf-8")
        new.replace(path)


def say(text: str, level: int = 6) -> None:
    """To the journal, with the level as sd-daemon(3) has it."""
    print(f"<{level}>{text}", file=sys.stderr, flush=True)


def main() -> int:
    watchdog = Watchdog()
    signal.signal(signal.SIGTERM, watchdog.stop)
    signal.signal(signal.SIGINT, watchdog.stop)
    watchdog.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
