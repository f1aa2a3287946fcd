"""The daemon's connection to the softphone pool: the handsets' SIP side."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

from softphone.pool import LINE_LIMIT

PATIENCE = 30.0  # seconds beyond an operation's own time


class LineError(Exception):
    """The pool refused, or is gone; the text says which."""


class Line:
    """JSON lines over the pool's socket; requests run side by side. It connects again by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()

    async def request(self, op: str, *, wait: float = 0.0, **arguments: Any) -> Any:
        """The result. LineError when the pool refuses, cannot be reached or does not answer in time."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            writer = await self._connect()
            self._waiting[number] = answer
            writer.write(json.dumps({"id": number, "op": op, **arguments}).encode() + b"\n")
            await writer.drain()
            return await asyncio.wait_for(answer, wait + PATIENCE)
        except (OSError, TimeoutError) as error:
            raise LineError(f"{op}: the pool does not answer: {error}") from None
        finally:
            self._waiting.pop(number, None)

    async def _connect(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                reader, self._writer = await asyncio.open_unix_connection(str(self.path), limit=LINE_LIMIT)
                self._reading = asyncio.get_running_loop().create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := await reader.readline():
                reply = json.loads(line)
                answer = self._waiting.get(reply["id"])
                if answer is None or answer.done():
                    continue
                if reply["ok"]:
                    answer.set_result(reply["result"])
                else:
                    answer.set_exception(LineError(str(reply["error"])))
        writer.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LineError("the pool closed the connection"))

    def close(self) -> None:
        if self._reading:
            self._reading.cancel()
        if self._writer:
            self._writer.close()
