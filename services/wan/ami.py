"""Asterisk's manager interface without waiting: actions go out, answers come to a callback. Source: AMI v2."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

Message = dict[str, str]
Done = Callable[[list[Message]], None]
PORT = 5038
LONGEST = 1 << 22


class Manager:
    """One connection. `poll` reads what came; a lost connection is seen by `connected` and made again by `connect`."""

    def __init__(self, user: str, secret: str) -> None:
        self.user, self.secret = user, secret
        self.socket: socket.socket | None = None
        self.connected = False
        self._buffer = b""
        self._number = 0
        self._waiting: dict[str, tuple[list[Message], Done | None, str]] = {}

    def connect(self) -> bool:
        """Log in. Blocks for loopback's moment; False when Asterisk does not listen."""
        self.close()
        try:
            self.socket = socket.create_connection(("127.0.0.1", PORT), 1)
            self.socket.settimeout(1)
            login = {"Action": "Login", "Username": self.user, "Secret": self.secret, "Events": "off"}
            self.socket.sendall(_text(login))
            said = b""
            while b"\r\n\r\n" not in said:
                part = self.socket.recv(4096)
                if not part:
                    raise OSError("closed")
                said += part
            if b"Success" not in said:
                raise OSError("refused")
            self.socket.setblocking(False)
        except OSError:
            self.close()
            return False
        self._buffer, self.connected = b"", True
        return True

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket, self.connected = None, False
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
        self._waiting[name] = ([], done, last)
        try:
            self.socket.sendall(_text({"Action": action, "ActionID": name, **fields}))
        except OSError:
            self.close()

    def poll(self) -> None:
        if self.socket is None:
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
            self._take(_parsed(one))

    def _take(self, message: Message) -> None:
        name = message.get("ActionID", "")
        if name not in self._waiting:
            return
        found, done, last = self._waiting[name]
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
