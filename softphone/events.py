"""What happened to a call or an agent, in order, and a way to wait for it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


class Trail:
    """Events as `{"t": monotonic s, "wall": epoch s, "event": name, ...}`; bounded, the oldest go first."""

    __slots__ = ("items", "limit")

    def __init__(self, limit: int = 500) -> None:
        self.items: list[Json] = []
        self.limit = limit

    def add(self, event: str, **detail: Any) -> None:
        self.items.append({"t": time.monotonic(), "wall": time.time(), "event": event, **detail})
        if len(self.items) > self.limit:
            del self.items[: self.limit // 5]

    def names(self) -> list[str]:
        return [str(item["event"]) for item in self.items]


class Hub:
    """Wakes everyone who waits for a change. Waiters look again for themselves, so a wake-up too many is harmless."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def until(self, done: Callable[[], bool], timeout: float) -> bool:
        """True as soon as done() is; False after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while not done():
            left = deadline - loop.time()
            if left <= 0:
                return False
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.add(waiter)
            await asyncio.wait([waiter], timeout=left)
            self._waiters.discard(waiter)
        return True
