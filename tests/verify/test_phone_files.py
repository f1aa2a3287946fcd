"""Telephones' files: everybody has applied the current one, and it holds their own account and nobody else's secret."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

import pytest

from clinic.leases import addresses, mac12
from clinic.model import Clinic
from clinicpbx.provisioning import Provisioning
from clinicpbx.verify.doors import own_file, status
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence
from lab.handset.names import Identity
from lab.handset.parse import IllFormedError, parse
from lab.handset.settings import understood

pytestmark = pytest.mark.lane("provisioning")
HELD = "/var/lib/clinicpbx/phones"


@pytest.mark.check(
    id="phones-current", title="Every telephone of the description has its current configuration and is registered",
    proves="case: 5",
)  # fmt: skip
def test_every_telephone_is_current(
    place: Place, pbx: Pbx, clinic: Clinic, rendered: Provisioning, evidence: Evidence, control: Control
) -> None:
    """Ensure by the marker: a telephone asks by a path that only its current configuration names."""
    wanted = {mac: about["version"] for mac, about in json.loads(rendered.index)["phones"].items()}
    if place.lab is not None and not place.borrows:
        pbx.run("clinic-phones wait - 20 >/dev/null", data=json.dumps(wanted).encode(), timeout=30)
    found, contacts = status(pbx), pbx.contacts()

    def behind(versions: Mapping[str, str]) -> list[str]:
        return [
            f"{found[mac]['ext']} has {(found[mac]['applied'] or {}).get('version')}"
            for mac, version in versions.items()
            if (found[mac]["applied"] or {}).get("version") != version
        ]

    assert found.keys() == wanted.keys(), "the service knows other telephones than the description: deploy"
    assert not behind(wanted), f"not current: {', '.join(behind(wanted)[:10])}"
    away = [person.ext for person in clinic.people if person.ext not in contacts]
    assert not away, f"not registered: {', '.join(away[:10])}"
    elsewhere = [
        person.ext for person in clinic.people
        if f"@{addresses(clinic)[person.ext]}" not in contacts[person.ext]
        and clinic.provisioning.dhcp and not place.borrows
    ]  # fmt: skip
    assert not elsewhere, f"registered from another address than their own: {', '.join(elsewhere[:10])}"
    opened = [row["ext"] for row in found.values() if row["first"] == "open"]
    assert not opened, f"the first door is still open: {', '.join(opened[:10])}"
    evidence(f"{len(wanted)} telephones applied their current version, are registered and shut their first door")
    one = next(iter(wanted))
    with control("a telephone with another version would be seen"):
        assert not behind({one: "0" * 12})


@pytest.mark.check(
    id="phone-files", title="Every telephone's file is well-formed and holds its own account and nobody else's secret",
    proves="clinic.yml: people; case: 5",
)  # fmt: skip
def test_files_are_well_formed_and_private(
    pbx: Pbx, clinic: Clinic, secrets: Mapping[str, str], rendered: Provisioning, evidence: Evidence, control: Control
) -> None:
    """Ensure it of what lies on the PBX, read as the telephone reads it."""
    listed = pbx.run(f"cd {HELD} && find . -type f -printf '%P\\0' | xargs -0 sha256sum").splitlines()
    held = {name: digest for digest, name in (line.split("  ", 1) for line in listed)}
    assert held == {name: hashlib.sha256(data).hexdigest() for name, data in rendered.files.items()}, (
        "the PBX holds other files than the description's: deploy"
    )
    kinds = ("sip", "provisioning", "pin")
    whose = {value: name.partition("/")[2] for name, value in secrets.items() if name.split("/")[0] in kinds}
    whose |= {secrets[f"first-access/{mac12(p.phone.mac)}"]: p.ext for p in clinic.people}

    def strange(data: bytes, ext: str) -> set[str]:
        """Extensions of others whose secrets stand in the data; words are looked up, each once."""
        words = re.findall(r"[A-Za-z0-9]{8,}", data.decode(errors="replace"))
        return {whose[word] for word in words if word in whose} - {ext}

    registers = 0
    for person in clinic.people:
        mac = mac12(person.phone.mac)
        phone = Identity(mac, person.phone.model)
        for name in (name for name in rendered.files if name.startswith(f"{mac}/")):
            data = rendered.files[name]
            settings = understood(phone, parse(phone, data))
            assert not strange(data, person.ext), f"{person.ext}'s file has secrets of {strange(data, person.ext)}"
            accounts = [account for account in settings.accounts if account.user == person.ext]
            assert accounts and accounts[0].password == secrets[f"sip/{person.ext}"], f"{name} gives no own account"
            registers += 1
    public = {n: d for n, d in rendered.files.items() if n.startswith(("shared/", "books/")) or n == "ca.crt"}
    leaks = [name for name, data in public.items() if strange(data, "")]
    assert not leaks, f"without a token anybody reads secrets in {leaks}"
    evidence(f"{registers} telephones' files on the PBX give each its own account; {len(public)} others, no secret")
    first = clinic.people[0]
    mac = mac12(first.phone.mac)
    data = rendered.files[own_file(mac, rendered)]
    with control("the search finds a secret where there is one"):
        assert not strange(data, "")
    with control("a file cut short is refused by the telephone"):
        try:
            parse(Identity(mac, first.phone.model), data[: len(data) // 2])
        except IllFormedError as error:
            raise AssertionError(str(error)) from None
