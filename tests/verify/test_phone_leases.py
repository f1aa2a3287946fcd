"""DHCP for the telephones: a known one has its own address, an unknown one gets to provisioning and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from clinic.leases import addresses, mac12
from clinic.model import Clinic
from clinicpbx.verify.banned import forgotten
from clinicpbx.verify.doors import in_a_lab, takes, web
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence
from lab import netns
from lab.handset.dhcp import Client, Ends

pytestmark = pytest.mark.lane("provisioning")
SIPS = 5061


@pytest.mark.check(
    id="leases", title="A known telephone has its fixed address; an unknown one's reaches provisioning only",
    proves="clinic.yml: provisioning; case: 5", lab_only=True,
)  # fmt: skip
def test_dhcp_knows_who_is_who(
    place: Place, pbx: Pbx, clinic: Clinic, secrets: Mapping[str, str], bans: None, evidence: Evidence,
    control: Control,
) -> None:  # fmt: skip
    """Ensure it with a DHCP client of our own, for MAC addresses of the description and for an invented one."""
    in_a_lab(place)
    if not clinic.provisioning.dhcp:
        pytest.skip("clinic.yml: provisioning.dhcp is off, the clinic has its own server")
    space = place.state["namespaces"]["eng"]

    async def asked(*macs: str) -> list[Any]:
        with netns.entered(space):
            client = Client(Ends(card="voice"))
        client.open()
        try:
            waits = (asyncio.wait_for(client.lease(bytes.fromhex(mac), "verify"), 4) for mac in macs)
            return [
                None if isinstance(r, BaseException) else r
                for r in await asyncio.gather(*waits, return_exceptions=True)
            ]
        finally:
            client.close()

    unknown = f"02{time.time_ns() & 0xFFFFFFFFFF:010x}"
    some = clinic.people[:: max(1, len(clinic.people) // 10)]
    *leases, strange = asyncio.run(asked(*(mac12(p.phone.mac) for p in some), unknown))
    server = clinic.networks.voice.pbx
    for person, lease in zip(some, leases, strict=True):
        token = secrets[f"first-access/{mac12(person.phone.mac)}"]
        assert lease and lease.address == addresses(clinic)[person.ext], f"{person.ext} gets {lease}"
        assert lease.boot == lease.custom == f"https://{server}/f/{token}/", f"{person.ext} is not told its first door"
    evidence(f"{len(some)} telephones asked from elsewhere: each its own address, door and VLAN {leases[0].vlan}")
    pool = clinic.provisioning.quarantine
    if pool is None:
        assert strange is None, f"an unknown MAC address gets {strange}"
        evidence("an unknown MAC address gets no answer")
        return
    assert strange and strange.address in pool, f"an unknown MAC address gets {strange}"
    assert strange.boot == f"https://{server}/n/", "an unknown telephone is told a door"
    tokens = [value for name, value in secrets.items() if name.startswith("first-access/")]
    assert not any(token in f"{strange.boot}{strange.custom}" for token in tokens)
    phones = place.state["namespaces"]["phones"]  # a telephone in quarantine is plugged in there
    with forgotten(pbx, str(pool.last)):
        inside = (
            web(place, clinic, secrets, "phones", str(pool.last)).get("/ca.crt").status,
            takes(phones, str(pool.last), str(server), SIPS),
        )
    assert inside == (200, False), f"quarantine reaches HTTPS and SIP: {inside}"
    evidence(
        f"{unknown} gets {strange.address} for {strange.seconds} s and no token; there HTTPS answers and SIP does not"
    )
    with control("a telephone's own address reaches SIP too"):
        assert not takes(phones, str(addresses(clinic)[some[0].ext]), str(server), SIPS)
