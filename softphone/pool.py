"""The daemon that holds many agents: JSON lines over a unix socket of mode 0600.

    python -m softphone.pool --socket PATH [--log FILE]

`{"id": 1, "op": "call", "agent": "2001", "to": "2002"}` -> `{"id": 1, "ok": true, "result": {...}}`, or
`{"id": 1, "ok": false, "error": "..."}`. Requests run side by side: a wait does not hold up the others.
"""

import argparse
import asyncio
import contextlib
import inspect
import json
import logging
import os
import resource
import signal
from pathlib import Path
from typing import Any

from softphone.ops import Operations, OpError

log = logging.getLogger("softphone")
LINE_LIMIT = 16 * 1024 * 1024
NICE = -5  # as the PBX: of two that are busy neither is late for the other, and both are before the rest


class Server:
    """Reads requests, runs operations, writes replies. Nothing a client sends can end it but `shutdown`."""

    def __init__(self, operations: object) -> None:
        self.operations = operations
        self._running: set[asyncio.Task[None]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError, asyncio.LimitOverrunError):
            while line := await reader.readline():
                task = asyncio.ensure_future(self._serve(line, writer))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        writer.close()

    async def _serve(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        number: Any = None
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise OpError("a JSON object expected")
            number = request.pop("id", None)
            reply = {"id": number, "ok": True, "result": await self.run(request)}
        except (OpError, ValueError) as error:
            reply = {"id": number, "ok": False, "error": str(error)}
        except Exception as error:
            log.exception("operation failed")
            reply = {"id": number, "ok": False, "error": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps(reply, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n")
            await writer.drain()

    async def run(self, request: dict[str, Any]) -> Any:
        name = str(request.pop("op", ""))
        operation = getattr(self.operations, f"op_{name}", None)
        if operation is None:
            raise OpError(f"unknown op {name!r}")
        try:
            inspect.signature(operation).bind(**request)
        except TypeError as error:
            raise OpError(f"{name}: {error}") from None
        return await operation(**request)


async def serve(path: Path, leash: bool = False) -> None:
    """A pool until `shutdown`, SIGTERM or SIGINT; on a leash also until standard input ends."""
    operations = Operations()
    await listen(path, operations, operations.stopping, leash)
    for agent in list(operations.agents.values()):
        agent.close()


async def listen(path: Path, operations: object, stopping: asyncio.Event, leash: bool = False) -> None:
    """Serve the `op_` methods of any object at a socket until it is `stopping` or the process is told to end."""
    server = Server(operations)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        listener = await asyncio.start_unix_server(server.connected, path=str(path), limit=LINE_LIMIT)
    finally:
        os.umask(before)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if leash:
        loop.add_reader(0, lambda: None if os.read(0, 64) else stopping.set())
    log.info("ready")
    await stopping.wait()
    await asyncio.sleep(0.2)  # let the last BYEs and the reply out
    listener.close()
    path.unlink(missing_ok=True)
    log.info("stopped")


def main() -> None:
    parser = argparse.ArgumentParser(prog="softphone.pool", description="Many SIP telephones in one process.")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--leash", action="store_true", help="end when standard input does: with the program at it")
    options = parser.parse_args()
    logging.basicConfig(filename=options.log, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with contextlib.suppress(OSError):  # telephones share no processor with whoever tests them
        os.nice(NICE)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve(options.socket, options.leash))


if __name__ == "__main__":
    main()
