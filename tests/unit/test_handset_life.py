"""A telephone from its carton to a registered extension, on loopback: by DHCP and HTTPS, and by nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lab.handset import handset
from softphone.agent import Agent
from softphone.message import Message, parse
from tests.unit.handset_clinic import SERVER, Asked, Clinic, Reply, Web, authority, until

GS, YEA, HT = "c074ad3a2510", "805ec03ad382", "ec74d73a8cb9"
TOKEN, SECRET = "erstes-geheimnis", "zweites-geheimnis"
VERSION = "0123456789ab"


class Pbx:
    """The provisioning service as the contract has it: a first door that the use of the second closes, and markers."""

    def __init__(self) -> None:
        self.version, self.password = VERSION, "sip-geheim"
        self.closed, self.down, self.broken = False, False, False
        self.extra = ""
        self.applied: list[str] = []
        self.root = ""

    def __call__(self, asked: Asked) -> Reply:
        if self.down:
            return 503, {}, b""
        parts = asked.path.strip("/").split("/")
        right = asked.login.endswith(f":{SECRET}")
        if parts[0] == "ca.crt":
            return 200, {}, authority().encode()
        if parts[0] == "f":
            if self.closed or parts[1] != TOKEN:
                return 403, {}, b""
            return self._file(parts[2])
        if not right:
            return 401, {"WWW-Authenticate": "Basic"}, b""
        if parts[0] in ("b", "w"):
            self.applied.append(f"{asked.login.partition(':')[0]} {parts[1]}")
            return (200, {}, b"<AddressBook/>") if parts[0] == "b" else (404, {}, b"")
        self.closed = True
        return self._file(parts[1])

    def _file(self, name: str) -> Reply:
        files = {
            f"cfg{GS}.xml": self.grandstream(GS, "2001"), f"cfg{HT}.xml": self.grandstream(HT, "4206", book=False),
            f"{YEA}.cfg": self.yealink("4201"), "y000000000107.cfg": b"#!version:1.0.0.1\nlang.gui = Russian\n",
        }  # fmt: skip
        data = files.get(name)
        return (404, {}, b"") if data is None else (200, {}, b"<broken" if self.broken else data)

    def grandstream(self, mac: str, ext: str, book: bool = True) -> bytes:
        host = self.root.removeprefix("https://")
        values = {
            "P271": "1", "P47": self.sip, "P35": ext, "P36": ext, "P34": self.password, "P212": "2",
            "P237": f"{host}/p",
            "P1360": mac, "P1361": SECRET, "P145": "0", "P8337": "0", "P4428": "1", "P8463": "1", "P22030": "1",
            "P8433": authority(), "P8502": "2", "P192": f"{host}/w/{self.version}", "P238": "2" if book else "0",
            **({"P330": "3", "P331": f"{host}/b/{self.version}", "P6713": mac, "P6714": SECRET} if book else {}),
        }  # fmt: skip
        inside = "".join(f"<{key}>{value}</{key}>" for key, value in values.items())
        return (
            f"<gs_provision><mac>{mac}</mac><config version='1'>{inside}{self.extra}</config></gs_provision>".encode()
        )

    def yealink(self, ext: str) -> bytes:
        address, _, port = self.sip.partition(":")
        return "\n".join((
            "#!version:1.0.0.1", "account.1.enable = 1", f"account.1.user_name = {ext}",
            f"account.1.password = {self.password}", f"account.1.sip_server.1.address = {address}",
            f"account.1.sip_server.1.port = {port}", f"static.auto_provision.server.url = {self.root}/p/",
            f"static.auto_provision.server.username = {YEA}", f"static.auto_provision.server.password = {SECRET}",
            "static.auto_provision.dhcp_option.enable = 0", "features.remote_phonebook.enable = 1",
            f"remote_phonebook.data.1.url = {self.root}/b/{self.version}/phonebook-yealink.xml",
            f"remote_phonebook.data.1.username = {YEA}", f"remote_phonebook.data.1.password = {SECRET}",
            "static.security.trust_certificates = 1", "static.security.cn_validation = 1",
            f"static.trusted_certificates.url = {self.root}/ca.crt", "sip.notify_reboot_enable = 0",
        )).encode()  # fmt: skip

    sip = ""


Work = Callable[[Clinic, Pbx], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Work], None]:
    monkeypatch.setattr(handset, "FIRST", 0.05)
    monkeypatch.setattr(handset, "LONGEST", 0.2)

    def go(work: Work) -> None:
        async def inside() -> None:
            pbx = Pbx()
            web = Web(pbx)
            async with web.serving():
                pbx.root = web.root
                clinic = Clinic(tmp_path, web, {"2001": "sip-geheim", "4201": "sip-geheim", "4206": "sip-geheim"})
                pbx.sip = clinic.registrar.address
                clinic.boot = f"{web.root}/f/{TOKEN}/"
                try:
                    await asyncio.wait_for(work(clinic, pbx), 30)
                finally:
                    await clinic.close()

        asyncio.run(inside())

    return go


def registered(one: handset.Handset) -> Callable[[], bool]:
    return lambda: one.state == "registered"


@pytest.mark.parametrize(
    ("mac", "model", "ext"), [(GS, "GXP1625", "2001"), (YEA, "T43U", "4201"), (HT, "HT801", "4206")]
)
def test_a_telephone_finds_everything_by_itself(run: Callable[[Work], None], mac: str, model: str, ext: str) -> None:
    async def work(clinic: Clinic, pbx: Pbx) -> None:
        one = clinic.handset(mac, model)
        one.on()
        await until(registered(one), "registered")
        await until(lambda: pbx.applied == [f"{mac} {VERSION}"], "the marker")
        contact = clinic.registrar.contacts[ext]
        assert contact == f"sip:{ext}@127.0.9.1:5060", "it registers from the address that DHCP gave"
        assert {asked.address for asked in clinic.web.asked} == {"127.0.9.1"}
        assert pbx.closed and one.door == "second"
        shown = json.dumps(one.snapshot())
        assert not any(word in shown for word in (TOKEN, SECRET, "sip-geheim"))
        file = clinic.memory / f"{mac}.json"
        assert file.stat().st_mode & 0o777 == 0o600

    run(work)


def test_names_are_asked_in_order_and_the_second_door_is_used_from_then_on(run: Callable[[Work], None]) -> None:
    async def work(clinic: Clinic, pbx: Pbx) -> None:
        one = clinic.handset(GS, "GXP1625")
        one.on()
        await until(registered(one))
        first, second = f"/f/{TOKEN}/cfg{GS}", f"/p/cfg{GS}"
        paths = [asked.path for asked in clinic.web.asked]
        assert paths[:2] == [first, f"{first}.xml"]
        assert paths[2:5] == [second, second, f"{second}.xml"], "the second asks for a login once"
        clinic.web.asked.clear()
        await one.off()
        assert one.state == "off" and clinic.pool.operations.agents == {}
        one.on()
        await until(registered(one))
        assert not [asked for asked in clinic.web.asked if asked.path.startswith("/f/")]

    run(work)


def test_no_secret_is_given_to_a_server_that_is_not_the_clinics(run: Callable[[Work], None]) -> None:
    """A rogue DHCP server on a later day: the file forbade to listen to it."""

    async def work(clinic: Clinic, pbx: Pbx) -> None:
        rogue = Web(lambda asked: (401, {"WWW-Authenticate": "Basic"}, b""))
        one = clinic.handset(GS, "GXP1625")
        one.on()
        await until(registered(one))
        await one.off()
        async with rogue.serving():
            clinic.boot = f"{rogue.root}/f/x/"
            one.on()
            await until(registered(one))
            assert rogue.asked == []
            await one.off()
            one.forget()
            one.on()
            await until(lambda: rogue.asked, "the control: one from the factory does ask there")

    run(work)


def test_a_telephone_goes_on_with_what_it_had_when_no_server_answers(run: Callable[[Work], None]) -> None:
    async def work(clinic: Clinic, pbx: Pbx) -> None:
        one = clinic.handset(GS, "GXP1625")
        one.on()
        await until(registered(one))
        await one.off()
        pbx.down = True
        one.on()
        await until(registered(one), "registered without the server")
        assert "503" in one.error
        pbx.down, pbx.version = False, "ba9876543210"
        await until(lambda: f"{GS} ba9876543210" in pbx.applied, "it asks again by itself")
        assert one.error == ""

    run(work)


def test_an_unreadable_file_changes_nothing(run: Callable[[Work], None]) -> None:
    async def work(clinic: Clinic, pbx: Pbx) -> None:
        one = clinic.handset(GS, "GXP1625")
        one.on()
        await until(registered(one))
        agent = clinic.pool.operations.agents["2001"]
        pbx.broken = True
        one.tell("resync")
        await until(lambda: "no well-formed XML" in one.error, "it says so")
        assert clinic.pool.operations.agents["2001"] is agent and one.state == "registered"

    run(work)


def test_a_factory_reset_needs_the_first_door_again(run: Callable[[Work], None]) -> None:
    async def work(clinic: Clinic, pbx: Pbx) -> None:
        one = clinic.handset(GS, "GXP1625")
        one.on()
        await until(registered(one))
        await one.off()
        one.forget()
        one.on()
        await until(lambda: one.state == "unconfigured" and "403" in one.error, "a closed door")
        pbx.closed = False
        await until(registered(one), "the door was opened")

    run(work)


def test_without_dhcp_a_telephone_waits_and_then_comes(run: Callable[[Work], None]) -> None:
    async def work(clinic: Clinic, pbx: Pbx) -> None:
        clinic.silent = True
        one = clinic.handset(GS, "GXP1625")
        one.on()
        await asyncio.sleep(0.3)
        assert one.state == "dhcp" and not clinic.web.asked
        clinic.silent = False
        await until(registered(one), timeout=10)

    run(work)


async def notify(clinic: Clinic, event: str, password: str = "") -> int:
    """As the PBX: NOTIFY to the registered contact. The final status."""
    sender = Agent(SERVER, 0, user="pbx", password=password)
    await sender.open()
    try:
        message = sender.new_request("NOTIFY", clinic.registrar.contacts["2001"])
        message.add("event", event)
        answer: Message = await sender.transact(message, ("127.0.9.1", 5060), timeout=3)
        return answer.status
    finally:
        sender.close()


async def listening(clinic: Clinic, one: handset.Handset) -> None:
    """What the daemon does with the pool's notices."""
    last = 0
    while True:
        heard = await clinic.pool.request("wait_notify", since=last, timeout=5.0)
        last = heard["last"]
        for notice in heard["notices"]:
            one.tell(notice["event"])


def test_resync_changes_the_account_and_a_call_is_waited_for(run: Callable[[Work], None]) -> None:
    async def work(clinic: Clinic, pbx: Pbx) -> None:
        one = clinic.handset(GS, "GXP1625")
        one.on()
        await until(registered(one))
        ear = asyncio.ensure_future(listening(clinic, one))
        agents = clinic.pool.operations.agents
        same = agents["2001"]
        pbx.version = "111111111111"
        assert await notify(clinic, "resync") == 200
        await until(lambda: pbx.applied[-1:] == [f"{GS} 111111111111"], "a changed file is shown")
        assert agents["2001"] is same, "the account is the same: its calls would go on"
        call = same.call(f"sip:nobody@{SERVER}:9")
        pbx.extra, pbx.version = "<P3>Neuer Name</P3>", "222222222222"
        assert await notify(clinic, "check-sync;reboot=false") == 200
        await until(lambda: one.memory.settings.get("P3") == "Neuer Name", "fetched")
        await asyncio.sleep(0.3)
        assert agents["2001"] is same and call.state != "ended", "nothing changes under a call"
        call.hangup()
        await until(lambda: agents["2001"].display == "Neuer Name", "applied after the call")
        await until(lambda: pbx.applied[-1:] == [f"{GS} 222222222222"])
        await until(registered(one))
        before = one.times
        assert await notify(clinic, "check-sync;reboot=true") == 200
        await until(lambda: one.times is not before, "it starts again")
        await until(registered(one))
        assert await notify(clinic, "message-summary") == 200
        await asyncio.sleep(0.1)
        ear.cancel()

    run(work)


def test_a_telephone_that_challenges_obeys_only_who_knows_its_password(run: Callable[[Work], None]) -> None:
    async def work(clinic: Clinic, pbx: Pbx) -> None:
        pbx.extra = "<P4428>0</P4428>"
        one = clinic.handset(GS, "GXP1625")
        one.on()
        await until(registered(one))
        for password, status in (("", 401), ("wrong", 401), ("sip-geheim", 200)):
            assert await notify(clinic, "resync", password) == status
        assert len(clinic.pool.operations.notified) == 1

    run(work)


def test_yealinks_telephone_knows_no_resync(run: Callable[[Work], None]) -> None:
    async def work(clinic: Clinic, pbx: Pbx) -> None:
        one = clinic.handset(YEA, "T43U")
        one.on()
        await until(registered(one))
        await until(lambda: pbx.applied)
        pbx.version = "111111111111"
        one.tell("resync")
        await asyncio.sleep(0.3)
        assert pbx.applied == [f"{YEA} {VERSION}"]
        one.tell("check-sync")
        await until(lambda: pbx.applied[-1] == f"{YEA} 111111111111", "the control: check-sync it knows")

    run(work)


def test_a_pool_names_the_telephone_that_speaks() -> None:
    async def work() -> str:
        agent = Agent(SERVER, 0, user="2001", user_agent="Grandstream GRP2615 1.0.5.15 c074ad3a2510")
        await agent.open()
        try:
            return parse(agent.new_request("OPTIONS", "sip:x@y").build()).get("user-agent")
        finally:
            agent.close()

    assert asyncio.run(work()) == "Grandstream GRP2615 1.0.5.15 c074ad3a2510"
