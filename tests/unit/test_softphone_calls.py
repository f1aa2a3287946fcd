"""Real calls on loopback: agents drive each other over UDP, and every claim has its refusal or control."""

import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from softphone.agent import Agent
from softphone.behaviour import Behaviour
from softphone.client import Call, Pool, PoolError
from softphone.dialog import from_request
from softphone.events import Hub
from softphone.exchange import Exchange
from softphone.media import Clock
from softphone.message import Message, parse, reply
from softphone.transaction import ServerTransaction
from tests.unit.softphone_registrar import Registrar

A, B, C, PSTN = "127.0.0.31", "127.0.0.32", "127.0.0.33", "127.0.0.34"
PORT = 15060


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """One daemon with three telephones and the public network."""
    path: Path = tmp_path_factory.mktemp("softphone")
    with Pool.start(path / "pool.sock", log=path / "log") as started:
        assert (path / "pool.sock").stat().st_mode & 0o777 == 0o600
        for name, ip in (("a", A), ("b", B), ("c", C)):
            started.add_agent(ip, PORT, user=name, display=f"Телефон {name}", accept_refer=name != "c", t1=0.025)
        rules = [["7916*", {"action": "answer", "tone": 770, "hold": 0.3, "q850": 16}], ["7000", {"action": "silent"}]]
        started.add_exchange(PSTN, PORT, rules=rules, t1=0.025)
        yield started


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    if "pool" in request.fixturenames:
        pool: Pool = request.getfixturevalue("pool")
        pool.hangup_all()
        pool.set_behaviour(["a", "b", "c"], "ring")
        pool.clear()


def connect(pool: Pool, caller: str, callee: str, ip: str, tones: tuple[int, int]) -> tuple[Call, Call]:
    call = pool.call(caller, f"sip:{callee}@{ip}:{PORT}", tone=tones[0])
    far = pool.wait_incoming(callee, 3)
    far.answer(tone=tones[1])
    return call.wait_answered(3), far


def test_both_sides_hear_the_other_and_not_themselves(pool: Pool) -> None:
    call, far = connect(pool, "a", "b", B, (440, 620))
    assert far.info["caller"]["number"] == "a" and far.info["caller"]["display"] == "Телефон a"
    call.wait_tone(620, 3)
    far.wait_tone(440, 3)
    assert set(call.heard()) == {620} and set(far.heard()) == {440}
    with pytest.raises(PoolError, match="did not hear 440"):
        call.wait_tone(440, 0.3)
    call.hangup()
    assert far.wait_ended(3).info["ended_by"] == "remote"
    rtp = far.info["rtp"]
    assert rtp["packets"] > 20 and rtp["lost"] == 0 and rtp["gap_ms_max"] < 200
    events = [event["event"] for event in call.events()]
    assert events == ["invite_sent", "100", "180", "200", "bye_sent", "ended"]


def test_cancelled_call_ends_at_both_sides_as_487(pool: Pool) -> None:
    call = pool.call("a", f"sip:b@{B}:{PORT}").wait_ringing(3)
    far = pool.wait_incoming("b", 3)
    call.hangup()
    assert call.wait_ended(3).info["status"] == 487 and far.wait_ended(3).info["status"] == 487
    with pytest.raises(PoolError, match="ended with 487"):
        far.wait_answered(5)
    with pytest.raises(PoolError, match="cannot be answered"):
        far.answer()


def test_an_update_before_the_answer_belongs_to_the_call(pool: Pool) -> None:
    """A PBX tells the caller who is being called, or who picked up, before anybody has answered (RFC 3311)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as pbx:
        pbx.bind(("127.0.0.35", PORT))
        pbx.settimeout(3)
        call = pool.call("a", f"sip:x@127.0.0.35:{PORT}")
        invite = parse(pbx.recv(65535))
        ringing = reply(invite, 180, "pbx", [("contact", f"<sip:x@127.0.0.35:{PORT}>")])
        pbx.sendto(ringing.build(), (A, PORT))
        call.wait_ringing(3)
        for tag, expected in (("pbx", 200), ("somebody-else", 481)):
            update = Message(method="UPDATE", uri=f"sip:a@{A}:{PORT}")
            update.headers = [
                ("via", f"SIP/2.0/UDP 127.0.0.35:{PORT};branch=z9hG4bK-{tag}"), ("max-forwards", "70"),
                ("from", f"<sip:x@127.0.0.35>;tag={tag}"), ("to", invite.get("from")), ("call-id", invite.call_id),
                ("cseq", "7 UPDATE"), ("p-asserted-identity", '"Борис" <sip:2002@127.0.0.35>'),
            ]  # fmt: skip
            pbx.sendto(update.build(), (A, PORT))
            assert parse(pbx.recv(65535)).status == expected
        assert call.refresh()["connected"]["number"] == "2002"
        pbx.sendto(reply(invite, 486, "pbx").build(), (A, PORT))
        call.wait_ended(3)


@pytest.mark.parametrize(
    ("behaviour", "status", "q850"),
    [
        ({"action": "busy", "q850": 17}, 486, 17), ({"action": "reject", "code": 503}, 503, None),
        ({"action": "redirect", "contact": "2009"}, 302, None),
    ],
)  # fmt: skip
def test_refusals_reach_the_caller_with_code_and_cause(
    pool: Pool, behaviour: dict[str, object], status: int, q850: int | None
) -> None:
    pool.request("set_behaviour", agent="b", behaviour=behaviour)
    ended = pool.call("a", f"sip:b@{B}:{PORT}").wait_ended(3).info
    assert (ended["status"], ended["q850"], ended["answered"]) == (status, q850, False)
    assert ended["contact"] == (f"sip:2009@{B}" if status == 302 else "")


def test_second_caller_gets_busy_when_told_so(pool: Pool) -> None:
    pool.set_behaviour("b", "answer", in_call="busy", tone=620)
    pool.call("a", f"sip:b@{B}:{PORT}").wait_answered(3)
    assert pool.call("c", f"sip:b@{B}:{PORT}").wait_ended(3).info["status"] == 486


def test_call_given_up_before_any_sign_of_life_is_cancelled_when_one_comes(pool: Pool) -> None:
    pool.set_behaviour("b", "dead")
    call = pool.call("a", f"sip:b@{B}:{PORT}")
    assert call.hangup().info["status"] == 487
    pool.set_behaviour("b", "ring")  # the INVITE is still being retransmitted
    assert pool.wait_incoming("b", 2, state="ended").info["status"] == 487
    assert [event["event"] for event in call.events()][1:4] == ["abandoned", "ended", "100"]


@pytest.mark.parametrize("action", ["silent", "dead"])
def test_silent_telephone_lets_the_caller_time_out(pool: Pool, action: str) -> None:
    pool.set_behaviour("b", action)
    call = pool.call("a", f"sip:b@{B}:{PORT}").wait_ended(6)
    assert call.info["status"] == 408 and "100" not in [event["event"] for event in call.events()]
    assert len(pool.invites("b")) == (1 if action == "silent" else 0)


def test_hold_stops_the_audio_and_resume_brings_it_back(pool: Pool) -> None:
    call, far = connect(pool, "a", "b", B, (440, 620))
    far.wait_tone(440, 3)
    assert call.hold() == 200 and far.refresh()["remote_held"]
    assert far.listen(0.5)["packets"] <= 1 and call.listen(0.3)["packets"] <= 1
    assert call.resume() == 200
    far.wait_tone(440, 3)
    assert far.hold() == 200 and call.refresh()["remote_held"]  # the callee may hold as well


def test_digits_arrive_once_each_and_in_order(pool: Pool) -> None:
    call, far = connect(pool, "a", "b", B, (440, 620))
    call.dtmf("1*9#")
    time.sleep(0.1)
    assert far.refresh()["dtmf"] == "1*9#" and call.refresh()["dtmf"] == ""


def test_blind_transfer_joins_the_far_end_with_the_target(pool: Pool) -> None:
    call, far = connect(pool, "a", "b", B, (440, 620))
    pool.set_behaviour("c", "answer", tone=1000)
    assert call.transfer_blind(f"sip:c@{C}:{PORT}", timeout=5) == {"refer": 202, "notify": 200, "ok": True}
    third = pool.wait_incoming("c", 3)
    third.wait_tone(620, 3)
    assert call.wait_ended(3) and far.wait_ended(3)


def test_failed_blind_transfer_leaves_the_call_up(pool: Pool) -> None:
    call, far = connect(pool, "a", "b", B, (440, 620))
    pool.set_behaviour("c", "busy")
    assert call.transfer_blind(f"sip:c@{C}:{PORT}", timeout=5) == {"refer": 202, "notify": 486, "ok": False}
    assert call.state == far.state == "answered"


def test_attended_transfer_replaces_the_consultation(pool: Pool) -> None:
    call, far = connect(pool, "a", "b", B, (440, 620))
    call.hold()
    consultation, third = connect(pool, "a", "c", C, (770, 1000))
    assert call.transfer_attended(consultation, timeout=5)["ok"]
    for ended in (call, consultation, far, third):
        ended.wait_ended(3)
    final = pool.calls(["c"], active=True)[0]
    final.wait_tone(620, 3)
    assert 440 not in final.heard() and 770 not in final.heard()


def test_telephone_refuses_to_be_transferred_and_unknown_replaces(pool: Pool) -> None:
    call, _ = connect(pool, "a", "c", C, (440, 620))
    assert call.transfer_blind(f"sip:b@{B}:{PORT}") == {"refer": 603, "notify": None, "ok": False}
    wrong = pool.call("b", f"sip:c@{C}:{PORT}", headers=[["Replaces", "x;to-tag=1;from-tag=2"]])
    assert wrong.wait_ended(3).info["status"] == 481


def test_public_network_answers_by_rule_and_remembers_who_called(pool: Pool) -> None:
    options = {"from_number": "+74951112233", "from_display": 'Зло"; drop', "pai": "84950000000"}
    call = pool.call("a", f"sip:79161234567@{PSTN}:{PORT}", tone=440, **options)
    call.wait_answered(3)
    ended = call.wait_ended(3).info
    assert (ended["ended_by"], ended["q850"]) == ("remote", 16)
    seen = pool.invites("pstn", number="7916")[0]
    assert seen["source_ip"] == A and seen["number"] == "79161234567"
    assert seen["caller"]["from_number"] == "+74951112233" and seen["caller"]["from_display"] == 'Зло"; drop'
    assert seen["caller"]["number"] == seen["caller"]["pai_number"] == "84950000000"
    assert pool.invites("pstn", number="7999") == []
    assert pool.call("a", f"sip:5550000@{PSTN}:{PORT}").wait_ended(3).info["status"] == 404


def test_early_media_is_heard_before_the_answer(pool: Pool) -> None:
    pool.set_behaviour("b", "answer", after=0.8, early_tone=425, tone=620)
    call = pool.call("a", f"sip:b@{B}:{PORT}", tone=440).wait_ringing(3)
    call.wait_tone(425, 3)
    call.wait_answered(3).wait_tone(620, 3)


def test_waits_end_with_an_error_that_says_what_was_missed(pool: Pool) -> None:
    with pytest.raises(PoolError, match="no incoming call on b within"):
        pool.wait_incoming("b", 0.1)
    for op, arguments in (
        ("call", {"agent": "zz", "to": "1"}),
        ("nonsense", {}),
        ("wait", {"x": 1}),
        ("answer", {"call": "a/999"}),
    ):
        with pytest.raises(PoolError):
            pool.request(op, **arguments)
    assert pool.stats()["agents"] == 4


def test_damaged_messages_never_kill_the_daemon(pool: Pool) -> None:
    valid = (
        f"INVITE sip:b@{B} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bKx\r\nFrom: <sip:x@y>;tag=1\r\n"
        "To: <sip:b@z>\r\nCall-ID: fuzz\r\nCSeq: 1 INVITE\r\nContact: <sip:x@127.0.0.1:9>\r\nReplaces: a;b\r\n"
        "Content-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 8\r\n"
    ).encode()
    source = random.Random(11)  # noqa: S311
    pool.set_behaviour("b", "answer")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(400):
            data = bytearray(
                valid.replace(b"z9hG4bKx", b"z9hG4bK%d" % number).replace(b"fuzz", b"fuzz%d" % (number % 50))
            )
            for _ in range(source.randrange(6)):
                data[source.randrange(len(data))] = source.randrange(256)
            if number % 7 == 0:
                data = bytearray(source.randbytes(300))
            sender.sendto(data, (B, PORT))
    pool.hangup_all(["b"])
    call = pool.call("a", f"sip:b@{B}:{PORT}", tone=440).wait_answered(3)
    assert pool.stats()["malformed"] > 0
    call.hangup()


def test_passwords_are_in_no_log_and_no_process_list(pool: Pool) -> None:
    options = {"user": "d", "password": "tell-nobody", "server": f"{A}:{PORT}", "t1": 0.005, "trace": True}
    pool.add_agent("127.0.0.35", PORT, **options)
    for wrong in ({"nonsense": 1}, {"behaviour": {"action": "dance"}}, {}):
        with pytest.raises(PoolError) as refused:
            pool.add_agent("127.0.0.35", PORT, **{**options, **wrong})
        assert "tell-nobody" not in str(refused.value)
    assert list(pool.register(["d"], wait=5)["failed"].values()) == [["failed", 405]]
    assert "REGISTER" in pool.trace("d")[0]["text"]
    assert pool.remove(["d"]) == 1 and pool.process is not None
    for path in (
        Path(f"/proc/{pool.process.pid}/cmdline"),
        Path(f"/proc/{pool.process.pid}/environ"),
        Path(pool.path).parent / "log",
    ):
        assert "tell-nobody" not in path.read_text()


class Lamp(Agent):
    """Accepts SUBSCRIBE for dialog-info and notifies `state` at once."""

    state = "early"

    def _route(self, message: Message, source: tuple[str, int], server: ServerTransaction) -> None:
        if message.method != "SUBSCRIBE":
            super()._route(message, source, server)
            return
        server.respond(reply(message, 200, "lamp", [("expires", "60"), ("contact", self.contact)]))
        notify = from_request(message, "lamp", source).request("NOTIFY", f"UDP {self.address[0]}:{self.address[1]}")
        notify.headers += [("event", "dialog"), ("subscription-state", "active"), ("contact", self.contact)]
        start = '<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="sip:5@x">'
        notify.body = f'{start}<dialog id="1"><state>{self.state}</state></dialog></dialog-info>'.encode()
        self.spawn(self.transact(notify, source))


def test_lamp_follows_the_notified_state() -> None:
    async def work() -> None:
        hub = Hub()
        lamp = Lamp("127.0.0.47", 0, user="5", hub=hub)
        await lamp.open()
        watcher = Agent("127.0.0.48", 0, user="6", hub=hub, server=f"127.0.0.47:{lamp.address[1]}", t1=0.02)
        await watcher.open()
        subscription = await watcher.subscribe("5")
        assert subscription.status == 200
        assert await hub.until(lambda: subscription.value["state"] == "early", 2)
        lamp.state = "terminated"
        await watcher.subscribe("5")
        assert await hub.until(lambda: subscription.value["state"] == "idle", 2) and subscription.count == 2
        with pytest.raises(ValueError, match="event"):
            await watcher.subscribe("5", "nonsense")
        lamp.close()
        watcher.close()

    run(work)


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 10))


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_registration_needs_the_right_password(algorithm: str) -> None:
    async def work() -> None:
        registrar = Registrar({"2001": "right", "2002": "right"}, algorithm=algorithm)
        good = Agent("127.0.0.41", 0, user="2001", password="right", server=registrar.address)
        bad = Agent("127.0.0.42", 0, user="2002", password="wrong", server=registrar.address)
        await good.open()
        await bad.open()
        assert await good.registration.register() == "registered"
        assert await bad.registration.register() == "refused" and registrar.refusals == 1
        assert list(registrar.contacts) == ["2001"]
        before = registrar.requests
        assert (
            await good.registration.register() == "registered" and registrar.requests == before + 1
        )  # nonce used again
        registrar.nonce = "another"
        assert await good.registration.register() == "registered"  # stale: answered anew
        assert await good.registration.register(0) == "unregistered" and not registrar.contacts
        assert "right" not in repr(good) and "wrong" not in repr(vars(bad))
        for item in (good, bad, registrar):
            item.close()

    run(work)


def test_a_refresh_that_waited_does_not_take_back_what_was_handed_over() -> None:
    async def run() -> dict[str, str]:
        registrar = Registrar({"2001": "right"})
        agent = Agent("127.0.0.61", 0, user="2001", password="right", server=registrar.address)
        await agent.open()
        assert await agent.registration.register() == "registered"
        theirs = "sip:2001@10.0.0.9:5060"
        await asyncio.gather(agent.registration.hand_over(theirs, 60), agent.registration.refresh())
        found = dict(registrar.contacts)
        agent.close()
        registrar.close()
        return found

    assert asyncio.run(run()) == {"2001": "sip:2001@10.0.0.9:5060"}


def test_registration_without_a_server_fails_and_is_tried_again() -> None:
    async def work() -> None:
        agent = Agent("127.0.0.43", 0, user="1", password="x", server="127.0.0.44:15999", t1=0.01)
        await agent.open()
        assert await agent.registration.register() == "failed" and agent.registration.status == 408
        assert agent.transactions.retransmissions > 3
        agent.close()

    run(work)


def test_lost_packets_are_repaired_by_retransmission() -> None:
    async def work() -> None:
        clock, hub = Clock(), Hub()
        one = Agent("127.0.0.45", 0, user="1", t1=0.02, clock=clock, hub=hub)
        two = Exchange("127.0.0.46", 0, t1=0.02, clock=clock, hub=hub, behaviour=Behaviour("answer"))
        source = random.Random(3)  # noqa: S311
        for agent in (one, two):
            await agent.open()
            send = agent.transactions.send

            def lossy(data: bytes, addr: tuple[str, int], send: Callable[..., None] = send) -> None:
                if source.random() > 0.3:
                    send(data, addr)

            agent.transactions.send = lossy
        for _ in range(10):
            call = one.call(f"sip:5@127.0.0.46:{two.address[1]}")
            assert await hub.until(lambda call=call: call.state == "answered", 3)  # type: ignore[misc]
            call.hangup()
            assert await hub.until(lambda: all(item.state == "ended" for item in two.calls.values()), 3)
        assert one.transactions.retransmissions + two.transactions.retransmissions > 0
        assert len(two.invites) == 10
        one.close()
        two.close()

    run(work)
