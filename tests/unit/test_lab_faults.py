"""Faults of the lab without a lab: rules of the internet, names, targets, what the public network answers."""

from __future__ import annotations

from typing import Any

import pytest

from clinicpbx.errors import ClinicError
from lab import faults, pstn
from lab.faults import KNOWN, Fault, internet_rules
from softphone.behaviour import Behaviour, Rule, choose, from_json

STATE: dict[str, Any] = {
    "namespaces": {"net": "cpx0-net", "rt-a": "cpx0-rt-a", "rt-b": "cpx0-rt-b"},
    "routers": {"wan-a": "cpx0-rt-a", "wan-b": "cpx0-rt-b"},
    "providers": {
        "north": {"server": "198.51.100.10", "port": 5060},
        "south": {"server": "203.0.113.10", "port": 5060},
    },
}
HEAD = "flush chain ip filter faults\n"


def test_no_fault_leaves_an_empty_chain() -> None:
    assert internet_rules(STATE, []) == HEAD


def test_a_silent_provider_is_cut_by_its_own_address_both_ways() -> None:
    assert internet_rules(STATE, [Fault("provider-silent", "south")]) == (
        HEAD + "add rule ip filter faults ip daddr 203.0.113.10 udp dport 5060 drop\n"
        "add rule ip filter faults ip saddr 203.0.113.10 udp sport 5060 drop\n"
    )


def test_a_blackhole_is_the_line_of_that_uplink_only() -> None:
    text = internet_rules(STATE, [Fault("uplink-blackhole", "wan-b")])
    assert '"rt1"' in text
    assert '"rt0"' not in text


def test_faults_without_packets_add_no_rule() -> None:
    assert internet_rules(STATE, [Fault("provider-503", "north"), Fault("router-dead", "wan-a")]) == HEAD


def test_every_fault_does_something_and_says_what() -> None:
    for known in KNOWN.values():
        assert known.deed or known.rules
        assert known.meaning


@pytest.mark.parametrize(
    ("name", "target", "word"),
    [("provider-503", "west", "north, south"), ("uplink-cable", "", "wan-a, wan-b"), ("phone-unplugged", "", "2001")],
)
def test_a_wrong_target_names_the_right_ones(name: str, target: str, word: str) -> None:
    with pytest.raises(ClinicError) as refused:
        faults._target(STATE, KNOWN[name], name, target)
    assert word in refused.value.remedy


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ClinicError, match="earthquake"):
        faults._known("earthquake")


class _Clinic:
    class emergency:  # noqa: N801 - shaped as the description
        numbers = ("101", "112")


@pytest.mark.parametrize(
    ("number", "action", "detail"),
    [
        ("112", "answer", pstn.EMERGENCY_TONE), ("+79161234567", "answer", pstn.TONE),
        ("89161234567", "answer", pstn.TONE), ("84950009911", "busy", 486), ("+74950009912", "ring", None),
        ("74950009904", "reject", 404), ("113", "reject", 404), ("2001", "reject", 404),
    ],
)  # fmt: skip
def test_public_numbers_do_what_their_endings_say(number: str, action: str, detail: int | None) -> None:
    rules = [Rule(pattern, from_json(behaviour)) for pattern, behaviour in pstn.rules(_Clinic())]  # type: ignore[arg-type]
    found = choose(rules, number, Behaviour("reject", code=404, q850=1))
    assert found.action == action
    assert detail in (None, found.tone, found.code)
