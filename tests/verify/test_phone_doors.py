"""The doors of provisioning: a telephone gets its own file; nobody else gets anything, and who tries is found."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from clinic.leases import addresses, mac12
from clinic.model import Clinic
from clinic.secrets import TLS_CA, certificate_of
from clinicpbx.provisioning import Provisioning
from clinicpbx.verify.banned import banned, forgotten
from clinicpbx.verify.doors import address_of, burst, held, in_a_lab, login, own_file, secret_in, takes, web
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence
from clinicpbx.verify.stranger import lent, outside_the_phones
from clinicpbx.verify.web import Reply, Web
from lab.alerts import received, wait

pytestmark = pytest.mark.lane("provisioning")
ACCESS = "/var/log/nginx/provisioning.access.log"
TOGETHER = 32  # connections of one address: a telephone has one or two
JAIL = 10  # refusals of a stranger in ten minutes
SLOW = 8.0  # seconds after which whoever dawdles is cut off at the latest
HUGE = 9000  # bytes of a header
START, AT_ONCE = 20, 60  # requests: of a telephone that starts at most, and of one address before it is limited


@pytest.fixture
def stranger(place: Place, clinic: Clinic, secrets: Mapping[str, str], pbx: Pbx, bans: None) -> Iterator[Web]:
    """A laptop on a wall socket of the voice network: the clinic's network, no telephone's address."""
    space = in_a_lab(place)["eng"]
    address = outside_the_phones(clinic, space, number=2)
    with lent(address, clinic.networks.voice.cidr.prefixlen, space), forgotten(pbx, address, "provisioning"):
        yield web(place, clinic, secrets, "eng", address)


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
    places = {"management": (place.state["namespaces"]["eng"], "eth0")}
    places |= {uplink: (space, "lan") for uplink, space in place.state["routers"].items()}
    tried = {}
    for name, (space, device) in places.items():
        for server in (voice, str(clinic.networks.management.pbx), *(str(u.address.ip) for u in clinic.uplinks)):
            asks = Web(server, certificate_of(secrets[TLS_CA]), space, address_of(space, device))
            tried[f"{name} at {server}"] = asks.get("/ca.crt", timeout=0.7).status
    assert not any(tried.values()), f"provisioning answers {[where for where, code in tried.items() if code]}"
    evidence(f"from management and every uplink, at {len(tried)} addresses: no connection")
    inside = web(place, clinic, secrets, "eng", address_of(place.state["namespaces"]["eng"], "voice"))
    assert not takes(inside.namespace, inside.address, voice, 80), "port 80 answers"
    with control("from the voice network the same question is answered"):
        assert not inside.get("/ca.crt").status


@pytest.mark.check(
    id="phone-refusals", title="Stolen tokens, enumeration, traversal, dawdling: refused, logged, banned",
    proves="case: 2", lab_only=True,
)  # fmt: skip
def test_stranger_gets_nothing_and_is_banned(
    place: Place, pbx: Pbx, clinic: Clinic, secrets: Mapping[str, str], rendered: Provisioning, stranger: Web,
    evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure it with what an attacker in the voice network can have: even a telephone's real token and password."""
    victim, mac = clinic.people[0], mac12(clinic.people[0].phone.mac)
    name = own_file(mac, rendered).partition("/")[2]
    token = secrets[f"first-access/{mac}"]
    with control("before the attack the stranger is answered: the authority is for everybody"):
        assert stranger.get("/ca.crt").status != 200
    dawdled: list[Reply] = []

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
        assert not secret_in(reply.body, secrets), f"{what} gets a secret"
    evidence(", ".join(f"{what}: {reply.status}" for what, (reply, _) in attempts.items()))
    assert stranger.get("/ca.crt").status == 200, f"{len(attempts)} refusals are banned already"
    slow.join()
    assert dawdled and dawdled[0].seconds <= SLOW, f"a slow client was held for {dawdled[0].seconds:.1f} s"
    evidence(f"a client that sends half a request is cut off after {dawdled[0].seconds:.1f} s")

    open_ = held(stranger, 2 * TOGETHER)
    assert 0 < open_ <= TOGETHER, f"{open_} connections of one address stand open at once"
    evidence(f"of {2 * TOGETHER} connections that say nothing {open_} are taken, the others dropped before nginx")

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
    hour = " ".join(row["body"] for row in received(place.lab, time.time() - 3600))
    leases = addresses(clinic)
    thief = next((p for p in reversed(clinic.people) if f" {leases[p.ext]}\n" not in hour), None)
    if thief is None:
        pytest.skip("every telephone was told of within the hour already")
    victim = next(p for p in clinic.people if p is not thief)
    here, mac = str(leases[thief.ext]), mac12(victim.phone.mac)
    name, mine = own_file(mac, rendered).partition("/")[2], own_file(mac12(thief.phone.mac), rendered).partition("/")[2]
    at, began = web(place, clinic, secrets, "phones", here), time.time()
    token = secrets[f"first-access/{mac12(thief.phone.mac)}"]

    def about(row: dict[str, Any]) -> bool:
        return f" {thief.ext} " in row["title"] and here in row["body"]

    with control("a telephone that asks for its own is not told of"):
        assert at.get(f"/p/{mine}", login=login(thief, secrets)).status == 200
        assert wait(place.lab, about, began, 1.0)
    refused = {
        "another's token": at.get(f"/f/{secrets[f'first-access/{mac}']}/{name}").status,
        "another's login": at.get(f"/p/{name}", login=login(victim, secrets)).status,
        "another's file": at.get(f"/p/{name}", login=login(thief, secrets)).status,
        "the token of its own that is used": at.get(f"/f/{token}/{mine}").status,
        "another device": at.get(f"/p/{mine}", login=login(thief, secrets), agent=f"Yealink SIP-T46U 1 {mac}").status,
    }
    assert set(refused.values()) == {403}, f"{refused}"
    with control("as many requests as a telephone's start has are not limited"):
        assert burst(at, ["/ca.crt"] * START)[429]
    quick = burst(at, (f"/cfg000b82{number:06x}.xml" for number in range(AT_ONCE + 30)))
    assert set(quick) == {404, 429} and quick[404] < AT_ONCE + 20, f"enumeration is not limited: {dict(quick)}"
    alert = wait(place.lab, about, began, 6)
    assert alert, "nobody was told"
    where = thief.phone
    for fact in (thief.name, where.socket, where.switch, f" {where.port}\n", here):
        assert fact in alert["body"], f"the alert does not name {fact.strip()}: {alert['body']}"
    assert not banned(pbx, here), "a telephone's address was banned"
    assert at.get(f"/p/{mine}", login=login(thief, secrets)).status == 200
    evidence(
        f"from {thief.ext}'s address: {', '.join(refused)} refused; {quick[429]} of {quick.total()} names at once"
        f" not even looked for; told: {alert['title']}; never banned"
    )
