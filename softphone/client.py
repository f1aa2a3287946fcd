"""The synchronous client of a pool: what verify, the lab and tests use.

with Pool("/run/phones.sock") as pool:
    call = pool.call("2001", "2002", tone=440)
    far = pool.wait_incoming("2002", timeout=5); far.answer(tone=620)
    call.wait_answered(5); call.wait_tone(620, 3); call.hangup()
"""

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]
ANSWER_SECONDS = 10.0  # beyond an operation's own timeout


class PoolError(Exception):
    """The pool refused or could not do it, or a wait ran out of time; the text says which and why."""


class Pool:
    """One per process is enough: each thread gets its own connection, so waits do not hold each other up."""

    def __init__(self, path: str | Path, *, connect_timeout: float = 10.0) -> None:
        self.path, self.connect_timeout = str(path), connect_timeout
        self.process: subprocess.Popen[bytes] | None = None
        self._local = threading.local()
        self._numbers = itertools.count(1)

    @classmethod
    def start(cls, path: str | Path, *, prefix: Sequence[str] = (), log: str | Path | None = None) -> "Pool":
        """Start the daemon (e.g. with prefix ["ip", "netns", "exec", NS]) and wait until it listens.

        It ends with this process, however that ends: no agent stays registered for nobody.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise PoolError(f"a pool listens at {path} already")
        command = [*prefix, sys.executable, "-m", "softphone.pool", "--leash", "--socket", str(path)]
        command += ["--log", str(log)] if log else []
        root = str(Path(__file__).resolve().parent.parent)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        }
        pool = cls(path)
        pool.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches who started it, and it ends the pool when it is done
        )  # fmt: skip
        pool.stats()
        return pool

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.shutdown()
        else:
            self.close()

    def close(self) -> None:
        """Close this thread's connection; the daemon goes on."""
        connection = getattr(self._local, "connection", None)
        if connection:
            connection[1].close()
            connection[0].close()
            self._local.connection = None

    def request(self, op: str, *, wait: float = 0.0, **arguments: Any) -> Any:
        """Any operation by name. `wait`: how long the operation itself may take, in seconds. PoolError on refusal."""
        number = next(self._numbers)
        try:
            connection, reader = self._connect()
            connection.settimeout(wait + ANSWER_SECONDS)
            connection.sendall(json.dumps({"id": number, "op": op, **arguments}).encode() + b"\n")
            line = reader.readline()
        except OSError as error:
            self.close()
            raise PoolError(f"{op}: the pool at {self.path} does not answer: {error}") from error
        if not line:
            self.close()
            raise PoolError(f"{op}: the pool at {self.path} closed the connection")
        reply = json.loads(line)
        if not reply["ok"]:
            raise PoolError(str(reply["error"]))
        return reply["result"]

    def _connect(self) -> Any:
        if getattr(self._local, "connection", None) is None:
            deadline = time.monotonic() + self.connect_timeout
            while True:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.settimeout(self.connect_timeout)
                try:
                    connection.connect(self.path)
                    break
                except OSError:
                    connection.close()
                    dead = self.process is not None and self.process.poll() is not None
                    if dead or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
            self._local.connection = (connection, connection.makefile("rb"))
        return self._local.connection

    # -- agents --------------------------------------------------------------------------------------------------

    def add_agent(self, bind_ip: str, port: int = 5060, **options: Any) -> str:
        """Options: user, password, server ("ip" or "ip:port"), name, auth_user, domain, display, expires, tone,
        behaviour, max_calls, accept_refer, trace, freqs, t1, user_agent, challenge_notify. The agent's name."""
        return str(self.request("add_agent", bind_ip=bind_ip, port=port, **options)["agent"])

    def add_agents(self, agents: list[Json]) -> int:
        """Many at once, each a dictionary of add_agent's arguments; all or none."""
        return int(self.request("add_agents", agents=agents, wait=30)["added"])

    def replace_agent(self, bind_ip: str, port: int = 5060, **options: Any) -> str:
        """As add_agent, in the place of the agent of the same name, if there is one, and with its behaviour."""
        return str(self.request("replace_agent", bind_ip=bind_ip, port=port, **options)["agent"])

    def wait_notify(self, since: int = 0, *, timeout: float = 25.0) -> Json:
        """{"last", "notices": [{"number", "agent", "event", "at"}]} after number `since`, as soon as there are any."""
        return dict(self.request("wait_notify", since=since, timeout=timeout, wait=timeout))

    def add_exchange(self, bind_ip: str, port: int = 5060, *, name: str = "pstn", **options: Any) -> str:
        """`rules=[[pattern, behaviour], ...]`; other options as add_agent."""
        return str(self.request("add_exchange", bind_ip=bind_ip, port=port, name=name, **options)["agent"])

    def remove(self, agents: list[str] | None = None, *, unregister: bool = False) -> int:
        return int(self.request("remove", agents=agents, unregister=unregister, wait=10)["removed"])

    def register(
        self, agents: list[str] | None = None, *, concurrency: int = 50, rate: float | None = None,
        timeout: float | None = None, wait: float = 120.0,
    ) -> Json:  # fmt: skip
        """{"asked", "registered", "failed": {name: [state, status]}, "seconds"}; all agents by default."""
        arguments: Json = {"agents": agents, "concurrency": concurrency, "rate": rate, "timeout": timeout}
        return dict(self.request("register", wait=wait, **arguments))

    register_all = register

    def unregister(self, agents: list[str] | None = None, *, timeout: float | None = None) -> Json:
        return dict(self.request("unregister", agents=agents, timeout=timeout, wait=60))

    def hand_over(self, contacts: dict[str, tuple[str, int]], *, timeout: float = 4.0) -> dict[str, int]:
        """Register other contacts in the place of ours: {agent: (URI, seconds)}. -> {agent: SIP status}"""
        return dict(self.request("hand_over", contacts=contacts, timeout=timeout, wait=60))

    def registrations(self, agents: list[str] | None = None) -> dict[str, Json]:
        return dict(self.request("registrations", agents=agents))

    def set_behaviour(self, agents: str | list[str], action: str, *, pattern: str = "", **options: Any) -> None:
        """See `softphone.behaviour.Behaviour` for actions and options; `pattern` for an exchange's numbers."""
        names = [agents] if isinstance(agents, str) else agents
        self.request("set_behaviour", agents=names, behaviour={"action": action, **options}, pattern=pattern)

    # -- calls ---------------------------------------------------------------------------------------------------

    def call(self, agent: str, to: str, *, tone: int | None = None, **options: Any) -> "Call":
        """Start a call and return at once. Options: from_number, from_display, from_domain, pai,
        headers=[[name, value], ...], dest="ip:port", ring_timeout (s), codecs=[8, 0]."""
        return Call(self, self.request("call", agent=agent, to=to, tone=tone, **options))

    def calls(self, agents: list[str] | None = None, *, active: bool = False) -> list["Call"]:
        return [Call(self, item) for item in self.request("calls", agents=agents, active=active)]

    def wait_incoming(
        self,
        agents: str | list[str],
        timeout: float = 10.0,
        *,
        state: str = "incoming",
        caller: str = "",
        number: str = "",
    ) -> "Call":
        """The next incoming call, handed out once, on any of the agents. PoolError after the timeout."""
        names = [agents] if isinstance(agents, str) else agents
        arguments: Json = {"state": state, "timeout": timeout, "agents": names, "caller": caller, "number": number}
        return Call(self, self.request("wait", wait=timeout, **arguments))

    def hangup_all(self, agents: list[str] | None = None) -> Json:
        return dict(self.request("hangup_all", agents=agents, wait=5))

    # -- looking -------------------------------------------------------------------------------------------------

    def subscribe(self, agent: str, target: str, event: str = "dialog", *, expires: int = 300) -> Json:
        return dict(self.request("subscribe", agent=agent, target=target, event=event, expires=expires, wait=32))

    def blf_state(
        self, agent: str, target: str, event: str = "dialog", *, state: str = "", timeout: float = 5.0
    ) -> Json:
        """The lamp now, or with `state` once it is that."""
        arguments: Json = {"agent": agent, "target": target, "event": event, "state": state, "timeout": timeout}
        return dict(self.request("blf_state", wait=timeout, **arguments))

    def invites(
        self, agents: str | Iterable[str] | None = None, *, number: str = "", caller: str = "", source_ip: str = "",
        since: float = 0.0,
    ) -> list[Json]:  # fmt: skip
        """INVITEs received: number, ruri, to, caller{...}, source_ip, headers, call, t, wall."""
        names = [agents] if isinstance(agents, str) else list(agents) if agents is not None else None
        arguments: Json = {"agents": names, "number": number, "caller": caller, "source_ip": source_ip, "since": since}
        return list(self.request("invites", **arguments))

    def events(self, agent: str) -> list[Json]:
        return list(self.request("events", agent=agent))

    def trace(self, agent: str) -> list[Json]:
        return list(self.request("trace", agent=agent))

    def clear(self, agents: list[str] | None = None) -> None:
        self.request("clear", agents=agents)

    def stats(self) -> Json:
        return dict(self.request("stats"))

    def shutdown(self) -> None:
        """End every call and the daemon."""
        self.request("shutdown")
        self.close()
        if self.process:
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
            if self.process.stdin:
                self.process.stdin.close()


class Call:
    """One call of a pool. `info` is its latest snapshot; `refresh()` fetches a new one."""

    def __init__(self, pool: Pool, info: Json) -> None:
        self.pool, self.info = pool, info
        self.id = str(info["call"])

    def __repr__(self) -> str:
        return f"<Call {self.id} {self.info['direction']} {self.info['peer']} {self.info['state']}>"

    def refresh(self) -> Json:
        self.info = self.pool.request("call_state", call=self.id)
        return self.info

    @property
    def state(self) -> str:
        return str(self.refresh()["state"])

    def wait(self, state: str, timeout: float = 10.0) -> "Call":
        """PoolError after the timeout, or at once when the call ended without reaching the state."""
        self.info = self.pool.request("wait", call=self.id, state=state, timeout=timeout, wait=timeout)
        return self

    def wait_ringing(self, timeout: float = 10.0) -> "Call":
        return self.wait("ringing", timeout)

    def wait_answered(self, timeout: float = 10.0) -> "Call":
        return self.wait("answered", timeout)

    def wait_ended(self, timeout: float = 10.0) -> "Call":
        return self.wait("ended", timeout)

    def answer(self, *, tone: int | None = None, hold: float | None = None) -> "Call":
        """`hold`: hang up that many seconds later."""
        self.info = self.pool.request("answer", call=self.id, tone=tone, hold=hold)
        return self

    def reject(self, code: int = 486, *, q850: int | None = None, contact: str = "") -> "Call":
        self.info = self.pool.request("reject", call=self.id, code=code, q850=q850, contact=contact)
        return self

    def hangup(self, *, q850: int | None = None) -> "Call":
        self.info = self.pool.request("hangup", call=self.id, q850=q850, wait=5)
        return self

    def hold(self) -> int:
        """The SIP status of the re-INVITE."""
        return int(self.pool.request("hold", call=self.id, wait=35)["status"])

    def resume(self) -> int:
        return int(self.pool.request("resume", call=self.id, wait=35)["status"])

    def set_tone(self, tone: int | None) -> None:
        self.pool.request("set_tone", call=self.id, tone=tone)

    def dtmf(self, digits: str, *, timeout: float = 30.0) -> None:
        self.pool.request("dtmf", call=self.id, digits=digits, timeout=timeout, wait=timeout)

    def transfer_blind(self, to: str, *, timeout: float = 30.0) -> Json:
        """{"refer": status, "notify": status or None, "ok": bool}"""
        return dict(self.pool.request("transfer_blind", call=self.id, to=to, timeout=timeout, wait=timeout + 35))

    def transfer_attended(self, consultation: "Call", *, timeout: float = 30.0) -> Json:
        arguments: Json = {"call": self.id, "consultation": consultation.id, "timeout": timeout}
        return dict(self.pool.request("transfer_attended", wait=timeout + 35, **arguments))

    def wait_tone(self, freq: int, timeout: float = 5.0, *, windows: int = 3) -> Json:
        """Until `freq` is heard in that many 200 ms windows in a row, from now on. {"seconds", "level_db"}"""
        return dict(
            self.pool.request("wait_tone", call=self.id, freq=freq, timeout=timeout, windows=windows, wait=timeout)
        )

    def listen(self, seconds: float = 1.0) -> Json:
        """What is heard in the next seconds: {"windows", "packets", "heard": {"620": fraction}}"""
        return dict(self.pool.request("listen", call=self.id, seconds=seconds, wait=seconds))

    def heard(self) -> dict[int, float]:
        """Fraction of all windows so far (since reset_media) in which each tone was heard."""
        return {int(freq): float(item["fraction"]) for freq, item in self.refresh()["tones"]["heard"].items()}

    def reset_media(self) -> None:
        self.pool.request("reset_media", call=self.id)

    def events(self) -> list[Json]:
        return list(self.pool.request("events", call=self.id))
