"""clinic-guard: follows the security log, the bans, the toll keys, the uplinks and the telephones; sends alerts until
they are out.

    python3 -m services.guard.main                  runs until SIGTERM
    python3 -m services.guard.main test | status    asks the running one; JSON, exit 1 when a target did not accept
    python3 -m services.guard.main phones           when each telephone registered last, and who is off since when

It reads Asterisk's files and writes nothing of Asterisk's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from services.ledger.notify import notify

from . import core, words
from .doors import Doors
from .files import Database, Follower
from .phones import Phones, contacts
from .send import Sender, targets
from .store import Store

SITE, ALERTS = Path("/etc/clinicpbx/guard.json"), Path("/etc/clinicpbx/alerts.json")
LOG, BANS = Path("/var/log/asterisk/security.log"), Path("/var/log/clinic-bans/bans.log")
WAN = Path("/var/log/clinic-wan/events.log")
PROVISIONING = Path("/var/log/clinic-provisioning/events.log")
ASTDB, STATE = Path("/var/lib/asterisk/astdb.sqlite3"), Path("/var/lib/clinic-guard/guard.sqlite3")
CONTROL = Path("/run/clinic-guard/control")
PAUSE, DATABASE_EVERY, TOLD, KEPT = 0.25, 2.0, 10.0, 60.0
"""Seconds between two looks at the logs, at AstDB, two signs of life, and two times that registrations are stored."""


class Guard:
    """What is followed, what is remembered, and who is told."""

    def __init__(self) -> None:
        self.site: words.Site = json.loads(SITE.read_text(encoding="utf-8"))
        self.sender, self.store = Sender(targets(ALERTS)), Store(STATE)
        self.store.forget_others(self.sender.urls)
        memory = self.store.load()
        self.log, self.bans_log, self.database = Follower(LOG), Follower(BANS), Database(ASTDB)
        self.wan_log = Follower(WAN)
        self.wan_log.load(memory.get("wan_log"))
        self.doors_log, self.doors = Follower(PROVISIONING), Doors(**memory.get("doors", {}))
        self.doors_log.load(memory.get("doors_log"))
        self.log.load(memory.get("log"))
        self.bans_log.load(memory.get("bans_log"))
        self.failures = core.Failures.load(memory.get("failures", {}))
        self.bans = core.Bans(**memory.get("bans", {}))
        self.toll: dict[str, float] = memory.get("toll", {})
        self.phones, self.contacts = Phones(**memory.get("phones", {})), dict[str, float]()
        self._standing: dict[str, Any] | None = None
        self._read = False
        self.stopping, self.sent = False, 0
        self._said: dict[object, object] = {}
        self._looked = self._told = self._kept = 0.0

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def run(self) -> None:
        CONTROL.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.bind(str(CONTROL))
            control.listen(4)
            self.look()
            notify(READY="1", STATUS="watching")
            while not self.stopping:
                self.look()
                self.send()
                if time.monotonic() - self._told >= TOLD:
                    notify(WATCHDOG="1", STATUS=f"{self.sent} messages sent, waiting: {self.store.waiting() or 'none'}")
                    self._told = time.monotonic()
                with contextlib.suppress(InterruptedError):
                    if select.select([control], [], [], PAUSE)[0]:
                        self.answer(control)
            notify(STOPPING="1")

    def look(self) -> None:
        """Read what is new; positions, counts and messages are stored together."""
        alerts: list[core.Alert] = []
        memory: dict[str, Any] = {}
        if lines := self._lines(self.log):
            for line in lines:
                if one := core.failure(line):
                    alerts += self.failures.add(one)
                elif (one := core.in_clear(line)) and self.site["people"].get(one.account, {}).get("encrypted"):
                    alerts += self.failures.used_in_clear(one)
            memory |= {"log": self.log.dump(), "failures": self.failures.dump()}
        if lines := self._lines(self.bans_log):
            for line in lines:
                if ban := core.ban(line):
                    self.bans.add(ban)
            memory |= {"bans_log": self.bans_log.dump(), "bans": self.bans.dump()}
        if lines := self._lines(self.wan_log):
            alerts += [alert for line in lines if (alert := core.uplink(line))]
            memory |= {"wan_log": self.wan_log.dump()}
        if lines := self._lines(self.doors_log):
            alerts += [alert for line in lines if (alert := self.doors.add(line))]
            memory |= {"doors_log": self.doors_log.dump(), "doors": self.doors.dump()}
        if due := self.bans.due(time.time()):
            alerts.append(due)
            memory["bans"] = self.bans.dump()
        if time.monotonic() - self._looked >= DATABASE_EVERY:
            self._looked = time.monotonic()
            if (keys := self.database.changed()) is not None:
                found, known = core.closed(keys, self.toll, time.time())
                if known.keys() != self.toll.keys():
                    memory["toll"] = known
                self.toll = known
                alerts += found
                self.contacts, self._read = contacts(keys), True
            if self._read:
                alerts += self.phones.look(self.contacts, self.site, time.time())
                memory |= self._phones()
        if memory:
            messages = [words.message(alert, self.site) for alert in alerts]
            if lost := self.store.save(memory, messages, self.sender.urls):
                say(f"{lost} messages are lost: more than can wait", 3)
            for title, _ in messages:
                say(f"alert: {title}", 4)

    def _phones(self) -> dict[str, Any]:
        """What is to be stored of the telephones now."""
        standing, now = self.phones.standing(), time.monotonic()
        if standing == self._standing and now - self._kept < KEPT:
            return {}
        self._standing, self._kept = standing, now
        return {"phones": self.phones.dump()}

    def _lines(self, log: Follower) -> list[str]:
        known = log.head
        try:
            found = log.lines()
        except OSError as error:  # one file that cannot be read does not hold up the others
            if self._said.get(log.path) != error.errno:
                say(f"{log.path} cannot be read: {error.strerror}", 3)
            self._said[log.path] = error.errno
            return []
        return found or ([""] if log.head != known else [])  # a first position is worth remembering too

    def send(self) -> None:
        for message, outcome in self.sender.round(self.store):
            self.sent += outcome == "accepted"
            if self._said.get(message.target, "accepted") != outcome:
                say(f"{message.target}: {outcome}", 6 if outcome == "accepted" else 4)
            self._said[message.target] = outcome

    def answer(self, control: socket.socket) -> None:
        """One question, one line of JSON; whoever asks slowly is not waited for."""
        with contextlib.suppress(OSError, ValueError), control.accept()[0] as asker:
            asker.settimeout(1)
            asked = asker.recv(64).decode().strip()
            reply: dict[str, Any] = {"waiting": self.store.waiting(), "sent": self.sent}
            if asked == "test":
                title, body = words.message(core.Alert("test", time.time()), self.site)
                reply["targets"] = {}
                for name in self.sender.urls:
                    reply["targets"][name] = self.sender.one(name, title, body)
                    notify(WATCHDOG="1")
            if asked == "phones":
                reply = {"seen": self.phones.seen, "gone": self.phones.gone}
            asker.sendall(json.dumps(reply, ensure_ascii=False).encode() + b"\n")


def say(text: str, level: int = 6) -> None:
    """To the journal, with the level as sd-daemon(3) has it."""
    print(f"<{level}>{text}", file=sys.stderr, flush=True)


def ask(what: str) -> int:
    """Ask the running guard and print its answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as to:
        to.settimeout(120)
        to.connect(str(CONTROL))
        to.sendall(f"{what}\n".encode())
        answer = json.loads(to.makefile().readline())
    print(json.dumps(answer, ensure_ascii=False))
    return 0 if all(said == "accepted" for said in answer.get("targets", {}).values()) else 1


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="clinic-guard")
    parser.add_argument("ask", nargs="?", choices=("test", "status", "phones"), help="ask the running guard")
    if asked := parser.parse_args(arguments).ask:
        return ask(asked)
    guard = Guard()
    signal.signal(signal.SIGTERM, guard.stop)
    signal.signal(signal.SIGINT, guard.stop)
    guard.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
