"""Just enough HTTP/1.1 for one client, nginx: requests without a body, connections that stay open. Source: RFC 9112."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, cast

from .core import Request

LONGEST = 1 << 14
SMALL = 1 << 17
"""Bytes of a file that is sent in one piece; firmware is sent by the kernel."""
KINDS = {".xml": "text/xml; charset=utf-8", ".cfg": "text/plain; charset=utf-8", ".crt": "application/x-x509-ca-cert"}
CHALLENGE = 'WWW-Authenticate: Basic realm="provisioning", charset="UTF-8"\r\n'

Decide = Callable[[Request], tuple[int, str]]
"""Status, and the path of the file to send with 200."""


class Connection(asyncio.Protocol):
    """One connection of nginx's."""

    def __init__(self, decide: Decide) -> None:
        self.decide = decide
        self.buffer = b""
        self.sending: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.sending:
            self.sending.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.serve()

    def serve(self) -> None:
        while self.sending is None and not self.transport.is_closing():
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                if len(self.buffer) > LONGEST:
                    self.transport.close()
                return
            self.buffer = rest
            request = parsed(head.decode("latin-1"))
            if request is None:
                self.transport.close()
                return
            self.answer(request)

    def answer(self, request: Request) -> None:
        status, file = self.decide(request)
        if status != HTTPStatus.OK:
            self.transport.write(page(status, request.method == "HEAD"))
            return
        opened = Path(file).open("rb")  # noqa: SIM115 - closed below, or when the kernel has sent it
        size = opened.seek(0, 2)
        opened.seek(0)
        head = header(status, size, KINDS.get(Path(file).suffix, "application/octet-stream"))
        if request.method == "HEAD" or size <= SMALL:
            with opened:
                self.transport.write(head if request.method == "HEAD" else head + opened.read(size))
            return
        self.transport.write(head)
        self.sending = asyncio.get_running_loop().create_task(self._send(opened))

    async def _send(self, opened: BinaryIO) -> None:
        try:
            with opened:
                await asyncio.get_running_loop().sendfile(self.transport, opened)
        except OSError:
            self.transport.close()
        self.sending = None
        self.serve()


def parsed(head: str) -> Request | None:
    """The request of nginx's lines; None for what nginx does not send."""
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        return None
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(words[0], words[1], headers.get("x-address", ""), headers.get("user-agent", ""),
                   headers.get("authorization", ""))  # fmt: skip


def header(status: int, size: int, kind: str, more: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: {size}\r\nContent-Type: {kind}\r\n"
        f"Cache-Control: no-store\r\n{more}\r\n"
    ).encode()


def page(status: int, empty: bool) -> bytes:
    """A refusal: the status in words, and nothing that tells why."""
    body = f"{HTTPStatus(status).phrase}\n".encode()
    more = {401: CHALLENGE, 405: "Allow: GET, HEAD\r\n"}.get(status, "")
    return header(status, len(body), "text/plain", more) + (b"" if empty else body)
