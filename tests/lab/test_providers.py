"""The lab's providers, public network and faults, without a PBX: a softphone stands on the PBX's uplink address.

Read from top to bottom: what must work before anybody blames the PBX.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clinic.loading import load
from clinicpbx import bundle, image
from clinicpbx.secrets import complete
from lab import clean, faults, lab, netns, network, phones, providers, pstn
from softphone.client import Call, Pool, PoolError

ROOT = Path(__file__).resolve().parents[2]
NUMBER = 56
NORTH, SOUTH = "198.51.100.10", "203.0.113.10"
MOBILE = "+79161234567"

pytestmark = pytest.mark.lab


@dataclass
class Stand:
    """A lab and, in place of the PBX behind uplink a, a pool with agents `pbx` (registers to north) and `wrong`."""

    clinic: Any
    public: Pool
    pbx: Pool


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    clinic = load((ROOT / "inventory/case/clinic.yml").read_text())
    passwords = complete({}, clinic)
    passwords |= {f"trunk/{trunk.name}": secrets.token_hex(8) for trunk in clinic.trunks}
    tools = image.tools(bundle.ensure(ROOT / "bundle.lock", production=False))
    clean.lab(NUMBER)
    state = lab.up(clinic, NUMBER, tools=tools, secrets=passwords)
    try:
        uplink, room = clinic.uplinks[0], f"cpx{NUMBER}-vm1"
        netns.ip_batch([f"netns add {room}"])
        network.plug(room, "eth0", "02:00:00:00:56:01", state["namespaces"]["hv"], "tap1i0", uplink.bridge)
        netns.ip_batch(
            [f"addr add {uplink.address} dev eth0", "link set eth0 up", f"route add default via {uplink.gateway}"],
            namespace=room,
        )
        socket = tmp_path_factory.mktemp("pbx") / "socket"
        with Pool.start(socket, prefix=["ip", "netns", "exec", room]) as pbx, pstn.pool(NUMBER) as public:
            who = {"user": clinic.trunks[0].username, "server": f"{NORTH}:5060"}
            here = str(uplink.address.ip)
            pbx.add_agent(here, name="pbx", password=passwords["trunk/north"], behaviour=_answering(), **who)
            pbx.add_agent(here, 5070, name="wrong", password="no-such-password", **who)
            yield Stand(clinic, public, pbx)
    finally:
        clean.lab(NUMBER)


def _answering() -> dict[str, Any]:
    return {"action": "answer", "tone": 1000}


def outcome(call: Call) -> tuple[int | None, int | None]:
    """SIP status and Q.850 cause of a call that is not answered."""
    with pytest.raises(PoolError):
        call.wait_answered(8)
    info = call.wait_ended(1).info
    return info["status"], info["q850"]


def dial(stand: Stand, number: str, **options: Any) -> Call:
    return stand.pbx.call("pbx", number, tone=1000, **options)


def test_providers_boot_without_one_error_or_warning(stand: Stand) -> None:
    for provider in providers.known(NUMBER).values():
        log = (provider.home / "log/messages.log").read_text()
        assert "Asterisk 22." in log
        bad = [line for line in log.splitlines() if "ERROR" in line or "WARNING" in line]
        # pjproject says this or not, by the timing of its threads while modules load
        assert [line for line in bad if "PJSIP_SAFE_MODULE" not in line] == []


def test_up_again_leaves_what_runs(stand: Stand) -> None:
    before = {name: (p.home / "pid").read_text() for name, p in providers.known(NUMBER).items()}
    assert len(before) == 2
    status = lab.status(NUMBER)
    assert status["parts"]["providers"] == "running: north, south"
    assert status["parts"]["phones"].startswith("running, 0 agents"), "without a PBX nobody has told them an account"
    assert len(phones.status(NUMBER)) == 156


def test_clinic_registers_and_a_wrong_password_is_refused(stand: Stand) -> None:
    result = stand.pbx.register(["wrong"], timeout=5)
    assert result["failed"] == {"wrong": ["refused", 401]}
    result = stand.pbx.register(["pbx"], timeout=5)
    assert result["registered"] == 1, result
    # The provider sees the router's public address, not the PBX's own.
    assert "198.18.1.2:" in providers.known(NUMBER)["north"].cli("database show registrar")


def test_public_caller_and_clinic_hear_each_other(stand: Stand) -> None:
    call = stand.public.call("pstn", f"sip:+74951230001@{NORTH}", from_number=MOBILE, tone=620)
    call.wait_answered(8)
    far = next(item for item in stand.pbx.calls(["pbx"], active=True))
    assert far.info["caller"]["number"].endswith("9161234567")
    call.wait_tone(1000, 4)
    far.wait_tone(620, 4)
    call.hangup()
    far.wait_ended(5)


def test_number_of_nobody_is_refused_by_the_provider(stand: Stand) -> None:
    status, _ = outcome(stand.public.call("pstn", f"sip:+74951239999@{NORTH}", from_number=MOBILE))
    assert status == 404


def test_clinic_calls_a_subscriber_and_they_hear_each_other(stand: Stand) -> None:
    call = dial(stand, MOBILE)
    call.wait_answered(8)
    call.wait_tone(pstn.TONE, 4)
    far = next(item for item in stand.public.calls(active=True))
    far.wait_tone(1000, 4)
    assert far.info["source"].startswith(NORTH)
    call.hangup()


@pytest.mark.parametrize(
    ("number", "status"),
    [("+74950009911", 486), ("+74950009904", 404), ("+74950009913", 486)],
    ids=["busy", "invalid", "rejecting"],
)
def test_called_numbers_say_what_they_are(stand: Stand, number: str, status: int) -> None:
    assert outcome(dial(stand, number))[0] == status


def test_ringing_number_rings_and_is_never_answered(stand: Stand) -> None:
    call = dial(stand, "+74950009912")
    call.wait_ringing(5)
    call.hangup()
    assert not call.refresh()["answered"]


def test_emergency_number_answers_with_its_own_tone(stand: Stand) -> None:
    call = dial(stand, "112")
    call.wait_answered(8)
    call.wait_tone(pstn.EMERGENCY_TONE, 4)
    call.hangup()


@pytest.mark.parametrize(
    ("fault", "status"), [("provider-503", 503), ("provider-403", 403), ("provider-busy", 486), ("provider-full", 503)]
)
def test_provider_refuses_on_demand_and_then_serves_again(stand: Stand, fault: str, status: int) -> None:
    with faults.broken(NUMBER, fault, "north"):
        assert [item.name for item in faults.active(NUMBER)] == [fault]
        assert outcome(dial(stand, MOBILE))[0] == status
    assert faults.active(NUMBER) == []
    dial(stand, MOBILE).wait_answered(8).hangup()


def test_full_provider_carries_the_calls_it_allows(stand: Stand) -> None:
    with faults.broken(NUMBER, "provider-full", "north", "1"):
        first = dial(stand, MOBILE).wait_answered(8)
        assert outcome(dial(stand, MOBILE))[0] == 503
        first.hangup()


@pytest.mark.parametrize(
    ("fault", "target"),
    [
        ("provider-silent", "north"),
        ("provider-down", "north"),
        ("uplink-blackhole", None),
        ("uplink-cable", None),
        ("router-dead", None),
        ("pbx-internet", None),
    ],
)
def test_silence_on_demand_and_then_service_again(stand: Stand, fault: str, target: str | None) -> None:
    with faults.broken(NUMBER, fault, target or stand.clinic.uplinks[0].name):
        call = dial(stand, MOBILE)
        with pytest.raises(PoolError):
            call.wait_ringing(1.5)
        call.hangup()
    stand.pbx.register(["pbx"], timeout=8)  # the provider may have been away, or the NAT forgotten
    dial(stand, MOBILE).wait_answered(8).hangup()


def test_fault_of_the_other_uplink_changes_nothing(stand: Stand) -> None:
    with faults.broken(NUMBER, "uplink-blackhole", stand.clinic.uplinks[1].name):
        dial(stand, MOBILE).wait_answered(8).hangup()


def test_provider_that_knows_our_address_needs_no_registration(stand: Stand) -> None:
    call = dial(stand, f"sip:84951112233@{SOUTH}")
    call.wait_answered(8)
    call.hangup()
    inbound = stand.public.call("pstn", f"sip:84957650001@{SOUTH}", from_number=MOBILE, tone=620)
    inbound.wait_answered(8)
    inbound.wait_tone(1000, 4)
    inbound.hangup()


def test_public_network_cannot_reach_the_clinic_past_a_provider(stand: Stand) -> None:
    call = stand.public.call("pstn", "sip:84957650001@198.18.1.2", from_number=MOBILE)
    with pytest.raises(PoolError):
        call.wait_ringing(1.5)
    call.hangup()
