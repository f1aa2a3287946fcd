"""The packet filter's rules: whom the description names gets in, and the way back forgets nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from clinic.model import Clinic
from clinic.rendering.firewall import firewall
from clinicpbx import descriptions
from services.firewall import core

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return descriptions.read_or_explain("case")


def chain(rules: str, name: str) -> str:
    return rules.split(f"chain {name} {{")[1].split("\n    }")[0]


def elements(rules: str, name: str) -> list[str]:
    found = re.search(rf"set {name} {{.*elements = {{ (.*?) }}", rules)
    return found[1].split(", ") if found else []


def test_what_no_rule_lets_in_is_dropped(clinic: Clinic) -> None:
    rules = firewall(clinic)
    assert "hook input priority filter; policy drop;" in rules and "hook forward priority filter; policy drop;" in rules


def test_other_tables_stay(clinic: Clinic) -> None:
    rules = firewall(clinic)
    assert "flush ruleset" not in rules
    assert set(re.findall(r"^(?:delete )?table inet (\S+)", rules, re.M)) == {"clinic"}
    assert rules.index("delete table inet clinic") > rules.index("table inet clinic {}")


def test_ssh_is_for_the_management_network_only(clinic: Clinic) -> None:
    rules = firewall(clinic)
    assert "ip daddr 10.77.10.10 ip saddr 10.77.10.0/24 jump management" in rules
    assert "tcp dport 22 accept" in chain(rules, "management")
    assert rules.count("dport 22 accept") == 1


def test_a_quarantined_telephone_reaches_provisioning_and_nothing_else(clinic: Clinic) -> None:
    voice = chain(firewall(clinic), "voice")
    here = "ip saddr 10.77.20.11-10.77.20.30 counter drop"
    before, _, after = voice.partition(here)
    assert after, "the case has a quarantine"
    opened = re.findall(r"dport (\d+|\{[^}]*\})[^\n]* accept", before)
    assert opened == ["443", "67"] and "dport 5061 accept" in after
    without = clinic.model_copy(update={"provisioning": clinic.provisioning.model_copy(update={"quarantine": None})})
    assert "drop comment" not in chain(firewall(without), "voice").replace('drop comment "HTTPS flood"', "")


def test_http_without_tls_has_no_door_and_dhcp_one_only_where_the_pbx_serves_it(clinic: Clinic) -> None:
    rules = firewall(clinic)
    assert not re.search(r"\b80\b", chain(rules, "voice"))
    assert rules.count("udp dport 67 accept") == 2
    off = clinic.model_copy(update={"provisioning": clinic.provisioning.model_copy(update={"dhcp": False})})
    assert "dport 67" not in firewall(off)


def test_who_holds_many_connections_to_provisioning_is_stopped_before_the_door(clinic: Clinic) -> None:
    voice = chain(firewall(clinic), "voice")
    assert re.search(r"tcp dport 443 ct state new add @https \{ ip saddr ct count over \d+ \} counter drop", voice)
    assert voice.index("HTTPS flood") < voice.index("tcp dport 443 accept")


def test_databases_manager_and_metrics_have_no_door(clinic: Clinic) -> None:
    assert not re.search(r"\b(5038|5432|9\d{3})\b", firewall(clinic))


def test_providers_are_the_only_peers_on_uplinks(clinic: Clinic) -> None:
    rules = firewall(clinic)
    assert elements(rules, "servers") == ["198.51.100.10", "203.0.113.10"]
    accepted = [line.strip() for line in chain(rules, "uplinks").splitlines() if "accept" in line]
    assert accepted == ["ip saddr @servers udp dport 5060 accept", "ip saddr @providers udp dport 10000-12999 accept"]


def test_a_trunk_that_is_off_opens_nothing_and_is_no_stranger(clinic: Clinic) -> None:
    off = clinic.trunks[1].model_copy(update={"enabled": False})
    rules = firewall(clinic.model_copy(update={"trunks": (clinic.trunks[0], off)}))
    assert elements(rules, "servers") == ["198.51.100.10"] == elements(rules, "providers")
    assert "203.0.113.10" not in elements(rules, "sip_peers") and "203.0.113.10" in elements(rules, "known")


def test_a_providers_audio_networks_may_send_audio_but_not_sip(clinic: Clinic) -> None:
    audio = clinic.trunks[0].model_copy(update={"media": (IPv4Network("192.0.2.0/28"),)})
    rules = firewall(clinic.model_copy(update={"trunks": (audio, clinic.trunks[1])}))
    assert "192.0.2.0/28" not in elements(rules, "servers")
    assert all("192.0.2.0/28" in elements(rules, name) for name in ("providers", "sip_peers", "known"))


def test_floods_are_met_before_what_is_established(clinic: Clinic) -> None:
    rules = chain(firewall(clinic), "input")
    assert rules.index("SIP flood") < rules.index("ct state established")


def test_strangers_are_remembered_and_never_asked(clinic: Clinic) -> None:
    rules = firewall(clinic)
    assert re.findall(r"(\S+) @knocks6? ", rules) == ["update", "update"]


def _nft_works() -> bool:
    if not shutil.which("nft") or os.geteuid():
        return False
    return (
        subprocess.run(["unshare", "--net", "nft", "list", "tables"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not _nft_works(), reason="needs root, nft and network namespaces")
def test_the_kernel_takes_it_twice_and_keeps_the_neighbours(clinic: Clinic, tmp_path: Path) -> None:
    (tmp_path / "rules").write_text(firewall(clinic).replace('skuid "asterisk"', "skuid 0"))
    (tmp_path / "wrong").write_text(firewall(clinic).replace("policy drop", "policy maybe"))
    script = (
        "nft add table inet other; nft -f rules && nft -f rules && nft list tables; nft -c -f wrong || echo refused"
    )
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:3] == ["table inet other", "table inet clinic", "refused"]


def listed(packets: int, collected: list[str], port: int = 5060) -> str:
    rule = {"rule": {"handle": packets, "expr": [{"match": port}, {"counter": {"packets": packets, "bytes": 9}}]}}
    sets = {"set": {"name": "knocks", "flags": ["timeout", "dynamic"], "elem": collected}}
    return json.dumps({"nftables": [{"metainfo": {"version": str(packets)}}, sets, rule]})


def test_counts_and_strangers_do_not_change_the_fingerprint_and_a_rule_does() -> None:
    first = core.fingerprint(listed(1, []))
    assert first == core.fingerprint(listed(7, ["192.0.2.1"]))
    assert first != core.fingerprint(listed(1, [], port=5061))
    assert core.fingerprint("") == ""


def test_a_flushed_table_or_an_edited_file_is_seen() -> None:
    rules, live = b"rules", core.fingerprint(listed(1, []))
    known = {"digest": core.digest(rules), "fingerprint": live}
    good = core.status(known, rules, live, "", False)
    assert good["boots"] and good["live"]
    assert not core.status(known, rules, "", "", False)["live"]
    assert not core.status(known, b"edited", live, "", False)["boots"]
    assert not core.status({}, rules, "", "", False)["live"]
