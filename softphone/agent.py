"""One SIP user agent: a wire, a registration, its calls and subscriptions.

agent = Agent("127.0.0.2", 5060, user="2001", password=..., server="127.0.0.1")
await agent.open(); await agent.registration.register(); call = agent.call("2002", tone=440)
"""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any
from urllib.parse import unquote

from softphone import transfer
from softphone.behaviour import Behaviour, Rule, choose
from softphone.call import Call, Headers, identity, target_uri
from softphone.dialog import ALLOW, USER_AGENT, Dialog, addr_of
from softphone.digest import Challenge, Credentials, authorize, parse_challenge, strongest, verify
from softphone.events import Hub, Json, Trail
from softphone.media import Clock
from softphone.message import Message, name_addr, params_of, reply, token
from softphone.registration import Registration
from softphone.sdp import CODECS, SdpError
from softphone.subscription import ACCEPT, Subscription
from softphone.tls import Tls
from softphone.tones import PLAN
from softphone.transaction import T1, ClientTransaction, ServerTransaction, Transactions, new_via
from softphone.wire import Addr, Udp, Wire

log = logging.getLogger("softphone")
KEPT_CALLS = 300
_SECRET = re.compile(rb"(?im)^((?:proxy-)?authorization:)[^\r\n]*")


class Agent:
    """`server` is `ip` or `ip:port`; with TLS its certificate must be of the `authority`, and audio is SRTP unless
    said otherwise. `rules` make it an exchange: behaviour by dialled number, else `behaviour`.

    `notified(name, event)` hears of NOTIFYs that no subscription asked for, check-sync among them; with
    `challenge_notify` only of those whose sender knows the account's password, as Grandstream's telephones ask.
    """

    def __init__(
        self, bind_ip: str, port: int = 5060, *, user: str, password: str = "", server: str = "", name: str = "",
        auth_user: str = "", domain: str = "", display: str = "", expires: int = 300, tone: int | None = None,
        behaviour: Behaviour | None = None, max_calls: int = 0, accept_refer: bool = False, trace: bool = False,
        freqs: tuple[int, ...] = PLAN, t1: float = T1, clock: Clock | None = None, hub: Hub | None = None,
        transport: str = "udp", authority: str = "", srtp: bool | None = None, user_agent: str = USER_AGENT,
        challenge_notify: bool = False, notified: Callable[[str, str], None] | None = None,
    ) -> None:  # fmt: skip
        if transport not in ("udp", "tls") or (transport == "tls") != bool(authority):
            raise ValueError("transport: udp, or tls with the authority's certificate (PEM) expected")
        self.name, self.user, self.display, self.tone, self.freqs = name or user, user, display, tone, freqs
        self.address: Addr = (bind_ip, port)
        host, _, server_port = (server or bind_ip).partition(":")
        usual = 5061 if transport == "tls" else 5060
        self.server: Addr = (host, int(server_port or usual))
        self.domain = domain or (host if self.server[1] == usual else f"{host}:{self.server[1]}")
        self.secure, self.authority = transport == "tls", authority
        self.srtp = self.secure if srtp is None else srtp
        self.credentials = Credentials(auth_user or user, password)
        self.behaviour = behaviour or Behaviour()
        self.rules: list[Rule] = []
        self.max_calls, self.accept_refer, self.t1 = max_calls, accept_refer, t1
        self.clock, self.hub, self.trail = clock or Clock(), hub or Hub(), Trail()
        self.calls: dict[str, Call] = {}
        self.dialogs: dict[tuple[str, str], Call] = {}
        self.subscriptions: dict[tuple[str, str], Subscription] = {}
        self.invites: deque[Json] = deque(maxlen=2000)
        self.trace: deque[tuple[float, str, Addr, bytes]] | None = deque(maxlen=60) if trace else None
        self.registration = Registration(self, expires)
        self.user_agent, self.challenge_notify, self._heard_notify = user_agent, challenge_notify, notified
        self._nonce = token()
        self.closed = False
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._challenge: Challenge | None = None

    def __repr__(self) -> str:
        return f"<Agent {self.name} {self.address[0]}:{self.address[1]}>"

    @property
    def identity(self) -> str:
        return f"sip:{self.user}@{self.domain}"

    @property
    def contact(self) -> str:
        return f"<sip:{self.user}@{self.address[0]}:{self.address[1]}{';transport=tls' if self.secure else ''}>"

    @property
    def sent_by(self) -> str:
        """Transport and address, as a Via begins."""
        return f"{'TLS' if self.secure else 'UDP'} {self.address[0]}:{self.address[1]}"

    async def open(self) -> None:
        """Listen. OSError when the address is not ours or the port is taken."""
        self._wire: Wire
        if self.secure:
            self._wire = Tls(self.address, self._received, self._unreachable, self.authority)
        else:
            self._wire = Udp(self.address, self._received)
        self.transactions = Transactions(self._send, self._on_request, self.t1, self._wire.reliable)
        self.address = await self._wire.open()

    def close(self) -> None:
        """Vanish without a word (use `registration.register(0)` and hang up first to be polite)."""
        if self.closed:
            return
        self.closed = True
        self.registration.stop()
        for subscription in self.subscriptions.values():
            subscription.stop()
        for call in self.calls.values():
            call.end("local", None, "agent closed")
        for task in self._tasks:
            task.cancel()
        self.transactions.close()
        self._wire.close()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run in the background; a failure is logged, never lost."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("%s: background work failed", self.name, exc_info=task.exception())

    # -- the wire ------------------------------------------------------------------------------------------------

    def _send(self, data: bytes, addr: Addr) -> None:
        if self.trace is not None:
            self.trace.append((time.time(), "sent", addr, data))
        if self.behaviour.action == "dead":
            return
        self._wire.send(data, addr)

    def _received(self, data: bytes, source: Addr) -> None:
        if self.trace is not None:
            self.trace.append((time.time(), "received", source, data))
        if self.behaviour.action != "dead" and not self.closed:
            self.transactions.receive(data, source)

    def _unreachable(self, addr: Addr, why: str) -> None:
        """No connection: kept for whoever asks why, and nobody waits any longer."""
        self.trail.add("tls_failed", peer=f"{addr[0]}:{addr[1]}", error=why)
        if not self.closed:
            self.transactions.undelivered(addr)

    def traced(self) -> list[Json]:
        """The latest messages as text, with the answers to challenges blanked out."""
        return [
            {"wall": at, "way": way, "peer": f"{addr[0]}:{addr[1]}",
             "text": _SECRET.sub(rb"\1 <hidden>", data).decode("utf-8", "replace")}
            for at, way, addr, data in self.trace or ()
        ]  # fmt: skip

    # -- requests ------------------------------------------------------------------------------------------------

    def new_request(
        self, method: str, uri: str, *, to: str = "", sender: str = "", tag: str = "", call_id: str = "", cseq: int = 1
    ) -> Message:
        """A request outside a dialog. `sender` is a whole From value without tag; by default our own identity."""
        message = Message(method=method, uri=uri)
        message.headers = [
            ("via", new_via(self.sent_by)), ("max-forwards", "70"),
            ("from", f"{sender or name_addr(self.identity, self.display)};tag={tag or token()}"),
            ("to", f"<{to or uri}>"), ("call-id", call_id or token()), ("cseq", f"{cseq} {method}"),
            ("user-agent", self.user_agent),
        ]  # fmt: skip
        return message

    def authorized(self, message: Message, refusal: Message, tried: bool) -> Message | None:
        """The same request with an answer to the challenge; None when we have no (better) answer."""
        offers = [parse_challenge(value) for value in refusal.get_all("www-authenticate")]
        offers += [parse_challenge(value, proxy=True) for value in refusal.get_all("proxy-authenticate")]
        challenge = strongest([item for item in offers if item])
        if challenge is None or not self.credentials.password or (tried and not challenge.stale):
            return None
        self._challenge = challenge
        again = Message(method=message.method, uri=message.uri, body=message.body)
        skip = ("via", "cseq", "authorization", "proxy-authorization")
        again.headers = [("via", new_via(self.sent_by)), *(item for item in message.headers if item[0] not in skip)]
        again.add("cseq", f"{message.cseq[0] + 1} {message.method}")
        again.add(*authorize(challenge, self.credentials, message.method, message.uri))
        return again

    async def transact(
        self, message: Message, addr: Addr, *, dialog: Dialog | None = None, timeout: float | None = None,
        reuse_nonce: bool = False, sent: list[Message] | None = None,
    ) -> Message:  # fmt: skip
        """Send, answer a challenge, return the final response; a made-up 408 `timeout` when none came."""
        tried = 0
        if reuse_nonce and self._challenge and self.credentials.password:
            message.add(*authorize(self._challenge, self.credentials, message.method, message.uri))
        while True:
            if sent is not None:
                sent.append(message)
            response = await self._once(message, addr, dialog, timeout)
            if response.status not in (401, 407) or tried > 1:
                return response
            again = self.authorized(message, response, tried > 0)
            if again is None:
                return response
            message, tried = again, tried + 1
            if dialog:
                dialog.cseq = max(dialog.cseq, message.cseq[0])

    async def _once(self, message: Message, addr: Addr, dialog: Dialog | None, timeout: float | None) -> Message:
        result: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def on_response(response: Message) -> None:
            if response.status >= 200 and not result.done():
                if dialog and message.method == "INVITE" and response.status < 300:
                    dialog.refresh_target(response)
                    self.acknowledge(transaction, dialog)
                result.set_result(response)

        def on_timeout() -> None:
            if not result.done():
                result.set_result(Message(status=408, reason="timeout"))

        transaction = self.transactions.request(message, addr, on_response, on_timeout, timeout)
        return await result

    def acknowledge(self, transaction: ClientTransaction, dialog: Dialog) -> None:
        """ACK a 2xx; it repeats the INVITE's credentials (RFC 3261 section 22.1)."""
        invite = transaction.request
        ack = dialog.request("ACK", self.sent_by, cseq=invite.cseq[0])
        ack.headers += [item for item in invite.headers if item[0] in ("authorization", "proxy-authorization")]
        transaction.send_ack(ack.build(), dialog.addr)

    def call(
        self, to: str, *, tone: int | None = None, from_number: str = "", from_display: str | None = None,
        from_domain: str = "", pai: str = "", headers: Headers = (), dest: str = "", ring_timeout: float | None = None,
        codecs: tuple[int, ...] = tuple(CODECS), call_id: str = "",
    ) -> Call:  # fmt: skip
        """Call a number or a sip: URI and return at once. `dest` overrides where the packets go.

        `from_*` and `pai` claim any identity, as a hostile or foreign caller would.
        """
        uri = target_uri(to, self.domain)
        number = call_id or f"{self.name}/{next(self._numbers)}"
        call = Call(self, number, "out")
        call.peer, call.number, call.tone = to, to, tone or self.tone
        # By TLS everything goes to the one server whose certificate was checked.
        place = f"sip:{dest}" if dest else "" if self.secure else uri
        addr = addr_of(place, self.server)
        user, domain = from_number or self.user, from_domain or self.domain
        sender = name_addr(f"sip:{user}@{domain}", self.display if from_display is None else from_display)
        extra = list(headers)
        if pai:
            extra.append(("p-asserted-identity", pai if "<" in pai else f"<sip:{pai}@{domain}>"))
        self._keep(call)
        try:
            call.start(uri, addr, sender, extra, codecs)
        except OSError as error:
            call.end("local", None, f"no RTP port: {error}")
            raise
        if ring_timeout is not None:
            call.later(ring_timeout, call.cancel)
        return call

    async def subscribe(self, target: str, event: str = "dialog", expires: int = 300) -> Subscription:
        """Watch an extension; the same target and event again refreshes. ValueError for an unknown event."""
        if event not in ACCEPT:
            raise ValueError(f"event {event!r}: one of {', '.join(ACCEPT)} expected")
        subscription = self.subscriptions.get((target, event))
        if subscription is None:
            subscription = Subscription(self, target, target_uri(target, self.domain), event, expires)
            self.subscriptions[target, event] = subscription
        await subscription.subscribe(expires)
        return subscription

    def _keep(self, call: Call) -> None:
        self.calls[call.id] = call
        if len(self.calls) > KEPT_CALLS:
            self.clear(keep=KEPT_CALLS // 2)

    def clear(self, keep: int = 0) -> None:
        """Forget ended calls (all but the latest `keep`) and, with keep=0, the trail and the INVITEs recorded."""
        ended = [call for call in self.calls.values() if call.state == "ended"]
        for call in ended[: len(ended) - keep]:
            del self.calls[call.id]
            if call.dialog:
                self.dialogs.pop((call.dialog.call_id, call.dialog.local_tag), None)
        if not keep:
            self.trail.items.clear()
            self.invites.clear()

    # -- incoming ------------------------------------------------------------------------------------------------

    def _on_request(self, message: Message, source: Addr, server: ServerTransaction | None) -> None:
        if server is None:  # the ACK of a 2xx
            call = self.dialogs.get((message.call_id, message.to_tag))
            if call:
                call.on_ack(message)
            return
        try:
            self._route(message, source, server)
        except Exception:
            log.exception("%s: a %s from %s could not be handled", self.name, message.method, source[0])
            server.respond(reply(message, 500, token()))

    def _route(self, message: Message, source: Addr, server: ServerTransaction) -> None:
        method = message.method
        if method == "CANCEL":
            invite = self.transactions.invite_of(message)
            server.respond(reply(message, 200 if invite else 481, token()))
            for ringing in self.calls.values() if invite else ():
                if ringing._server is invite:
                    ringing.on_cancel(message)
        elif message.to_tag:
            call = self.dialogs.get((message.call_id, message.to_tag))
            if call and call.dialog and call.dialog.remote_tag == message.from_tag:
                call.on_request(message, server)
            elif method != "NOTIFY" or not self._notified(message, server):
                server.respond(reply(message, 481))
        elif method == "INVITE":
            self._on_invite(message, source, server)
        elif method == "NOTIFY":
            if not self._notified(message, server):
                self._unsolicited(message, server)
        elif method in ("OPTIONS", "MESSAGE", "INFO"):
            if method == "MESSAGE":
                self.trail.add("message", text=message.body[:500].decode("utf-8", "replace"))
            server.respond(reply(message, 200, token(), [("allow", ALLOW), ("accept", "application/sdp")]))
        elif method in ("BYE", "UPDATE", "REFER"):
            server.respond(reply(message, 603 if method == "REFER" else 481, token()))
        else:
            server.respond(reply(message, 501 if method != "REGISTER" else 405, token(), [("allow", ALLOW)]))

    def _notified(self, message: Message, server: ServerTransaction) -> bool:
        for subscription in self.subscriptions.values():
            if subscription.call_id == message.call_id and subscription.tag == message.to_tag:
                subscription.on_notify(message, server)
                return True
        return False

    def _unsolicited(self, message: Message, server: ServerTransaction) -> None:
        """Message waiting, check-sync, resync: of no subscription of ours."""
        answer = message.get("authorization")
        proven = f'nonce="{self._nonce}"' in answer and verify(answer, self.credentials.password, "NOTIFY")
        if self.challenge_notify and not proven:
            realm = f'Digest realm="{self.user}", nonce="{self._nonce}", algorithm=MD5, qop="auth"'
            server.respond(reply(message, 401, token(), [("www-authenticate", realm)]))
            return
        self.trail.add("notify", kind=message.get("event"), body=message.body[:200].decode("utf-8", "replace"))
        server.respond(reply(message, 200, token()))
        if self._heard_notify:
            self._heard_notify(self.name, message.get("event"))
        self.hub.notify()

    def on_refer(self, call: Call, message: Message, server: ServerTransaction) -> None:
        transfer.on_refer(self, call, message, server)

    def _on_invite(self, message: Message, source: Addr, server: ServerTransaction) -> None:
        dialled = re.match(r"(?i)(?:sips?|tel):([^@;:>]*)", message.uri)
        number = unquote(dialled[1]) if dialled and ("@" in message.uri or message.uri[:4].lower() == "tel:") else ""
        behaviour = choose(self.rules, number, self.behaviour)
        active = sum(call.state != "ended" for call in self.calls.values())
        call = Call(self, f"{self.name}/{next(self._numbers)}", "in")
        call.number = number
        silent = behaviour.action == "silent"
        self._record(message, source, number, "" if silent else call.id)
        if silent:  # the transaction absorbs the retransmissions until the caller has given up
            self.transactions.later(64 * self.t1, lambda: self.transactions.forget(server))
            return
        required = [item.lower() for item in message.get_list("require")]
        unsupported = [item for item in required if item not in ("timer", "replaces")]
        if unsupported:
            server.respond(reply(message, 420, token(), [("unsupported", ", ".join(unsupported))]))
            return
        try:
            call.receive(message, source, server)
        except SdpError as error:
            self._keep(call)
            call.trail.add("bad_sdp", error=str(error))
            call.refuse(488)
            return
        if message.get("replaces"):
            self._replace(call, message.get("replaces"))
            return
        self._keep(call)
        full = (self.max_calls and active >= self.max_calls) or (active and behaviour.in_call == "busy")
        call.obey(Behaviour("busy") if full else behaviour)
        self.hub.notify()

    def _record(self, message: Message, source: Addr, number: str, call: str) -> None:
        hidden = ("authorization", "proxy-authorization", "via", "content-length")
        self.invites.append({
            "t": time.monotonic(), "wall": time.time(), "call": call, "number": number, "ruri": message.uri,
            "to": message.get("to"), "source_ip": source[0], "source_port": source[1], "caller": identity(message),
            "headers": [list(item) for item in message.headers if item[0] not in hidden],
        })  # fmt: skip

    def _replace(self, call: Call, value: str) -> None:
        """INVITE with Replaces (RFC 3891): answer at once in place of the call it names, and end that one."""
        self._keep(call)
        tags = params_of(f"<>;{value.partition(';')[2]}")
        old = self.dialogs.get((value.partition(";")[0].strip(), tags.get("to-tag", "")))
        if old is None or old.dialog is None or old.dialog.remote_tag != tags.get("from-tag", ""):
            call.refuse(481)
        elif old.state != "answered":
            call.refuse(603 if old.state == "ended" else 481)
        elif "early-only" in value:
            call.refuse(486)
        else:
            call.trail.add("replaces", call=old.id)
            call.answer(old.tone)
            old.trail.add("replaced_by", call=call.id)
            old.hangup()
