"""What the watchdog says and hears: SIP, digest, the kernel's words, the rendered description."""

from __future__ import annotations

import hashlib
import json

import pytest

from clinic.loading import load
from clinic.rendering.wan import wan
from clinic.synthetic import text
from services.guard import core as guard_core
from services.guard import words
from services.guard.core import Alert
from services.wan import routes, sip
from services.wan.ctl import shown
from services.wan.main import leg_of
from services.wan.routes import Way

A, B = Way("wan-a", 0, "10.77.31.2", "10.77.31.1", "eth2"), Way("wan-b", 1, "10.77.32.2", "10.77.32.1", "eth3")
CHALLENGE = 'Digest realm="asterisk", nonce="n/1", opaque="o", algorithm=MD5, qop="auth"'


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_answer_is_read_with_the_address_it_was_sent_to() -> None:
    data = (
        b"SIP/2.0 401 Unauthorized\r\nv: SIP/2.0/UDP 10.0.0.1:5;received=198.18.1.2;rport=7\r\n"
        b"CSeq: 12 OPTIONS\r\ni: abc\r\nWWW-Authenticate: Digest x\r\n\r\n"
    )
    found = sip.answer(data)
    assert found and (found.code, found.number, found.call, found.seen) == (401, 12, "abc", "198.18.1.2")
    assert found.headers["www-authenticate"] == "Digest x"


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"OPTIONS sip:x SIP/2.0\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"])
def test_what_is_no_answer_is_none(data: bytes) -> None:
    assert sip.answer(data) is None


def test_digest_is_that_of_rfc_8760() -> None:
    header = sip.authorization(CHALLENGE, "REGISTER", "sip:p:5060", "u", "p", count=2)
    said = dict(part.split("=", 1) for part in header.split("Digest ", 1)[1].strip().split(", "))
    cnonce = said["cnonce"].strip('"')
    one, two = (md5(t) for t in ("u:asterisk:p", "REGISTER:sip:p:5060"))
    assert said["nc"] == "00000002" and said["opaque"] == '"o"'
    wanted = md5(f"{one}:n/1:00000002:{cnonce}:auth:{two}")
    assert said["response"] == f'"{wanted}"'


@pytest.mark.parametrize("challenge", ["", "Basic realm=x", 'Digest nonce="x", algorithm=ROT13', "Digest realm=x"])
def test_challenge_that_we_do_not_speak_gets_no_password(challenge: str) -> None:
    assert sip.authorization(challenge, "REGISTER", "sip:p", "u", "p") == ""


def test_packets_are_taken_along_by_a_rule_and_nat() -> None:
    script = routes.nat([A], B)
    assert "ip saddr 10.77.31.2 oifname eth3 snat to 10.77.32.2" in script
    assert routes.rules([A, B], [A], B) == ["rule add from 10.77.31.2 lookup 102 priority 900"]
    assert "snat" not in routes.nat([], B) and routes.rules([A, B], [], B) == []


@pytest.mark.parametrize(
    ("channel", "leg"),
    [("PJSIP/north-wan-a-0000002a", "north-wan-a"), ("PJSIP/3111-00000001", "3111"), ("Local/s@x-1;1", "")],
)
def test_leg_of_a_channel(channel: str, leg: str) -> None:
    assert leg_of(channel) == leg


def test_what_the_watchdog_is_told_is_the_descriptions_own() -> None:
    clinic = load(text(20))
    secrets = {"trunk/north": "geheim", "ami/wan": "auch"}
    told = json.loads(wan(clinic, secrets))
    assert [u["name"] for u in told["uplinks"]] == ["wan-a", "wan-b"]
    assert told["providers"][0]["password"] == "geheim" and told["providers"][1]["user"] == ""
    assert told["return_seconds"] == 300 and len(told["anchors"]) == 2
    with pytest.raises(KeyError):
        wan(clinic, {})


KINDS = {
    "left": {"left": "wan-a", "uplink": "wan-b", "why": "router-dead", "evidence": "x"},
    "returned": {"left": "wan-b", "uplink": "wan-a", "why": "well", "evidence": "x"},
    "down": {"uplink": "wan-b", "why": "isp-dead", "evidence": "x"}, "up": {"uplink": "wan-b"},
    "no-line": {"uplink": "wan-b", "why": "isp-dead"}, "provider-down": {"provider": "north"},
    "provider-up": {"provider": "north"}, "accepted": {"provider": "north", "uplink": "wan-a"},
    "rejected": {"provider": "north", "uplink": "wan-a", "code": 403, "reason": "Forbidden"},
    "dns-down": {"resolvers": ["10.0.0.1"]}, "dns-up": {"resolvers": ["10.0.0.1"]},
    "address": {"uplink": "wan-a", "address": "198.18.9.9", "expected": "198.18.1.2"},
    "held": {"uplink": "wan-b"}, "released": {"uplink": "wan-b"},
}  # fmt: skip


@pytest.mark.parametrize("language", ["ru", "en"])
@pytest.mark.parametrize("kind", guard_core.WAN_KINDS)
def test_every_event_has_words_in_both_languages(kind: str, language: str) -> None:
    line = json.dumps({"at": 1_795_400_000.0, "kind": kind, **KINDS[kind]})
    alert = guard_core.uplink(line)
    assert isinstance(alert, Alert)
    site = {"clinic": "Клиника", "language": language, "uplinks": {"wan-a": "А", "wan-b": "Б"},
            "trunks": {"north": "Север"}, "people": {}, "phones": ["10.0.0.1", "10.0.0.2"]}  # fmt: skip
    title, body = words.message(alert, site)
    assert title.startswith("Клиника: ") and "{" not in title + body and "None" not in body
    if "provider" in KINDS[kind]:
        assert "Север" in title


@pytest.mark.parametrize("line", ["", "{}", "[]", "null", '{"at": 1, "kind": "started"}', '{"kind": "left"}', "x"])
def test_line_that_is_no_news_is_none(line: str) -> None:
    assert guard_core.uplink(line) is None


def test_reason_for_every_verdict_has_words() -> None:
    for why in ("no-carrier", "router-dead", "isp-dead", "no-sip", "lossy", "test", "hold", "asked", "well"):
        assert f"why-{why}" in words.RU and f"why-{why}" in words.EN


def test_status_is_readable() -> None:
    text = shown({
        "current": "wan-b", "hold": "", "moves": 1, "seconds": 9, "asterisk": False, "avoided": ["north-wan-a"],
        "uplinks": {"wan-a": {"verdict": "isp-dead", "evidence": "why", "loss_percent": 100.0, "rtt_ms": 1.0,
                              "clean_seconds": None, "returns_after": 300, "carried_calls": 2}},
        "legs": {"north-wan-a": {"answers": False, "row": 7, "registration": ""}}, "resolvers": {"10.0.0.1": False},
    })  # fmt: skip
    for part in ("calls by wan-b", "isp-dead", "2 calls taken along", "7 requests unanswered", "avoided", "Asterisk"):
        assert part in text
