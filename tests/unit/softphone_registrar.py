"""A registrar for tests: REGISTER with digest over UDP, on the library's own transaction layer."""

import asyncio
import socket

from softphone import digest
from softphone.message import Message, parse_address, reply, token
from softphone.transaction import ServerTransaction, Transactions
from softphone.wire import Addr


class Registrar:
    """`users`: name -> password. `contacts`: who is registered. `refusals` counts wrong answers."""

    def __init__(self, users: dict[str, str], ip: str = "127.0.0.1", algorithm: str = "MD5") -> None:
        self.users, self.algorithm = users, algorithm
        self.contacts: dict[str, str] = {}
        self.refusals = self.requests = 0
        self.nonce = token()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((ip, 0))
        self.address = f"{ip}:{self._socket.getsockname()[1]}"
        self._transactions = Transactions(self._send, self._on_request)
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def _send(self, data: bytes, addr: Addr) -> None:
        self._socket.sendto(data, addr)

    def _readable(self) -> None:
        for _ in range(100):
            try:
                data, source = self._socket.recvfrom(65535)
            except BlockingIOError:
                return
            self._transactions.receive(data, source)

    def _on_request(self, message: Message, source: Addr, server: ServerTransaction | None) -> None:
        if server is None:
            return
        self.requests += 1
        user = parse_address(message.get("to")).user
        answer = message.get("authorization")
        if not answer or f'nonce="{self.nonce}"' not in answer:
            self._challenge(message, server, stale=bool(answer))
        elif user not in self.users or not digest.verify(answer, self.users[user], message.method):
            self.refusals += 1
            self._challenge(message, server, stale=False)
        else:
            contact = message.get("contact")
            if ";expires=0" in contact:
                self.contacts.pop(user, None)
            else:
                self.contacts[user] = parse_address(contact).uri
            server.respond(reply(message, 200, token(), [("contact", contact)]))

    def _challenge(self, message: Message, server: ServerTransaction, *, stale: bool) -> None:
        value = f'Digest realm="test", nonce="{self.nonce}", algorithm={self.algorithm}, qop="auth"'
        server.respond(reply(message, 401, token(), [("www-authenticate", value + (", stale=true" if stale else ""))]))

    def close(self) -> None:
        self._transactions.close()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
