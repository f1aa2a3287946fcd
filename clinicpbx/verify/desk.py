"""What checks hold in their hands: the clinic's telephones and the public network, tidied up after each check."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

from clinic.callflow import Did
from clinic.model import Clinic
from clinic.people import Role
from clinic.rendering.asterisk import all_groups
from clinic.trunks import Trunk
from clinicpbx.verify.borrow import PATIENT, patient
from clinicpbx.verify.locks import Locks
from clinicpbx.verify.moments import Moments
from clinicpbx.verify.pbx import Pbx, expect
from clinicpbx.verify.place import Place
from softphone.client import Call, Pool, PoolError

FICTIONAL = ("810442079460000", "00442079460000")
"""A number that Ofcom keeps for drama, in both spellings: nobody has it, should a refusal fail."""


class Desk:
    """One pool's agents; the calls made through it end with the check, and behaviours return to `ring`."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.mine: list[Call] = []
        self.changed: list[str] = []

    def tidy(self) -> None:
        """End our calls. Never raises: the next check must find a free desk."""
        for call in reversed(self.mine):
            with contextlib.suppress(PoolError):
                if call.state != "ended":
                    call.hangup()
        self.mine.clear()
        for name in self.changed:
            with contextlib.suppress(PoolError):
                self.pool.set_behaviour(name, "ring")
        self.changed.clear()

    def keep(self, call: Call) -> Call:
        self.mine.append(call)
        return call


class Phones(Desk):
    """The clinic's telephones by extension. They ring by themselves and are answered by the check."""

    def call(self, ext: str, to: str, *, tone: int | None = None, **options: Any) -> Call:
        return self.keep(self.pool.call(ext, to, tone=tone, **options))

    def ringing(self, ext: str | list[str], timeout: float = 5, *, caller: str = "") -> Call:
        """The call that rings there. PoolError when none does in time."""
        return self.keep(self.pool.wait_incoming(ext, timeout, caller=caller))

    def behave(self, ext: str, action: str, **options: Any) -> None:
        self.changed.append(ext)
        self.pool.set_behaviour(ext, action, **options)

    def dial(self, ext: str, code: str, timeout: float = 6) -> Call:
        """Dial a service code and wait until the PBX has hung up."""
        return self.call(ext, code).wait_ended(timeout)

    def confirmed(self, ext: str, code: str) -> Call:
        """Dial a code that the PBX must accept: it answers, and ends the call normally."""
        call = self.dial(ext, code)
        accepted = call.info["answered"] and call.info["q850"] != 21
        expect(accepted, f"{code} from {ext} was refused: {outcome(call)}")
        return call

    def numbers_rung(self, ext: str, since: float) -> list[str]:
        """Callers of the INVITEs that a telephone got after monotonic second `since`."""
        return [str(item["caller"]["number"]) for item in self.pool.invites(ext, since=since)]


class Patients(Desk):
    """People outside who call the clinic. `way`: how their calls come in, for the evidence."""

    way = ""

    def __init__(self, pool: Pool, clinic: Clinic, pbx: Pbx) -> None:
        super().__init__(pool)
        self.clinic, self.pbx = clinic, pbx
        self.clocks: list[str] = []
        self._next = itertools.count(random.randrange(1_000_000, 9_000_000))  # noqa: S311 - no secret

    def number(self) -> str:
        """A caller's number nobody used before: 79990000000 and so on, as providers write it."""
        return f"7999{next(self._next):07d}"

    def call(self, did: str, caller: str = "", *, tone: int | None = None) -> Call:
        """Call one of the clinic's numbers."""
        raise NotImplementedError

    def pretend(self, caller: str, moment: int) -> None:
        """For five minutes the PBX takes this caller's calls as if it were epoch second `moment`."""
        key = f"+{caller.lstrip('+')}"
        self.clocks.append(key)
        self.pbx.put("clock", key, f"{int(time.time()) + 300}:{moment}")

    def pretend_open(self, caller: str, flow: str) -> None:
        """As `pretend`, at a moment when the flow is open."""
        moment = moments(self.clinic, flow).open()
        expect(moment is not None, f"clinic.yml: the flow {flow} is never open")
        self.pretend(caller, moment or 0)

    def in_open_hours(self, flow: str, did: str, *, tone: int | None = None, caller: str = "") -> Call:
        """A call that finds the flow open, whatever the hour now."""
        caller = caller or self.number()
        self.pretend_open(caller, flow)
        return self.call(did, caller, tone=tone)

    def tidy(self) -> None:
        super().tidy()
        for key in self.clocks:
            with contextlib.suppress(Exception):
                self.pbx.delete("clock", key)
        self.clocks.clear()


class Doorstep(Patients):
    """Callers who are put behind the provider's door: a borrowed telephone's call, once it rings somewhere, goes on
    with an outside number where the provider's calls begin. What the provider itself does is the loop's to prove."""

    way = "put where {trunk}'s calls begin"

    def __init__(self, pool: Pool, clinic: Clinic, pbx: Pbx, locks: Locks) -> None:
        super().__init__(pool, clinic, pbx)
        self.locks, self.line = locks, patient(clinic)

    def call(self, did: str, caller: str = "", *, tone: int | None = None) -> Call:
        trunk, _ = self.clinic.dids[did]
        caller = caller or self.number()
        with self.locks.hold("doorstep", alone=True):  # so that the line's newest channel is this call's
            call = self.keep(self.pool.call(PATIENT, self.line, tone=tone)).wait_ringing(5)
            mine = [c for c in self.pbx.channels() if c.startswith(f"PJSIP/{self.line}-") and f"!{self.line}!" in c]
            channel = max(line.partition("!")[0] for line in mine if "!Dial!" in line)
            said = self.pbx.asterisk(
                f"dialplan set chanvar {channel} CALLERID(num) {caller}",
                f"dialplan set chanvar {channel} LEG {trunk.name}-{self.clinic.uplinks[0].name}",
                f"channel redirect {channel} from-{trunk.name},{did},1",
            )
            expect(
                "successfully redirected" in said and "No such" not in said,
                f"{channel} could not be put at {did}: {said.strip()}",
            )
        return call


class Pstn(Patients):
    """Subscribers of the lab's public network, as one exchange that may be any number."""

    way = "by {trunk}"

    def __init__(self, pool: Pool, clinic: Clinic, pbx: Pbx) -> None:
        super().__init__(pool, clinic, pbx)
        self.patterns: list[str] = []

    def call(self, did: str, caller: str = "", *, tone: int | None = None) -> Call:
        """Through the number's own provider."""
        trunk, _ = self.clinic.dids[did]
        caller = caller or self.number()
        return self.keep(self.pool.call("pstn", f"sip:{did.lstrip('+')}@{trunk.server}", tone=tone, from_number=caller))

    def behave(self, number: str, action: str, **options: Any) -> None:
        """What the subscriber does when called; `number` in any spelling, by its last ten digits, or a short one."""
        pattern = f"*{number[-10:]}" if len(number) >= 10 else number
        self.patterns.append(pattern)
        self.pool.set_behaviour("pstn", action, pattern=pattern, **options)

    def reached(self, number: str, since: float) -> list[dict[str, Any]]:
        """The calls that arrived for a number: `number` as dialled, `source_ip` of the provider, `caller`."""
        return [i for i in self.pool.invites("pstn", since=since) if i["number"].endswith(number[-10:])]

    def tidy(self) -> None:
        super().tidy()
        for pattern in self.patterns:  # what the exchange does with any number
            tone = 770 if pattern in self.clinic.emergency.numbers else 620
            with contextlib.suppress(PoolError):
                self.pool.set_behaviour("pstn", "answer", pattern=pattern, after=0.5, tone=tone)
        self.patterns.clear()


def callers(place: Place, pbx: Pbx, locks: Locks) -> Patients | None:
    """Who calls in at this site; None where there is nobody."""
    if pool := place.pstn():
        return Pstn(pool, place.clinic, pbx)
    pool = place.phones()
    return Doorstep(pool, place.clinic, pbx, locks) if pool else None


def moments(clinic: Clinic, flow: str) -> Moments:
    import datetime as dt

    return Moments(clinic.hours[clinic.flows[flow].hours], clinic.timezone, dt.date.today())


def outcome(call: Call) -> str:
    """A call's end in words: `486 Busy Here (Q.850 17)`."""
    info = call.refresh()
    cause = f" (Q.850 {info['q850']})" if info["q850"] is not None else ""
    return f"{info['state']} {info['status'] or ''} {info['reason'] or ''}{cause}".strip()


def hear_each_other(one: Call, one_tone: int, other: Call, other_tone: int, timeout: float = 4) -> str:
    """Both hear the other's tone and not their own. -> what was heard, for the evidence"""
    left, right = one.wait_tone(other_tone, timeout), other.wait_tone(one_tone, timeout)
    for call, own in ((one, one_tone), (other, other_tone)):
        share = call.listen(0.45)["heard"].get(str(own), 0)
        expect(share == 0, f"{call.id} hears its own {own} Hz")
    heard = f"{other_tone} Hz ({left['level_db']} dBFS) heard by the caller"
    return f"{heard}, {one_tone} Hz ({right['level_db']} dBFS) by the other side"


@contextlib.contextmanager
def nothing_rings(phones: Phones, exts: list[str], *, caller: str) -> Iterator[None]:
    """Within the block no INVITE of this caller reaches the telephones."""
    since = time.monotonic()
    yield
    reached = phones.pool.invites(exts, caller=caller, since=since)
    expect(not reached, f"the call also rang at {sorted({i['to'] for i in reached})}")


def provider_of(clinic: Clinic, address: str) -> str:
    """The trunk whose SBC has this address, or the address itself."""
    return next((t.name for t in clinic.trunks if str(t.server) == address), address)


def unregistered(clinic: Clinic, current: str) -> set[str]:
    """Legs that are rightly not registered while calls go by the uplink `current`: of trunks with `contacts: one`."""
    trunks = [trunk for trunk in clinic.trunks if trunk.contacts == "one"]
    return {f"{trunk.name}-{uplink.name}" for trunk in trunks for uplink in clinic.uplinks if uplink.name != current}


def enabled(clinic: Clinic) -> list[Trunk]:
    return [t for t in clinic.trunks if t.enabled]


def ringing_at(clinic: Clinic, target: Did) -> list[str]:
    """The extensions that a public number may ring, forwarding and do-not-disturb aside."""
    if target.flow:
        return [p.ext for p in clinic.people if p.role in (Role.OPERATOR, Role.RECEPTION)]
    if target.to in clinic.by_ext:
        return [str(target.to)]
    return list(next(group.members for group in all_groups(clinic) if group.number == target.to))


def loop_caller(clinic: Clinic) -> str:
    """Somebody who may dial the clinic's own numbers and shows the clinic's number, not their own."""
    own = {did.to for _, did in clinic.dids.values()}
    plain = [p for p in clinic.people if p.role in (Role.DOCTOR, Role.STAFF, Role.SUPERVISOR) and p.ext not in own]
    return max(plain, key=lambda p: clinic.class_of(p).rank).ext
