"""One call of an agent: its state, its dialog, its audio, its event trail.

States: calling (INVITE sent) / incoming (INVITE received) -> ringing -> answered -> ended. A call never leaves
`ended`; `status` is then the final SIP code, `q850` the cause from a Reason header, `ended_by` local, remote or
network.
This file is over the usual size because every transition of one state machine is easier to check in one place.
"""

import asyncio
import random
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from softphone import dialog as dialogs
from softphone import sdp, srtp
from softphone.behaviour import Behaviour
from softphone.events import Json, Trail
from softphone.media import Media
from softphone.message import Message, MessageError, name_addr, parse_address, parse_uri, reply, token
from softphone.srtp import Guard
from softphone.transaction import ClientTransaction, ServerTransaction
from softphone.wire import Addr

if TYPE_CHECKING:
    from softphone.agent import Agent

ORDER = {"calling": 0, "incoming": 0, "ringing": 1, "answered": 2, "ended": 3}
_CAUSE = re.compile(r"Q\.850\s*;[^,]*?cause\s*=\s*(\d+)", re.I)
Headers = Iterable[tuple[str, str]]


def identity(message: Message) -> Json:
    """Who a message says it is from; `number` and `display` are what a telephone would show."""
    sender = parse_address(message.get("from"))
    asserted = [parse_address(value) for value in message.get_list("p-asserted-identity")]
    shown = asserted[0] if asserted else sender
    return {
        "number": shown.user or parse_address(shown.uri).uri, "display": shown.display,
        "from_number": sender.user, "from_display": sender.display, "from_uri": sender.uri,
        "pai_number": asserted[0].user if asserted else None, "pai_display": asserted[0].display if asserted else None,
        "privacy": message.get("privacy"), "diversion": message.get("diversion"),
    }  # fmt: skip


class Call:
    """Made by `Agent.call` or by an incoming INVITE; drive it through its methods, read it through `snapshot()`."""

    def __init__(self, agent: "Agent", call_id: str, direction: str) -> None:
        self.agent, self.id, self.direction = agent, call_id, direction
        self.state = "calling" if direction == "out" else "incoming"
        self.trail = Trail()
        self.times: dict[str, float] = {"start": time.monotonic()}
        self.peer = ""
        self.number = ""
        self.caller: Json = {}
        self.connected: Json | None = None
        self.source = ""
        self.status: int | None = None
        self.reason = ""
        self.q850: int | None = None
        self.ended_by = ""
        self.held = self.remote_held = self.early_media = self.taken = self.was_answered = False
        self.tone: int | None = None
        self.media: Media | None = None
        self.dialog: dialogs.Dialog | None = None
        self.local_tag = token()
        self.sipfrags: list[int] = []
        self.contact = ""
        self._key: srtp.Crypto | None = None  # ours, for the whole call
        self._codecs: tuple[int, ...] = tuple(sdp.CODECS)
        self._sdp_session, self._sdp_version = random.getrandbits(31), 0
        self._remote_sdp: sdp.Session | None = None
        self._client: ClientTransaction | None = None
        self._server: ServerTransaction | None = None
        self._answers_ack: ServerTransaction | None = None
        self._provisional = self._cancelled = self._reinviting = False
        self._attempts = 0
        self._offer_in_ack = False
        self._hold_after: float | None = None
        self._bye_q850: int | None = None
        self._timers: list[asyncio.TimerHandle] = []

    # -- state ---------------------------------------------------------------------------------------------------

    def _advance(self, state: str) -> None:
        if ORDER[state] > ORDER[self.state]:
            self.state = state
            self.times[state] = time.monotonic()
            self.was_answered = self.was_answered or state == "answered"
        self.agent.hub.notify()

    def reached(self, state: str) -> bool:
        return state in self.times or (state == "incoming" and self.direction == "in")

    def end(self, by: str, status: int | None = None, reason: str = "", q850: int | None = None) -> None:
        if self.state == "ended":
            return
        self.status, self.reason, self.ended_by = status if status is not None else self.status, reason, by
        self.q850 = q850 if q850 is not None else self.q850
        for timer in self._timers:
            timer.cancel()
        if self.media:
            self.media.close()
        self.trail.add("ended", by=by, status=self.status, reason=reason, q850=self.q850)
        self._advance("ended")

    def later(self, delay: float, action: Any, *args: Any) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(delay, action, *args))

    # -- audio ---------------------------------------------------------------------------------------------------

    def _open_media(self) -> Media:
        if self.media is None:
            self.media = Media(
                self.agent.clock, self.agent.address[0], tone=self.tone, freqs=self.agent.freqs,
                on_digit=lambda digit: self.trail.add("digit", digit=digit),
            )  # fmt: skip
        return self.media

    def _crypto(self, offer: sdp.Session | None = None) -> srtp.Crypto | None:
        """Our key under the tag of theirs. SdpError when only one side would speak SRTP."""
        if offer and (offer.secure or self.agent.srtp) and not (offer.crypto and self.agent.srtp):
            raise sdp.SdpError("SRTP is asked for" if offer.secure else "SRTP is not offered")
        if not self.agent.srtp:
            return None
        tag = offer.crypto.tag if offer and offer.crypto else 1
        self._key = srtp.Crypto(tag, self._key.key) if self._key else srtp.fresh(tag)
        return self._key

    def _describe(self, direction: str, offer: sdp.Session | None = None) -> bytes:
        crypto = self._crypto(offer)
        media = self._open_media()
        if crypto:  # from now on nothing in clear is taken for audio
            media.guard = media.guard or Guard()
        self._sdp_version += 1
        codecs = (offer.codec,) if offer else self._codecs
        dtmf = offer.dtmf if offer else sdp.DTMF_TYPE
        return sdp.build(
            media.ip, media.port, session=self._sdp_session, version=self._sdp_version, direction=direction,
            codecs=codecs, dtmf=dtmf, offer=offer, crypto=crypto,
        )  # fmt: skip

    def _apply(self, remote: sdp.Session) -> None:
        """Take the other side's description into use. SdpError when SRTP was ours to ask and they left it out."""
        media = self._open_media()
        if self._key:
            if remote.crypto is None:
                raise sdp.SdpError("SRTP is not accepted")
            if media.guard:
                media.guard.use(self._key, remote.crypto)
        if remote.held != self.remote_held:
            self.remote_held = remote.held
            self.trail.add("remote_hold" if remote.held else "remote_resume")
        self._remote_sdp = remote
        send = not self.held and remote.direction in ("sendrecv", "recvonly")
        media.tone = self.tone
        media.aim(remote.ip, remote.port, remote.codec, remote.dtmf, send=send)

    # -- outgoing ------------------------------------------------------------------------------------------------

    def start(self, uri: str, addr: Addr, sender: str, headers: Headers, codecs: tuple[int, ...]) -> None:
        """Send the INVITE. OSError when no RTP port can be opened."""
        self._codecs = codecs
        body = self._describe("sendrecv")
        invite = self.agent.new_request("INVITE", uri, sender=sender, tag=self.local_tag)
        for name, value in headers:
            invite.add(name, value)
        invite.add("contact", self.agent.contact)
        invite.add("allow", dialogs.ALLOW)
        invite.add("supported", "replaces")
        invite.add("content-type", "application/sdp")
        invite.body = body
        self._invite(invite, addr)

    def _invite(self, invite: Message, addr: Addr) -> None:
        self._attempts += 1
        self._provisional = False
        self.trail.add("invite_sent", to=invite.uri, dest=f"{addr[0]}:{addr[1]}", attempt=self._attempts)
        self._client = self.agent.transactions.request(invite, addr, self._on_response, self._on_silence)

    def _on_silence(self) -> None:
        self.trail.add("timeout")
        self.end("network", 487 if self._cancelled else 408, "no response")

    def _on_response(self, response: Message) -> None:
        status = response.status
        client = self._client
        if client is None:
            return
        cause = _CAUSE.search(" ".join(response.get_all("reason")))
        if status not in (401, 407):
            detail = {"reason": response.reason} | ({"q850": int(cause[1])} if cause else {})
            self.trail.add(str(status), **detail)
        if status < 200:
            self._on_provisional(response)
        elif status < 300:
            self._on_answer(response, client)
        elif status in (401, 407) and not self._cancelled:
            again = self.agent.authorized(client.request, response, self._attempts > 1)
            if again:
                self._invite(again, client.addr)
            else:
                self.trail.add(str(status), reason=response.reason)
                self.end("remote", status, response.reason)
        else:
            contacts = response.get_list("contact") if status < 400 else []
            self.contact = parse_address(contacts[0]).uri if contacts else ""
            by = "local" if self._cancelled else "remote"
            self.end(by, status, response.reason, int(cause[1]) if cause else None)

    def _on_provisional(self, response: Message) -> None:
        if not self._provisional:
            self._provisional = True
            if self._cancelled:
                self._send_cancel()
        if response.status > 100 and response.to_tag and self.dialog is None and self._client:
            # An early dialog (RFC 3261 section 12.1.2): a PBX may send UPDATE before the answer, as after a pick-up.
            self.dialog = dialogs.from_response(self._client.request, response, self._client.addr)
            self.agent.dialogs[self.dialog.call_id, self.dialog.local_tag] = self
        self._note_identity(response)
        if response.body and response.status > 100 and not self._cancelled:
            try:
                self._apply(sdp.parse(response.body))
                self.early_media = True
            except sdp.SdpError as error:
                self.trail.add("bad_sdp", error=str(error))
        if response.status >= 180:
            self._advance("ringing")

    def _on_answer(self, response: Message, client: ClientTransaction) -> None:
        early, self.dialog = self.dialog, dialogs.from_response(client.request, response, client.addr)
        if early and early.remote_tag == self.dialog.remote_tag:
            self.dialog.remote_cseq = early.remote_cseq
        self.agent.dialogs[self.dialog.call_id, self.dialog.local_tag] = self
        self.agent.acknowledge(client, self.dialog)
        self._note_identity(response)
        self.status = response.status
        if self._cancelled or self.state == "ended":  # the answer crossed our CANCEL: hang up at once
            self.trail.add("answer_crossed_cancel")
            self._send_bye()
            self.end("local", 487, "cancelled")
            return
        try:
            if response.body or not self.early_media:
                self._apply(sdp.parse(response.body))
        except sdp.SdpError as error:
            self.trail.add("bad_sdp", error=str(error))
            self._send_bye()
            self.end("local", 488, str(error))
            return
        self._advance("answered")

    def _note_identity(self, message: Message) -> None:
        """The connected party may change during a call: a transfer, a queue's member."""
        if message.get("p-asserted-identity"):
            asserted = parse_address(message.get_list("p-asserted-identity")[0])
            connected = {"number": asserted.user, "display": asserted.display}
            if connected != self.connected:
                self.connected = connected
                self.trail.add("connected", **connected)

    def cancel(self) -> None:
        """Give up an outgoing call that is not answered.

        Without a provisional yet the call ends at once, and a CANCEL (or ACK and BYE) follows should the other side
        turn out to be alive (RFC 3261 section 9.1).
        """
        if self.direction != "out" or self.state not in ("calling", "ringing") or self._cancelled:
            return
        self._cancelled = True
        if not self._provisional:
            self.trail.add("abandoned")
            self.end("local", 487, "cancelled")
            return
        self._send_cancel()
        self.later(64 * self.agent.transactions.t1, self.end, "local", 487, "cancelled")

    def _send_cancel(self) -> None:
        if self._client is None:
            return
        invite = self._client.request
        cancel = Message(method="CANCEL", uri=invite.uri)
        same = ("via", "max-forwards", "from", "to", "call-id", "route")
        cancel.headers = [item for item in invite.headers if item[0] in same]
        cancel.add("cseq", f"{invite.cseq[0]} CANCEL")
        self.trail.add("cancel_sent")
        self.agent.transactions.request(cancel, self._client.addr, lambda _: None, lambda: None)

    # -- incoming ------------------------------------------------------------------------------------------------

    def receive(self, invite: Message, source: Addr, server: ServerTransaction) -> None:
        """Take up an INVITE: dialog and identity; SdpError when there is no audio in common."""
        self._server = server
        self.source = f"{source[0]}:{source[1]}"
        self.caller = identity(invite)
        self.peer = str(self.caller["number"])
        self.dialog = dialogs.from_request(invite, self.local_tag, source)
        self.agent.dialogs[self.dialog.call_id, self.local_tag] = self
        self.trail.add("invite_received", source=self.source, number=self.number)
        server.respond(reply(invite, 100))
        if invite.body:
            self._remote_sdp = sdp.parse(invite.body)
            self._crypto(self._remote_sdp)

    def obey(self, behaviour: Behaviour) -> None:
        """Do what the behaviour says, now and later."""
        self.tone = behaviour.tone or self.agent.tone
        self._hold_after, self._bye_q850 = behaviour.hold, behaviour.q850
        action = behaviour.action
        if action == "busy":
            self.refuse(486, behaviour.q850)
            return
        if action == "manual":
            return
        if action in ("ring", "answer") or behaviour.after:
            self.ring(behaviour.early_tone)
        if action == "answer":
            self.later(behaviour.after, self.answer)
        elif action == "reject":
            self.later(behaviour.after, self.refuse, behaviour.code, behaviour.q850)
        elif action == "redirect":
            target = behaviour.contact if ":" in behaviour.contact else f"sip:{behaviour.contact}@{self.agent.domain}"
            self.later(behaviour.after, self.refuse, 302, None, target)

    def ring(self, early_tone: int | None = None) -> None:
        """180; or 183 with early media when a tone is given."""
        server = self._server
        if server is None or self.state != "incoming":
            return
        response = self._response(183 if early_tone else 180)
        if early_tone and self._remote_sdp:
            answer_tone, self.tone = self.tone, early_tone
            response.add("content-type", "application/sdp")
            response.body = self._describe(sdp.answer_direction(self._remote_sdp.direction), self._remote_sdp)
            self._apply(self._remote_sdp)
            self.tone = answer_tone
        server.respond(response)
        self.trail.add(f"{response.status}_sent")
        self._advance("ringing")

    def _response(self, status: int, extra: Headers = ()) -> Message:
        if self._server is None:
            raise ValueError(f"call {self.id} is not an incoming one")
        response = reply(self._server.request, status, self.local_tag, extra)
        if status < 300:
            response.add("contact", self.agent.contact)
            response.add("allow", dialogs.ALLOW)
            response.add("supported", "replaces")
            response.add("user-agent", dialogs.USER_AGENT)
        return response

    def answer(self, tone: int | None = None, hold: float | None = None) -> None:
        """200 with our audio; `hold` seconds later we hang up. ValueError when the call does not wait for an answer."""
        if self.direction != "in" or self.state not in ("incoming", "ringing") or self._server is None:
            raise ValueError(f"call {self.id} is {self.state}, it cannot be answered")
        self.tone = tone or self.tone or self.agent.tone
        response = self._response(200, session_timer(self._server.request))
        response.add("content-type", "application/sdp")
        remote = self._remote_sdp
        self._offer_in_ack = remote is None
        response.body = self._describe(sdp.answer_direction(remote.direction) if remote else "sendrecv", remote)
        self._server.on_no_ack = self._no_ack
        self._server.respond(response)
        self._answers_ack = self._server
        if remote:
            self._apply(remote)
        self.status = 200
        self.trail.add("200_sent")
        self._advance("answered")
        seconds = hold if hold is not None else self._hold_after
        if seconds is not None:
            self.later(seconds, self.hangup, self._bye_q850)

    def _no_ack(self) -> None:
        if self.state == "answered":
            self.trail.add("no_ack")
            self._send_bye()
            self.end("network", 408, "no ACK")

    def refuse(self, code: int = 486, q850: int | None = None, contact: str = "") -> None:
        """A final refusal of an incoming call, with a Q.850 cause if given, or a redirection to `contact`."""
        if self.direction != "in" or self.state not in ("incoming", "ringing") or self._server is None:
            raise ValueError(f"call {self.id} is {self.state}, it cannot be refused")
        extra = [("reason", f"Q.850;cause={q850}")] if q850 is not None else []
        if contact:
            extra.append(("contact", f"<{contact}>"))
        self._server.respond(self._response(code, extra))
        self.trail.add(f"{code}_sent")
        self.end("local", code, "", q850)

    # -- inside the dialog ---------------------------------------------------------------------------------------

    def hangup(self, q850: int | None = None) -> None:
        """End the call in whatever state it is: BYE, CANCEL or 486."""
        if self.state == "answered":
            self._send_bye(q850)
            self.end("local", None, "hung up", q850)
        elif self.direction == "out":
            self.cancel()
        elif self.state != "ended":
            self.refuse(486, q850)

    def _send_bye(self, q850: int | None = None) -> None:
        if self.dialog is None:
            return
        bye = self.dialog.request("BYE", self.agent.sent_by)
        if q850 is not None:
            bye.add("reason", f"Q.850;cause={q850}")
        self.trail.add("bye_sent")
        self.agent.spawn(self.agent.transact(bye, self.dialog.addr, dialog=self.dialog))

    def talking(self) -> dialogs.Dialog:
        if self.state != "answered" or self.dialog is None:
            raise ValueError(f"call {self.id} is {self.state}, not answered")
        return self.dialog

    async def hold(self, on: bool = True) -> int:
        """re-INVITE with sendonly or sendrecv; the SIP status of the answer."""
        dialog = self.talking()
        for attempt in range(4):
            body = self._describe("sendonly" if on else "sendrecv")
            message = dialog.request("INVITE", self.agent.sent_by)
            message.headers += [("contact", self.agent.contact), ("allow", dialogs.ALLOW), ("supported", "replaces")]
            message.add("content-type", "application/sdp")
            message.body = body
            self._reinviting = True
            response = await self.agent.transact(message, dialog.addr, dialog=dialog)
            self._reinviting = False
            if response.status != 491 or attempt == 3 or self.state != "answered":
                break
            await asyncio.sleep(random.uniform(2.1, 4) if self.direction == "out" else random.uniform(0, 2))  # noqa: S311
        self.trail.add("hold" if on else "resume", status=response.status)
        if response.status < 300 and self.state == "answered":
            self.held = on
            self._note_identity(response)
            try:
                self._apply(sdp.parse(response.body))
            except sdp.SdpError as error:
                self.trail.add("bad_sdp", error=str(error))
        elif response.status in (408, 481) and self.state == "answered":
            self._send_bye()
            self.end("network", response.status, response.reason)
        self.agent.hub.notify()
        return response.status

    def on_ack(self, message: Message) -> None:
        if self._answers_ack:
            self._answers_ack.ack()
            self._answers_ack = None
            self.trail.add("ack")
        if self._offer_in_ack and self.state == "answered":
            self._offer_in_ack = False
            try:
                self._apply(sdp.parse(message.body))
            except sdp.SdpError as error:
                self.trail.add("bad_sdp", error=str(error))

    def on_cancel(self, message: Message) -> None:
        """Their CANCEL of an INVITE we have not answered."""
        if self.state in ("incoming", "ringing") and self._server:
            reason = ", ".join(message.get_all("reason"))
            cause = _CAUSE.search(reason)
            self.trail.add("cancel", reason=reason)
            self._server.respond(self._response(487))
            self.end("remote", 487, reason or "cancelled", int(cause[1]) if cause else None)

    def on_request(self, message: Message, server: ServerTransaction) -> None:
        """A request inside this call's dialog (not ACK, not CANCEL)."""
        dialog, method = self.dialog, message.method
        if dialog is None or (self.state == "ended" and method not in ("NOTIFY", "BYE")):
            server.respond(reply(message, 481))
            return
        if message.cseq[0] < dialog.remote_cseq:
            server.respond(reply(message, 500))
            return
        dialog.remote_cseq = message.cseq[0]
        if method == "BYE":
            server.respond(reply(message, 200))
            self._on_bye(message)
        elif method in ("INVITE", "UPDATE"):
            self._on_reinvite(message, server, dialog)
        elif method == "NOTIFY":
            self._on_notify(message, server)
        elif method == "REFER":
            self.agent.on_refer(self, message, server)
        elif method in ("INFO", "OPTIONS", "MESSAGE"):
            self.trail.add(method.lower())
            server.respond(reply(message, 200))
        else:
            server.respond(reply(message, 501))

    def _on_bye(self, message: Message) -> None:
        reason = ", ".join(message.get_all("reason"))
        cause = _CAUSE.search(reason)
        self.trail.add("bye", reason=reason)
        if self.state in ("incoming", "ringing") and self._server:
            self._server.respond(self._response(487))
        self.end("remote", None, reason, int(cause[1]) if cause else None)

    def _on_reinvite(self, message: Message, server: ServerTransaction, dialog: dialogs.Dialog) -> None:
        if message.method == "INVITE" and self._reinviting:
            server.respond(reply(message, 491))
            return
        dialog.refresh_target(message)
        self._note_identity(message)
        self.trail.add(message.method.lower())
        response = reply(message, 200, extra=[("contact", self.agent.contact), *session_timer(message)])
        if message.body:
            try:
                remote = sdp.parse(message.body)
                self._crypto(remote)
            except sdp.SdpError as error:
                self.trail.add("bad_sdp", error=str(error))
                server.respond(reply(message, 488))
                return
            wanted = "sendonly" if self.held else "sendrecv"
            response.body = self._describe(sdp.answer_direction(remote.direction, wanted), remote)
            self._apply(remote)
        elif message.method == "INVITE":  # no offer: ours, and their answer comes in the ACK
            self._offer_in_ack = True
            response.body = self._describe("sendonly" if self.held else "sendrecv")
        if response.body:
            response.add("content-type", "application/sdp")
        if message.method == "INVITE":
            self._answers_ack = server
        server.respond(response)
        self.agent.hub.notify()

    def _on_notify(self, message: Message, server: ServerTransaction) -> None:
        """Progress of our REFER: a status line in message/sipfrag (RFC 3515)."""
        server.respond(reply(message, 200))
        found = re.match(rb"SIP/2\.0 (\d{3})", message.body)
        if found:
            self.sipfrags.append(int(found[1]))
            self.trail.add("notify_refer", status=int(found[1]))
            self.agent.hub.notify()

    # -- report --------------------------------------------------------------------------------------------------

    def snapshot(self) -> Json:
        """Everything a test asks about; times are monotonic seconds."""
        media = self.media
        return {
            "call": self.id, "agent": self.agent.name, "direction": self.direction, "state": self.state,
            "peer": self.peer, "number": self.number, "caller": self.caller, "connected": self.connected,
            "source": self.source, "status": self.status, "reason": self.reason, "q850": self.q850,
            "ended_by": self.ended_by, "answered": self.was_answered, "held": self.held,
            "remote_held": self.remote_held, "early_media": self.early_media, "contact": self.contact,
            "tone": self.tone, "times": self.times, "sip_call_id": self.dialog.call_id if self.dialog else "",
            "dtmf": media.digits if media else "", "rtp": media.report() if media else None,
            "tones": media.listener.report() if media else {"windows": 0, "heard": {}},
            "wire_tones": media.wiretap.report() if media else {"windows": 0, "heard": {}},
        }  # fmt: skip


def session_timer(request: Message) -> list[tuple[str, str]]:
    """Session timers (RFC 4028): we accept one and leave the refreshing to whoever asked."""
    value = request.get("session-expires").split(";")[0].strip()
    if not value or "timer" not in " ".join(request.get_all("supported")).lower():
        return []
    return [("require", "timer"), ("session-expires", f"{value};refresher=uac")]


def target_uri(to: str, domain: str) -> str:
    """A dialled number or a whole URI as a Request-URI. MessageError when a URI is none."""
    return str(parse_uri(to)) if to[:4].lower() in ("sip:", "sips", "tel:") else str(parse_uri(f"sip:{to}@{domain}"))


__all__ = ["Call", "MessageError", "identity", "name_addr", "session_timer", "target_uri"]
