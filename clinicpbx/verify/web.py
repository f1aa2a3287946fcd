"""HTTPS as a telephone or an attacker sends it: any bytes for a path, from any address of a namespace of the lab."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from dataclasses import dataclass, field

from lab import netns

PORT = 443


@dataclass(frozen=True)
class Reply:
    """`status` 0: no connection, or closed without an answer. `seconds` until the last byte."""

    status: int
    body: bytes = b""
    headers: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Web:
    """The PBX as seen from one address of a namespace, trusting the clinic's authority alone."""

    server: str
    authority: str = field(repr=False)
    namespace: str
    address: str = ""

    def connect(self, timeout: float = 3.0) -> ssl.SSLSocket:
        """OSError when nobody answers, or not with the clinic's certificate."""
        context = ssl.create_default_context(cadata=self.authority)
        with netns.entered(self.namespace):
            plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        plain.settimeout(timeout)
        try:
            plain.bind((self.address, 0))
            plain.connect((self.server, PORT))
            return context.wrap_socket(plain, server_hostname=self.server)
        except OSError:
            plain.close()
            raise

    def get(
        self, path: str, *, login: tuple[str, str] | None = None, agent: str = "verify", method: str = "GET",
        more: str = "", timeout: float = 3.0,
    ) -> Reply:  # fmt: skip
        """One request, the path as it stands. `more`: further header lines, each ended by CRLF."""
        if login:
            more += f"Authorization: Basic {base64.b64encode(':'.join(login).encode()).decode()}\r\n"
        request = f"{method} {path} HTTP/1.1\r\nHost: {self.server}\r\nUser-Agent: {agent}\r\n{more}"
        return self.send(f"{request}Connection: close\r\n\r\n".encode("latin-1"), timeout)

    def send(self, data: bytes, timeout: float = 3.0) -> Reply:
        """These bytes, and whatever comes until the server closes."""
        began, found = time.monotonic(), b""
        try:
            with self.connect(timeout) as to:
                to.sendall(data)
                while piece := to.recv(1 << 16):
                    found += piece
        except OSError:
            pass
        head, _, body = found.partition(b"\r\n\r\n")
        words = head.split(b" ", 2)
        status = int(words[1]) if len(words) > 2 and words[1].isdigit() else 0
        return Reply(status, body, head.decode("latin-1"), time.monotonic() - began)
