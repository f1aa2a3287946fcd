"""Who gets which file: a table of claims, each refusal beside the request that is answered."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from services.provisioning import core
from services.provisioning.core import Door, Index, Request, decide
from services.provisioning.events import Events
from services.provisioning.http import page, parsed
from services.provisioning.store import KEPT, MOST, Store

NOW = 1_795_400_000.0
ONE, OTHER, ADAPTER = "c074ad3a2510", "001565a1b2c3", "c074ad000003"
TOKEN, OTHER_TOKEN = "firstTokenOfOne", "firstTokenOfOther"
PASSWORD, OTHER_PASSWORD = "passwordOfOne", "passwordOfOther"
HERE, THERE, LAPTOP, QUARANTINED = "10.77.20.138", "10.77.20.146", "10.77.20.251", "10.77.20.11"
VERSION = "0123456789ab"
GRANDSTREAM = f"Grandstream Model HW GRP2614 SW 1.0.5.15 DevId {ONE}"
YEALINK = "Yealink SIP-T46U 108.86.0.20 00:15:65:a1:b2:c3"


def phone(mac: str, ext: str, address: str, token: str, password: str, *names: str) -> dict[str, Any]:
    return {
        "ext": ext, "address": address, "version": VERSION, "token": core.digest(token),
        "password": core.digest(password), "vendor": "x", "family": "y",
        "files": {name: f"/files/{mac}/{name}" for name in names},
        "books": {"phonebook.xml": "/files/books/children.xml"} if mac != ADAPTER else {},
    }  # fmt: skip


DATA = {
    "network": "10.77.20.0/24",
    "strict": True,
    "authority": "/files/ca.crt",
    "shared": {"y000000000108.cfg": "/files/shared/y000000000108.cfg", "cfggrp2614.xml": "/files/shared/g"},
    "firmware": {"grp2614fw.bin": "/files/firmware/grp2614fw.bin"},
    "phones": {
        ONE: phone(ONE, "3101", HERE, TOKEN, PASSWORD, f"cfg{ONE}.xml"),
        OTHER: phone(OTHER, "3102", THERE, OTHER_TOKEN, OTHER_PASSWORD, f"{OTHER}.cfg"),
        ADAPTER: phone(ADAPTER, "3900", "10.77.20.150", "third", "third", f"cfg{ADAPTER}.xml"),
    },
}
INDEX = Index.load(DATA)
OWN = f"cfg{ONE}.xml"


def basic(user: str = ONE, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def ask(path: str, address: str = HERE, door: Door | None = None, index: Index = INDEX, **more: str) -> core.Answer:
    more.setdefault("method", "GET")
    return decide(Request(path=path, address=address, **more), index, {ONE: door or Door()}, NOW)


def said(answer: core.Answer) -> tuple[int, str]:
    return answer.status, answer.reason


def kinds(answer: core.Answer) -> list[str]:
    return [event.kind for event in answer.events]


# -- the first door ---------------------------------------------------------------------------------------------------


def test_first_door_gives_its_telephone_its_file_once_open_and_says_so() -> None:
    answer = ask(f"/f/{TOKEN}/{OWN}", agent=GRANDSTREAM)
    assert (answer.status, answer.file) == (200, f"/files/{ONE}/{OWN}")
    assert kinds(answer) == ["first-door-used", "fetched"]


@pytest.mark.parametrize(
    ("why", "path", "more", "expected"),
    [
        ("a token nobody has", f"/f/guessed/{OWN}", {}, (403, "token")),
        ("a stolen token, from another telephone's address", f"/f/{TOKEN}/{OWN}", {"address": THERE}, (403, "address")),
        ("a stolen token, from a laptop", f"/f/{TOKEN}/{OWN}", {"address": LAPTOP}, (403, "address")),
        ("a stolen token, from quarantine", f"/f/{TOKEN}/{OWN}", {"address": QUARANTINED}, (403, "address")),
        ("the right address, another device", f"/f/{TOKEN}/{OWN}", {"agent": YEALINK}, (403, "agent")),
        ("another's file by one's own token", f"/f/{TOKEN}/{OTHER}.cfg", {}, (403, "other")),
        ("another's token and name", f"/f/{OTHER_TOKEN}/{OTHER}.cfg", {}, (403, "address")),
        ("a network that is not the clinic's", f"/f/{TOKEN}/{OWN}", {"address": "10.77.10.5"}, (403, "network")),
        ("no address", f"/f/{TOKEN}/{OWN}", {"address": ""}, (403, "network")),
        ("a name its telephone asks for and nobody has", f"/f/{TOKEN}/cfg{ONE}", {}, (404, "name")),
        ("no name", f"/f/{TOKEN}/", {}, (404, "name")),
    ],
)
def test_first_door_refuses(why: str, path: str, more: dict[str, str], expected: tuple[int, str]) -> None:
    assert said(ask(path, **more)) == expected, why


def test_closed_first_door_gives_nothing_until_an_engineer_opens_it_and_then_for_a_while() -> None:
    path = f"/f/{TOKEN}/{OWN}"
    assert said(ask(path, door=Door(closed=True))) == (403, "closed")
    assert ask(path, door=Door(until=NOW + 1)).status == 200
    assert said(ask(path, door=Door(until=NOW - 1))) == (403, "closed")


def test_shared_file_comes_by_any_door() -> None:
    for path in ("/f/" + TOKEN, "/n", ""):
        assert ask(f"{path}/y000000000108.cfg", door=Door(closed=True)).status == 200
    assert ask("/p/y000000000108.cfg", authorization=basic()).status == 200


# -- the second door --------------------------------------------------------------------------------------------------


def test_second_door_gives_the_telephones_own_file_and_shuts_the_first() -> None:
    answer = ask(f"/p/{OWN}", authorization=basic(ONE.upper()), agent=GRANDSTREAM)
    assert (answer.status, answer.file) == (200, f"/files/{ONE}/{OWN}")
    assert kinds(answer) == ["fetched", "second-door-used"]
    assert kinds(ask(f"/p/{OWN}", door=Door(closed=True), authorization=basic())) == ["fetched"]


def test_reopened_door_waits_for_the_telephone_that_was_reset() -> None:
    """A telephone not yet reset comes by the second door meanwhile; only who used the first one shuts it."""
    waiting = Door(until=NOW + 60)
    assert kinds(ask(f"/p/{OWN}", door=waiting, authorization=basic())) == ["fetched"]
    used = Door(until=NOW + 60, used=True)
    assert kinds(ask(f"/p/{OWN}", door=used, authorization=basic())) == ["fetched", "second-door-used"]


@pytest.mark.parametrize(
    ("why", "more", "expected"),
    [
        ("it has not logged in yet", {}, (401, "login")),
        ("a wrong password", {"authorization": basic(password="wrong")}, (401, "password")),
        ("no password", {"authorization": basic(password="")}, (401, "password")),
        ("another's password", {"authorization": basic(ONE, OTHER_PASSWORD)}, (401, "password")),
        ("a user nobody is", {"authorization": basic("c074ad3affff")}, (401, "password")),
        ("no user", {"authorization": basic("", "")}, (401, "password")),
        ("no Basic", {"authorization": "Digest username=x"}, (401, "password")),
        ("no base64", {"authorization": "Basic %%%"}, (401, "password")),
        ("no text", {"authorization": "Basic " + base64.b64encode(b"\xff\xfe:\x00").decode()}, (401, "password")),
        ("the hash in the place of the password", {"authorization": basic(password=core.digest(PASSWORD))},
         (401, "password")),
        ("the token in its place", {"authorization": basic(password=TOKEN)}, (401, "password")),
        ("right, from another address", {"authorization": basic(), "address": THERE}, (403, "address")),
        ("right, of another device", {"authorization": basic(), "agent": YEALINK}, (403, "agent")),
        ("another's own login, from here", {"authorization": basic(OTHER, OTHER_PASSWORD)}, (403, "address")),
    ],
)  # fmt: skip
def test_second_door_refuses(why: str, more: dict[str, str], expected: tuple[int, str]) -> None:
    answer = ask(f"/p/{OWN}", **more)
    assert said(answer) == expected and not answer.file, why


def test_anothers_file_is_refused_to_a_telephone_that_is_logged_in() -> None:
    assert said(ask(f"/p/{OTHER}.cfg", authorization=basic())) == (403, "other")
    assert said(ask("/p/cfg.xml", authorization=basic())) == (404, "name")


def test_where_the_clinic_has_its_own_dhcp_addresses_prove_nothing() -> None:
    loose = Index.load({**DATA, "strict": False})
    assert ask(f"/p/{OWN}", address=LAPTOP, index=loose, authorization=basic()).status == 200
    assert said(ask(f"/p/{OWN}", address="10.77.10.5", index=loose, authorization=basic())) == (403, "network")


# -- the marker -------------------------------------------------------------------------------------------------------


def test_asking_by_the_versions_path_proves_that_it_was_applied() -> None:
    answer = ask(f"/b/{VERSION}/phonebook.xml", authorization=basic())
    assert (answer.status, answer.file) == (200, "/files/books/children.xml")
    assert [(e.kind, e.mac, e.what) for e in answer.events] == [("applied", ONE, VERSION)]
    firmware = ask(f"/w/{VERSION}/grp2614fw.bin", authorization=basic())
    assert (firmware.status, firmware.file) == (200, "/files/firmware/grp2614fw.bin")
    absent = ask(f"/w/{VERSION}/ht802fw.bin", authorization=basic())
    assert said(absent) == (404, "name") and kinds(absent) == ["applied"], "an adapter's firmware need not be there"


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (f"/b/{VERSION}/phonebook.xml", {}),
        (f"/b/{VERSION}/phonebook.xml", {"authorization": basic(password="x")}),
        (f"/b/{VERSION}/phonebook.xml", {"authorization": basic(), "address": THERE}),
        (f"/b/{VERSION}/phonebook.xml", {"authorization": basic(), "method": "HEAD"}),
        (f"/b/{VERSION[:-1]}x/phonebook.xml", {"authorization": basic()}),
        ("/b/phonebook.xml", {"authorization": basic()}),
    ],
)
def test_nothing_else_proves_it(path: str, more: dict[str, str]) -> None:
    assert "applied" not in kinds(ask(path, **more))


# -- strangers --------------------------------------------------------------------------------------------------------


def test_without_a_token_a_telephones_file_looks_like_one_that_does_not_exist() -> None:
    for address in (LAPTOP, HERE):
        real = ask(f"/{OTHER}.cfg", address=address)
        invented = ask("/001565ffffff.cfg", address=address)
        assert said(real) == said(invented) == (404, "enumeration") and real.events == invented.events
    assert said(ask(f"/{OWN}")) == (404, "name"), "its own name at the wrong place is no enumeration"


def test_authority_is_for_everybody_in_the_network() -> None:
    assert ask("/ca.crt", address=QUARANTINED).file == "/files/ca.crt"
    assert ask("/ca.crt", address="198.51.100.10").status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/p/../provisioning.json", "/p/..", "/../etc/passwd", f"/p/../{OTHER}/{OTHER}.cfg", "/p/./x", "/p/.hidden",
        "/p/%2e%2e/x", "/p/%2E%2E%2Fx", "/%2e%2e/%2e%2e/etc/passwd", f"/p/{OWN}%00.xml", f"/p/{OWN}\x00", "/p/a\\..\\b",
        f"/p/{OWN}?x=1", f"/p/{OWN}#x", "/p/a b", "/p/é", "p/x", "", "*", "http://10.77.20.10/p/x", "/" + "a" * 300,
    ],
)  # fmt: skip
def test_path_that_no_telephone_sends_is_refused_whoever_asks(path: str) -> None:
    answer = ask(path, authorization=basic())
    assert said(answer) == (403, "path") and not answer.file


@pytest.mark.parametrize("path", ["/", "/p", "/p/", "/f", f"/f/{TOKEN}", "/b", "/x/y", f"/p/{ONE}/{OWN}", "/n/"])
def test_other_places_have_nothing(path: str) -> None:
    answer = ask(path, authorization=basic())
    assert answer.status == 404 and not answer.file


def test_doubled_slash_that_telephones_make_of_two_halves_is_none() -> None:
    assert ask(f"//p//{OWN}", authorization=basic()).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "get", ""])
def test_methods_that_no_telephone_uses_are_refused(method: str) -> None:
    assert said(ask(f"/p/{OWN}", method=method, authorization=basic())) == (405, "method")


def test_head_changes_nothing() -> None:
    for path, more in ((f"/f/{TOKEN}/{OWN}", {}), (f"/p/{OWN}", {"authorization": basic()})):
        answer = ask(path, method="HEAD", **more)
        assert answer.status == 200 and answer.events == ()


def test_every_file_that_is_given_is_the_askers_or_shared() -> None:
    """The whole cross product of doors, credentials, names and addresses: nobody ever gets another's file."""
    given = 0
    for address in (HERE, THERE, LAPTOP, QUARANTINED):
        for login in ("", basic(), basic(OTHER, OTHER_PASSWORD), basic(ADAPTER, "third")):
            for door in ("", "/p", "/n", f"/f/{TOKEN}", f"/f/{OTHER_TOKEN}", f"/b/{VERSION}", f"/w/{VERSION}"):
                for name in (OWN, f"{OTHER}.cfg", f"cfg{ADAPTER}.xml", "phonebook.xml", "y000000000108.cfg"):
                    file = ask(f"{door}/{name}", address=address, authorization=login).file
                    secret = any(f"/{mac}/" in file for mac in INDEX.phones)
                    assert not secret or f"/{INDEX.owners[address].mac}/" in file
                    given += secret
    assert given, "the control: somebody gets something"


# -- memory -----------------------------------------------------------------------------------------------------------


def noted(store: Store, path: str, now: float = NOW, **more: str) -> core.Answer:
    more.setdefault("method", "GET")
    more.setdefault("address", HERE)
    request = Request(path=path, **more)
    answer = decide(request, INDEX, store.doors, now)
    store.note(request, answer, INDEX, now)
    return answer


def test_a_telephones_life_by_both_doors_survives_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    store.keep(INDEX.phones)
    first = f"/f/{TOKEN}/{OWN}"
    assert noted(store, first).status == 200
    assert noted(store, first).status == 200, "before it was applied it may ask again"
    assert noted(store, f"/p/{OWN}", authorization=basic(), agent=GRANDSTREAM).status == 200
    assert said(noted(store, first)) == (403, "closed")
    noted(store, f"/b/{VERSION}/phonebook.xml", authorization=basic())
    store.save()
    again = Store(tmp_path / "state")
    row = again.status(INDEX, NOW)["phones"][ONE]
    assert (row["first"], row["wanted"], row["applied"]["version"]) == ("closed", VERSION, VERSION)
    assert row["fetched"] == {"version": VERSION, "at": NOW, "address": HERE, "agent": GRANDSTREAM}
    assert [one["what"] for one in row["refused"]] == ["closed"]
    again.open(ONE, NOW + 60)
    assert noted(again, first).status == 200 and said(noted(again, first, NOW + 61)) == (403, "closed")


def test_new_telephone_has_an_open_door_and_one_that_left_is_forgotten() -> None:
    store = Store(":memory:")
    store.keep(INDEX.phones)
    store.close(ONE)
    store.keep({OTHER: INDEX.phones[OTHER]})
    assert set(store.known) == {OTHER}
    store.keep(INDEX.phones)
    assert store.doors[ONE].open(NOW), "the same MAC, back after it was gone, is a new telephone"


def test_former_password_holds_until_the_telephone_has_used_the_new_one(tmp_path: Path) -> None:
    """Without it a telephone whose password is renewed could not fetch the file that tells it the new one."""
    store = Store(tmp_path / "state")
    store.keep(INDEX.phones)

    def fetched(password: str, **more: str) -> tuple[int, str]:
        return said(noted(store, f"/p/{OWN}", authorization=basic(password=password), **more))

    former = core.digest("theFormerOne")
    store.known[ONE].door = Door(closed=True, former=former)
    assert fetched("theFormerOne") == (200, "ok")
    assert fetched("theFormerOne", address=THERE) == (403, "address")
    assert fetched("neither") == (401, "password")
    assert fetched(PASSWORD) == (200, "ok")
    assert fetched("theFormerOne") == (401, "password"), "the new one was used"
    assert store.known[ONE].door == Door(closed=True)


def test_renewed_password_is_noticed_when_the_index_changes_and_survives_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    store.keep(INDEX.phones)
    assert store.known[ONE].door.former == "", "a new telephone has no former password"
    for password in ("second", "third"):
        phones = {**DATA["phones"], ONE: {**DATA["phones"][ONE], "password": core.digest(password)}}  # type: ignore[dict-item]
        store.keep(Index.load({**DATA, "phones": phones}).phones)
    again = Store(tmp_path / "state")
    assert again.known[ONE].door.former == core.digest(PASSWORD), (
        "the one that the telephone has, not the one in between"
    )


def test_refusals_are_the_telephones_own_or_a_strangers_and_take_no_room() -> None:
    store = Store(":memory:")
    store.keep(INDEX.phones)
    for number in range(KEPT + 5):
        noted(store, f"/p/{OWN}", NOW + number, authorization=basic(password="x"))
    noted(store, "/cfg.xml")
    assert len(store.known[ONE].refused) == KEPT, "and a name that is not there is no refusal"
    noted(store, f"/p/{OWN}", authorization=basic(), address=THERE)
    assert store.known[OTHER].refused[-1]["what"] == "address" == store.known[ONE].refused[-1]["what"]
    for number in range(MOST + 50):
        noted(store, "/f/x/y", address=f"10.77.20.{number % 30}" if number < 30 else f"10.77.{number % 250}.1")
    assert len(store.strangers) <= MOST


def test_history_names_the_telephone_of_the_address_and_whose_credentials_and_no_secret(tmp_path: Path) -> None:
    events = Events(tmp_path / "events.log")

    def told(path: str, now: float = NOW, **more: str) -> None:
        request = Request(**{"method": "GET", "address": HERE, "path": path, **more})
        events.tell(request, decide(request, INDEX, {}, now), INDEX, now)

    told(f"/p/{OWN}", address=THERE, authorization=basic())
    told(f"/p/{OWN}", NOW + 1, address=THERE, authorization=basic())
    told(f"/f/{TOKEN}/{OWN}", NOW + 2)
    told("/f/nobodys/x", NOW + 3, address=LAPTOP)
    told(f"/b/{VERSION}/phonebook.xml", NOW + 4, authorization=basic())
    told(f"/b/{VERSION}/phonebook.xml", NOW + 9999, authorization=basic())
    text = (tmp_path / "events.log").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["kind"] for row in rows] == ["refused", "first-door-used", "fetched", "applied"]
    assert (rows[0]["ext"], rows[0]["of"], rows[0]["what"], rows[0]["address"]) == ("3102", "3101", "address", THERE)
    assert TOKEN not in text and PASSWORD not in text


# -- between nginx and the service ------------------------------------------------------------------------------------


def test_request_is_read_as_nginx_writes_it() -> None:
    head = f"GET /p/{OWN} HTTP/1.1\r\nHost: p\r\nX-Address: {HERE}\r\nUser-Agent: a: b\r\nAuthorization: Basic x"
    assert parsed(head) == Request("GET", f"/p/{OWN}", HERE, "a: b", "Basic x")
    assert parsed("GET /x HTTP/2.0") is None and parsed("x") is None and parsed("GET / y HTTP/1.1") is None


def test_refusal_says_no_more_than_its_status() -> None:
    assert page(401, False).startswith(b"HTTP/1.1 401 ") and b'WWW-Authenticate: Basic realm="provisioning"' in page(
        401, False
    )
    assert page(403, False).endswith(b"\r\n\r\nForbidden\n") and page(404, True).endswith(b"\r\n\r\n")
    assert b"Allow: GET, HEAD" in page(405, False)
