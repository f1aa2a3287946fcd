"""What the PBX says of its telephones, read from its programs' answers. Pure.

Sources: `clinic-phones status` (services/provisioning), AstDB's registrations and the answers of Asterisk's CLI
(`pjsip show contacts`, `core show channels concise`), Asterisk 22.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from clinic.leases import addresses, mac12
from clinic.model import Clinic
from clinic.people import Person
from clinic.phones import MODELS
from clinicpbx.errors import ClinicError

_STORED = re.compile(r"/registrar/contact/(\w+);@\w+\s*: (\{.*\})\s*$")
_REACHED = re.compile(r"Contact:\s+(\w+)/(\S+)\s+\S+\s+(Avail|Unavail|NonQual|Unknown|Created|Removed)\s+(\S+)")
_CHANNEL = re.compile(r"PJSIP/(\w+)-[0-9a-f]{8}!")
_ADDRESS = re.compile(r"sips?:(?:[^@\s]*@)?\[?([0-9A-Fa-f.:]+?)\]?(?::\d+)?(?:;|$)")
_FIRMWARE = re.compile(r"(?<![\d.])\d+(?:\.\d+){2,4}(?![\d.])")


@dataclass(frozen=True)
class Contact:
    """A registration: address, User-Agent, the epoch second of its end, and what the last OPTIONS found."""

    address: str
    agent: str = ""
    until: float = 0.0
    reach: str = "Unknown"
    rtt_ms: float | None = None


@dataclass(frozen=True)
class Look:
    """The fleet at one moment: registrations and calls by extension, provisioning by MAC (12 digits)."""

    contacts: Mapping[str, Contact]
    busy: frozenset[str]
    phones: Mapping[str, Mapping[str, Any]]
    strangers: tuple[Mapping[str, Any], ...] = ()
    seen: Mapping[str, float] = field(default_factory=dict)

    def registered(self, ext: str) -> bool:
        contact = self.contacts.get(ext)
        return contact is not None and contact.reach != "Unavail"

    def applied(self, mac: str) -> str:
        return str(((self.phones.get(mac) or {}).get("applied") or {}).get("version", ""))

    def wanted(self, mac: str) -> str:
        return str((self.phones.get(mac) or {}).get("wanted", ""))


def look(status: str, stored: str, reached: str, channels: str, seen: str = "") -> Look:
    """From the programs' answers, in this order; `seen` is the guard's. ClinicError when there is no provisioning."""
    try:
        known = json.loads(status)
        phones = known["phones"]
    except (ValueError, KeyError, TypeError):
        why = str(known["error"]) if isinstance(locals().get("known"), dict) and "error" in known else "no answer"
        raise ClinicError(
            f"The provisioning service of the PBX does not tell of its telephones: {why}.",
            remedy="clinicpbx deploy CLINIC; on the PBX: systemctl status clinic-provisioning",
        ) from None
    return Look(
        _contacts(stored, reached), frozenset(_CHANNEL.findall(channels)), phones, tuple(known.get("strangers", ())),
        _seen(seen),
    )  # fmt: skip


def _contacts(stored: str, reached: str) -> dict[str, Contact]:
    reach = {m[1]: (m[3], m[4]) for line in reached.splitlines() if (m := _REACHED.search(line))}
    found: dict[str, Contact] = {}
    for line in stored.splitlines():
        match = _STORED.match(line)
        if not match:
            continue
        try:
            about = json.loads(match[2])
            until = float(about.get("expiration_time", 0))
        except (ValueError, TypeError, AttributeError):
            continue
        ext = match[1]
        uri = str(about.get("uri", "")).replace("^3B", ";")
        address = _ADDRESS.match(uri)
        state, rtt = reach.get(ext, ("Unknown", "nan"))
        agent = str(about.get("user_agent", ""))
        contact = Contact(address[1] if address else "", agent, until, state, _milliseconds(rtt))
        if ext not in found or found[ext].until < until:
            found[ext] = contact
    return found


def _milliseconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value and value > 0 else None  # nan: never measured


def _seen(text: str) -> dict[str, float]:
    try:
        return {str(ext): float(at) for ext, at in json.loads(text)["seen"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def firmware(agent: str) -> str:
    """The firmware's version in a User-Agent, as in `Grandstream GRP2614 1.0.5.15`; empty when it says none."""
    found = _FIRMWARE.findall(agent)
    return str(found[-1]) if found else ""


def chosen(clinic: Clinic, departments: Collection[str] = (), extensions: Collection[str] = ()) -> tuple[Person, ...]:
    """Who is meant: everybody, or those of these departments and extensions. ClinicError for one that is not there."""
    for slug in departments:
        if slug not in clinic.departments:
            raise ClinicError(f"There is no department `{slug}`.", remedy=f"one of: {', '.join(clinic.departments)}")
    for ext in extensions:
        if ext not in clinic.by_ext:
            raise ClinicError(f"Nobody has the extension `{ext}`.", remedy="clinicpbx show CLINIC --what people")
    if not departments and not extensions:
        return clinic.people
    return tuple(p for p in clinic.people if p.department in departments or p.ext in extensions)


def rows(clinic: Clinic, found: Look, people: Collection[Person], now: float) -> list[dict[str, Any]]:
    """A row each telephone, for tables and JSON; times are ISO 8601 in UTC, round-trip in milliseconds."""
    leases = addresses(clinic)
    return [_row(clinic, found, person, str(leases[person.ext]), now) for person in people]


def _row(clinic: Clinic, found: Look, person: Person, lease: str, now: float) -> dict[str, Any]:
    mac = mac12(person.phone.mac)
    about, contact = found.phones.get(mac) or {}, found.contacts.get(person.ext)
    fetched, applied = about.get("fetched") or {}, about.get("applied") or {}
    agent = contact.agent if contact and contact.agent else str(fetched.get("agent", ""))
    registered = found.registered(person.ext)
    moments = [found.seen.get(person.ext, 0.0), float(fetched.get("at", 0)), float(applied.get("at", 0))]
    seen = now if registered else max(moments)
    held = clinic.provisioning.firmware.get(person.phone.model)
    runs = firmware(agent)
    return {
        **place(clinic, person), "vendor": MODELS[person.phone.model].vendor.lower(), "registered": registered,
        "in_call": person.ext in found.busy, "address": contact.address if contact else "", "lease": lease,
        "rtt_ms": contact.rtt_ms if contact else None, "agent": agent, "firmware": runs,
        "firmware_wanted": held.version if held else "", "version": str(applied.get("version", "")),
        "wanted": str(about.get("wanted", "")), "configuration": state(about), "door": str(about.get("first", "")),
        "seen": moment(seen), "refused": list(about.get("refused", ())),
    }  # fmt: skip


LOCKED_OUT = ("closed", "token", "password")
"""Why the PBX refuses a telephone that has forgotten, or never learnt, what it must know."""


def refused(about: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The last refusal at the telephone's own address, when it got nothing since: it was reset, and is locked out.

    What a stranger at another address tried with its credentials says nothing of the telephone itself.
    """
    got = max((float((about.get(what) or {}).get("at", 0)) for what in ("fetched", "applied")), default=0.0)
    own = {about.get("address"), (about.get("fetched") or {}).get("address")}
    last = [
        row for row in about.get("refused", ())
        if row["what"] in LOCKED_OUT and row["address"] in own and float(row["at"]) > got
    ]  # fmt: skip
    return last[-1] if last else None


def state(about: Mapping[str, Any]) -> str:
    """current, stale, never (applied), refused, or unknown: the PBX does not know this telephone yet."""
    if not about:
        return "unknown"
    if refused(about):
        return "refused"
    applied = about.get("applied") or {}
    return "never" if not applied else "current" if applied.get("version") == about.get("wanted") else "stale"


def place(clinic: Clinic, person: Person) -> dict[str, Any]:
    """Who and where, as every report names a telephone."""
    phone = person.phone
    return {
        "ext": person.ext, "name": person.name, "department": person.department, "room": person.room or "",
        "model": phone.model, "mac": phone.mac, "socket": phone.socket, "switch": phone.switch, "port": phone.port,
        "switch_location": clinic.switches[phone.switch].location,
    }  # fmt: skip


def moment(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="seconds") if at else ""
