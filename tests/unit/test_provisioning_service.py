"""The running service on sockets of its own: requests as nginx sends them, questions as engineers ask them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from services.provisioning import control, core
from services.provisioning.events import Events
from services.provisioning.http import SMALL, Connection
from services.provisioning.main import Service
from services.provisioning.store import Store

MAC, VERSION, ADDRESS = "c074ad3a2510", "0123456789ab", "10.77.20.138"
BIG = bytes(range(256)) * (SMALL // 128)
LOGIN = "Basic " + base64.b64encode(f"{MAC}:password".encode()).decode()


def described(folder: Path, version: str = VERSION) -> dict[str, Any]:
    return {
        "network": "10.77.20.0/24", "strict": True, "authority": str(folder / "ca.crt"), "shared": {},
        "firmware": {"fw.bin": str(folder / "fw.bin")},
        "phones": {MAC: {"ext": "3101", "address": ADDRESS, "version": version, "token": core.digest("token"),
                         "password": core.digest("password"), "vendor": "", "family": "",
                         "files": {f"cfg{MAC}.xml": str(folder / "own.xml"), "gone.xml": str(folder / "gone.xml")},
                         "books": {"phonebook.xml": str(folder / "book.xml")}}},
    }  # fmt: skip


@pytest.fixture
def service(tmp_path: Path) -> Service:
    for name, data in (("ca.crt", b"ca"), ("own.xml", b"<own/>"), ("book.xml", b"<book/>"), ("fw.bin", BIG)):
        (tmp_path / name).write_bytes(data)
    index = tmp_path / "index.json"
    index.write_text(json.dumps(described(tmp_path)))
    return Service(index, Store(":memory:"), Events(tmp_path / "events.log"))


def request(path: str, method: str = "GET", login: str = "") -> bytes:
    more = f"Authorization: {login}\r\n" if login else ""
    return f"{method} {path} HTTP/1.1\r\nX-Address: {ADDRESS}\r\nUser-Agent: x\r\n{more}\r\n".encode()


Ask = Callable[..., Awaitable[tuple[int, bytes]]]


def talking(service: Service, folder: Path, story: Callable[[Ask], Awaitable[None]]) -> None:
    """Run a story against the service; `ask` sends requests one after the other on one connection, as nginx does."""

    async def all_of_it() -> None:
        path = str(folder / "http")
        server = await asyncio.get_running_loop().create_unix_server(lambda: Connection(service.answer), path)
        reader, writer = await asyncio.open_unix_connection(path)

        async def ask(data: bytes, empty: bool = False) -> tuple[int, bytes]:
            writer.write(data)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return int(head.split()[1]), b"" if empty else await asyncio.wait_for(reader.readexactly(size), 5)

        await story(ask)
        writer.close()
        server.close()

    asyncio.run(all_of_it())


def test_one_connection_carries_refusals_small_files_and_firmware_in_their_order(
    service: Service, tmp_path: Path
) -> None:
    async def story(ask: Ask) -> None:
        own = f"/p/cfg{MAC}.xml"
        assert await ask(request(own)) == (401, b"Unauthorized\n")
        assert await ask(request(own, login=LOGIN)) == (200, b"<own/>")
        assert await ask(request(own, "HEAD", LOGIN), empty=True) == (200, b"")
        assert await ask(request(f"/w/{VERSION}/fw.bin", login=LOGIN)) == (200, BIG)
        assert await ask(request("/ca.crt")) == (200, b"ca")
        two = await ask(request(f"/w/{VERSION}/fw.bin", login=LOGIN) + request("/ca.crt"))
        assert two == (200, BIG) and await ask(b"") == (200, b"ca"), "the second waits for the first"
        assert (await ask(request("/p/gone.xml", login=LOGIN)))[0] == 503, "what cannot be read is no 404"

    talking(service, tmp_path, story)


def test_replaced_index_is_used_without_a_restart_and_a_broken_one_is_not(service: Service, tmp_path: Path) -> None:
    assert service.status()["phones"][MAC]["wanted"] == VERSION
    new = tmp_path / "new"
    for text, expected in ((json.dumps(described(tmp_path, "b" * 12)), "b" * 12), ("{", "b" * 12), ("{}", "b" * 12)):
        new.write_text(text)
        new.replace(tmp_path / "index.json")
        service.refresh()
        assert service.status()["phones"][MAC]["wanted"] == expected


def test_who_waits_is_told_as_soon_as_the_version_is_applied_or_at_the_time_out(
    service: Service, tmp_path: Path
) -> None:
    async def story(ask: Ask) -> None:
        early = await control.answer(service, ["wait", json.dumps({MAC: VERSION}), "0.05"])
        assert early["phones"][MAC]["applied"] is None
        waiting = asyncio.create_task(control.answer(service, ["wait", json.dumps({MAC: VERSION}), "5"]))
        await ask(request(f"/b/{VERSION}/phonebook.xml", login=LOGIN))
        async with service._applied:
            service._applied.notify_all()
        assert (await asyncio.wait_for(waiting, 2))["phones"][MAC]["applied"]["version"] == VERSION

    talking(service, tmp_path, story)


@pytest.mark.parametrize(
    "words",
    [["open", "ffffffffffff"], ["open", MAC, "x"], ["open", MAC, "-1"], ["close", ""], ["wait", "{", "1"],
     ["wait", "[]", "1"], ["wait", "{}", "x"], ["wait", '{"x": "y"}', "1"], ["else"], []],
)  # fmt: skip
def test_wrong_question_is_answered_with_what_is_wrong(service: Service, words: list[str]) -> None:
    assert "error" in asyncio.run(control.answer(service, words))


def test_engineer_opens_and_shuts_the_first_door_by_any_way_of_writing_a_mac(service: Service) -> None:
    def first(*words: str) -> str:
        return str(asyncio.run(control.answer(service, list(words)))["phones"][MAC]["first"])

    assert first("close", "C0:74:AD:3A:25:10") == "closed"
    assert first("open", "c0-74-ad-3a-25-10", "10") == "open" == first("status")


def test_control_socket_is_roots_alone_and_answers_a_line(service: Service, tmp_path: Path) -> None:
    async def asked() -> dict[str, Any]:
        path = tmp_path / "control"
        server = await control.serve(service, path)
        assert path.stat().st_mode & 0o777 == 0o600
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b'["status"]\n')
        found = json.loads(await reader.readline())
        writer.close()
        server.close()
        return dict(found)

    assert asyncio.run(asked())["phones"][MAC]["ext"] == "3101"
