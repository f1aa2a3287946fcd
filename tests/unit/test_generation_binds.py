"""Ensure an address that Asterisk did not move to is told, by its own words and by the kernel's."""

from __future__ import annotations

import pytest

from clinicpbx.generation import unmoved
from services.generation import binds, objects

CONF = """[voice]
type = transport
protocol = udp
bind = 10.77.20.10:5060
[wan-a]
type = transport
bind = 10.77.31.2
[global]
type = global
"""
SHOWN = """
Transport:  <TransportId........>  <Type>  <cos>  <tos>  <BindAddress....................>
==========================================================================================

Transport:  voice                     udp      3     96  10.77.20.10:5060
Transport:  wan-a                     udp      3     96  10.77.31.2:5060

Objects found: 2
"""
SOCKETS = """udp   UNCONN 0      0          10.77.31.2:5060       0.0.0.0:*    users:(("asterisk",pid=4322,fd=14))
udp   UNCONN 0      0         10.77.20.10:5060       0.0.0.0:*    users:(("asterisk",pid=4322,fd=13))
udp   UNCONN 0      0             0.0.0.0:57775      0.0.0.0:*    users:(("asterisk",pid=4322,fd=11))
udp   UNCONN 0      0          10.77.32.2:5060       0.0.0.0:*    users:(("other",pid=43,fd=11))
tcp   LISTEN 0      10          127.0.0.1:5038       0.0.0.0:*    users:(("asterisk",pid=4322,fd=9))
"""


def needed(conf: str = CONF, shown: str = SHOWN, sockets: str = SOCKETS) -> list[dict[str, str]]:
    want = binds.wanted(objects.sections({"pjsip.conf": conf}))
    return binds.differing(want, binds.shown(shown), binds.sockets(sockets, "4322"))


def test_transports_that_listen_where_they_should_need_nothing() -> None:
    assert needed() == []


@pytest.mark.parametrize("fresh", ["10.77.31.3", "10.77.31.2:5062"])
def test_changed_address_or_port_needs_a_restart(fresh: str) -> None:
    wanted = f"udp {fresh}" if ":" in fresh else f"udp {fresh}:5060"
    found = needed(CONF.replace("10.77.31.2", fresh))
    assert found == [{"transport": "wan-a", "wanted": wanted, "actual": "udp 10.77.31.2:5060"}]
    assert unmoved(found) == [f"transport wan-a: wanted {wanted}, actual udp 10.77.31.2:5060"]


def test_transport_without_a_socket_is_told_whatever_asterisk_says() -> None:
    found = needed(sockets=SOCKETS.replace("10.77.31.2:5060", "10.77.31.9:5555"))
    assert found == [{"transport": "wan-a", "wanted": "udp 10.77.31.2:5060", "actual": "no socket"}]


def test_two_transports_that_change_places_are_told_though_every_socket_is_there() -> None:
    swapped = CONF.replace("10.77.20.10:5060", "x").replace("10.77.31.2", "10.77.20.10").replace("x", "10.77.31.2:5060")
    assert [row["transport"] for row in needed(swapped)] == ["voice", "wan-a"]


def test_transport_that_is_new_or_was_removed_is_told() -> None:
    more = CONF + "[wan-b]\ntype = transport\nbind = 10.77.32.2:5060\n"
    assert needed(more) == [{"transport": "wan-b", "wanted": "udp 10.77.32.2:5060", "actual": "none"}]
    fewer = CONF.replace("[wan-a]\ntype = transport\nbind = 10.77.31.2\n", "")
    without = "\n".join(line for line in SHOWN.splitlines() if "wan-a" not in line)
    assert needed(fewer, without) == [{"transport": "(removed)", "wanted": "none", "actual": "udp 10.77.31.2:5060"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 active channels\n0 active calls\n7 calls processed\n", ""),
        ("2 active channels\n1 active call\n7 calls processed\n", "1 calls on 2 channels"),
        ("1 active channel\n0 active calls\n", "0 calls on 1 channels"),
        ("", "an unknown number of calls: Asterisk does not answer"),
    ],
)
def test_asterisk_is_idle_only_when_it_says_so(text: str, said: str) -> None:
    assert binds.in_use(text) == said
