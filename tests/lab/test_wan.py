"""The WAN drill in short against the deployed case: real links break while calls are placed both ways."""

from __future__ import annotations

import json
import time

import pytest

from clinicpbx.drill.traffic import outward
from clinicpbx.drill.wan_report import LIMITS
from lab import alerts, faults, providers, pstn
from softphone.client import Pool
from tests.lab.conftest import LAB, Case


@pytest.mark.parametrize("fault", ["cable", "black-hole", "sip-filtered", "provider-down", "failback"])
def test_clinic_keeps_its_telephone(case: Case, online: None, fault: str) -> None:
    """Whether it does, not how fast: on a busy machine the seconds are the drill's business (twenty runs, quiet)."""
    drill = ("lab", "drill", "wan", str(case.file), "--lab", str(LAB), "--runs", "1", "--only", fault)
    text = case.json(*drill, expect=None)
    (row,) = text["faults"]
    limits = [limit for limit in LIMITS if limit.fault == fault and not limit.figure.endswith("_p95")]
    assert row["runs"] == 1 and limits and all(limit.holds(row) for limit in limits), row
    assert row["outbound_p95"] is not None and row["emergency_never"] == 0, row
    assert row["moves"] == (0 if fault == "provider-down" else 1), row


def registered(case: Case, leg: str) -> bool:
    rows = case.asterisk("pjsip show registrations").splitlines()
    return any(row.strip().startswith(f"{leg}/") and " Registered" in row for row in rows)


def registers(case: Case, leg: str, seconds: float) -> bool:
    """Whether it does so in time."""
    end = time.monotonic() + seconds
    while not registered(case, leg) and time.monotonic() < end:
        time.sleep(0.25)
    return registered(case, leg)


def test_call_whose_provider_does_not_follow_is_hung_up_cleanly(case: Case, online: None) -> None:
    """A provider that sends audio to the SDP's address and nowhere else: what it sends is lost with the uplink, so both
    sides are hung up when `rtp_timeout` (30 s) is over. The control, with one that follows, is the drill's `cable`.
    And the line, in again, is registered again by itself: nobody asks, and calls stay where they are."""
    north = providers.known(LAB)["north"]
    file = north.home / "etc/pjsip.conf"
    text = file.read_text()
    try:
        file.write_text(text.replace("rtp_symmetric = yes", "rtp_symmetric = no"))
        north.cli("module reload res_pjsip.so")
        with Pool(f"/run/clinicpbx/lab{LAB}/phones/socket") as phones, pstn.pool(LAB) as public:
            talk = outward(phones, public, "2001", "84951110044")
            time.sleep(2)
            assert talk.lost() == "", "the control: before the fault both hear each other"
            with faults.broken(LAB, "uplink-cable", "wan-a"):
                began = time.monotonic()
                time.sleep(6)
                assert "inside: silent" in talk.lost(), "it followed after all"
                while {talk.near.refresh()["state"], talk.far.refresh()["state"]} != {"ended"}:
                    assert time.monotonic() - began < 45, "a dead call lingers"
                    time.sleep(0.5)
                assert time.monotonic() - began > 25
                assert not registered(case, "north-wan-a"), "the control: what is dead is registered nowhere"
        assert registers(case, "north-wan-a", 30), "it did not register again by itself"
        assert json.loads(case.pbx("wanctl status --json"))["current"] == "wan-b", "the control: nobody asked"
    finally:
        with Pool(f"/run/clinicpbx/lab{LAB}/phones/socket") as phones:
            phones.hangup_all(["2001"])
        file.write_text(text)
        north.cli("module reload res_pjsip.so")
        case.pbx("wanctl return")


def test_watchdog_that_hangs_is_begun_again_and_calls_go_on_meanwhile(case: Case, online: None) -> None:
    def main_pid() -> str:
        return case.pbx("systemctl show -p MainPID --value clinic-wan").strip()

    def current() -> str:
        said = case.pbx("wanctl status --json")
        return str(json.loads(said)["current"]) if said.startswith("{") else ""

    before, path = main_pid(), current()
    assert path, "the control: it answers"
    case.pbx(f"kill -s STOP {before}")  # its unit's watchdog is what must notice
    with Pool(f"/run/clinicpbx/lab{LAB}/phones/socket") as phones:
        phones.call("2001", "89161234567").wait_answered(6).hangup()
    assert main_pid() == before, "the control: the call was made while it hung"
    deadline = time.monotonic() + 20
    while main_pid() in (before, "0") or not current():
        assert time.monotonic() < deadline, "it was not begun again"
        time.sleep(0.5)
    assert current() == path


def test_people_hear_of_it_in_their_language(case: Case, online: None) -> None:
    began = time.time()
    case.pbx("wanctl test wan-a 3")
    for part in ("переведена на резервный канал", "возвращена"):
        told = alerts.wait(LAB, lambda row, part=part: part in row["title"], began, 15)  # type: ignore[misc]
        if part == "возвращена":
            assert told is None, "the control: an engineer's own return is no news of a recovery"
        else:
            assert told and "инженер проверяет" in told["body"], told


def test_refused_registration_is_told_as_what_it_is(case: Case, online: None) -> None:
    """403: a wrong password or an unpaid bill, says the alert; and it registers again without anybody's help."""
    began = time.time()
    with faults.broken(LAB, "provider-refuses", "north"):
        case.asterisk("pjsip send register north-wan-a")
        told = alerts.wait(LAB, lambda row: "отказал в регистрации" in row["title"], began, 30)
        assert told and "(403)" in told["title"] and "оплату" in told["body"], told
    # asked again after 30 s: sooner would look like guessing to the provider
    assert registers(case, "north-wan-a", 45), "it did not register again"


def test_provider_that_takes_one_registration_follows_the_calls(case: Case, online: None) -> None:
    """`contacts: one`: the chosen uplink alone is registered, and people can call in by the other after a move."""
    text = case.file.read_text(encoding="utf-8")
    one = text.replace("    auth: registration\n", "    auth: registration\n    contacts: one\n", 1)
    assert one != text

    def standing() -> list[str]:
        rows = case.asterisk("pjsip show registrations").splitlines()
        return sorted(row.split("/")[0].strip() for row in rows if "Registered" in row)

    def becomes(legs: list[str], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while standing() != legs and time.monotonic() < end:
            time.sleep(0.5)
        return standing() == legs

    with faults.broken(LAB, "provider-one-contact", "north"):
        try:
            assert standing() != ["north-wan-a"], "the control: other trunks register by every uplink"
            case.file.write_text(one, encoding="utf-8")
            case.run("deploy", str(case.file))
            assert becomes(["north-wan-a"], 30), standing()
            drill = ("lab", "drill", "wan", str(case.file), "--lab", str(LAB), "--runs", "2", "--only", "cable")
            (row,) = case.json(*drill, expect=None)["faults"]
            assert row["inbound_never"] == row["outbound_never"] == row["false_switches"] == 0, row
            assert row["calls_kept"] == row["calls_in_progress"], row
            assert becomes(["north-wan-a"], 30), standing()
        finally:
            case.file.write_text(text, encoding="utf-8")
    case.run("deploy", str(case.file))
    assert becomes(["north-wan-a", "north-wan-b"], 60), standing()
