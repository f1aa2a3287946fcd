"""Transfers: asking for one (REFER, RFC 3515 and 5589), and being asked (refused unless the agent allows it)."""

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from softphone.call import Call, target_uri
from softphone.events import Json
from softphone.message import Message, MessageError, parse_address, parse_uri, reply
from softphone.transaction import ServerTransaction

if TYPE_CHECKING:
    from softphone.agent import Agent


async def refer(call: Call, refer_to: str, timeout: float) -> Json:
    """Send REFER and wait for its outcome: `{"refer": status, "notify": last sipfrag status or null, "ok": bool}`.

    After success the transferor's own call is hung up, if the other side has not done so already.
    """
    dialog, agent = call.talking(), call.agent
    message = dialog.request("REFER", agent.sent_by)
    message.headers += [("refer-to", f"<{refer_to}>"), ("referred-by", f"<{agent.identity}>")]
    message.headers.append(("contact", agent.contact))
    call.sipfrags.clear()
    call.trail.add("refer_sent", to=refer_to.partition("?")[0])
    response = await agent.transact(message, dialog.addr, dialog=dialog)
    call.trail.add("refer_answer", status=response.status)
    if response.status >= 300:
        return {"refer": response.status, "notify": None, "ok": False}
    await agent.hub.until(lambda: any(code >= 200 for code in call.sipfrags), timeout)
    notify = call.sipfrags[-1] if call.sipfrags else None
    ok = notify is not None and 200 <= notify < 300
    if ok and not await agent.hub.until(lambda: call.state == "ended", 0.5):
        call.hangup()
    return {"refer": response.status, "notify": notify, "ok": ok}


async def blind(call: Call, to: str, timeout: float) -> Json:
    return await refer(call, target_uri(to, call.agent.domain), timeout)


async def attended(call: Call, consultation: Call, timeout: float) -> Json:
    """Join the far ends of `call` and `consultation`. Both must be answered."""
    dialog = consultation.talking()
    replaces = f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}"
    result = await refer(call, f"{dialog.target.partition('?')[0]}?Replaces={quote(replaces, safe='')}", timeout)
    if result["ok"] and not await call.agent.hub.until(lambda: consultation.state == "ended", 0.5):
        consultation.hangup()
    return result


def on_refer(agent: "Agent", call: Call, message: Message, server: ServerTransaction) -> None:
    """A REFER to us: 603, or when the agent accepts them the new call, and NOTIFYs about how it goes."""
    call.trail.add("refer_received")
    target = parse_address(message.get("refer-to"))
    try:
        uri = parse_uri(target.uri)
    except MessageError:
        server.respond(reply(message, 400))
        return
    if not agent.accept_refer:
        server.respond(reply(message, 603))
        return
    server.respond(reply(message, 202, extra=[("contact", agent.contact)]))
    replaces = re.search(r"(?i)[?&]replaces=([^&]+)", uri.headers)
    headers = [("replaces", unquote(replaces[1]))] if replaces else []
    plain = str(uri).partition("?")[0]
    agent.spawn(_follow(agent, call, plain, headers))


async def _follow(agent: "Agent", call: Call, uri: str, headers: list[tuple[str, str]]) -> None:
    _notify(agent, call, "SIP/2.0 100 Trying", "active;expires=60")
    new = agent.call(uri, tone=call.tone, headers=headers)
    await agent.hub.until(lambda: new.state in ("answered", "ended"), 60)
    line = "SIP/2.0 200 OK" if new.state == "answered" else f"SIP/2.0 {new.status or 408} {new.reason}"
    _notify(agent, call, line, "terminated;reason=noresource")


def _notify(agent: "Agent", call: Call, line: str, state: str) -> None:
    if call.dialog is None or call.state == "ended":
        return
    message = call.dialog.request("NOTIFY", agent.sent_by)
    message.headers += [("event", "refer"), ("subscription-state", state), ("contact", agent.contact)]
    message.headers.append(("content-type", "message/sipfrag;version=2.0"))
    message.body = f"{line}\r\n".encode()
    agent.spawn(agent.transact(message, call.dialog.addr, dialog=call.dialog))
