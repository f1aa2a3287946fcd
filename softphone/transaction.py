"""SIP transactions (RFC 3261 section 17, with RFC 6026's Accepted state) over datagrams or a reliable wire.

The layer retransmits what the wire does not, absorbs retransmissions, acknowledges failures, and calls back once per
new message.
Timers are plain `call_later` handles: a thousand idle agents cost nothing.
"""

import asyncio
import logging
from collections.abc import Callable

from softphone.message import COOKIE, Message, MessageError, params_of, parse, parse_uri, token
from softphone.wire import Addr

log = logging.getLogger("softphone")
T1, T2, T4 = 0.5, 4.0, 5.0
ACCEPTED = "accepted"


class ClientTransaction:
    """One request of ours. `on_response` gets provisionals and one final; `on_timeout` nothing at all came."""

    def __init__(
        self, layer: "Transactions", request: Message, addr: Addr,
        on_response: Callable[[Message], None], on_timeout: Callable[[], None], timeout: float | None,
    ) -> None:  # fmt: skip
        self.layer, self.request, self.addr = layer, request, addr
        self.on_response, self.on_timeout = on_response, on_timeout
        self.invite = request.method == "INVITE"
        self.key = (request.branch, request.method)
        self.data = request.build()
        self.state = "calling"
        self.ack: bytes | None = None  # ours for a 2xx, sent again for each retransmitted 2xx
        self.ack_addr: Addr = addr
        self.interval = layer.t1
        self.give_up = layer.later(timeout or 64 * layer.t1, self._timed_out)
        # On a reliable wire nothing is repeated; then there is but one timer, and whatever ends one ends both.
        self.retransmit = self.give_up if layer.reliable else layer.later(self.interval, self._again)
        layer.clients[self.key] = self
        layer.send(self.data, addr)

    def _again(self) -> None:
        self.layer.retransmissions += 1
        self.layer.send(self.data, self.addr)
        self.interval = self.interval * 2 if self.invite else min(self.interval * 2, T2)
        self.retransmit = self.layer.later(self.interval, self._again)

    def _timed_out(self) -> None:
        self.close()
        self.on_timeout()

    def close(self) -> None:
        self.retransmit.cancel()
        self.give_up.cancel()
        self.layer.clients.pop(self.key, None)

    def send_ack(self, ack: bytes, addr: Addr) -> None:
        """Acknowledge the 2xx, now and whenever it comes again."""
        self.ack, self.ack_addr = ack, addr
        self.layer.send(ack, addr)

    def receive(self, response: Message) -> None:
        if response.status < 200:
            if self.state == "calling":
                self.state = "proceeding"
                if self.invite:
                    self.retransmit.cancel()
                    self.give_up.cancel()
            if self.state == "proceeding":
                self.on_response(response)
            return
        first = self.state in ("calling", "proceeding")
        if self.invite and response.status >= 300:
            self.layer.send(self._failure_ack(response), self.addr)
        elif self.invite and not first and self.ack:
            self.layer.send(self.ack, self.ack_addr)
        if not first:
            return
        self.retransmit.cancel()
        self.give_up.cancel()
        if self.invite:  # linger for retransmitted finals: timers D and M
            self.state = ACCEPTED if response.status < 300 else "completed"
            self.give_up = self.layer.later(64 * self.layer.t1, self.close)
        else:
            self.close()
        self.on_response(response)

    def _failure_ack(self, response: Message) -> bytes:
        """ACK for a final of 300 or more: same branch and Request-URI as the INVITE (section 17.1.1.3)."""
        request = self.request
        ack = Message(method="ACK", uri=request.uri)
        for name in ("via", "route", "max-forwards", "from", "call-id"):
            ack.headers += [(name, value) for value in request.get_all(name)]
        ack.add("to", response.get("to"))
        ack.add("cseq", f"{request.cseq[0]} ACK")
        return ack.build()


class ServerTransaction:
    """One request of theirs, and the last response we gave."""

    def __init__(self, layer: "Transactions", request: Message, source: Addr, key: tuple[str, str, str]) -> None:
        self.layer, self.request, self.source, self.key = layer, request, source, key
        self.invite = request.method == "INVITE"
        self.addr = source if layer.reliable else response_addr(request, source)
        self.data = b""
        self.status = 0
        self.acked = False
        self.on_no_ack: Callable[[], None] | None = None
        self.interval = layer.t1
        self.timer: asyncio.TimerHandle | None = None
        layer.servers[key] = self

    def respond(self, response: Message) -> None:
        """Send a response; a final one is sent once, kept for retransmissions, and for INVITE repeated until ACK."""
        if self.status >= 200:
            return
        self.status, self.data = response.status, response.build()
        self.layer.send(self.data, self.addr)
        if self.status >= 200:
            self.layer.later(64 * self.layer.t1, self._close)
            if self.invite and (self.status < 300 or not self.layer.reliable):
                self.timer = self.layer.later(self.interval, self._again)

    def _again(self) -> None:
        self.layer.retransmissions += 1
        self.layer.send(self.data, self.addr)
        self.interval = min(self.interval * 2, T2)
        self.timer = self.layer.later(self.interval, self._again)

    def repeat(self) -> None:
        if self.data and not self.acked:
            self.layer.send(self.data, self.addr)

    def ack(self) -> None:
        self.acked = True
        if self.timer:
            self.timer.cancel()

    def _close(self) -> None:
        if self.timer:
            self.timer.cancel()
        self.layer.servers.pop(self.key, None)
        if self.invite and self.status < 300 and not self.acked and self.on_no_ack:
            self.on_no_ack()


class Transactions:
    """Every transaction of one socket. `on_request(message, source, transaction)`; transaction is None for ACK."""

    def __init__(
        self, send: Callable[[bytes, Addr], None],
        on_request: Callable[[Message, Addr, ServerTransaction | None], None], t1: float = T1,
        reliable: bool = False,
    ) -> None:  # fmt: skip
        self.send, self.on_request, self.t1, self.reliable = send, on_request, t1, reliable
        self.clients: dict[tuple[str, str], ClientTransaction] = {}
        self.servers: dict[tuple[str, str, str], ServerTransaction] = {}
        self.retransmissions = 0
        self.malformed = 0
        self._loop = asyncio.get_running_loop()

    def later(self, delay: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(delay, action)

    def request(
        self, message: Message, addr: Addr, on_response: Callable[[Message], None],
        on_timeout: Callable[[], None], timeout: float | None = None,
    ) -> ClientTransaction:  # fmt: skip
        return ClientTransaction(self, message, addr, on_response, on_timeout, timeout)

    def receive(self, data: bytes, source: Addr) -> None:
        """One datagram. Whatever it holds, nothing is raised."""
        try:
            message = parse(data)
            self._dispatch(message, source)
        except MessageError as error:
            if len(data) > 4:
                self.malformed += 1
                log.debug("dropped a malformed message from %s: %s", source[0], error)
        except Exception:
            log.exception("a message from %s could not be handled", source[0])

    def _dispatch(self, message: Message, source: Addr) -> None:
        if message.status:
            transaction = self.clients.get((message.branch, message.cseq[1]))
            if transaction:
                transaction.receive(message)
            return
        sent_by = message.via.partition(";")[0].strip().lower()
        method = "INVITE" if message.method == "ACK" else message.method
        key = (message.branch, sent_by, method)
        known = self.servers.get(key)
        if message.method == "ACK":
            if known and known.status >= 300:
                known.ack()
            else:
                self.on_request(message, source, None)
        elif known:
            known.repeat()
        else:
            self.on_request(message, source, ServerTransaction(self, message, source, key))

    def undelivered(self, addr: Addr) -> None:
        """There is no way to this address: what waits for a sign from it has waited long enough."""
        for client in [c for c in self.clients.values() if c.addr == addr and c.state == "calling"]:
            client._timed_out()

    def invite_of(self, cancel: Message) -> ServerTransaction | None:
        """The INVITE that a CANCEL means: same branch and sent-by."""
        sent_by = cancel.via.partition(";")[0].strip().lower()
        return self.servers.get((cancel.branch, sent_by, "INVITE"))

    def forget(self, transaction: ServerTransaction) -> None:
        """Drop a request without an answer, as a dead phone would."""
        self.servers.pop(transaction.key, None)

    def close(self) -> None:
        for client in list(self.clients.values()):
            client.close()
        for server in list(self.servers.values()):
            server.on_no_ack = None
            server._close()


def new_via(sent_by: str) -> str:
    """`sent_by` as `Agent.sent_by` writes it: `UDP 10.0.0.1:5060`."""
    return f"SIP/2.0/{sent_by};rport;branch={COOKIE}{token()}"


def response_addr(request: Message, source: Addr) -> Addr:
    """Where a response goes: the source with rport (RFC 3581), else the source address at the Via's port."""
    via = request.via
    if "rport" in params_of(via):
        return source
    try:
        uri = parse_uri("sip:" + via.split(";")[0].split()[-1])
    except (MessageError, IndexError):
        return source
    return source[0], uri.port or 5060
