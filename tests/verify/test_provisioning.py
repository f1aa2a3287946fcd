"""Telephones' configuration: everybody has the current one, nobody gets another's, and who tries is found."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from clinic.leases import addresses, mac12
from clinic.model import Clinic
from clinic.people import Person
from clinic.secrets import TLS_CA, certificate_of
from clinicpbx.provisioning import Provisioning, build
from clinicpbx.verify.banned import banned, forgotten
from clinicpbx.verify.locks import Locks
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence

pytestmark = pytest.mark.lane("provisioning")
HELD = "/var/lib/clinicpbx/phones"
ACCESS = "/var/log/nginx/provisioning.access.log"
TOGETHER = 32  # connections of one address: a telephone has one or two
JAIL = 10  # refusals of a stranger in ten minutes
SLOW = 8.0  # seconds after which whoever dawdles is cut off at the latest
HUGE = 9000  # bytes of a header


@pytest.fixture(scope="module")
def rendered(place: Place, clinic: Clinic, secrets: Mapping[str, str]) -> Provisioning:
    return build(clinic, secrets, place.clinic_path.parent)


def in_a_lab(place: Place) -> Mapping[str, str]:
    """The lab's namespaces."""
    if place.lab is None or place.borrows:
        pytest.skip("other telephones' credentials are tried in a lab only, never at a working clinic")
    return dict(place.state["namespaces"])


def status(pbx: Pbx) -> dict[str, Any]:
    return dict(json.loads(pbx.run("clinic-phones status --json"))["phones"])


def web(place: Place, clinic: Clinic, secrets: Mapping[str, str], space: str, address: str = "") -> Any:
    from clinicpbx.verify.web import Web

    authority = certificate_of(secrets[TLS_CA])
    return Web(str(clinic.networks.voice.pbx), authority, place.state["namespaces"][space], address)


@pytest.fixture
def bans(locks: Locks) -> Iterator[None]:
    """No other check restarts fail2ban meanwhile."""
    with locks.hold("fail2ban"):
        yield


@pytest.fixture
def stranger(place: Place, clinic: Clinic, secrets: Mapping[str, str], pbx: Pbx, bans: None) -> Iterator[Any]:
    """A laptop on a wall socket of the voice network: the clinic's network, no telephone's address."""
    space = in_a_lab(place)["eng"]
    from clinicpbx.verify.stranger import lent, outside_the_phones

    address = outside_the_phones(clinic, space, number=2)
    with lent(address, clinic.networks.voice.cidr.prefixlen, space), forgotten(pbx, address):
        yield web(place, clinic, secrets, "eng", address)


def login(person: Person, secrets: Mapping[str, str]) -> tuple[str, str]:
    return mac12(person.phone.mac), secrets[f"provisioning/{person.ext}"]


def own_file(mac: str, rendered: Provisioning) -> str:
    return next(path for path in rendered.files if path.startswith(f"{mac}/"))


@pytest.mark.check(
    id="phones-current", title="Every telephone of the description has its current configuration and is registered",
    proves="case: 5",
)  # fmt: skip
def test_every_telephone_is_current(
    place: Place, pbx: Pbx, clinic: Clinic, rendered: Provisioning, evidence: Evidence, control: Control
) -> None:
    """Ensure by the marker: a telephone asks by a path that only its current configuration names."""
    wanted = {mac: about["version"] for mac, about in json.loads(rendered.index)["phones"].items()}
    if place.lab is not None and not place.borrows:
        pbx.run("clinic-phones wait - 20 >/dev/null", data=json.dumps(wanted).encode(), timeout=30)
    found, contacts = status(pbx), pbx.contacts()

    def behind(versions: Mapping[str, str]) -> list[str]:
        return [
            f"{found[mac]['ext']} has {(found[mac]['applied'] or {}).get('version')}"
            for mac, version in versions.items()
            if (found[mac]["applied"] or {}).get("version") != version
        ]

    assert found.keys() == wanted.keys(), "the service knows other telephones than the description: deploy"
    assert not behind(wanted), f"not current: {', '.join(behind(wanted)[:10])}"
    away = [person.ext for person in clinic.people if person.ext not in contacts]
    assert not away, f"not registered: {', '.join(away[:10])}"
    elsewhere = [
        person.ext for person in clinic.people
        if f"@{addresses(clinic)[person.ext]}" not in contacts[person.ext]
        and clinic.provisioning.dhcp and not place.borrows
    ]  # fmt: skip
    assert not elsewhere, f"registered from another address than their own: {', '.join(elsewhere[:10])}"
    opened = [row["ext"] for row in found.values() if row["first"] == "open"]
    assert not opened, f"the first door is still open: {', '.join(opened[:10])}"
    evidence(f"{len(wanted)} telephones applied their current version, are registered and shut their first door")
    one = next(iter(wanted))
    with control("a telephone with another version would be seen"):
        assert not behind({one: "0" * 12})


@pytest.mark.check(
    id="phone-files", title="Every telephone's file is well-formed and holds its own account and nobody else's secret",
    proves="clinic.yml: people; case: 5",
)  # fmt: skip
def test_files_are_well_formed_and_private(
    pbx: Pbx, clinic: Clinic, secrets: Mapping[str, str], rendered: Provisioning, evidence: Evidence, control: Control
) -> None:
    """Ensure it of what lies on the PBX, read as the telephone reads it."""
    from lab.handset.names import Identity
    from lab.handset.parse import IllFormedError, parse
    from lab.handset.settings import understood

    listed = pbx.run(f"cd {HELD} && find . -type f -printf '%P\\0' | xargs -0 sha256sum").splitlines()
    held = {name: digest for digest, name in (line.split("  ", 1) for line in listed)}
    assert held == {name: hashlib.sha256(data).hexdigest() for name, data in rendered.files.items()}, (
        "the PBX holds other files than the description's: deploy"
    )
    kinds = ("sip", "provisioning", "pin")
    whose = {value: name.partition("/")[2] for name, value in secrets.items() if name.split("/")[0] in kinds}
    whose |= {secrets[f"first-access/{mac12(p.phone.mac)}"]: p.ext for p in clinic.people}

    def strange(data: bytes, ext: str) -> set[str]:
        """Extensions of others whose secrets stand in the data; words are looked up, each once."""
        words = re.findall(r"[A-Za-z0-9]{8,}", data.decode(errors="replace"))
        return {whose[word] for word in words if word in whose} - {ext}

    registers = 0
    for person in clinic.people:
        mac = mac12(person.phone.mac)
        phone = Identity(mac, person.phone.model)
        for name in (name for name in rendered.files if name.startswith(f"{mac}/")):
            data = rendered.files[name]
            settings = understood(phone, parse(phone, data))
            assert not strange(data, person.ext), f"{person.ext}'s file has secrets of {strange(data, person.ext)}"
            accounts = [account for account in settings.accounts if account.user == person.ext]
            assert accounts and accounts[0].password == secrets[f"sip/{person.ext}"], f"{name} gives no own account"
            registers += 1
    public = {n: d for n, d in rendered.files.items() if n.startswith(("shared/", "books/")) or n == "ca.crt"}
    leaks = [name for name, data in public.items() if strange(data, "")]
    assert not leaks, f"without a token anybody reads secrets in {leaks}"
    evidence(f"{registers} telephones' files on the PBX give each its own account; {len(public)} others, no secret")
    first = clinic.people[0]
    mac = mac12(first.phone.mac)
    data = rendered.files[own_file(mac, rendered)]
    with control("the search finds a secret where there is one"):
        assert not strange(data, "")
    with control("a file cut short is refused by the telephone"):
        try:
            parse(Identity(mac, first.phone.model), data[: len(data) // 2])
        except IllFormedError as error:
            raise AssertionError(str(error)) from None


@pytest.mark.check(
    id="phone-fetch", title="A telephone gets its own file at its own address; no other network reaches the door",
    proves="case: 5", lab_only=True,
)  # fmt: skip
def test_files_are_served_to_their_telephones(
    place: Place, pbx: Pbx, clinic: Clinic, secrets: Mapping[str, str], rendered: Provisioning, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure it by fetching every file over HTTPS as its telephone would, and then from everywhere else."""
    in_a_lab(place)
    leases, began = addresses(clinic), time.monotonic()
    for person in clinic.people:
        mac = mac12(person.phone.mac)
        path = own_file(mac, rendered)
        reply = web(place, clinic, secrets, "phones", str(leases[person.ext])).get(
            f"/p/{path.partition('/')[2]}", login=login(person, secrets)
        )
        assert (reply.status, reply.body) == (200, rendered.files[path]), f"{person.ext} gets {reply.status}"
    seconds = time.monotonic() - began
    evidence(f"{len(clinic.people)} telephones' files came whole, one after the other, in {seconds:.1f} s")
    voice = str(clinic.networks.voice.pbx)
    tried = {}
    for name, space in [("management", "eng"), *((uplink, "") for uplink in place.state["routers"])]:
        from clinicpbx.verify.web import Web

        namespace = place.state["namespaces"][space] if space else place.state["routers"][name]
        source = _address(namespace, "eth0") if space else _address(namespace, "lan")
        for server in (voice, str(clinic.networks.management.pbx), *(str(u.address.ip) for u in clinic.uplinks)):
            answer = Web(server, certificate_of(secrets[TLS_CA]), namespace, source).get("/ca.crt", timeout=0.7)
            tried[f"{name} at {server}"] = answer.status
    assert not any(tried.values()), f"provisioning answers {[where for where, code in tried.items() if code]}"
    evidence(f"from management and every uplink, at {len(tried)} addresses: no connection")
    plain = _plain(web(place, clinic, secrets, "eng", _address(place.state["namespaces"]["eng"], "voice")))
    assert not plain, "port 80 answers"
    with control("from the voice network the same question is answered"):
        assert (
            not web(place, clinic, secrets, "eng", _address(place.state["namespaces"]["eng"], "voice"))
            .get("/ca.crt")
            .status
        )


def _plain(at: Any) -> bool:
    """Whether port 80 takes a connection."""
    import socket

    from lab import netns

    with netns.entered(at.namespace), socket.socket() as asks:
        asks.settimeout(0.7)
        try:
            asks.connect((at.server, 80))
        except OSError:
            return False
        return True


def _address(space: str, device: str) -> str:
    from lab import netns

    shown = netns.run(["ip", "-4", "-o", "addr", "show", "dev", device, "primary"], namespace=space)
    return str(re.findall(r"inet ([0-9.]+)/", shown)[0])


@pytest.mark.check(
    id="phone-refusals", title="Stolen tokens, enumeration, traversal, dawdling: refused, logged, banned",
    proves="case: 2", lab_only=True,
)  # fmt: skip
def test_stranger_gets_nothing_and_is_banned(
    place: Place, pbx: Pbx, clinic: Clinic, secrets: Mapping[str, str], rendered: Provisioning, stranger: Any,
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure it with what an attacker in the voice network can have: even a telephone's real token and password."""
    victim, mac = clinic.people[0], mac12(clinic.people[0].phone.mac)
    name = own_file(mac, rendered).partition("/")[2]
    token = secrets[f"first-access/{mac}"]
    with control("before the attack the stranger is answered: the authority is for everybody"):
        assert stranger.get("/ca.crt").status != 200
    dawdled: list[Any] = []

    def dawdle() -> None:
        dawdled.append(stranger.send(f"GET /p/{name} HTTP/1.1\r\nHost: ".encode(), timeout=SLOW + 2))

    slow = threading.Thread(target=dawdle)
    slow.start()
    attempts = {
        "a stolen token": (stranger.get(f"/f/{token}/{name}"), 403),
        "a stolen password": (stranger.get(f"/p/{name}", login=login(victim, secrets)), 403),
        "a wrong password": (stranger.get(f"/p/{name}", login=(mac, "guess")), 401),
        "a MAC address": (stranger.get(f"/{name}"), 404),
        "a climb": (stranger.get(f"/p/../{mac}/{name}"), 403),
        "a climb, encoded": (stranger.get(f"/p/%2e%2e%2f{mac}/{name}"), 403),
        "a null byte": (stranger.get(f"/n/{name}%00.cfg"), 400),
        "a huge header": (stranger.get("/", more=f"X-A: {'a' * HUGE}\r\n"), 400),
    }
    for what, (reply, expected) in attempts.items():
        assert reply.status == expected, f"{what} gets {reply.status}, expected {expected}"
        assert not _secrets_in(reply.body, secrets), f"{what} gets a secret"
    evidence(", ".join(f"{what}: {reply.status}" for what, (reply, _) in attempts.items()))
    assert stranger.get("/ca.crt").status == 200, f"{len(attempts)} refusals are banned already"
    slow.join()
    assert dawdled and dawdled[0].seconds <= SLOW, f"a slow client was held for {dawdled[0].seconds:.1f} s"
    evidence(f"a client that sends half a request is cut off after {dawdled[0].seconds:.1f} s")

    held = _held(stranger, 2 * TOGETHER)
    assert 0 < held <= TOGETHER, f"{held} connections of one address stand open at once"
    evidence(f"of {2 * TOGETHER} connections that say nothing {held} are taken, the others dropped before nginx")

    def lines() -> list[str]:
        return [
            line for line in pbx.run(f"tail -n 3000 {ACCESS}").splitlines() if line.startswith(f"{stranger.address} ")
        ]

    logged = [line for line in lines() if re.search(r'" (400|401|403|404|408) ', line)]
    assert len(logged) >= len(attempts) + 1, f"of {len(attempts) + 1} refusals {len(logged)} are logged"
    assert not any(token in line for line in lines()), "a token stands in the log"
    asked = 0
    for number in range(4 * JAIL):
        asked += bool(stranger.get(f"/cfg000b82{number:06x}.xml", timeout=1.0).status)
        if banned(pbx, stranger.address):
            break
    assert wait_until(lambda: "provisioning" in banned(pbx, stranger.address), 4), "the enumeration is not banned"
    assert not stranger.get("/ca.crt", timeout=0.7).status, "a banned address is answered"
    evidence(
        f"{len(logged)} refusals are in the log; after {asked} more names {stranger.address} is banned, unanswered"
    )
    pbx.run(f"fail2ban-client unban {stranger.address}")
    with control("once the ban is lifted it is answered again"):
        assert not wait_until(lambda: stranger.get("/ca.crt", timeout=0.7).status == 200, 3)


def _held(at: Any, number: int) -> int:
    """How many of so many connections are taken, all held open at once."""
    import select
    import socket

    from lab import netns

    with netns.entered(at.namespace):
        asking = [socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(number)]
    for one in asking:
        one.bind((at.address, 0))
        one.connect_ex((at.server, 443))
    time.sleep(0.5)
    taken = select.select([], asking, [], 0.5)[1]
    found = sum(not one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for one in taken)
    for one in asking:
        one.close()
    return found


def _secrets_in(body: bytes, secrets: Mapping[str, str]) -> bool:
    return any(
        value.encode() in body for name, value in secrets.items() if not name.startswith("tls/") and len(value) > 7
    )


@pytest.mark.check(
    id="phone-alone", title="A telephone cannot have another's file, is told of by its socket, and is never banned",
    proves="clinic.yml: people, alerts; case: 2", lab_only=True,
)  # fmt: skip
def test_telephone_that_asks_for_others_is_told_of(
    place: Place, pbx: Pbx, clinic: Clinic, secrets: Mapping[str, str], rendered: Provisioning, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure it from a telephone's own address: a stolen wire is found by its socket, and no telephone is cut off."""
    in_a_lab(place)
    if not clinic.alerts:
        pytest.skip("clinic.yml names nobody under alerts")
    assert place.lab is not None
    from lab.alerts import received, wait

    hour = " ".join(row["body"] for row in received(place.lab, time.time() - 3600))
    leases = addresses(clinic)
    thief = next((p for p in reversed(clinic.people) if f" {leases[p.ext]}\n" not in hour), None)
    if thief is None:
        pytest.skip("every telephone was told of within the hour already")
    victim = next(p for p in clinic.people if p is not thief)
    here, mac = str(leases[thief.ext]), mac12(victim.phone.mac)
    name, mine = own_file(mac, rendered).partition("/")[2], own_file(mac12(thief.phone.mac), rendered).partition("/")[2]
    at, began = web(place, clinic, secrets, "phones", here), time.time()

    def about(row: dict[str, Any]) -> bool:
        return f" {thief.ext} " in row["title"] and here in row["body"]

    with control("a telephone that asks for its own is not told of"):
        assert at.get(f"/p/{mine}", login=login(thief, secrets)).status == 200
        assert wait(place.lab, about, began, 1.0)
    refused = {
        "another's token": at.get(f"/f/{secrets[f'first-access/{mac}']}/{name}").status,
        "another's login": at.get(f"/p/{name}", login=login(victim, secrets)).status,
        "another's file": at.get(f"/p/{name}", login=login(thief, secrets)).status,
        "another device": at.get(f"/p/{mine}", login=login(thief, secrets), agent=f"Yealink SIP-T46U 1 {mac}").status,
    }
    assert set(refused.values()) == {403}, f"{refused}"
    for number in range(3 * JAIL):
        at.get(f"/cfg000b82{number:06x}.xml")
    alert = wait(place.lab, about, began, 6)
    assert alert, "nobody was told"
    where = thief.phone
    for fact in (thief.name, where.socket, where.switch, f" {where.port}\n", here):
        assert fact in alert["body"], f"the alert does not name {fact.strip()}: {alert['body']}"
    assert not banned(pbx, here), "a telephone's address was banned"
    assert at.get(f"/p/{mine}", login=login(thief, secrets)).status == 200
    evidence(f"from {thief.ext}'s address: {', '.join(refused)} refused; told: {alert['title']}; never banned")


@pytest.mark.check(
    id="leases", title="A known telephone has its fixed address; an unknown one's reaches provisioning only",
    proves="clinic.yml: provisioning; case: 5", lab_only=True,
)  # fmt: skip
def test_dhcp_knows_who_is_who(
    place: Place, pbx: Pbx, clinic: Clinic, secrets: Mapping[str, str], bans: None, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure it with a DHCP client of our own, for MAC addresses of the description and for an invented one."""
    in_a_lab(place)
    if not clinic.provisioning.dhcp:
        pytest.skip("clinic.yml: provisioning.dhcp is off, the clinic has its own server")
    from lab import netns
    from lab.handset.dhcp import Client, Ends

    space = place.state["namespaces"]["eng"]

    async def asked(*macs: str) -> list[Any]:
        with netns.entered(space):
            client = Client(Ends(card="voice"))
        client.open()
        try:
            waits = (asyncio.wait_for(client.lease(bytes.fromhex(mac), "verify"), 4) for mac in macs)
            return [
                None if isinstance(r, BaseException) else r
                for r in await asyncio.gather(*waits, return_exceptions=True)
            ]
        finally:
            client.close()

    unknown = f"02{time.time_ns() & 0xFFFFFFFFFF:010x}"
    some = clinic.people[:: max(1, len(clinic.people) // 10)]
    *leases, strange = asyncio.run(asked(*(mac12(p.phone.mac) for p in some), unknown))
    server = clinic.networks.voice.pbx
    for person, lease in zip(some, leases, strict=True):
        token = secrets[f"first-access/{mac12(person.phone.mac)}"]
        assert lease and lease.address == addresses(clinic)[person.ext], f"{person.ext} gets {lease}"
        assert lease.boot == lease.custom == f"https://{server}/f/{token}/", f"{person.ext} is not told its first door"
    evidence(f"{len(some)} telephones asked from elsewhere: each its own address, door and VLAN {leases[0].vlan}")
    pool = clinic.provisioning.quarantine
    if pool is None:
        assert strange is None, f"an unknown MAC address gets {strange}"
        evidence("an unknown MAC address gets no answer")
        return
    assert strange and strange.address in pool, f"an unknown MAC address gets {strange}"
    assert strange.boot == f"https://{server}/n/", "an unknown telephone is told a door"
    tokens = [value for name, value in secrets.items() if name.startswith("first-access/")]
    assert not any(token in f"{strange.boot}{strange.custom}" for token in tokens)
    phones = place.state["namespaces"]["phones"]  # a telephone in quarantine is plugged in there
    with forgotten(pbx, str(pool.last)):
        inside = (
            web(place, clinic, secrets, "phones", str(pool.last)).get("/ca.crt").status,
            _sip(phones, str(pool.last), str(server)),
        )
    assert inside == (200, False), f"quarantine reaches HTTPS and SIP: {inside}"
    evidence(
        f"{unknown} gets {strange.address} for {strange.seconds} s and no token; there HTTPS answers and SIP does not"
    )
    with control("a telephone's own address reaches SIP too"):
        assert not _sip(phones, str(addresses(clinic)[some[0].ext]), str(server))


def _sip(space: str, source: str, server: str) -> bool:
    """Whether SIP over TLS takes a connection."""
    import socket

    from lab import netns

    with netns.entered(space), socket.socket() as asks:
        asks.settimeout(0.7)
        asks.bind((source, 0))
        try:
            asks.connect((server, 5061))
        except OSError:
            return False
        return True
