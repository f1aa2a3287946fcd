"""Busy-lamp fields, presence, message waiting: SUBSCRIBE, refresh, and reading NOTIFYs (RFC 6665, 4235, 3863)."""

import asyncio
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from softphone.dialog import Dialog, from_response
from softphone.events import Json
from softphone.message import Message, reply, token
from softphone.transaction import ServerTransaction

if TYPE_CHECKING:
    from softphone.agent import Agent

ACCEPT = {
    "dialog": "application/dialog-info+xml",
    "presence": "application/pidf+xml",
    "message-summary": "application/simple-message-summary",
}
ACTIVITY = ("confirmed", "early", "proceeding", "trying")  # the busiest first


def read_state(body: bytes) -> Json:
    """`{"state": idle|trying|proceeding|early|confirmed|open|closed|messages:yes|unknown (unreadable), ...}`"""
    text = body.decode("utf-8", "replace")
    waiting = re.search(r"(?im)^messages-waiting:\s*(\w+)", text)
    if waiting:
        return {"state": f"messages:{waiting[1].lower()}"}
    if "<!" in text.replace("<!--", ""):  # no DTD belongs here: entities are refused unread
        return {"state": "unknown"}
    try:
        root = ElementTree.fromstring(body.strip())  # noqa: S314
    except ElementTree.ParseError:
        return {"state": "unknown"}
    if root.tag.endswith("dialog-info"):
        found = []
        for item in root.findall("{*}dialog"):
            state = (item.findtext("{*}state") or "").strip().lower()
            remote = item.find("{*}remote/{*}identity")
            text = (remote.text or "").strip() if remote is not None else ""
            found.append({"state": state, "direction": item.get("direction"), "remote": text})
        active = next((item for state in ACTIVITY for item in found if item["state"] == state), None)
        return {"entity": root.get("entity"), "dialogs": found, **(active or {"state": "idle"})}
    basic = (root.findtext(".//{*}status/{*}basic") or "unknown").strip().lower()
    return {"entity": root.get("entity"), "state": basic, "note": (root.findtext(".//{*}note") or "").strip()}


class Subscription:
    """One SUBSCRIBE to `target`; `value` is the last state notified, `count` how many NOTIFYs came."""

    def __init__(self, agent: "Agent", target: str, uri: str, event: str, expires: int) -> None:
        self.agent, self.target, self.uri, self.event, self.expires = agent, target, uri, event, expires
        self.call_id, self.tag = token(), token()
        self.value: Json = {"state": "unknown"}
        self.status: int | None = None
        self.active = False
        self.count = 0
        self._dialog: Dialog | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def subscribe(self, expires: int | None = None) -> int:
        """Subscribe, refresh, or with 0 leave; the SIP status."""
        agent = self.agent
        wanted = self.expires if expires is None else expires
        if self._dialog:
            message, addr = self._dialog.request("SUBSCRIBE", agent.sent_by), self._dialog.addr
        else:
            message, addr = agent.new_request("SUBSCRIBE", self.uri, tag=self.tag, call_id=self.call_id), agent.server
        message.add("event", self.event)
        message.add("accept", ACCEPT[self.event])
        message.add("contact", agent.contact)
        message.add("expires", str(wanted))
        if self._timer:
            self._timer.cancel()
        sent: list[Message] = []
        response = await agent.transact(message, addr, dialog=self._dialog, sent=sent)
        self.status = response.status
        self.active = response.status < 300 and wanted > 0
        if response.status < 300 and self._dialog is None and response.to_tag:
            self._dialog = from_response(sent[-1], response, agent.server)
        elif response.status in (408, 481):
            self._dialog, self.call_id, self.tag = None, token(), token()
        if wanted and not agent.closed:
            granted = response.get("expires")
            seconds = float(granted) if granted.isdigit() and self.active else float(wanted)
            delay = max(seconds * 0.8, 1.0) if self.active else 20.0
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay, lambda: agent.spawn(self.subscribe()))
        return response.status

    def on_notify(self, message: Message, server: ServerTransaction) -> None:
        server.respond(reply(message, 200))
        self.count += 1
        if message.body:
            self.value = read_state(message.body)
        if message.get("subscription-state").lower().startswith("terminated"):
            self.active, self._dialog = False, None
            self.call_id, self.tag = token(), token()
        self.agent.trail.add("notify", target=self.target, kind=self.event, state=self.value.get("state"))
        self.agent.hub.notify()

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()

    def snapshot(self) -> Json:
        return {
            "target": self.target, "event": self.event, "active": self.active, "status": self.status,
            "count": self.count, **self.value,
        }  # fmt: skip
