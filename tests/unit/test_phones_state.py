"""What the PBX's programs answer, as they write it, becomes one row a telephone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinic.leases import addresses, mac12
from clinic.loading import load
from clinicpbx.errors import ClinicError
from clinicpbx.phones.state import Look, chosen, firmware, look, rows, state

CASE = load((Path(__file__).parents[2] / "inventory/case/clinic.yml").read_text(encoding="utf-8"))
NOW = 1_796_072_300.0
STORED = (
    '/registrar/contact/2001;@659c45f3787c18e3641baff8cdb6896c: {"via_addr":"10.77.20.138",'
    '"qualify_timeout":"3.000000","qualify_2xx_only":"false","call_id":"97d02d","reg_server":"pbx","prune_on_boot":"no","path":"","endpoint":"2001",'
    '"via_port":"5060","authenticate_qualify":"no","uri":"sip:2001@10.77.20.138:5060","qualify_frequency":"60",'
    '"user_agent":"Grandstream GRP2615 1.0.5.15 c074ad3a2510","expiration_time":"1796072652","outbound_proxy":""}\n'
    '/registrar/contact/4101;@0b866c88d8                   : {"uri":"sip:4101@10.77.20.133:5061^3Btransport=tls",'
    '"user_agent":"Grandstream GXP1630 1.0.7.64","expiration_time":"1796072639"}\n2 results found.\n'
)
REACHED = (
    "\n  Contact:  <Aor/ContactUri..............................> <Hash....> <Status> <RTT(ms)..>\n"
    "==========================================================================================\n\n"
    "  Contact:  2001/sip:2001@10.77.20.138:5060                659c45f378 Avail         0.605\n"
    "  Contact:  4101/sip:4101@10.77.20.133:5061;transport=tls  0b866c88d8 Unavail         nan\n"
    "  Contact:  north-wan-a/sip:198.51.100.10:5060             72bc0cbd6a Avail        12.031\n\nObjects found: 3\n"
)
CHANNELS = (
    "PJSIP/2001-0000001f!door-national!3111!5!Up!Dial!PJSIP/3111!2001!!!3!12!!a-b!pbx-1\nPJSIP/north-wan-a-00000020!x\n"
)


def status(**phones: dict[str, Any]) -> str:
    about = {
        mac12(CASE.by_ext[ext[1:]].phone.mac): {
            "ext": ext[1:], "first": "closed", "wanted": "aaaaaaaaaaaa", "fetched": None, "applied": None,
            "refused": [], **given,
        }
        for ext, given in phones.items()
    }  # fmt: skip
    return json.dumps(
        {"phones": about, "strangers": [{"address": "10.77.20.12", "at": NOW, "what": "token", "count": 3}]}
    )


def seen() -> Look:
    applied = {"version": "aaaaaaaaaaaa", "at": NOW - 60}
    fetched = {"version": "aaaaaaaaaaaa", "at": NOW - 61, "address": "10.77.20.133", "agent": "GXP1630 SW 1.0.7.64"}
    given = status(e2001={"applied": applied}, e4101={"fetched": fetched, "applied": {**applied, "version": "b" * 12}})
    return look(given, STORED, REACHED, CHANNELS, json.dumps({"seen": {"4101": NOW - 900}, "gone": {}}))


def row(ext: str) -> dict[str, Any]:
    (found,) = rows(CASE, seen(), [CASE.by_ext[ext]], NOW)
    return found


def test_registered_telephone_has_address_round_trip_firmware_and_a_current_version() -> None:
    found = row("2001")
    assert (found["registered"], found["address"], found["rtt_ms"]) == (True, "10.77.20.138", 0.605)
    assert (found["firmware"], found["configuration"], found["in_call"]) == ("1.0.5.15", "current", True)
    assert found["lease"] == str(addresses(CASE)["2001"])
    assert found["seen"] == "2026-11-30T20:58:20+00:00", "it is there now"


def test_telephone_that_does_not_answer_is_off_with_its_last_moment() -> None:
    found = row("4101")
    assert (found["registered"], found["address"], found["rtt_ms"]) == (False, "10.77.20.133", None)
    assert found["configuration"] == "stale" and found["seen"] == "2026-11-30T20:57:20+00:00"


def test_telephone_that_never_came_is_named_all_the_same() -> None:
    found = row("3111")
    assert (found["registered"], found["configuration"], found["seen"], found["version"]) == (False, "unknown", "", "")
    assert found["socket"] == CASE.by_ext["3111"].phone.socket


def test_trunks_are_no_telephones() -> None:
    assert seen().contacts.keys() == {"2001", "4101"} and seen().busy == {"2001"}


@pytest.mark.parametrize("answer", ["", "no answer", "[]", '{"error": "no index"}'])
def test_pbx_without_provisioning_is_told_and_not_a_trace(answer: str) -> None:
    with pytest.raises(ClinicError, match="does not tell of its telephones"):
        look(answer, "", "", "")


def test_torn_answers_of_asterisk_are_no_registrations() -> None:
    found = look(status(), "/registrar/contact/2001;@ab: {torn\nUnable to connect\n", "Unable to connect", "")
    assert found.contacts == {} and found.strangers[0]["address"] == "10.77.20.12"


@pytest.mark.parametrize(
    ("agent", "version"),
    [
        ("Grandstream GRP2614 1.0.5.15", "1.0.5.15"),
        ("Yealink SIP-T46G 28.83.0.120", "28.83.0.120"),
        ("Grandstream Model HW GXP1625 SW 1.0.7.64 DevId 000b823ae194", "1.0.7.64"),
        ("softphone", ""),
    ],
)
def test_firmware_is_read_from_the_user_agent(agent: str, version: str) -> None:
    assert firmware(agent) == version


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({}, "unknown"),
        ({"wanted": "a"}, "never"),
        ({"wanted": "a", "applied": {"version": "a"}}, "current"),
        ({"wanted": "a", "applied": {"version": "b"}}, "stale"),
    ],
)
def test_state_of_a_configuration(about: dict[str, Any], expected: str) -> None:
    assert state(about) == expected


RESET = {
    "wanted": "a", "address": "10.0.0.9", "applied": {"version": "a", "at": 50}, "fetched": {"at": 49},
    "refused": [{"at": 60, "address": "10.0.0.9", "what": "closed"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "refused"),
        ({"refused": [{"at": 60, "address": "10.0.0.9", "what": "password"}]}, "refused"),
        # It has got something since; a stranger tried at another address; it asked for another telephone's file.
        ({"fetched": {"at": 61}}, "current"),
        ({"refused": [{"at": 60, "address": "10.0.0.7", "what": "closed"}]}, "current"),
        ({"refused": [{"at": 60, "address": "10.0.0.9", "what": "other"}]}, "current"),
    ],
)
def test_telephone_that_was_reset_is_not_current_and_a_strangers_attempt_changes_nothing(
    change: dict[str, Any], expected: str
) -> None:
    assert state(RESET | change) == expected


def test_choice_by_department_and_extension_adds_up_and_refuses_strangers() -> None:
    assert len(chosen(CASE)) == len(CASE.people)
    found = {p.ext for p in chosen(CASE, ["call-centre"], ["3111"])}
    assert found == {p.ext for p in CASE.members("call-centre")} | {"3111"}
    with pytest.raises(ClinicError, match="no department `x`"):
        chosen(CASE, ["x"])
    with pytest.raises(ClinicError, match="`9999`"):
        chosen(CASE, (), ["9999"])
