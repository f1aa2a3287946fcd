"""What every family is told, in words of no vendor."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from clinic.accounts import SIP, SIPS
from clinic.keys import Layout, layout
from clinic.leases import mac12
from clinic.model import Clinic
from clinic.people import Person
from clinic.phones import MODELS, Model
from clinic.provisioning import Firmware
from clinic.secrets import TLS_CA, certificate_of

# As the PBX marks its own packets (templates/asterisk/pjsip*.conf.j2): EF for voice, CS3 for signalling, 802.1p 5.
DSCP_VOICE, DSCP_SIGNALS, PRIORITY = "46", "24", "5"
REGISTER_MINUTES = 5  # the AOR's default_expiration
PICKUP = "**"  # before an extension: takes its ringing call (dialplan/features)
# x+ is any number, *x+ a feature code, **x+ a pick-up; without the third, a lamp that blinks could not be answered.
DIALPLAN = "{ x+ | \\+x+ | *x+ | **x+ | *xx*x+ }"


@dataclass(frozen=True, slots=True)
class Device:
    """One telephone with its passwords."""

    clinic: Clinic
    person: Person
    model: Model
    mac: str
    sip_password: str
    door_password: str
    admin_password: str
    authority: str

    @property
    def secure(self) -> bool:
        return self.clinic.encrypts(self.person)

    @property
    def pbx(self) -> str:
        return str(self.clinic.networks.voice.pbx)

    @property
    def port(self) -> int:
        return SIPS if self.secure else SIP

    @property
    def backup(self) -> str:
        server = self.clinic.provisioning.backup_server
        return str(server) if server else ""

    @property
    def layout(self) -> Layout:
        return layout(self.clinic, self.person, self.model)

    @property
    def firmware(self) -> Firmware | None:
        return self.clinic.provisioning.firmware.get(self.model.name)

    @property
    def user_password(self) -> str:
        """For the telephone's own user, who needs none: known to nobody, and never the factory's."""
        return hmac.new(self.door_password.encode(), b"user", hashlib.sha256).hexdigest()[:24]


def device(clinic: Clinic, person: Person, secrets: Mapping[str, str]) -> Device:
    """KeyError for a missing secret."""
    return Device(
        clinic=clinic, person=person, model=MODELS[person.phone.model], mac=mac12(person.phone.mac),
        sip_password=secrets[f"sip/{person.ext}"], door_password=secrets[f"provisioning/{person.ext}"],
        admin_password=secrets["phone-admin"], authority=certificate_of(secrets[TLS_CA]),
    )  # fmt: skip


def time_server(clinic: Clinic) -> str:
    return str(clinic.provisioning.time_server or clinic.networks.voice.pbx)


def hours_east(clinic: Clinic) -> float:
    """The clinic's offset from UTC in hours. Russia has had no summer time since 2011, so one offset holds all year."""
    offset = dt.datetime(2026, 1, 15, 12, tzinfo=ZoneInfo(clinic.timezone)).utcoffset()
    return (offset or dt.timedelta()).total_seconds() / 3600


def posix_zone(clinic: Clinic) -> str:
    """The zone as POSIX writes it, whose sign is turned: MSK-3 is three hours east. Others than Moscow's are LOC."""
    east = hours_east(clinic)
    minutes = f":{round(abs(east) % 1 * 60):02d}" if east % 1 else ""
    return (
        f"{'MSK' if clinic.timezone == 'Europe/Moscow' else 'LOC'}{'-' if east >= 0 else ''}{int(abs(east))}{minutes}"
    )
