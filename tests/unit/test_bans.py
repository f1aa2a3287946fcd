"""The filters on real lines of Asterisk, hostile ones too, and the jails. `verify --only filters` asks fail2ban."""

from __future__ import annotations

import configparser
import re
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

import pytest

from clinic.loading import load
from clinic.model import Clinic
from clinic.rendering.bans import JAILS, PRIORITY, WEEK, jails, spared
from clinic.synthetic import text

ROOT = Path(__file__).parents[2]
FILTERS = ROOT / "files/fail2ban/filter.d"
LINES = [
    row.split("\t", 2)
    for row in (Path(__file__).parent / "data/asterisk-log.txt").read_text(encoding="utf-8").split("\n")[1:-1]
]
IP4 = r"\d{1,3}(?:\.\d{1,3}){3}"
EVENTS = (  # main/security_events.c of Asterisk 22
    "FailedACL", "InvalidAccountID", "SessionLimit", "MemoryLimit", "LoadAverageLimit", "RequestNotSupported",
    "RequestNotAllowed", "AuthMethodNotAllowed", "RequestBadFormat", "UnexpectedAddress", "ChallengeResponseFailed",
    "InvalidPassword", "InvalidTransport",
)  # fmt: skip


class Filter:
    """A filter as fail2ban reads it: the date is cut out, then each expression is tried."""

    def __init__(self, name: str) -> None:
        parser = configparser.ConfigParser()
        parser.read(FILTERS / f"{name}.conf")
        if before := parser.get("INCLUDES", "before", fallback=""):
            parser = configparser.ConfigParser()
            parser.read([FILTERS / before, FILTERS / f"{name}.conf"])
        options = parser["Definition"]
        self.expressions = [self._expression(line) for line in options["failregex"].splitlines()]
        pattern = options["datepattern"]
        for field, means in {"%Y": r"\d{4}", "%f": r"\d+", "%z": r"[+-]\d{4}", "%b": r"\w{3}"}.items():
            pattern = pattern.replace(field, means)
        self.date = re.compile(re.sub("%[mdHMS]", r"\\d\\d", pattern))

    @staticmethod
    def _expression(line: str) -> re.Pattern[str]:
        line = line.replace("<ADDR>", f"(?P<addr>{IP4}|[0-9a-fA-F:]+)")
        return re.compile(line.replace("<IP4>", f"(?P<ip4>{IP4})").replace("<IP6>", "(?P<ip6>[0-9a-fA-F:]+)"))

    def address(self, line: str) -> str:
        """Whom the line accuses; empty when nobody."""
        if date := self.date.search(line):
            first, last = date.span(1) if date.groups() else date.span()
            line = line[:first] + line[last:]
        found = next((m for m in (e.search(line) for e in self.expressions) if m), None)
        return next((value for value in found.groupdict().values() if value), "") if found else ""


AUTH, SCAN, NGINX = Filter("clinic-asterisk-auth"), Filter("clinic-asterisk-scan"), Filter("clinic-nginx")


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(text(20))


@pytest.mark.parametrize(("who", "address", "line"), LINES, ids=[f"{i}-{row[0]}" for i, row in enumerate(LINES)])
def test_real_line_accuses_its_sender_in_one_jail_only(who: str, address: str, line: str) -> None:
    assert AUTH.address(line) == (address if who == "auth" else "")
    assert SCAN.address(line) == (address if who == "scan" else "")


def test_no_hostile_line_accuses_somebody_else() -> None:
    hostile = [line for _, _, line in LINES if "1.2.3.4" in line]
    assert len(hostile) >= 8, "the lines with a forged address are the point of this file"
    assert all("1.2.3.4" not in (AUTH.address(line), SCAN.address(line)) for line in hostile)


def event(name: str, account: str = "2001", session: str = "abc", remote: str = "IPV4/UDP/192.0.2.7/5060") -> str:
    return (
        f'[2026-11-23T07:19:37.718+0300] SECURITY[1] res_security_log.c: SecurityEvent="{name}",'
        f'EventTV="2026-11-23T07:19:37.718+0300",Severity="Error",Service="PJSIP",EventVersion="1",'
        f'AccountID="{account}",SessionID="{session}",LocalAddress="IPV4/UDP/10.77.20.10/5060",'
        f'RemoteAddress="{remote}",Extra="x"'
    )


@pytest.mark.parametrize("name", EVENTS)
def test_every_security_event_is_seen_by_one_filter(name: str) -> None:
    auth = name in ("ChallengeResponseFailed", "InvalidPassword")
    assert (AUTH.address(event(name)), SCAN.address(event(name))) == (("192.0.2.7", "") if auth else ("", "192.0.2.7"))
    six = event(name, remote="IPV6/TCP/2001:db8::7/5060")
    assert (AUTH if auth else SCAN).address(six) == "2001:db8::7"


@pytest.mark.parametrize("name", ["SuccessfulAuth", "ChallengeSent"])
def test_what_every_registration_has_is_no_failure(name: str) -> None:
    assert not AUTH.address(event(name)) and not SCAN.address(event(name))


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize(
    "session",
    [
        'x",LocalAddress="IPV4/UDP/1/1",RemoteAddress="IPV4/UDP/1.2.3.4/5060',
        'x",LocalAddress="IPV4/UDP/1/1",RemoteAddress="IPV4/UDP/1.2.3.4/5060",Challenge="\\',
        'x",LocalAddress="IPV4/UDP/1/1",RemoteAddress="IPV4/UDP/1.2.3.4/5060"\\',
        "failed for '1.2.3.4:5060' (callid: x) - No matching endpoint found",
    ],
)
def test_forged_call_id_hides_nobody_and_accuses_nobody_else(name: str, session: str) -> None:
    found = AUTH.address(event(name, session=session)) or SCAN.address(event(name, session=session))
    assert found == "192.0.2.7"


@pytest.mark.parametrize("rest", ["b", "", "[2030-01-01T00:00:00.000+0000] S", "SECURITY[1] x", '",SessionID="'])
def test_line_end_within_a_name_hides_nobody(rest: str) -> None:
    """36 characters are all that Asterisk keeps of a name."""
    first, second = event("InvalidAccountID", account=f"a\n{rest}"[:36]).split("\n")
    assert SCAN.address(first) == AUTH.address(first) == ""
    assert SCAN.address(second) == "192.0.2.7"


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ('192.0.2.9 - - [23/Nov/2026:07:19:37 +0300] "GET /cfg.xml HTTP/1.1" 401 12 "-" "x"', "192.0.2.9"),
        ('192.0.2.9 - bob [23/Nov/2026:07:19:37 +0300] "GET / HTTP/1.1" 404 0 "-" "-"', "192.0.2.9"),
        ('192.0.2.9 - 1.2.3.4 - - [x] [23/Nov/2026:07:19:37 +0300] "GET /" 403 0 "-" "-"', "192.0.2.9"),
        ('192.0.2.9 - - [23/Nov/2026:07:19:37 +0300] "" 400 0 "-" "-"', "192.0.2.9"),
        ('192.0.2.9 - - [23/Nov/2026:07:19:37 +0300] "GET / HTTP/1.1" 408 0 "-" "-"', "192.0.2.9"),
        ('192.0.2.9 - - [23/Nov/2026:07:19:37 +0300] "POST /x HTTP/1.1" 405 0 "-" "-"', "192.0.2.9"),
        ('192.0.2.9 - - [23/Nov/2026:07:19:37 +0300] "GET /x HTTP/1.1" 429 0 "-" "-"', "192.0.2.9"),
        ('192.0.2.9 - - [23/Nov/2026:07:19:37 +0300] "GET /x HTTP/1.1" 502 0 "-" "-"', ""),
        ('192.0.2.9 - - [23/Nov/2026:07:19:37 +0300] "GET / HTTP/1.1" 200 12 "-" "x"', ""),
        ('192.0.2.9 - - [23/Nov/2026:07:19:37 +0300] "GET /401 HTTP/1.1" 200 12 "-" "x\\x22 401 1"', ""),
    ],
)
def test_refusals_of_nginx_are_seen_and_nothing_else(line: str, address: str) -> None:
    assert NGINX.address(line) == address


def test_phones_providers_and_management_are_spared_and_other_voice_addresses_are_not(clinic: Clinic) -> None:
    networks = [ip_network(n) for n in spared(clinic)]

    def is_spared(address: object) -> bool:
        return any(ip_address(str(address)) in n for n in networks)

    voice = clinic.networks.voice
    assert is_spared(voice.phones_from) and is_spared(voice.phones_to) and is_spared("127.0.0.1") and is_spared("::1")
    assert all(is_spared(t.server) for t in clinic.trunks)
    assert all(is_spared(a) for a in clinic.networks.management.cidr.hosts())
    assert not is_spared(voice.phones_from - 1) and not is_spared(voice.phones_to + 1)
    assert not is_spared("192.0.2.1")


def test_media_networks_of_providers_are_spared(clinic: Clinic) -> None:
    media = (IPv4Network("198.51.100.128/25"),)
    trunks = (clinic.trunks[0].model_copy(update={"media": media}), *clinic.trunks[1:])
    assert "198.51.100.128/25" in spared(clinic.model_copy(update={"trunks": trunks}))


def test_jails_keep_what_they_promise(clinic: Clinic) -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(jails(clinic))
    assert parser.sections() == ["sip-auth", "sip-scan", "sshd", "provisioning", "panel"]
    assert parser["DEFAULT"]["bantime.increment"] == "true" and parser["DEFAULT"]["bantime.maxtime"] == str(7 * 86400)
    assert "table=clinic-bans" in parser["DEFAULT"]["banaction"] and PRIORITY < -10
    assert all(parser[jail.name]["enabled"] == "true" for jail in JAILS)
    for jail in JAILS:
        own = jail.filter.partition("[")[0]
        assert own == "sshd" or (FILTERS / f"{own}.conf").exists()


def test_nothing_is_forgotten_before_the_longest_ban_ends() -> None:
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "files/fail2ban/fail2ban.local")
    kept = parser["DEFAULT"]["dbpurgeage"]
    assert kept.endswith("d") and int(kept[:-1]) * 86400 > WEEK
