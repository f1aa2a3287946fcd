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
SOON, NUDGES = 2.0, 5
"""Seconds after which a leg that Asterisk was told to register is looked at, and how often it is told again so soon:
for 6.4 s after it took back a registration and heard no answer (timer B) it hears nothing of the leg."""
LOOK, BINDINGS = 0.4, 3
"""Seconds after which the provider is asked whether our binding stands, and how often it is made before Asterisk is
told to."""
WELL, DOUBLINGS, MEMORY = 2.0, 5, 600.0
"""Seconds an uplink must be well before it registers again, doubled with each loss in the last ten minutes: every
coming and going costs all bindings."""
TOLD_AGAIN = 600.0
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
    challenged: Callable[[], None] | None = None
    """What is done with a challenge instead of answering it."""


@dataclass
class Check:
    """A binding that was made blindly, as its answer goes to Asterisk: whether it stands is asked at `due`."""

    provider: Provider
    by: str
    tries: int
    due: float


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
        self._checks: list[Check] = []
        self._lost: dict[str, list[float]] = {name: [] for name in uplinks}
        """When each uplink lost its registrations."""
        self._told: dict[str, float] = {}
        self._kicked: dict[str, float] = {}
        self._nudged: dict[str, int] = {}
        """How often each leg was told to register since it last was registered."""
        self._look_at: float | None = None
        self._rejected: dict[str, int] = {}
        self._bound: set[str] = set()
        """Hosts of the contacts in the answer that is looked at."""
        self._dead: set[str] = set()
        self._addresses: dict[str, str] = {}
        self._moved: set[str] = set()
        """Legs whose uplink has another public address than when they were registered."""

    @property
    def busy(self) -> bool:
        return bool(self._asked or self._checks)

    def forgive(self) -> None:
        """An engineer says that all is well: nobody waits for what happened before."""
        for times in self._lost.values():
            times.clear()

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
            able = {n for n in able if self._registers(n) or self._well(n, state.clean.get(n), now)}
        able = able or set(self.uplinks)
        wanted = {
            f"{provider.name}-{name}"
            for provider in self.providers
            for name in ({state.current} if provider.one else able)
        }
        before = self.wanted if self.wanted is not None else self._all()
        self.wanted = wanted
        gone = before - wanted
        for name, times in self._lost.items():
            if any(f"{provider.name}-{name}" in gone for provider in self.providers if not provider.one):
                times[:] = [*(t for t in times if t > now - MEMORY), now]
        for leg in sorted(gone):
            self.manager.act("PJSIPUnregister", Registration=leg)
            self._nudged.pop(leg, None)
        for provider in self.providers:
            mine = {f"{provider.name}-{name}" for name in self.uplinks}
            for leg in sorted((wanted & mine) - before):
                self.kick(leg, now)
            if gone & mine:
                self.bind(provider, state.current, now, sip.EVERY)

    def _all(self) -> set[str]:
        return {f"{provider.name}-{name}" for provider in self.providers for name in self.uplinks}

    def _registers(self, name: str) -> bool:
        return self.wanted is None or any(f"{provider.name}-{name}" in self.wanted for provider in self.providers)

    def _well(self, name: str, clean: float | None, now: float) -> bool:
        losses = sum(t > now - MEMORY for t in self._lost[name])
        return clean is None or now - clean >= WELL * 2 ** min(max(losses - 1, 0), DOUBLINGS)

    def kick(self, leg: str, now: float) -> None:
        self._kicked[leg] = now
        self._look_at = now + SOON
        self.manager.act("PJSIPRegister", Registration=leg)

    def bind(self, provider: Provider, by: str, now: float, cleared: str, tries: int = 1) -> None:
        """Register an uplink's leg in Asterisk's name, with EVERY in the place of all bindings. Nothing is taken back
        first: between two of Asterisk's own there would be a second without a binding, and calls in would fail.

        Whether it stands is asked afterwards. The second time the provider's challenge is used for nothing else: some
        take a nonce once.
        """
        uplink = self.uplinks[by]
        self._checks = [check for check in self._checks if check.provider is not provider]
        self._checks.append(Check(provider, by, tries, now + LOOK))

        def send(count: int) -> None:
            request = sip.register(
                provider.server, provider.port, provider.user, uplink.address, SIP, secrets.token_hex(8), 1,
                contact=f"<sip:{provider.user}@{uplink.expected}:{SIP}>", expires=EXPIRES,
                authorization=self._authorization(one, count),
            )  # fmt: skip
            uplink.send_as_asterisk(request, provider)

        def done(code: int, reason: str) -> None:
            if code == 200:
                send(2)

        one = Asked(uplink, provider, cleared, secrets.token_hex(8), done, now + PATIENCE, now + AGAIN)
        if tries > 1:
            one.contact, one.challenged = "", lambda: send(1)
        self._ask(one)

    def _look(self, check: Check, now: float) -> None:
        """Ask for the bindings; make ours again when it is not among them."""
        uplink = self.uplinks[check.by]

        def done(code: int, reason: str) -> None:
            if code == 200 and self._bound & {uplink.expected, uplink.address, *uplink.addresses()}:
                return
            if check.tries < BINDINGS:
                self.bind(check.provider, check.by, now, "", check.tries + 1)
            else:
                self.kick(f"{check.provider.name}-{check.by}", now)

        self._ask(Asked(uplink, check.provider, "", secrets.token_hex(8), done, now + PATIENCE, now + AGAIN))

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
                if one.challenged:
                    self._asked.remove(one)
                    one.challenged()
                    continue
                if header := self._authorization(one, 1):
                    one.number += 1
                    self._ask(one, header)
                    continue
            self._asked.remove(one)
            self._bound = set(answer.contacts)
            one.done(answer.code, answer.reason)

    def tick(self, now: float) -> None:
        for one in list(self._asked):
            if now >= one.until:
                self._asked.remove(one)
                one.done(0, "")
            elif now >= one.again:
                one.again = now + AGAIN
                one.uplink.send(one.request, one.provider)
        if self._look_at is not None and now >= self._look_at:
            self._look_at = None
            self.look(now)
        for check in [check for check in self._checks if now >= check.due]:
            self._checks.remove(check)
            self._look(check, now)
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
        seen = uplink.addresses()
        if len(seen) != 1:
            return
        (address,) = seen
        before = self._addresses.get(name)
        self._addresses[name] = address
        legs = {f"{provider.name}-{name}" for provider in self.providers}
        if (before or uplink.expected) != address:
            if before:
                self._moved |= legs
            if now - self._told.get(name, -TOLD_AGAIN) >= TOLD_AGAIN:
                self._told[name] = now
                self.events.tell("address", uplink=name, address=address, expected=uplink.expected)
        for leg in sorted(self._moved & legs & (self.wanted or set())):
            if now - self._kicked.get(leg, -KICK) >= KICK:  # not before, and not forgotten until then
                self._moved.discard(leg)
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
                    self._nudged.pop(leg, None)
                    if self._rejected.pop(leg, 0):
                        self.events.tell("accepted", provider=provider.name, uplink=name)
                elif track.known and not track.row:
                    nudged = self._nudged.get(leg, 0)
                    patience = PAUSE if status == "Rejected" else SOON if nudged < NUDGES else KICK
                    if now - self._kicked.get(leg, 0.0) >= patience:
                        self._nudged[leg] = nudged + 1
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
