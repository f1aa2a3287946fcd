"""Toll fraud with stolen SIP passwords, from inside the voice network: what reaches the public network, and its price.

First a doctor's account, of the lowest class that has any line, dials every destination of `lab.destinations` in every
notation, then by transfer, by forwarding and by a parked call. Then the best account that can be stolen, one that may
call abroad, spends what it can: its purse must end it. Money is counted from what the public network saw, never from
the PBX's own counters.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers

from clinic.model import Clinic
from clinic.people import Role
from clinic.rendering.toll import counted
from clinic.types import ServiceClass
from clinicpbx.errors import ClinicError
from clinicpbx.verify.desk import provider_of
from clinicpbx.verify.moments import Moments
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.place import Place
from lab.destinations import DESTINATIONS
from softphone.client import Call, Pool, PoolError

Say = Callable[[str], None]
DEAREST = Decimal(100)  # a minute to a country without a tariff, in the clinic's currency
ATTACKER = "drill-thief"
PORT = 15090
AT_ONCE = 12  # an account may have 16 calls; one more is refused whatever it dials, and would prove nothing
FULL, QUICK = 310, 60
SLOWER = 6  # one in so many of the destinations is also tried by the ways that take a call of seconds
LEFT = 8  # steps that the best account's purse still pays, so that the drill sees it end
TRIES = 12
FAR = 620  # Hz, of a colleague who answers
UNTRIED = 0.1  # the share of a way's numbers that a slow machine may miss


@dataclass
class Thief:
    """A softphone at a visitor's socket with somebody's extension and password."""

    place: Place
    pbx: Pbx
    phones: Pool
    pstn: Pool
    ext: str
    name: str
    calls: list[Call] = field(default_factory=list)

    @property
    def clinic(self) -> Clinic:
        return self.place.clinic

    def dial(self, to: str) -> Call:
        """Whatever host `to` names, the PBX is who gets it."""
        call = self.phones.call(self.name, to, tone=440, dest=f"{self.clinic.networks.voice.pbx}:5060")
        self.calls.append(call)
        return call

    def hang_up(self) -> None:
        for call in self.calls:
            with contextlib.suppress(PoolError):
                if call.refresh()["state"] != "ended":
                    call.hangup()
        self.calls.clear()

    def now(self) -> float:
        return float(self.pstn.stats()["now"])


@contextlib.contextmanager
def stolen(place: Place, pbx: Pbx, ext: str) -> Iterator[Thief]:
    """`ext`'s password in use at a visitor's address. Nothing of it is left afterwards."""
    phones, pstn = place.phones(), place.pstn()
    assert phones is not None and pstn is not None  # noqa: S101 - a drill is for a lab, which has both
    server = f"{place.clinic.networks.voice.pbx}:5060"
    password = place.secrets[f"sip/{ext}"]
    name = phones.add_agent(
        place.visitor, PORT, name=f"{ATTACKER}-{ext}", user=ext, password=password, server=server
    )  # fmt: skip
    thief = Thief(place, pbx, phones, pstn, ext, name)
    try:
        yield thief
    finally:
        thief.hang_up()
        phones.remove([name])


def notations(e164: str, outside: str = "203.0.113.99") -> dict[str, str]:
    """Every way to write a number that a thief would try, by name. `outside`: the clinic's own public address. Pure."""
    bare = e164.removeprefix("+")
    ways = {
        "plus": e164,
        "810": f"810{bare}",
        "8~10": f"8~10{bare}",
        "00": f"00{bare}",
        "bare": bare,
        "spaces": "%20".join(["810", bare[:3], bare[3:]]),
        "dashes": f"00-{bare[:3]}-{bare[3:]}",
        "tel": f"tel:{e164}",
        "phone-context": f"{bare};phone-context=%2b",
        "user=phone": f"sip:{e164}@pbx.invalid;user=phone",
        "foreign host": f"sip:{bare}@203.0.113.99",
        "outside host": f"sip:{bare}@{outside}",
        "810 twice": f"810810{bare}",
        "local and more": f"8{bare}",
    }
    if bare.startswith("7"):
        ways["trunk prefix"] = f"8{bare[1:]}"
    return ways


def price(clinic: Clinic, number: str, trunk: str, seconds: float) -> Decimal:
    """What a call costs at least: steps that have begun, at the trunk's tariff or at the dearest."""
    toll = counted(clinic)
    tariffs = next((t.tariffs for t in clinic.trunks if t.name == trunk), {})
    steps = max(1, -(-int(seconds * 1000) // (clinic.toll.billing_seconds * 1000)))
    minute = tariffs.get(zone_of(clinic, number), DEAREST)
    charged = max(steps * clinic.toll.billing_seconds, 1)
    assert toll.step >= 1  # noqa: S101
    return (minute * charged / 60).quantize(Decimal("0.01"))


def zone_of(clinic: Clinic, number: str) -> str:
    """local, mobile, national or a country, as the contracts have it; empty when unknown."""
    try:
        found = phonenumbers.parse(number if number.startswith("+") else f"+{number}", None)
    except phonenumbers.NumberParseException:
        return ""
    region = phonenumbers.region_code_for_number(found) or ""
    if region != clinic.numbering.country:
        return region
    kind = phonenumbers.number_type(found)
    if kind == phonenumbers.PhoneNumberType.TOLL_FREE or str(found.national_number).startswith(
        clinic.numbering.area_code
    ):
        return "local"
    return "mobile" if kind == phonenumbers.PhoneNumberType.MOBILE else "national"


@dataclass
class Haul:
    """What got through: (notation, number, trunk) and its price."""

    reached: list[tuple[str, str, str]] = field(default_factory=list)
    money: Decimal = Decimal(0)
    attempts: int = 0

    def count(self, thief: Thief, since: float, way: str) -> None:
        """Everything the public network was asked for since then that is abroad or has a price."""
        for item in thief.pstn.invites("pstn", since=since):
            number, trunk = str(item["number"]), provider_of(thief.clinic, item["source_ip"])
            paid = price(thief.clinic, number, trunk, 0)
            if paid:
                self.reached.append((way, number, trunk))
                self.money += paid


def control(thief: Thief, act: Callable[[str], object]) -> str:
    """A call that the account may make does reach the public network: the drill would see one that got through."""
    number, since = f"8{thief.clinic.numbering.area_code}9990001"[:11], thief.now()

    def arrived() -> bool:
        return any(str(i["number"]).endswith(number[1:]) for i in thief.pstn.invites("pstn", since=since))

    with contextlib.suppress(PoolError):
        act(number)
    seen = wait_until(arrived, 5)
    thief.hang_up()
    if not seen:
        raise ClinicError(
            f"The drill cannot see calls that get through: {number} from {thief.ext} did not arrive.",
            remedy="clinicpbx verify says what is wrong with the lines",
        )
    return f"{number} from {thief.ext}, who may dial it, arrived"


def by_dialling(thief: Thief, numbers: list[str], say: Say) -> Haul:
    """Every number in every notation."""
    haul = Haul()
    ways = list(notations("+74950000000"))
    for way in ways:
        since = thief.now()
        outside = str(thief.clinic.uplinks[0].external_address)
        dialled = [notations(n, outside)[way] for n in numbers if way in notations(n)]
        for start in range(0, len(dialled), AT_ONCE):
            for to in dialled[start : start + AT_ONCE]:
                haul.attempts += 1
                with contextlib.suppress(PoolError, ValueError):
                    thief.dial(to)
            _ended(thief.calls, 4)
            thief.hang_up()
        haul.count(thief, since, way)
        say(f"{way}: {len(dialled)} numbers, {len(haul.reached)} through so far")
    return haul


def talk(thief: Thief, colleague: str) -> Call:
    """A call to a colleague who answers by itself, joined: a REFER of its first milliseconds fails (400)."""
    call = thief.dial(colleague).wait_answered(3)
    call.wait_tone(FAR, 3, windows=1)
    return call


def send(call: Call, to: str) -> None:
    """Blind transfer. PoolError unless the PBX takes the REFER: what it then does is what the drill looks at."""
    told = call.transfer_blind(to, timeout=3)
    if told["refer"] >= 300 or told["notify"] == 400:
        raise PoolError(f"REFER to {to}: {told}")


def by_transfer(thief: Thief, colleague: str, to: str) -> None:
    """Call a colleague who answers, and send that call to the destination."""
    send(talk(thief, colleague), to)


def by_parking(thief: Thief, colleague: str, to: str) -> None:
    """Park a colleague's call, fetch it, and send it on."""
    park, *places = thief.clinic.numbering.parking.numbers()
    before = _occupied(thief.pbx)
    send(talk(thief, colleague), park)
    place = next((p for p in places if p in _occupied(thief.pbx) - before), None)
    if place is None:
        raise PoolError("no call is parked")
    send(talk(thief, place), to)


def by_forwarding(thief: Thief, colleague: str, to: str) -> None:
    """Forward the stolen telephone, then call it from a colleague's. A forwarding that is refused is tried, too."""
    thief.dial(f"*72{to}").wait_ended(4)
    try:
        if thief.pbx.database().get(f"forward/{thief.ext}"):
            _ring(thief, colleague)
    finally:
        thief.pbx.delete("forward", thief.ext)


def by_redirecting(thief: Thief, colleague: str, to: str) -> None:
    """The stolen telephone answers a colleague's call with 302 and the destination."""
    since = thief.phones.stats()["now"]
    thief.phones.set_behaviour(thief.ext, "redirect", contact=f"sip:{to}@{thief.clinic.networks.voice.pbx}")
    try:
        _ring(thief, colleague)
    finally:
        thief.phones.set_behaviour(thief.ext, "ring")
    if not thief.phones.invites(thief.ext, since=since):
        raise PoolError(f"{thief.ext} was not rung")


def _ring(thief: Thief, colleague: str) -> None:
    """A colleague calls the stolen telephone."""
    call = thief.phones.call(colleague, thief.ext)
    thief.calls.append(call)
    with contextlib.suppress(PoolError):
        call.wait_ended(2)


def _occupied(pbx: Pbx) -> set[str]:
    """Parking places that hold a call."""
    return set(re.findall(r"^\s*(?:Space\s*:?\s*)?(\d{3,6}):?\s", pbx.asterisk("parking show default"), re.M))


Way = Callable[[Thief, str, str], None]
WAYS: dict[str, tuple[Way, tuple[str, ...]]] = {
    "transfer": (by_transfer, ("810",)),
    "parked call": (by_parking, ("00",)),
    "forwarding": (by_forwarding, ("810", "00", "")),
    "redirect": (by_redirecting, ("810",)),
}
"""Ways that need a colleague, and how they spell a number: what stands before its country code."""
OBEYED = ("transfer", "parked call", "forwarding")
"""Those by which a call may go out, to where its caller may dial. A redirection is never obeyed."""


def by_way(thief: Thief, colleague: str, way: str, numbers: list[str], say: Say) -> Haul:
    """Every number by one way. ClinicError when the way itself did not work: then nothing was tried."""
    act, prefixes = WAYS[way]
    spelled = [f"{prefix}{number.removeprefix('+')}" for number in numbers for prefix in prefixes]
    refused: list[str] = []
    if way != "redirect":
        thief.phones.set_behaviour(colleague, "answer", after=0.0, tone=FAR)
    try:
        if way in OBEYED:
            control(thief, lambda to: act(thief, colleague, to))
            thief.phones.hangup_all([colleague])  # who was sent there
        haul, since = Haul(attempts=len(spelled)), thief.now()
        for to in spelled:
            try:
                act(thief, colleague, to)
            except PoolError as error:
                refused.append(str(error)[:120])
            thief.hang_up()
    finally:
        thief.phones.set_behaviour(colleague, "ring")
        thief.phones.hangup_all([colleague])
    if len(refused) > UNTRIED * len(spelled):
        raise ClinicError(
            f"By {way} {len(refused)} of {len(spelled)} numbers were not tried: {refused[0]}", remedy="run it again"
        )
    haul.count(thief, since, way)
    say(f"{way}: {len(spelled)} numbers, {len(haul.reached)} through")
    return haul


def by_spending(thief: Thief, say: Say) -> dict[str, Any]:
    """The best account calls an open country until its purse is empty: the figures, and what it cost above the cap."""
    clinic, ext = thief.clinic, thief.ext
    toll, purse = counted(clinic), f"toll/seconds/person-{ext}"
    country = clinic.toll.countries[0]
    example = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None  # noqa: S101 - the rules refuse a country without numbers
    number = f"810{example.country_code}{example.national_number}"
    cap = toll.caps["person"].seconds
    today = dt.datetime.now(ZoneInfo(clinic.timezone)).strftime("%Y%m%d")
    thief.pbx.put("toll", "day", today)  # of another day, the purses would be emptied by the first call
    thief.pbx.put("toll", f"seconds/person-{ext}", str(cap - LEFT * toll.step))
    since, connected, spent = thief.now(), 0, Decimal(0)
    for _ in range(LEFT + TRIES):
        call = thief.dial(number)
        with contextlib.suppress(PoolError):
            call.wait_answered(3)
            connected += 1
        thief.hang_up()
        time.sleep(0.1)
    asked = [i for i in thief.pstn.invites("pstn", since=since) if str(i["number"]).endswith(number[-9:])]
    for item in asked:
        spent += price(clinic, str(item["number"]), provider_of(clinic, item["source_ip"]), 1)
    above = max(0, len(asked) - LEFT)
    database = thief.pbx.database()
    say(f"{ext} (international): {connected} of {LEFT + TRIES} calls to {country} connected with {LEFT} steps left")
    return {
        "account": ext,
        "calls_tried": LEFT + TRIES,
        "calls_connected": connected,
        "steps_left": LEFT,
        "asked_of_providers": len(asked),
        "money_within_caps": float(spent),
        "money_above_caps": float(price(clinic, number[3:], clinic.trunks[0].name, 1) * above),
        "closed": sorted(k for k in database if k.startswith(f"toll/closed/person-{ext}")),
        "seconds_counted": int(database.get(purse, 0)),
        "seconds_cap": cap,
    }


def run(clinic: str, at: str, say: Say, *, quick: bool = False) -> dict[str, Any]:
    """money_lost (above the caps), destinations_tried, attempts, reached, and the best account's figures."""
    place = Place.of(clinic, at)
    pbx = place.connect()
    known = {k: v for k, v in pbx.database().items() if k.startswith("toll/")}
    described = place.clinic
    doctor = _account(described, ServiceClass.LOCAL)
    colleague = next(p.ext for p in described.people if p.role is Role.STAFF and p.ext != doctor)
    numbers = [d.e164 for d in DESTINATIONS if len(d.e164) > 5]
    numbers = numbers[:: -(-len(numbers) // (QUICK if quick else FULL))]
    hauls: list[Haul] = []
    report: dict[str, Any] = {}
    try:
        with stolen(place, pbx, doctor) as thief:
            say(f"{doctor} ({described.class_of(described.by_ext[doctor]).value}): {len(numbers)} destinations")
            seen = control(thief, thief.dial)
            hauls.append(by_dialling(thief, numbers, say))
            for way in WAYS:
                all_of_them = way == "transfer" and not quick
                some = numbers if all_of_them else numbers[:: 4 if way == "transfer" else SLOWER]
                hauls.append(by_way(thief, colleague, way, some, say))
            report["control"] = f"{seen}, dialled and by {', '.join(OBEYED)}"
        best = next((p for p in described.people if described.class_of(p) is ServiceClass.INTERNATIONAL), None)
        if best and described.toll.countries:
            if described.toll.hours:
                hours = Moments(described.hours[described.toll.hours], described.timezone, _today())
                pbx.put("clock", best.ext, f"{int(time.time()) + 600}:{hours.open()}")
            with stolen(place, pbx, best.ext) as thief:
                report["best_account"] = by_spending(thief, say)
    finally:
        _put_back(pbx, known, (best.ext if (best := _best(described)) else ""))
    above = Decimal(str(report.get("best_account", {}).get("money_above_caps", 0)))
    reached = [r for haul in hauls for r in haul.reached]
    return {
        "money_lost": float(sum((haul.money for haul in hauls), Decimal(0)) + above),
        "destinations_tried": len(numbers),
        "attempts": sum(haul.attempts for haul in hauls),
        "notations": [*notations("+74950000000"), *WAYS],
        "reached": [" ".join(r) for r in reached],
        **report,
    }


def _account(clinic: Clinic, service: ServiceClass) -> str:
    """A doctor of that class, else anybody below international."""
    doctors = [p for p in clinic.people if p.role is Role.DOCTOR]
    found = [p for p in doctors if clinic.class_of(p) is service] or doctors or list(clinic.people)
    return found[-1].ext


def _best(clinic: Clinic) -> Any:
    return next((p for p in clinic.people if clinic.class_of(p) is ServiceClass.INTERNATIONAL), None)


def _today() -> dt.date:
    return dt.date.today()


def _ended(calls: list[Call], seconds: float) -> None:
    wait_until(lambda: all(call.refresh()["state"] in ("ended", "answered") for call in calls), seconds, every=0.1)


def _put_back(pbx: Pbx, known: dict[str, str], ext: str) -> None:
    """The purses as they were, so that a drill closes nothing for the people of the rehearsal."""
    now = {k for k in pbx.database() if k.startswith("toll/")}
    commands = [f"database del toll {k.removeprefix('toll/')}" for k in now - known.keys()]
    commands += [f'database put toll {k.removeprefix("toll/")} "{v}"' for k, v in known.items()]
    commands += [f"database del clock {ext}"] if ext else []
    if commands:
        pbx.asterisk(*commands)
