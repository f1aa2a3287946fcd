"""Kea's, nginx's and the service's configuration, from the description."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from clinic.leases import addresses, mac12
from clinic.model import Clinic
from clinic.rendering import provisioning
from clinic.rendering.dhcp import dhcp
from clinic.rendering.nginx import nginx
from clinicpbx import descriptions, secrets
from services.provisioning import core


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return descriptions.read_or_explain("case")


@pytest.fixture(scope="module")
def values(clinic: Clinic) -> dict[str, str]:
    return secrets.complete({}, clinic)


@pytest.fixture(scope="module")
def files(clinic: Clinic, values: dict[str, str]) -> dict[str, bytes]:
    return provisioning.files(clinic, values, {"grp2615fw.bin": b"firmware"})


Changed = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def kea(clinic: Clinic, values: dict[str, str]) -> Changed:
    def rendered(**changed: Any) -> dict[str, Any]:
        other = clinic.model_copy(update={"provisioning": clinic.provisioning.model_copy(update=changed)})
        return dict(json.loads(dhcp(other, values, "eth1"))["Dhcp4"])

    return rendered


def data(options: list[dict[str, Any]], what: str | int) -> str:
    return next((str(o["data"]) for o in options if what in (o.get("name"), o.get("code"))), "")


# -- Kea --------------------------------------------------------------------------------------------------------------


def test_every_telephone_has_its_address_and_its_own_token(kea: Changed, clinic: Clinic, values: Any) -> None:
    rows = {row["hw-address"]: row for row in kea()["subnet4"][0]["reservations"]}
    assert len(rows) == len(clinic.people)
    leases = addresses(clinic)
    for person in clinic.people:
        row = rows[person.phone.mac.lower()]
        url = f"https://10.77.20.10/f/{values[f'first-access/{mac12(person.phone.mac)}']}/"
        assert row["ip-address"] == str(leases[person.ext])
        assert data(row["option-data"], "tftp-server-name") == data(row["option-data"], 160) == url
    assert len({row["ip-address"] for row in rows.values()}) == len(rows), "nobody shares an address"


def test_unknown_addresses_come_from_quarantine_without_a_token_or_not_at_all(kea: Changed, values: Any) -> None:
    (pool,) = kea()["subnet4"][0]["pools"]
    assert pool["pool"] == "10.77.20.11-10.77.20.30" and pool["client-class"] == "quarantine"
    assert data(pool["option-data"], "tftp-server-name") == "https://10.77.20.10/n/"
    (only,) = kea()["client-classes"]
    assert only["test"] == "not member('KNOWN')" and only["valid-lifetime"] <= 300
    assert kea(quarantine=None)["subnet4"][0]["pools"] == []
    tokens = [value for name, value in values.items() if name.startswith("first-access/")]
    assert not any(token in json.dumps(pool) for token in tokens)


def test_everybody_learns_the_time_server_and_the_vlan(kea: Changed, clinic: Clinic) -> None:
    options = kea()["subnet4"][0]["option-data"]
    assert (data(options, "ntp-servers"), data(options, 132)) == ("10.77.20.10", "20")
    assert data(kea(time_server="10.77.20.5")["subnet4"][0]["option-data"], "ntp-servers") == "10.77.20.5"


def test_kea_serves_one_card_by_raw_packets_and_one_telephone_is_one_mac(kea: Changed) -> None:
    assert kea()["interfaces-config"]["interfaces"] == ["eth1/10.77.20.10"]
    assert kea()["interfaces-config"]["dhcp-socket-type"] == "raw"
    assert kea()["match-client-id"] is False and kea()["host-reservation-identifiers"] == ["hw-address"]
    assert kea()["renew-timer"] * 4 < kea()["valid-lifetime"], "a changed description is soon everybody's"


# -- nginx ------------------------------------------------------------------------------------------------------------


def test_nginx_listens_on_the_voice_address_by_tls_only(clinic: Clinic) -> None:
    text = nginx(clinic)
    assert re.findall(r"listen ([^;]+);", text) == ["10.77.20.10:443 ssl backlog=4096"]
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in text and "root " not in text and "alias " not in text


def test_nginx_passes_on_the_path_as_it_was_sent_and_no_body_nor_forged_address(clinic: Clinic) -> None:
    text = nginx(clinic)
    assert "proxy_pass http://provisioning;" in text, "without a path: the service sees what was asked, undecoded"
    assert "proxy_pass_request_body off;" in text and "proxy_pass_request_headers off;" in text
    assert "proxy_set_header X-Address $remote_addr;" in text


def test_limits_leave_a_telephones_start_alone(clinic: Clinic) -> None:
    text = nginx(clinic)
    rate = int(re.findall(r"zone=asked:2m rate=(\d+)r/s", text)[0])
    burst = int(re.findall(r"limit_req zone=asked burst=(\d+)", text)[0])
    assert rate >= 10 and burst >= 40, "a start asks under twenty times"
    for setting in ("client_header_timeout 5s", "client_max_body_size 1k", "large_client_header_buffers 2 4k"):
        assert setting in text


def test_first_doors_token_is_in_no_log(clinic: Clinic) -> None:
    """The map's expression, tried by Python: nginx's is the same dialect."""
    text = nginx(clinic)
    found = re.search(r'"~(.*)" "\$verb-\$rest";', text)
    assert found and "access_log /var/log/nginx/provisioning.access.log veiled;" in text
    veiled = re.compile(found[1].replace("?<", "?P<"))
    for line in (
        "GET /f/secretToken/cfg.xml HTTP/1.1",
        "GET //f/secretToken HTTP/1.1",
        "HEAD /f//secretToken/x HTTP/1.1",
    ):
        match = veiled.match(line)
        assert match and "secretToken" not in match["verb"] + "-" + match["rest"]
    assert not veiled.match("GET /p/cfg.xml HTTP/1.1")
    assert "error_log /var/log/nginx/error.log alert;" in text, "an error's line has the whole request"


# -- the service ------------------------------------------------------------------------------------------------------


def test_index_is_read_by_the_service_and_holds_no_plain_secret(clinic: Clinic, values: Any, files: Any) -> None:
    text = provisioning.index(clinic, values, files)
    index = core.Index.load(json.loads(text))
    assert len(index.phones) == len(clinic.people) and index.strict
    assert not [n for n, v in values.items() for line in v.splitlines() if len(line) >= 8 and line in text]
    for person in clinic.people:
        phone = index.phones[mac12(person.phone.mac)]
        assert phone.password == core.digest(values[f"provisioning/{person.ext}"])
        assert index.tokens[core.digest(values[f"first-access/{phone.mac}"])] is phone


def test_every_file_the_index_names_is_brought_and_nothing_else(clinic: Clinic, values: Any, files: Any) -> None:
    index = core.Index.load(json.loads(provisioning.index(clinic, values, files)))
    named = {index.authority, *index.shared.values(), *index.firmware.values()}
    for phone in index.phones.values():
        named |= {*phone.files.values(), *phone.books.values()}
    assert named == {f"{provisioning.HOME}/{path}" for path in files}


def test_shared_files_hold_no_secret_of_anybody(files: Any, values: Any) -> None:
    needles = [v for n, v in values.items() if len(v) >= 8 and not n.startswith(("tls/", "ssh/"))]
    shared = {name: data for name, data in files.items() if re.match(r"shared/|books/|ca\.crt", name)}
    assert shared and not [n for n, data in shared.items() for needle in needles if needle.encode() in data]


def test_a_telephones_files_hold_its_own_secrets_and_nobody_elses(clinic: Clinic, values: Any, files: Any) -> None:
    for person in clinic.people[:20]:
        mac = mac12(person.phone.mac)
        own = b"".join(data for name, data in files.items() if name.startswith(f"{mac}/"))
        assert values[f"sip/{person.ext}"].encode() in own, "the control: the search finds what is there"
        others = [
            values[f"{kind}/{p.ext}"] for p in clinic.people if p is not person for kind in ("sip", "provisioning")
        ]
        assert not [secret for secret in others if secret.encode() in own]
