"""What the scanning drill concludes from packets and words, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clinic.loading import load
from clinicpbx.drill import scan, sipvicious

ANSWER = (
    "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP 10.77.20.245:5060;rport=5060;branch=z9hG4bK{n}\r\n"
    "Call-ID: {n}@host\r\nFrom: <sip:{ext}@10.77.20.10>;tag={n}\r\nTo: <sip:{ext}@10.77.20.10>;tag=x{n}\r\n"
    'CSeq: {n} REGISTER\r\nWWW-Authenticate: Digest realm="asterisk",nonce="{n}/a",opaque="{n}b",qop="auth"\r\n'
    "Server: PBX\r\nContent-Length:  0\r\n\r\n"
)


def answers(*extensions: str) -> dict[str, str]:
    return {ext: ANSWER.format(ext=ext, n=n) for n, ext in enumerate(extensions, 1)}


def test_answers_that_differ_only_by_nonce_tag_and_number_tell_nothing_apart() -> None:
    assert sipvicious.differing(answers("2001", "9998", "9999"), {"2001"}) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("401 Unauthorized", "403 Forbidden"), ('"asterisk"', '"clinic"'), (",qop", ",stale=true,qop")],
)
def test_any_other_difference_tells_an_extension_apart(old: str, new: str) -> None:
    got = answers("2001", "9998", "9999")
    got["2001"] = got["2001"].replace(old, new)
    assert sipvicious.differing(got, {"2001"}) == ["2001"]


def test_silence_for_existing_extensions_only_tells_them_apart() -> None:
    assert sipvicious.differing(answers("9998") | {"2001": ""}, {"2001"}) == ["2001"]


def test_the_right_password_is_never_among_the_guesses() -> None:
    assert "4711" in sipvicious.guesses("2001", "another") and "4711" not in sipvicious.guesses("2001", "4711")


def test_a_longer_address_is_not_taken_for_the_attackers() -> None:
    assert scan.listed("elements = { 10.77.20.21, 10.0.0.1 }", "10.77.20.21")
    assert not scan.listed("elements = { 10.77.20.210 }", "10.77.20.21")


def places(**changed: Any) -> list[dict[str, Any]]:
    crack = {"tool": "svcrack", "answered": 60, "seconds_to_ban": 0.6, "learned": []}
    told = {**crack, "seconds_to_ban": None, "reported": "3111", "alert_lacks": []}
    common: dict[str, Any] = {"sent": 5, "answered": 0, "learned": [], "reported": None}
    lan = {**common, "place": "lan-wan-a", "dropped_at_pbx": 5, "phases": []}
    socket = {
        **common, "place": "socket", "phases": [crack], "answered_before_ban": 60,
        "enumeration_answered_before_ban": 0, "seconds_to_ban": 0.6,
    }  # fmt: skip
    phone = {**common, "place": "telephone", "phases": [told, {"tool": scan.COMPARED, "whole": True}]}
    return [{**p, **changed.get(p["place"].split("-")[0], {})} for p in (lan, socket, phone)]


def test_a_cracker_that_was_not_banned_is_within_no_limit() -> None:
    assert scan.summary(places(), "seen")["seconds_to_ban"] == 0.6
    free = {"tool": "svcrack", "answered": 900, "seconds_to_ban": None}
    found = scan.summary(places(socket={"phases": [free]}), "seen")
    assert found["seconds_to_ban"] == -1.0 and found["attempts_answered_before_ban"] == -1


def test_silence_proves_nothing_unless_the_packets_arrived_and_all_was_asked() -> None:
    assert scan.summary(places(), "seen")["control"]
    assert not scan.summary(places(lan={"dropped_at_pbx": 0}), "seen")["control"]
    assert not scan.summary(places(lan={"sent": 0}), "seen")["control"]
    assert not scan.summary(places(telephone={"phases": [{"tool": scan.COMPARED, "whole": False}]}), "seen")["control"]
    assert not scan.summary(places(), "")["control"]


def test_guessing_at_a_telephones_address_that_nobody_is_told_of_is_listed() -> None:
    assert scan.summary(places(), "seen")["unreported"] == []
    silent = {"tool": "svcrack", "answered": 2300, "seconds_to_ban": None, "reported": None, "alert_lacks": []}
    assert scan.summary(places(telephone={"phases": [silent]}), "seen")["unreported"] == ["svcrack: 2300 answers"]


def test_an_attacker_at_a_socket_has_an_address_that_dhcp_gives_to_nobody() -> None:
    clinic = load((Path(__file__).parents[2] / "inventory/case/clinic.yml").read_text())
    voice, unknown = clinic.networks.voice, clinic.provisioning.quarantine
    own = [scan.nobodys(clinic) + number for number in range(scan.SOCKETS)]
    assert unknown is not None and all(address in voice.cidr for address in own)
    assert not [a for a in own if a in unknown or voice.phones_from <= a <= voice.phones_to or a == voice.pbx]
