"""Fetching from a real HTTPS server: logins, names that are not there, redirects, trust."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lab.handset.fetch import AbsentError, Fetcher, FetchError, Trust
from lab.handset.settings import Place
from tests.unit.handset_clinic import CA, STRANGER, Asked, Reply, Web, authority

OWN = "127.0.9.77"
Log = list[tuple[str, int]]


def run(web: Web, work: Callable[[Fetcher, Web], Awaitable[bytes]], trust: Trust | None = None) -> tuple[bytes, Log]:
    async def inside() -> tuple[bytes, Log]:
        log: Log = []
        async with web.serving(), Fetcher(OWN, "Yealink SIP-T43U 1 80:5e:c0:3a:d3:82", trust or Trust(), log) as http:
            return await work(http, web), log

    return asyncio.run(inside())


def protected(asked: Asked) -> Reply:
    if asked.login == "mac:geheim":
        return 200, {}, b"file"
    return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""


def test_a_login_is_given_when_it_is_asked_for_and_then_kept() -> None:
    web = Web(protected)

    async def work(http: Fetcher, web: Web) -> bytes:
        place = Place(f"{web.root}/p/", "mac", "geheim")
        return await http.get(place, "a") + await http.get(place, "b")

    assert run(web, work) == (b"filefile", [("a", 200), ("b", 200)])
    assert [(one.path, one.login) for one in web.asked] == [
        ("/p/a", ""), ("/p/a", "mac:geheim"), ("/p/b", "mac:geheim"),
    ]  # fmt: skip
    assert {one.address for one in web.asked} == {OWN}
    assert web.asked[0].headers["user-agent"] == "Yealink SIP-T43U 1 80:5e:c0:3a:d3:82"


@pytest.mark.parametrize(("user", "password"), [("", ""), ("mac", "wrong")])
def test_without_the_right_login_nothing_comes_and_nobody_insists(user: str, password: str) -> None:
    web = Web(protected)

    async def work(http: Fetcher, web: Web) -> bytes:
        return await http.get(Place(f"{web.root}/f/geheimes-wort/", user, password), "a")

    with pytest.raises(FetchError, match="answers 401 for a") as told:
        run(web, work)
    assert "geheimes" not in str(told.value), "the path of the first door is a secret"
    assert len(web.asked) == 1 + bool(user)


def test_404_is_told_apart_from_a_refusal() -> None:
    for status, error in ((404, AbsentError), (403, FetchError), (500, FetchError), (429, FetchError)):
        with pytest.raises(FetchError) as told:
            run(Web(lambda asked, status=status: (status, {}, b"")), _get)  # type: ignore[misc]
        assert type(told.value) is error


def test_a_redirect_is_followed_and_a_login_does_not_follow_to_another_server() -> None:
    def away(asked: Asked) -> Reply:
        return (302, {"Location": f"{other.root}/x"}, b"") if asked.login else protected(asked)

    web, other = Web(away), Web(lambda asked: (200, {}, b"there"))

    async def work(http: Fetcher, web: Web) -> bytes:
        async with other.serving():
            return await http.get(Place(f"{web.root}/p/", "mac", "geheim"), "a")

    assert run(web, work)[0] == b"there"
    assert [one.login for one in other.asked] == [""]
    assert web.asked[-1].login == "mac:geheim", "the control: the first server did get it"


def test_redirects_without_end_or_to_another_protocol_are_given_up() -> None:
    with pytest.raises(FetchError, match="more than 5 redirects"):
        run(Web(lambda asked: (301, {"Location": "/again"}, b"")), _get)
    with pytest.raises(FetchError, match="file scheme"):
        run(Web(lambda asked: (301, {"Location": "file:///etc/passwd"}, b"")), _get)


def test_a_new_telephone_takes_any_server_and_one_that_was_told_only_the_clinics() -> None:
    told, mistold = Trust(authority(), True, True), Trust(authority(STRANGER), True, True)
    for ca, trust, good in (
        (CA, Trust(), True), (STRANGER, Trust(), True), (CA, told, True), (STRANGER, told, False), (CA, mistold, False),
        (CA, Trust("", True), False), (CA, Trust("no certificate", True), False),
    ):  # fmt: skip
        web = Web(lambda asked: (200, {}, b"x"), authority=ca)
        if good:
            assert run(web, _get, trust)[0] == b"x"
        else:
            with pytest.raises(FetchError, match=r"certificate|authority"):
                run(web, _get, trust)
            assert web.asked == []


def test_a_name_in_the_certificate_is_checked_where_it_is_asked_for() -> None:
    web = Web(lambda asked: (200, {}, b"x"), names="127.0.0.99")
    assert run(web, _get, Trust(authority(), True, False))[0] == b"x"
    with pytest.raises(FetchError, match="certificate"):
        run(Web(web.rule, names="127.0.0.99"), _get, Trust(authority(), True, True))


def test_a_file_without_end_is_cut_and_a_closed_door_is_no_answer() -> None:
    body, _ = run(Web(lambda asked: (200, {}, b"x" * (3 << 20))), _get)
    assert len(body) == (1 << 20) + 1

    async def nobody(http: Fetcher, web: Web) -> bytes:
        return await http.get(Place("https://127.0.0.1:1/f/geheimes-wort/"), "a")

    with pytest.raises(FetchError, match="no answer: ") as told:
        run(Web(protected), nobody)
    assert "geheimes" not in str(told.value)


@pytest.mark.parametrize("url", ["https://[/f/", "https:///f/", "ftp://x/", "tftp/x/", "https://x:99999/", "\x00://"])
def test_an_address_that_makes_no_sense_is_a_failed_fetch(url: str) -> None:
    async def work(http: Fetcher, web: Web) -> bytes:
        return await http.get(Place(url), "a")

    with pytest.raises(FetchError):
        run(Web(protected), work)


async def _get(http: Fetcher, web: Web) -> bytes:
    return await http.get(Place(f"{web.root}/p/"), "a")
