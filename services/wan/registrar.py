"""Which legs are registered: Asterisk registers, this says when. It also takes back what a dead uplink registered.

A provider that tries registered contacts one after the other would wait for the dead one with every call; one that
takes a single contact must hear of the new one. Asterisk needs a second for a registration that it is told to make,
and first takes back what stands. So the watchdog asks for a challenge, removes every binding with `Contact: *` (RFC
3261 10.2.2) and registers the living one in Asterisk's name, from its port; Asterisk refreshes that binding when its
own is due.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from . import core, sip
from .ami import Manager, Message
from .events import Events
from .probes import SIP, Provider, Uplink

PATIENCE, AGAIN, KICK, PAUSE = 1.5, 0.4, 15.0, 60.0
"""Seconds for one request of ours in all, before it is sent again, and between two nudges of Asterisk, the second for
a leg that the provider refuses."""
WELL = 2.0
EXPIRES = 120
"""Seconds, as templates/asterisk/pjsip_trunks.conf.j2: Asterisk's own registration is renewed before they are over."""


@dataclass
class Asked:
    """A REGISTER under way. `done` gets the code, 0 for silence, and the provider's words."""

    uplink: Uplink
    provider: Provider
    contact: str
    call: str
    done: Callable[[int, str], None]
    until: float
    again: float
    request: bytes = b""
    number: int = 1
    challenge: str = ""
    proxy: bool = False


class Registrar:
    def __init__(
        self, manager: Manager, uplinks: Mapping[str, Uplink], providers: Sequence[Provider], events: Events,
        forget: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.manager, self.uplinks, self.events = manager, uplinks, events
        self.forget_connections = forget
        self.providers = [provider for provider in providers if provider.user]
        self.statuses: dict[str, str] = {}
        self.wanted: set[str] | None = None
        self._asked: list[Asked] = []
        self._kicked: dict[str, float] = {}
        self._rejected: dict[str, int] = {}
        self._dead: set[str] = set()
        self._addresses: dict[str, str] = {}

    @property
    def busy(self) -> bool:
        return bool(self._asked)

    def forget(self) -> None:
        """Asterisk began anew: everything that is configured registers by itself."""
        self.wanted = None

    def want(
        self, state: core.State, verdicts: Mapping[str, core.Verdict], taken: Collection[str], now: float, *,
        at_once: bool = False,
    ) -> None:  # fmt: skip
        """Legs that should be registered, and what changes. `taken`: uplinks whose packets another takes along."""
        if not self.manager.connected:
            return
        able = {name for name, verdict in verdicts.items() if verdict.score < core.NO_SIP and name not in taken}
        if not at_once:  # an uplink that comes back waits until it is really back
            able = {n for n in able if self._registers(n) or (c := state.clean.get(n)) is None or now - c >= WELL}
        able = able or set(self.uplinks)
        wanted = {
            f"{provider.name}-{name}"
            for provider in self.providers
            for name in ({state.current} if provider.one else able)
        }
        before = self.wanted if self.wanted is not None else self._all()
        self.wanted = wanted
        gone = before - wanted
        for leg in sorted(gone):
            self.manager.act("PJSIPUnregister", Registration=leg)
        for provider in self.providers:
            legs = {leg for leg in wanted if leg.startswith(f"{provider.name}-")}
            mine = {f"{provider.name}-{name}" for name in self.uplinks}
            for leg in sorted(legs - before):
                self.kick(leg, now)
            if gone & mine:
                self.bind(provider, state.current, now, "" if provider.one else sip.EVERY)

    def _all(self) -> set[str]:
        return {f"{provider.name}-{name}" for provider in self.providers for name in self.uplinks}

    def _registers(self, name: str) -> bool:
        return self.wanted is None or any(leg.endswith(f"-{name}") for leg in self.wanted)

    def kick(self, leg: str, now: float) -> None:
        self._kicked[leg] = now
        self.manager.act("PJSIPRegister", Registration=leg)

    def bind(self, provider: Provider, by: str, now: float, cleared: str) -> None:
        """Register an uplink's leg in Asterisk's name, with EVERY in the place of all bindings. Nothing is taken back
        first: between two of Asterisk's own there would be a second without a binding, and calls in would fail."""
        uplink, call = self.uplinks[by], secrets.token_hex(8)

        def done(code: int, reason: str) -> None:
            if code == 200:
                contact = f"<sip:{provider.user}@{uplink.expected}:{SIP}>"
                request = sip.register(
                    provider.server, provider.port, provider.user, uplink.address, SIP, secrets.token_hex(8), 1,
                    contact=contact, expires=EXPIRES, authorization=self._authorization(one, 2),
                )  # fmt: skip
                uplink.send_as_asterisk(request, provider)

        one = Asked(uplink, provider, cleared, call, done, now + PATIENCE, now + AGAIN)
        self._ask(one)

    def _ask(self, one: Asked, header: str = "") -> None:
        p, u = one.provider, one.uplink
        one.request = sip.register(
            p.server, p.port, p.user, u.address, u.port, one.call, one.number, contact=one.contact, authorization=header
        )
        if one not in self._asked:
            self._asked.append(one)
        u.send(one.request, p)

    @staticmethod
    def _authorization(one: Asked, count: int) -> str:
        p = one.provider
        uri = f"sip:{p.server}:{p.port}"
        return sip.authorization(one.challenge, "REGISTER", uri, p.user, p.password, proxy=one.proxy, count=count)

    def heard(self, answers: list[tuple[Provider, sip.Answer]], now: float) -> None:
        for provider, answer in answers:
            one = next((a for a in self._asked if a.call == answer.call and a.number == answer.number), None)
            if one is None or one.provider is not provider or answer.code < 200:
                continue
            if answer.code in (401, 407) and not one.challenge:
                one.proxy = answer.code == 407
                one.challenge = answer.headers.get("proxy-authenticate" if one.proxy else "www-authenticate", "")
                if header := self._authorization(one, 1):
                    one.number += 1
                    self._ask(one, header)
                    continue
            self._asked.remove(one)
            one.done(answer.code, answer.reason)

    def tick(self, now: float) -> None:
        for one in list(self._asked):
            if now >= one.until:
                self._asked.remove(one)
                one.done(0, "")
            elif now >= one.again:
                one.again = now + AGAIN
                one.uplink.send(one.request, one.provider)
        for name, uplink in self.uplinks.items():
            for provider in self.providers:
                leg, track = f"{provider.name}-{name}", uplink.line.providers[provider.name]
                if track.row >= core.LEG_ROW:
                    self._dead.add(leg)
                elif leg in self._dead and track.known and not track.row:
                    self._dead.discard(leg)  # a provider that is back has perhaps forgotten us
                    if self.wanted and leg in self.wanted:
                        self.bind(provider, name, now, "")
            self._look_at_address(name, uplink, now)

    def _look_at_address(self, name: str, uplink: Uplink, now: float) -> None:
        """A new public address (DHCP): what providers have of us is the old one."""
        seen = set(uplink.seen.values())
        if len(seen) != 1:
            return
        (address,) = seen
        before = self._addresses.get(name)
        self._addresses[name] = address
        if (before or uplink.expected) == address:
            return
        self.events.tell("address", uplink=name, address=address, expected=uplink.expected)
        for leg in sorted(self.wanted or ()):
            if before and leg.endswith(f"-{name}"):
                self.kick(leg, now)

    def look(self, now: float) -> None:
        """Ask Asterisk how its registrations stand."""
        self.manager.act(
            "PJSIPShowRegistrationsOutbound",
            lambda found: self._stand(found, now),
            "OutboundRegistrationDetailComplete",
        )

    def _stand(self, found: list[Message], now: float) -> None:
        self.statuses = {
            one["ObjectName"]: one.get("Status", "")
            for one in found
            if one.get("Event") == "OutboundRegistrationDetail"
        }
        for name, uplink in self.uplinks.items():
            for provider in self.providers:
                leg = f"{provider.name}-{name}"
                if self.wanted is None or leg not in self.wanted:
                    continue
                status, track = self.statuses.get(leg, ""), uplink.line.providers[provider.name]
                if status.startswith("Registered"):
                    if self._rejected.pop(leg, 0):
                        self.events.tell("accepted", provider=provider.name, uplink=name)
                elif track.known and not track.row:
                    if now - self._kicked.get(leg, 0.0) >= (PAUSE if status == "Rejected" else KICK):
                        self.forget_connections(name)  # we are answered and Asterisk is not: its state may be stale
                        self.kick(leg, now)
                    elif status == "Rejected":
                        self._why(leg, name, provider, now)

    def _why(self, leg: str, name: str, provider: Provider, now: float) -> None:
        """Asterisk says only that it was refused; the provider's own code says why."""

        def done(code: int, reason: str) -> None:
            if code >= 300 and self._rejected.get(leg) != code:
                self._rejected[leg] = code
                self.events.tell("rejected", provider=provider.name, uplink=name, code=code, reason=reason)

        self._ask(Asked(
            self.uplinks[name], provider, "", secrets.token_hex(8), done, now + PATIENCE, now + AGAIN
        ))  # fmt: skip
