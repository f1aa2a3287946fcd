"""The clinic's own DHCP server of a rehearsal: by the notes that an engineer gets, and only for whom they name."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from clinic import secrets as names
from clinic import synthetic
from clinic.leases import addresses, mac12
from clinic.loading import load
from clinicpbx.phones.dhcp import notes
from clinicpbx.secrets import complete
from lab import dhcpd
from lab.handset import dhcp, packet
from lab.handset.packet import Lease, Packet

CLINIC = load(synthetic.text(20))
SECRETS = names.for_rehearsal(complete({}, CLINIC))
NOTES = notes(CLINIC, SECRETS)
SERVER, PERSON = IPv4Address("10.77.20.2"), CLINIC.people[0]
MAC = bytes.fromhex(mac12(PERSON.phone.mac))


def ask(asked: Packet) -> Packet | None:
    found = dhcpd.answer(packet.parse(packet.build(asked)), NOTES, SERVER)
    return packet.parse(packet.build(found)) if found else None


def test_a_telephone_gets_its_address_and_the_way_to_its_first_door() -> None:
    offer = ask(packet.discover(7, MAC, dhcp.ASKED, "x"))
    assert offer and offer.kind == packet.OFFER
    ack = ask(packet.request(offer, dhcp.ASKED, "x"))
    assert ack and ack.kind == packet.ACK
    lease = Lease.of(ack)
    assert lease.address == addresses(CLINIC)[PERSON.ext]
    door = f"https://{CLINIC.networks.voice.pbx}/f/{SECRETS[f'first-access/{MAC.hex()}']}/"
    assert (lease.boot, lease.custom, lease.vlan) == (door, door, str(CLINIC.networks.voice.vlan))
    renewed = ask(packet.renewal(8, MAC, lease.address, dhcp.ASKED, "x"))
    assert renewed and renewed.kind == packet.ACK and renewed.client == lease.address


def test_an_address_that_is_not_its_own_is_refused() -> None:
    found = ask(packet.renewal(8, MAC, IPv4Address("10.77.20.99"), dhcp.ASKED, "x"))
    assert found and found.kind == packet.NAK


@pytest.mark.parametrize("case", ["unknown", "another server's", "a release", "an answer"])
def test_what_is_not_for_it_is_not_answered(case: str) -> None:
    offer = ask(packet.discover(7, MAC, dhcp.ASKED, "x"))
    assert offer
    mine = packet.request(offer, dhcp.ASKED, "x")
    assert ask(mine), "the control"
    wrong = {
        "unknown": replace(mine, mac=bytes(6)),
        "another server's": replace(mine, options=mine.options | {packet.SERVER: bytes(4)}),
        "a release": replace(mine, options=mine.options | {packet.KIND: bytes((packet.RELEASE,))}),
        "an answer": replace(mine, op=2),
    }
    assert ask(wrong[case]) is None
