"""The telephone outlives an internet channel: the watchdog is awake, and a real failover and return are made."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clinic.model import Clinic
from clinicpbx.verify.desk import Phones, enabled, loop_caller, ringing_at, unregistered
from clinicpbx.verify.locks import Locks
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.plugin import Control, Evidence
from softphone.client import PoolError

pytestmark = pytest.mark.lane("wan")
HARD_STOP = 30
"""Seconds after which the kernel itself mends what this check cut, whatever has become of us."""
DECISION, CONNECTED, ATTEMPT = 2.0, 4.0, 1.5
PATIENCE = 240.0
"""Seconds to wait for the other checks' calls to end: longer than any lane."""
_CUT = f"""
table inet clinic-wan-check {{}}
delete table inet clinic-wan-check
table inet clinic-wan-check {{
  set cut {{ type ifname; flags timeout; timeout {HARD_STOP}s; }}
  chain in {{
    type filter hook input priority -15
    iifname @cut drop
  }}
  chain out {{
    type filter hook output priority -15
    oifname @cut drop
  }}
}}
"""


def status(pbx: Pbx) -> dict[str, Any]:
    return dict(json.loads(pbx.run("wanctl status --json")))


def card(pbx: Pbx, address: str) -> str:
    """The name of the card that carries an address."""
    found = json.loads(pbx.run("ip -j -4 addr"))
    return next(c["ifname"] for c in found if any(a.get("local") == address for a in c["addr_info"]))


@contextlib.contextmanager
def cut(pbx: Pbx, device: str) -> Iterator[float]:
    """Nothing passes that card within the block, nor for longer than HARD_STOP. -> the PBX's second just before"""
    pbx.run("nft -f -", data=_CUT.encode())
    try:
        yield float(pbx.run(f"date +%s.%N && nft add element inet clinic-wan-check cut {{ {device} }}"))
    finally:
        pbx.run("nft delete table inet clinic-wan-check", check=False)


@pytest.fixture
def everything(locks: Locks, clinic: Clinic) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """`with everything():` no other check has a call outside meanwhile.

    All or none: others take the ways one after the other, and would wait for us while we wait for them.
    """
    ways = [f"{way}-{trunk.name}" for trunk in enabled(clinic) for way in ("in", "out")]

    @contextlib.contextmanager
    def hold() -> Iterator[None]:
        end = time.monotonic() + PATIENCE
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(locks.hold(*ways, alone=True, patience=0.1))
                    break
                except TimeoutError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.4)
            yield

    return hold


@pytest.mark.check(
    id="wan-watchdog", title="The watchdog hears the routers, the anchors and every provider by every uplink",
    proves="clinic.yml: uplinks, wan, trunks; case: 11",
)  # fmt: skip
def test_watchdog_hears_everybody(pbx: Pbx, clinic: Clinic, evidence: Evidence, control: Control) -> None:
    """Ensure that it can tell a dead uplink from a dead host, and that calls take the preferred one."""
    found = status(pbx)
    assert found["asterisk"], "the watchdog cannot reach Asterisk"
    assert not found["hold"], f"an engineer holds calls on {found['hold']}"
    for uplink in clinic.uplinks:
        seen = found["uplinks"][uplink.name]
        assert seen["silent"] == [], f"{uplink.name}: {', '.join(seen['silent'])} never answered"
        assert set(seen["seen_as"]) <= {str(uplink.external_address)}, (
            f"{uplink.name}: providers see {seen['seen_as']}, the description has {uplink.external_address}"
        )
        evidence(f"{uplink.name}: {seen['verdict']}, {seen['rtt_ms']} ms to the anchors, seen as {seen['seen_as']}")
    with control("an uplink that nobody has is not held"):
        pbx.run("wanctl hold nobody")


@pytest.mark.check(
    id="wan-failover", title="The main uplink is cut: calls take the other and come back",
    proves="clinic.yml: uplinks; case: 11, 14",
)  # fmt: skip
def test_failover_and_return(
    pbx: Pbx, clinic: Clinic, phones: Phones, everything: Callable[..., Any], own_number: Callable[..., Any],
    rings: Callable[..., Any], evidence: Evidence, control: Control,
) -> None:  # fmt: skip
    """Ensure the real thing: packets of the main uplink are dropped on the PBX, never for longer than 30 s; a call to
    the clinic's own number goes out and comes in by the other. Nobody but the clinic is called."""
    if len(clinic.uplinks) < 2:
        pytest.skip("clinic.yml: one uplink has nothing to fail over to")
    main, spare = clinic.uplinks[0], clinic.uplinks[1]
    device, caller = card(pbx, str(main.address.ip)), loop_caller(clinic)
    first = enabled(clinic)[0].name  # a number of another provider, of a person rather than of a menu
    number, (trunk, target) = min(
        clinic.dids.items(), key=lambda one: (one[1][0].name == first, bool(one[1][1].flow), one[0])
    )
    answering = ringing_at(clinic, target)

    def current() -> str:
        return str(status(pbx)["current"])

    def connects() -> bool:
        call = phones.call(caller, f"8{number[2:]}")
        with contextlib.suppress(PoolError):
            call.wait_answered(ATTEMPT)
            return True
        call.hangup()
        return False

    with everything(), own_number(answering[0]), rings(*answering):
        for ext in answering:
            phones.behave(ext, "answer", after=0, hold=0.1)
        assert wait_until(lambda: current() == main.name, 20), f"calls go by {current()} before the check"
        with control(f"without a cut nothing leaves {main.name}"):
            assert wait_until(lambda: current() == spare.name, 1.5)
        try:
            local, connected = time.monotonic(), None
            with cut(pbx, device) as began:
                while connected is None and time.monotonic() - local < CONNECTED + ATTEMPT:
                    connected = time.monotonic() - local if connects() else None
                assert wait_until(lambda: current() == spare.name, 5), f"calls stay with {main.name}"
                moves = [json.loads(r) for r in pbx.run("tail -n 20 /var/log/clinic-wan/events.log").splitlines()]
                moved = next(e for e in reversed(moves) if e["kind"] == "left" and e["left"] == main.name)
                took = moved["at"] - began
                assert took <= DECISION, f"the watchdog needed {took:.2f} s"
                evidence(f"{main.name} cut: left for {spare.name} after {took:.2f} s ({moved['why']})")
                assert connected is not None and connected <= CONNECTED, f"the first call out and in: {connected} s"
                evidence(f"{caller} dialled 8{number[2:]}: out and in by {trunk.name} {connected:.2f} s after the cut")
                legs = status(pbx)["legs"]
                assert all(legs[f"{t.name}-{spare.name}"]["answers"] for t in enabled(clinic)), legs
        finally:
            wait_until(lambda: status(pbx)["uplinks"][main.name]["verdict"] == "ok", 15)
            pbx.run("wanctl return", check=False)
        assert wait_until(lambda: current() == main.name, 5), "calls do not return"

        def registered() -> bool:
            idle, legs = unregistered(clinic, main.name), status(pbx)["legs"]
            return all(
                leg["answers"] and (leg["registration"] in ("", "Registered") or name in idle)
                for name, leg in legs.items()
            )

        assert wait_until(registered, 20), "not every leg registers again"
        evidence(f"back on {main.name}, every leg registered")
