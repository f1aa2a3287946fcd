"""Keeping an agent registered: REGISTER, digest, refresh in time, try again after a failure (RFC 3261 section 10)."""

import asyncio
import random
import time
from typing import TYPE_CHECKING

from softphone.events import Json
from softphone.message import Message, params_of, parse_address, token

if TYPE_CHECKING:
    from softphone.agent import Agent

RETRY_SECONDS = 15.0


class Registration:
    """States: none, registering, registered, refused (401, 403, 404, 407), failed (timeout, 5xx), unregistered."""

    def __init__(self, agent: "Agent", expires: int) -> None:
        self.agent, self.wanted = agent, expires
        self.state = "none"
        self.status: int | None = None
        self.granted = 0
        self.at = 0.0
        self.took_ms = 0.0
        self._call_id, self._tag, self._cseq = token(), token(), random.randrange(1, 1000)  # noqa: S311
        self._timer: asyncio.TimerHandle | None = None
        self._busy = asyncio.Lock()

    async def register(self, expires: int | None = None, timeout: float | None = None) -> str:
        """Register (or, with 0, unregister) and schedule the refresh; the state afterwards."""
        async with self._busy:
            return await self._register(self.wanted if expires is None else expires, timeout)

    async def refresh(self) -> None:
        """Register again, unless the address was given up or handed over while this waited for its turn."""
        async with self._busy:
            if self.state != "unregistered":
                await self._register(self.wanted, None)

    async def hand_over(self, contact: str, expires: int, timeout: float | None = None) -> int:
        """Register another address (a URI) in the place of ours and stop refreshing; the SIP status.

        A third party may register a contact for an address of record (RFC 3261 section 10.2), which is how a
        borrowed extension goes back to its telephone.
        """
        async with self._busy:
            self.stop()
            message = self._message(expires, f"<{contact}>")
            response = await self.agent.transact(message, self.agent.server, timeout=timeout, reuse_nonce=True)
            self._cseq = max(self._cseq, message.cseq[0] + 3)
            self.status = response.status
            if response.status == 200:
                self.state, self.granted = "unregistered", 0
            return response.status

    async def _register(self, expires: int, timeout: float | None) -> str:
        agent = self.agent
        self.stop()
        if self.state != "registered":
            self.state = "registering"
        started = time.monotonic()
        for _ in range(2):
            message = self._message(expires)
            response = await agent.transact(message, agent.server, timeout=timeout, reuse_nonce=True)
            self._cseq = max(self._cseq, message.cseq[0] + 3)
            if response.status != 423:
                break
            expires = max(expires, int(response.get("min-expires", "60") or 60))
        if agent.closed:
            return self.state
        before = self.state
        self.status, self.took_ms = response.status, round((time.monotonic() - started) * 1000, 1)
        if response.status == 200:
            self.granted, self.at = self._granted(response, expires) if expires else 0, time.time()
            self.state = "registered" if expires else "unregistered"
            if expires:
                self._schedule(max(self.granted * random.uniform(0.75, 0.85), 1.0))  # noqa: S311
        else:
            self.state = "refused" if response.status in (401, 403, 404, 407) else "failed"
            if expires:
                patience = RETRY_SECONDS * (4 if self.state == "refused" else 1)
                self._schedule(patience * random.uniform(0.8, 1.2))  # noqa: S311
        if self.state != before:
            agent.trail.add(f"registration_{self.state}", status=response.status)
        agent.hub.notify()
        return self.state

    def _message(self, expires: int, contact: str = "") -> Message:
        agent = self.agent
        self._cseq += 1
        message = agent.new_request(
            "REGISTER", f"sip:{agent.domain}", to=agent.identity, tag=self._tag, call_id=self._call_id, cseq=self._cseq
        )
        message.add("contact", f"{contact or agent.contact};expires={expires}")
        message.add("expires", str(expires))
        return message

    def _granted(self, response: Message, asked: int) -> int:
        ours = parse_address(self.agent.contact).uri
        for contact in response.get_list("contact"):
            if parse_address(contact).uri == ours:
                value = params_of(contact).get("expires", "")
                if value.isdigit():
                    return int(value)
        value = response.get("expires")
        return int(value) if value.isdigit() else asked

    def _schedule(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, lambda: self.agent.spawn(self.refresh()))

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()

    def snapshot(self) -> Json:
        return {
            "agent": self.agent.name, "state": self.state, "status": self.status, "granted": self.granted,
            "at": self.at, "took_ms": self.took_ms,
        }  # fmt: skip
