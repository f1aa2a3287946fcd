"""SIP over TLS (RFC 3261 sections 18 and 26): connections made as needed, kept, and accepted, framed by Content-Length.

As a telephone does, an agent checks the server's certificate against the authority it was given, and listens with a
certificate of its own that nobody signed: it proves itself by digest.
"""

import asyncio
import datetime as dt
import ipaddress
import logging
import ssl
import tempfile
from collections.abc import Callable
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from softphone.wire import Addr, Received

log = logging.getLogger("softphone")
KEEP_ALIVE_SECONDS = 25.0
CONNECT_SECONDS = 5.0
LARGEST = 65536  # bytes of one message, as much as a datagram could hold
PING, PONG = b"\r\n\r\n", b"\r\n"  # RFC 5626 section 4.4.1


class FramingError(ValueError):
    """What comes is no stream of SIP messages: the connection cannot be read any further."""


class Framer:
    """Cuts a stream into messages. `pings` counts the keep-alives seen between them."""

    def __init__(self) -> None:
        self._buffer = b""
        self.pings = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now. FramingError when one has no usable length or is too long."""
        self._buffer += data
        out: list[bytes] = []
        while True:
            while self._buffer.startswith(b"\r\n"):
                double = self._buffer.startswith(PING)
                self.pings += double
                self._buffer = self._buffer[4 if double else 2 :]
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                if len(self._buffer) > LARGEST:
                    raise FramingError("a header without an end")
                return out
            length = _length(head)
            if len(rest) < length:
                return out
            out.append(head + separator + rest[:length])
            self._buffer = rest[length:]


def _length(head: bytes) -> int:
    """Content-Length, which a stream cannot do without (RFC 3261 section 18.3)."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-length", b"l"):
            text = value.strip()
            if not text.isdigit() or int(text) > LARGEST:
                raise FramingError("a bad Content-Length")
            return int(text)
    raise FramingError("a message without Content-Length")


class _Stream(asyncio.Protocol):
    """One connection, ours or theirs."""

    def __init__(self, wire: "Tls", peer: Addr | None = None) -> None:
        self.wire, self.peer, self.framer = wire, peer, Framer()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self.transport = transport
        self.peer = self.peer or transport.get_extra_info("peername")[:2]
        self.wire.streams[self.peer] = self

    def data_received(self, data: bytes) -> None:
        assert self.peer and self.transport  # noqa: S101 - for the type checker
        before = self.framer.pings
        try:
            messages = self.framer.feed(data)
        except FramingError as error:
            log.debug("connection to %s closed: %s", self.peer, error)
            self.transport.abort()
            return
        if self.framer.pings > before:
            self.transport.write(PONG)
        for message in messages:
            self.wire.received(message, self.peer)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.peer and self.wire.streams.get(self.peer) is self:
            del self.wire.streams[self.peer]


class Tls:
    """A listening address and the connections from and to it. `failed(addr, why)`: one could not be made."""

    name, reliable = "TLS", True

    def __init__(self, address: Addr, received: Received, failed: Callable[[Addr, str], None], authority: str) -> None:
        """`authority`: the certificate that servers must be signed by, PEM. ValueError when it is none."""
        self.received, self.failed = received, failed
        self.streams: dict[Addr, _Stream] = {}
        self._address = address
        self._waiting: dict[Addr, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._trust = trusting(authority)
        self._server: asyncio.Server | None = None

    async def open(self) -> Addr:
        """Listen; the address with its port. OSError when the address is not ours or the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Stream(self), *self._address, ssl=_own())
        self._alive = loop.call_later(KEEP_ALIVE_SECONDS, self._keep_alive)
        address: Addr = self._server.sockets[0].getsockname()
        return address

    def send(self, data: bytes, addr: Addr) -> None:
        """On the connection there is, or as soon as one is made."""
        stream = self.streams.get(addr)
        if stream and stream.transport and not stream.transport.is_closing():
            stream.transport.write(data)
        elif addr in self._waiting:
            self._waiting[addr].append(data)
        else:
            self._waiting[addr] = [data]
            task = asyncio.get_running_loop().create_task(self._connect(addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, addr: Addr) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                transport, _ = await loop.create_connection(
                    lambda: _Stream(self, addr), *addr, ssl=self._trust, server_hostname=addr[0],
                    local_addr=(self._address[0], 0),
                )  # fmt: skip
        except (OSError, TimeoutError, OverflowError) as error:
            self._waiting.pop(addr, None)
            self.failed(addr, str(error) or "no connection in time")
            return
        for data in self._waiting.pop(addr, ()):
            transport.write(data)

    def _keep_alive(self) -> None:
        for stream in self.streams.values():
            if stream.transport:
                stream.transport.write(PING)
        self._alive = asyncio.get_running_loop().call_later(KEEP_ALIVE_SECONDS, self._keep_alive)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._server:
            self._alive.cancel()
            self._server.close()
        for stream in list(self.streams.values()):
            if stream.transport:
                stream.transport.abort()


@cache
def trusting(authority: str) -> ssl.SSLContext:
    """Trust in this authority and no other, TLS 1.2 at least. ValueError when the text is no certificate."""
    try:
        context = ssl.create_default_context(cadata=authority)
    except ssl.SSLError as error:
        raise ValueError(f"the authority is no certificate: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@cache
def _own() -> ssl.SSLContext:
    """A telephone's own self-signed certificate, one for this process."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "telephone")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # mode 0600, gone at once: the module reads files only
        file.write(certificate.public_bytes(pem))
        form = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write(key.private_bytes(*form))
        file.flush()
        context.load_cert_chain(file.name)
    return context
