"""What a pool can be asked to do: one method per operation, JSON values in and out.

A method's keyword arguments are the request's keys. A wrong request raises OpError (or ValueError), whose text is
the reply's `error`. Every wait has a timeout and raises OpError when it passes.
The file is over the usual size because it is the pool's whole vocabulary, and is read as a list.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from softphone import transfer
from softphone.agent import Agent
from softphone.behaviour import Behaviour, Rule, from_json
from softphone.call import Call
from softphone.events import Hub, Json
from softphone.exchange import Exchange, select
from softphone.media import Clock
from softphone.sdp import CODECS

STATES = ("incoming", "ringing", "answered", "ended")


class OpError(Exception):
    """The operation could not be done; the text says why."""


class Operations:
    """The agents of one process. `op_NAME` methods are the operations."""

    def __init__(self) -> None:
        self.hub, self.clock = Hub(), Clock()
        self.agents: dict[str, Agent] = {}
        self.started = time.time()
        self.stopping = asyncio.Event()
        self.notified: deque[Json] = deque(maxlen=5000)
        self._notices = 0

    def _agent(self, name: str) -> Agent:
        if name not in self.agents:
            raise OpError(f"no agent {name!r}")
        return self.agents[name]

    def _call(self, call: str) -> Call:
        found = self._agent(call.rpartition("/")[0]).calls.get(call)
        if found is None:
            raise OpError(f"no call {call!r}")
        return found

    def _some(self, agents: list[str] | None) -> list[Agent]:
        return [self._agent(name) for name in agents] if agents is not None else list(self.agents.values())

    # -- agents --------------------------------------------------------------------------------------------------

    async def _add(self, kind: Callable[..., Agent], options: Json) -> str:
        options = dict(options)
        behaviour = options.pop("behaviour", None)
        if behaviour is not None:
            options["behaviour"] = from_json(behaviour)
        if "freqs" in options:
            options["freqs"] = tuple(options["freqs"])
        try:
            agent = kind(**options, hub=self.hub, clock=self.clock, notified=self._on_notify)
        except TypeError as error:
            raise OpError(f"agent: {error}") from None
        if agent.name in self.agents or "/" in agent.name:
            raise OpError(f"agent name {agent.name!r} is taken or has a slash in it")
        try:
            await agent.open()
        except OSError as error:
            raise OpError(f"agent {agent.name}: cannot bind {agent.address[0]}:{agent.address[1]}: {error}") from None
        self.agents[agent.name] = agent
        return agent.name

    async def op_add_agent(self, **options: Any) -> Json:
        """Keys as in `Agent`, with `behaviour` as in `Behaviour`. -> {"agent": name}"""
        return {"agent": await self._add(Agent, options)}

    async def op_add_agents(self, agents: list[Json]) -> Json:
        """All of them, or none when one cannot be added. -> {"added": n}"""
        added: list[str] = []
        try:
            for options in agents:
                added.append(await self._add(Agent, options))
        except (OpError, ValueError):
            for name in added:
                self.agents.pop(name).close()
            raise
        return {"added": len(added)}

    async def op_add_exchange(self, **options: Any) -> Json:
        """As add_agent; `rules` is a list of [pattern, behaviour], the first that matches wins. -> {"agent": name}"""
        rules = [Rule(pattern, from_json(behaviour)) for pattern, behaviour in options.pop("rules", [])]
        name = await self._add(Exchange, options)
        self.agents[name].rules = rules
        return {"agent": name}

    async def op_replace_agent(self, **options: Any) -> Json:
        """In the place of the agent of the same name, if any, with its behaviour. -> {"agent": name}

        Its calls end without a BYE. When the new one cannot be added the old one is gone all the same.
        """
        name = str(options.get("name") or options.get("user"))
        old = self.agents.pop(name, None)
        if old:
            old.close()
        done = await self.op_add_agent(**options)
        if old and "behaviour" not in options:
            self.agents[name].behaviour = old.behaviour
        return done

    def _on_notify(self, agent: str, event: str) -> None:
        self._notices += 1
        self.notified.append({"number": self._notices, "agent": agent, "event": event, "at": time.time()})

    async def op_wait_notify(self, since: int = 0, timeout: float = 25.0) -> Json:
        """NOTIFYs of no subscription (check-sync, message waiting) after number `since`, as soon as there are any.

        -> {"last": the number to ask with next, "notices": [{"number", "agent", "event", "at" epoch s}]}
        """
        await self.hub.until(lambda: self._notices > since, timeout)
        return {"last": self._notices, "notices": [item for item in self.notified if item["number"] > since]}

    async def op_remove(self, agents: list[str] | None = None, unregister: bool = False) -> Json:
        """-> {"removed": n}; calls end without a BYE unless hung up before."""
        chosen = self._some(agents)
        if unregister:
            await asyncio.gather(*(item.registration.register(0, 2.0) for item in chosen if item.registration.granted))
        for agent in chosen:
            agent.close()
            del self.agents[agent.name]
        return {"removed": len(chosen)}

    async def op_register(
        self, agents: list[str] | None = None, concurrency: int = 50, rate: float | None = None,
        timeout: float | None = None, expires: int | None = None,
    ) -> Json:  # fmt: skip
        """Register these agents (default: all but exchanges), at most `concurrency` at once and `rate` a second.

        -> {"asked": n, "registered": n, "failed": {name: [state, status]}, "seconds": s}
        """
        chosen = [item for item in self._some(agents) if agents is not None or not isinstance(item, Exchange)]
        gate = asyncio.Semaphore(concurrency)
        started = time.monotonic()

        async def one(agent: Agent) -> None:
            async with gate:
                await agent.registration.register(expires, timeout)

        tasks = []
        for index, agent in enumerate(chosen):
            if rate:
                await asyncio.sleep(max(0.0, started + index / rate - time.monotonic()))
            tasks.append(asyncio.ensure_future(one(agent)))
        await asyncio.gather(*tasks)
        wanted = "unregistered" if expires == 0 else "registered"
        failed = {
            item.name: [item.registration.state, item.registration.status]
            for item in chosen
            if item.registration.state != wanted
        }
        seconds = round(time.monotonic() - started, 3)
        return {"asked": len(chosen), wanted: len(chosen) - len(failed), "failed": failed, "seconds": seconds}

    async def op_unregister(self, agents: list[str] | None = None, timeout: float | None = None) -> Json:
        return await self.op_register(agents, timeout=timeout, expires=0)

    async def op_hand_over(self, contacts: dict[str, list[Any]], timeout: float | None = None) -> Json:
        """Give borrowed extensions back: {agent: [contact URI, seconds]}. -> {agent: SIP status}"""
        gate = asyncio.Semaphore(50)

        async def one(name: str, uri: str, seconds: int) -> int:
            async with gate:
                return await self._agent(name).registration.hand_over(uri, seconds, timeout)

        told = await asyncio.gather(*(one(name, str(uri), int(left)) for name, (uri, left) in contacts.items()))
        return dict(zip(contacts, told, strict=True))

    async def op_registrations(self, agents: list[str] | None = None) -> Json:
        """-> {name: {"state", "status", "granted" s, "at" epoch s, "took_ms"}}"""
        return {item.name: item.registration.snapshot() for item in self._some(agents)}

    async def op_set_behaviour(
        self, behaviour: Json, agent: str = "", agents: list[str] | None = None, pattern: str = ""
    ) -> Json:
        """For one agent, several, or with `pattern` for a dialled number of an exchange. -> {"set": n}"""
        new = from_json(behaviour)
        chosen = self._some([agent] if agent else agents or [])
        for item in chosen:
            if not pattern:
                item.behaviour = new
            elif isinstance(item, Exchange):
                item.set_rule(pattern, new)
            else:
                raise OpError(f"{item.name} is a telephone: it has a behaviour, not number patterns")
        return {"set": len(chosen)}

    # -- calls ---------------------------------------------------------------------------------------------------

    async def op_call(self, agent: str, to: str, codecs: list[int] | None = None, **options: Any) -> Json:
        """Keys as in `Agent.call`. -> the call's snapshot"""
        options["codecs"] = tuple(codecs or CODECS)
        options["headers"] = [(str(name), str(value)) for name, value in options.pop("headers", [])]
        try:
            return self._agent(agent).call(to, **options).snapshot()
        except (TypeError, OSError) as error:
            raise OpError(f"call: {error}") from None

    async def op_answer(self, call: str, tone: int | None = None, hold: float | None = None) -> Json:
        found = self._call(call)
        found.answer(tone, hold)
        return found.snapshot()

    async def op_reject(self, call: str, code: int = 486, q850: int | None = None, contact: str = "") -> Json:
        found = self._call(call)
        found.refuse(code, q850, contact)
        return found.snapshot()

    async def op_hangup(self, call: str, q850: int | None = None, timeout: float = 5.0) -> Json:
        """BYE, CANCEL or 486, whichever fits; waits until the call has ended."""
        found = self._call(call)
        found.hangup(q850)
        await self.hub.until(lambda: found.state == "ended", timeout)
        return found.snapshot()

    async def op_hangup_all(self, agents: list[str] | None = None, timeout: float = 5.0) -> Json:
        active = [call for item in self._some(agents) for call in item.calls.values() if call.state != "ended"]
        for call in active:
            call.hangup()
        await self.hub.until(lambda: all(call.state == "ended" for call in active), timeout)
        return {
            "ended": sum(call.state == "ended" for call in active),
            "left": sum(call.state != "ended" for call in active),
        }

    async def op_hold(self, call: str) -> Json:
        return {"status": await self._call(call).hold()}

    async def op_resume(self, call: str) -> Json:
        return {"status": await self._call(call).hold(False)}

    async def op_set_tone(self, call: str, tone: int | None = None) -> Json:
        found = self._call(call)
        found.tone = tone
        if found.media:
            found.media.tone = tone
        return {}

    async def op_dtmf(self, call: str, digits: str, timeout: float = 30.0) -> Json:
        """Send RFC 4733 digits and wait until they are out. -> {"sent": digits}"""
        found = self._call(call)
        found.talking()
        media = found.media
        if media is None or media.dtmf_type is None:
            raise OpError(f"call {call}: the other side did not offer telephone-event")
        media.send_digits(digits)
        if not await self._poll(lambda: not media.digits_pending or found.state == "ended", timeout):
            raise OpError(f"call {call}: digits not sent within {timeout} s")
        found.trail.add("dtmf_sent", digits=digits)
        return {"sent": digits}

    async def op_transfer_blind(self, call: str, to: str, timeout: float = 30.0) -> Json:
        """-> {"refer": SIP status, "notify": last sipfrag status or null, "ok": bool}"""
        return await transfer.blind(self._call(call), to, timeout)

    async def op_transfer_attended(self, call: str, consultation: str, timeout: float = 30.0) -> Json:
        """Join the far ends of both calls (of one agent). -> as transfer_blind"""
        return await transfer.attended(self._call(call), self._call(consultation), timeout)

    async def op_subscribe(self, agent: str, target: str, event: str = "dialog", expires: int = 300) -> Json:
        """-> {"target", "event", "active", "status", "count", "state", ...}"""
        return (await self._agent(agent).subscribe(target, event, expires)).snapshot()

    async def op_blf_state(
        self, agent: str, target: str, event: str = "dialog", state: str = "", timeout: float = 0.0
    ) -> Json:
        """The lamp's state; with `state`, wait for it."""
        found = self._agent(agent).subscriptions.get((target, event))
        if found is None:
            raise OpError(f"agent {agent} has no {event} subscription to {target}")
        if state and not await self.hub.until(lambda: found.value.get("state") == state, timeout):
            raise OpError(f"lamp {target} of {agent} is {found.value.get('state')}, not {state}, after {timeout} s")
        return found.snapshot()

    # -- looking and waiting -------------------------------------------------------------------------------------

    async def op_calls(self, agents: list[str] | None = None, active: bool = False) -> list[Json]:
        return [
            call.snapshot()
            for item in self._some(agents)
            for call in item.calls.values()
            if not active or call.state != "ended"
        ]

    async def op_call_state(self, call: str) -> Json:
        return self._call(call).snapshot()

    async def op_wait(
        self, state: str, timeout: float, call: str = "", agents: list[str] | None = None, caller: str = "",
        number: str = "",
    ) -> Json:  # fmt: skip
        """Wait for a call to reach a state, or (agents, state incoming) for a new incoming call on any of them.

        An incoming call is handed out once. `caller` and `number` must be contained in the caller's and the dialled
        number. -> the call's snapshot. OpError after the timeout, or as soon as the call ended without the state.
        """
        if state not in STATES:
            raise OpError(f"state {state!r}: one of {', '.join(STATES)} expected")
        if call:
            found = self._call(call)
            if not await self.hub.until(lambda: found.reached(state) or found.state == "ended", timeout):
                raise OpError(f"call {call} is {found.state}, not {state}, after {timeout} s")
            if not found.reached(state):
                raise OpError(f"call {call} ended with {found.status} {found.reason}, never {state}")
            return found.snapshot()
        chosen = self._some(agents)

        def fitting() -> Call | None:
            return next(
                (
                    item
                    for agent in chosen
                    for item in agent.calls.values()
                    if item.direction == "in" and not item.taken and item.reached(state)
                    and (state == "ended" or item.state != "ended") and number in item.number
                    and (caller in item.peer or caller in str(item.caller.get("from_number")))
                ),
                None,
            )  # fmt: skip

        if not await self.hub.until(lambda: fitting() is not None, timeout):
            names = ", ".join(agent.name for agent in chosen[:8])
            raise OpError(f"no {state} call on {names} within {timeout} s")
        taken = fitting()
        if taken is None:
            raise OpError("the call vanished")
        taken.taken = True
        return taken.snapshot()

    async def op_wait_tone(self, call: str, freq: int, timeout: float, windows: int = 3) -> Json:
        """Wait until `freq` is heard in that many windows of 200 ms in a row from now. -> {"seconds", "level_db"}"""
        found = self._call(call)
        started = time.monotonic()
        begin = found.media.listener.total if found.media else 0

        def heard() -> list[float]:
            run: list[float] = []
            for index, tones in found.media.listener.last if found.media else ():
                if index > begin:
                    run = [*run, tones[freq]] if freq in tones else []
                if len(run) >= windows:
                    break
            return run

        if found.media and freq not in found.media.listener.freqs:
            raise OpError(f"{freq} Hz is not among the tones this agent listens for: {found.media.listener.freqs}")
        await self._poll(lambda: len(heard()) >= windows or found.state == "ended", timeout)
        run = heard()
        if len(run) < windows:
            tones = found.media.listener.report() if found.media else "no audio"
            raise OpError(f"call {call} ({found.state}) did not hear {freq} Hz within {timeout} s; heard {tones}")
        return {"seconds": round(time.monotonic() - started, 3), "level_db": round(sum(run) / len(run), 1)}

    async def op_listen(self, call: str, seconds: float = 1.0) -> Json:
        """What the call hears in the next seconds. -> {"windows", "packets", "heard": {freq: fraction}}"""
        media = self._call(call).media
        if media is None:
            return {"windows": 0, "packets": 0, "heard": {}}
        windows, packets = media.listener.total, media.received.packets
        heard: dict[str, int] = {}
        deadline = time.monotonic() + seconds
        seen = windows + 1  # the window under way holds audio from before
        while time.monotonic() < deadline:
            await asyncio.sleep(min(0.25, max(0.01, deadline - time.monotonic())))
            for index, tones in media.listener.last:
                if index > seen:
                    seen = index
                    for freq in tones:
                        heard[str(freq)] = heard.get(str(freq), 0) + 1
        count = seen - windows - 1
        fractions = {freq: round(hits / count, 3) for freq, hits in heard.items()} if count else {}
        return {"windows": count, "packets": media.received.packets - packets, "heard": fractions}

    async def op_reset_media(self, call: str) -> Json:
        """Count tones and packets afresh from now."""
        media = self._call(call).media
        if media:
            media.listener.reset()
            media.received.reset()
        return {}

    async def _poll(self, done: Callable[[], bool], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def op_invites(
        self,
        agents: list[str] | None = None,
        number: str = "",
        caller: str = "",
        source_ip: str = "",
        since: float = 0.0,
    ) -> list[Json]:
        """Every INVITE the agents received, refused ones too: number, From, identity, source address, headers."""
        seen = [invite for item in self._some(agents) for invite in item.invites]
        return sorted(select(seen, number, caller, source_ip, since), key=lambda item: item["t"])

    async def op_events(self, call: str = "", agent: str = "") -> list[Json]:
        """The event trail of a call, or of an agent (registrations, NOTIFYs)."""
        return self._call(call).trail.items if call else self._agent(agent).trail.items

    async def op_trace(self, agent: str) -> list[Json]:
        """The latest SIP messages of an agent added with "trace": true; credentials are blanked out."""
        return self._agent(agent).traced()

    async def op_clear(self, agents: list[str] | None = None) -> Json:
        """Forget ended calls, trails and INVITEs seen."""
        for agent in self._some(agents):
            agent.clear()
        return {}

    async def op_stats(self) -> Json:
        """-> counts of the process: agents, calls, RTP sessions, retransmissions, malformed, processor time, memory."""
        agents = list(self.agents.values())
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        used = os.times()
        return {
            "agents": len(agents),
            "registered": sum(item.registration.state == "registered" for item in agents),
            "calls_active": sum(call.state != "ended" for item in agents for call in item.calls.values()),
            "rtp_sessions": len(self.clock.sessions),
            "tick_late_ms_max": round(self.clock.late_ms_max, 1),
            "retransmissions": sum(item.transactions.retransmissions for item in agents),
            "malformed": sum(item.transactions.malformed for item in agents),
            "cpu_seconds": round(used.user + used.system, 2),
            "memory_mb": round(resident / 1e6, 1),
            "uptime": round(time.time() - self.started, 1),
            "now": time.monotonic(),
        }

    async def op_shutdown(self) -> Json:
        for agent in self.agents.values():
            for call in list(agent.calls.values()):
                if call.state != "ended":
                    call.hangup()
        self.stopping.set()
        return {}


Operation = Callable[..., Awaitable[Any]]
__all__ = ["Behaviour", "OpError", "Operation", "Operations"]
