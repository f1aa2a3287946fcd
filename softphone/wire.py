"""What carries an agent's messages: datagrams here, TLS in `softphone.tls`. Both look the same to the transactions.

`send(data, addr)` never raises: what cannot be sent is lost, as on the wire. `failed(addr)` is told when a connection
could not be made, so that nobody waits 32 s for what is known now.
"""

import logging
import socket
from asyncio import get_running_loop
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger("softphone")
Addr = tuple[str, int]
Received = Callable[[bytes, Addr], None]


class Wire(Protocol):
    """One local address; `name` is the transport as a Via writes it, `reliable` whether it repeats by itself."""

    name: str
    reliable: bool

    async def open(self) -> Addr: ...
    def send(self, data: bytes, addr: Addr) -> None: ...
    def close(self) -> None: ...


class Udp:
    """A socket of datagrams."""

    name, reliable = "UDP", False

    def __init__(self, address: Addr, received: Received) -> None:
        self._address, self._received = address, received
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    async def open(self) -> Addr:
        """Bind; the address with its port. OSError when the address is not ours or the port is taken."""
        try:
            self._socket.bind(self._address)
        except OSError:
            self._socket.close()
            raise
        get_running_loop().add_reader(self._socket, self._readable)
        address: Addr = self._socket.getsockname()
        return address

    def send(self, data: bytes, addr: Addr) -> None:
        try:
            self._socket.sendto(data, addr)
        except (OSError, OverflowError) as error:  # no route, nonsense port: as lost as on the wire
            log.debug("not sent to %s: %s", addr, error)

    def _readable(self) -> None:
        for _ in range(32):
            try:
                data, source = self._socket.recvfrom(65535)
            except OSError:
                return
            self._received(data, source)
            if self._socket.fileno() < 0:
                return

    def close(self) -> None:
        get_running_loop().remove_reader(self._socket)
        self._socket.close()
