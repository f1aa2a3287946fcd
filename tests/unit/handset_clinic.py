"""A clinic of one process for tests of handsets: DHCP and HTTPS on loopback, a registrar, a softphone pool."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from clinic.secrets import certificate_of
from clinicpbx import certificates
from lab.handset import dhcp, packet
from lab.handset.handset import Handset
from lab.handset.line import LineError
from lab.handset.names import Identity
from lab.handset.packet import Packet
from softphone.ops import Operations, OpError
from tests.unit.softphone_registrar import Registrar

SERVER = "127.0.0.1"
NOW = dt.datetime.now(dt.UTC)
CA, STRANGER = certificates.authority("test", NOW), certificates.authority("stranger", NOW)


@dataclass(frozen=True)
class Asked:
    """One request, as the server saw it."""

    address: str
    path: str
    headers: dict[str, str]

    @property
    def login(self) -> str:
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        return base64.b64decode(value).decode() if kind == "Basic" else ""


Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Web:
    """An HTTPS server. `rule` answers; `asked` is everything it was asked."""

    rule: Callable[[Asked], Reply]
    authority: str = CA
    names: str = SERVER
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Web]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(certificates.server(self.authority, IPv4Address(self.names), "pbx", NOW))
            file.flush()
            context.load_cert_chain(file.name)
        server = await asyncio.start_server(self._serve, SERVER, 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    @property
    def root(self) -> str:
        return f"https://{SERVER}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(_header(line) for line in head[1:] if line)
                asked = Asked(writer.get_extra_info("peername")[0], head[0].split(" ")[1], headers)
                self.asked.append(asked)
                status, extra, body = self.rule(asked)
                lines = [
                    f"HTTP/1.1 {status} x",
                    f"Content-Length: {len(body)}",
                    *(f"{k}: {v}" for k, v in extra.items()),
                ]
                writer.write("\r\n".join([*lines, "", ""]).encode() + body)
                await writer.drain()
        writer.close()


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


class PoolHere:
    """The pool's operations without its socket."""

    def __init__(self) -> None:
        self.operations = Operations()

    async def request(self, op: str, *, wait: float = 0.0, **arguments: Any) -> Any:
        try:
            return await getattr(self.operations, f"op_{op}")(**arguments)
        except (OpError, ValueError) as error:
            raise LineError(str(error)) from None


class Clinic:
    """`files`: path to bytes. Telephones get 127.0.9.N by the order in which they ask, and `boot` as option 66."""

    def __init__(self, memory: Path, web: Web, users: dict[str, str]) -> None:
        self.web, self.memory, self.boot = web, memory, ""
        self.pool, self.registrar = PoolHere(), Registrar(users, SERVER)
        self.leases: dict[bytes, IPv4Address] = {}
        self.silent = False
        self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._server.bind((SERVER, 0))
        self.dhcp = dhcp.Client(dhcp.Ends("lo", (SERVER, 0), self._server.getsockname()))
        self.dhcp.open()
        asyncio.get_running_loop().add_reader(self._server, self._serve)
        self.handsets: list[Handset] = []

    def handset(self, mac: str, model: str) -> Handset:
        made = Handset(
            Identity(mac, model), self.memory / f"{mac}.json", self.dhcp, self.pool, asyncio.Semaphore(9)
        )  # fmt: skip
        self.handsets.append(made)
        return made

    def _serve(self) -> None:
        asked = packet.parse(self._server.recv(2000))
        if self.silent:
            return
        address = self.leases.setdefault(asked.mac, IPv4Address(f"127.0.9.{len(self.leases) + 1}"))
        kind = packet.OFFER if asked.kind == packet.DISCOVER else packet.ACK
        options = {
            packet.KIND: bytes((kind,)), packet.SERVER: IPv4Address(SERVER).packed,
            packet.LEASE_SECONDS: (7200).to_bytes(4), packet.TFTP_SERVER: self.boot.encode(),
        }  # fmt: skip
        answer = Packet(2, asked.xid, asked.mac, options, yours=address)
        self._server.sendto(packet.build(answer), self.dhcp._socket.getsockname())

    async def close(self) -> None:
        for one in self.handsets:
            await one.off()
        for agent in self.pool.operations.agents.values():
            agent.close()
        asyncio.get_running_loop().remove_reader(self._server)
        self._server.close()
        self.dhcp.close()
        self.registrar.close()


async def until(condition: Callable[[], object], what: str = "", timeout: float = 5.0) -> None:
    deadline = asyncio.get_running_loop().time() + timeout
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout} s: {what}"
        await asyncio.sleep(0.01)


def authority(ca: str = CA) -> str:
    """The certificate alone."""
    return certificate_of(ca)
