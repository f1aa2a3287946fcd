"""Bindings that the watchdog makes in Asterisk's name: that they stand is asked, not believed."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.wan import core, sip
from services.wan.core import Line, State, Track, Verdict
from services.wan.probes import SURE, Provider, Uplink
from services.wan.registrar import BINDINGS, LOOK, MEMORY, WELL, Registrar

NORTH = Provider("north", "198.51.100.10", 5060, "clinic", "geheim")
CHALLENGE = 'Digest realm="p", nonce="{}", algorithm=MD5, qop="auth"'
OK, DEAD = Verdict(), Verdict("router-dead", core.DEAD)


@dataclass
class Wire:
    """An uplink whose packets are kept; what it sends is seen by a registrar of one account."""

    name: str
    address: str
    expected: str
    port: int = 40000
    sent: list[bytes] = field(default_factory=list)
    blind: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line = Line(self.name, Track(), {}, {"north": Track(heard=1.0)})
        self.seen: set[str] = set()

    def send(self, request: bytes, provider: Provider) -> None:
        self.sent.append(request)

    def send_as_asterisk(self, request: bytes, provider: Provider) -> None:
        self.blind.append(request)

    def addresses(self) -> set[str]:
        return self.seen


class Manager:
    """Asterisk as it is told things."""

    connected = True

    def __init__(self) -> None:
        self.acts: list[tuple[str, str]] = []
        self.statuses = dict.fromkeys(("north-a", "north-b"), "Registered")

    def act(self, action: str, done: Any = None, last: str = "", **fields: Any) -> None:
        if action == "PJSIPShowRegistrationsOutbound":
            done([{"Event": "OutboundRegistrationDetail", "ObjectName": leg, "Status": status}
                  for leg, status in self.statuses.items()])  # fmt: skip
            return
        self.acts.append((action, fields.get("Registration", "")))


class Told(list[str]):
    def tell(self, kind: str, **fields: Any) -> None:
        self.append(kind)


class Office:
    """The registrar under test and a provider that answers it. `lossy`: the blind REGISTER never arrives."""

    def __init__(self, *, lossy: int = 0, once: bool = False) -> None:
        self.wires = {"a": Wire("a", "10.0.1.2", "198.18.1.2"), "b": Wire("b", "10.0.2.2", "198.18.2.2")}
        self.manager, self.told = Manager(), Told()
        self.registrar = Registrar(self.manager, self.wires, [NORTH], self.told, lambda name: None)  # type: ignore[arg-type]
        self.registrar.wanted = {"north-a", "north-b"}
        self.bound = {"198.18.1.2", "198.18.2.2"}
        self.lossy, self.once, self.now, self.nonces = lossy, once, 100.0, 0
        self.used: set[str] = set()
        self.state = State("a")

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            self.registrar.tick(self.now)
            for wire in self.wires.values():
                requests, wire.sent = wire.sent, []
                blind, wire.blind = wire.blind, []
                for request in requests:
                    self._answer(wire, request)
                for request in blind:
                    if self.lossy:
                        self.lossy -= 1
                    elif self._knows(request):
                        self.bound.add(wire.expected)

    def _knows(self, request: bytes) -> bool:
        nonce, count = re.search(rb'nonce="(\w+)"', request), re.search(rb"nc=(\d+)", request)
        if not nonce or not count:
            return False
        name = nonce[1].decode()
        if self.once and name in self.used:
            return False
        self.used.add(name)
        return True

    def _answer(self, wire: Wire, request: bytes) -> None:
        call, number = re.search(rb"Call-ID: (\S+)", request), re.search(rb"CSeq: (\d+)", request)
        assert call and number
        head = f"CSeq: {number[1].decode()} REGISTER\r\nCall-ID: {call[1].decode()}\r\n"
        if not self._knows(request):
            self.nonces += 1
            text = f"SIP/2.0 401 No\r\n{head}WWW-Authenticate: {CHALLENGE.format(f'n{self.nonces}')}\r\n\r\n"
        else:
            if b"Contact: *" in request:
                self.bound.clear()
            listed = "".join(f"Contact: <sip:clinic@{host}:5060>;expires=60\r\n" for host in sorted(self.bound))
            text = f"SIP/2.0 200 OK\r\n{head}{listed}\r\n"
        found = sip.answer(text.encode())
        assert found
        self.registrar.heard([(NORTH, found)], self.now)

    def dies(self, name: str) -> None:
        other = "b" if name == "a" else "a"
        self.state.current = other
        verdicts = {name: DEAD, other: OK}
        self.registrar.want(self.state, verdicts, (), self.now, at_once=True)

    def lives(self, name: str) -> None:
        self.state.clean = dict.fromkeys(self.wires, self.now)
        self.verdicts = dict.fromkeys(self.wires, OK)

    def kicked(self) -> list[str]:
        return [leg for action, leg in self.manager.acts if action == "PJSIPRegister"]


def test_dead_uplink_loses_its_binding_and_the_living_one_has_one() -> None:
    office = Office()
    office.dies("a")
    office.run(LOOK + 0.5)
    assert office.bound == {"198.18.2.2"} and not office.registrar.busy and office.kicked() == []


@pytest.mark.parametrize(("lossy", "once"), [(1, False), (2, False), (0, True), (1, True)])
def test_binding_that_did_not_arrive_is_made_again(lossy: int, once: bool) -> None:
    """A lost packet; and a provider that takes a nonce once."""
    office = Office(lossy=lossy, once=once)
    office.dies("a")
    office.run(BINDINGS * (LOOK + 0.5))
    assert office.bound == {"198.18.2.2"} and office.kicked() == []


def test_asterisk_is_told_to_register_when_nothing_else_helps() -> None:
    office = Office(lossy=99)
    office.dies("a")
    office.run(BINDINGS * (LOOK + 0.5))
    assert office.kicked() == ["north-b"] and not office.registrar.busy


def test_uplink_that_comes_and_goes_registers_more_and_more_seldom() -> None:
    office, waits = Office(), []
    for _ in range(4):
        office.dies("b")
        office.lives("b")
        began = office.now
        while "north-b" not in (office.registrar.wanted or ()):
            office.run(0.5)
            office.registrar.want(office.state, office.verdicts, (), office.now)
        waits.append(office.now - began)
    assert waits == pytest.approx([WELL, 2 * WELL, 4 * WELL, 8 * WELL], abs=0.6)
    office.dies("b")
    office.registrar.forgive()
    office.lives("b")
    office.now += WELL + 0.1
    office.registrar.want(office.state, office.verdicts, (), office.now)
    assert "north-b" in (office.registrar.wanted or ()), "an engineer said that it is well"
    assert waits[-1] < MEMORY


def test_new_public_address_is_told_once_and_registered() -> None:
    office = Office()
    office.wires["a"].seen = {"198.18.1.2"}
    office.run(1)
    assert office.told == []
    for address in ("198.18.1.9", "198.18.1.2") * 10:
        office.wires["a"].seen = {address}
        office.run(1)
    assert office.told == ["address"]
    assert 1 <= len(office.kicked()) <= 3, "not with every answer"


def test_an_address_that_changes_twice_in_a_moment_is_registered_both_times() -> None:
    office = Office()
    office.wires["a"].seen = {"198.18.1.2"}
    office.registrar.tick(office.now)
    for address in ("198.18.1.9", "198.18.1.2"):
        office.wires["a"].seen = {address}
        office.registrar.tick(office.now + 5)
    assert office.manager.acts == [("PJSIPRegister", "north-a")], "the control: no more than one in fifteen seconds"
    for later in (6, 12, 21, 22, 60):
        office.registrar.tick(office.now + later)
    assert office.manager.acts == [("PJSIPRegister", "north-a")] * 2


def test_an_address_is_believed_after_three_answers_that_say_so() -> None:
    uplink = Uplink(
        {"name": "a", "address": "192.0.2.1", "gateway": "192.0.2.2", "external": "198.18.1.2"}, [], [NORTH]
    )
    uplink.seen["north"] = deque(["198.18.1.2"] * SURE, maxlen=SURE)
    assert uplink.addresses() == {"198.18.1.2"}
    uplink.seen["north"].append("203.0.113.66")
    assert uplink.addresses() == set()
    assert not uplink.sockets and not uplink.moved() and not uplink.look(), "no card has it: nothing is asked, no crash"
    uplink.ask(1.0, [])
    assert not uplink.line.carrier


def test_asterisk_that_does_not_listen_yet_is_told_again_within_seconds_and_not_for_ever() -> None:
    """For 6.4 s after a REGISTER that nobody answered, PJSIPRegister does nothing."""
    office = Office()
    office.registrar.wanted = {"north-b"}
    office.lives("a")
    office.manager.statuses["north-a"] = "Unregistered"
    office.registrar.want(office.state, office.verdicts, (), office.now, at_once=True)
    office.run(5)
    assert office.kicked() == ["north-a"] * 3, "at once, and every two seconds"
    office.run(60)
    assert 6 <= len(office.kicked()) <= 12, "then every fifteen"
    office.manager.statuses["north-a"] = "Registered"
    before = office.kicked()
    office.run(60)
    assert office.kicked() == before, "the control: who is registered is left alone"
