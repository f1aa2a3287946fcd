"""Asterisk's manager interface without waiting: actions go out, answers come to a callback. Source: AMI v2."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

Message = dict[str, str]
Done = Callable[[list[Message]], None]
PORT = 5038
LONGEST = 1 << 22
MOMENT, PATIENCE = 0.05, 5.0
"""Seconds for a connection, and for the answer to a login or an action."""


class Manager:
    """One connection. `connect` begins it, `poll` reads what came, `connected` says whether it is logged in."""

    def __init__(self, user: str, secret: str) -> None:
        self.user, self.secret = user, secret
        self.socket: socket.socket | None = None
        self.connected = False
        self._buffer = b""
        self._number = 0
        self._began = 0.0
        self._waiting: dict[str, tuple[list[Message], Done | None, str, float]] = {}

    def connect(self, now: float) -> None:
        """Begin to log in; `poll` sees the answer. Nothing waits: an Asterisk that hangs must not stop the probes."""
        self.close()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(MOMENT)  # loopback's kernel answers at once, also for an Asterisk that hangs
        self._began = now
        login = {"Action": "Login", "Username": self.user, "Secret": self.secret, "Events": "off"}
        try:
            self.socket.connect(("127.0.0.1", PORT))
            self.socket.sendall(_text(login))
            self.socket.setblocking(False)
        except OSError:
            self.close()

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket, self.connected, self._buffer = None, False, b""
        self._waiting.clear()

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def act(self, action: str, done: Done | None = None, last: str = "", **fields: Any) -> None:
        """Send an action. `done` gets the response and, with `last`, every event up to that one."""
        if not self.connected or self.socket is None:
            return
        self._number += 1
        name = str(self._number)
        self._waiting[name] = ([], done, last, time.monotonic())
        try:
            self.socket.sendall(_text({"Action": action, "ActionID": name, **fields}))
        except OSError:
            self.close()

    def poll(self, now: float) -> None:
        """Take what came. A connection whose oldest action waits too long is closed: that Asterisk hangs."""
        if self.socket is None:
            return
        oldest = next((at for _, _, _, at in self._waiting.values()), now) if self.connected else self._began
        if now - oldest > PATIENCE:
            self.close()
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    part = self.socket.recv(65536)
                except BlockingIOError:
                    raise
                except OSError:
                    part = b""
                if not part:
                    self.close()
                    return
                self._buffer += part
        *whole, self._buffer = self._buffer.split(b"\r\n\r\n")
        if len(self._buffer) > LONGEST:
            self.close()
        for one in whole:
            if self.connected:
                self._take(_parsed(one))
            elif b"Response: Success" in one:
                self.connected = True
            elif b"Response: " in one:
                self.close()
                return

    def _take(self, message: Message) -> None:
        name = message.get("ActionID", "")
        if name not in self._waiting:
            return
        found, done, last, _ = self._waiting[name]
        found.append(message)
        failed = message.get("Response") == "Error"
        if failed or not last or message.get("Event") == last:
            del self._waiting[name]
            if done:
                done(found)


def _text(fields: dict[str, Any]) -> bytes:
    lines = [f"{key}: {str(value).replace(chr(13), '').replace(chr(10), '')}" for key, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _parsed(data: bytes) -> Message:
    out = {}
    for line in data.decode("utf-8", "replace").split("\r\n"):
        key, colon, value = line.partition(": ")
        if colon:
            out[key] = value
    return out
