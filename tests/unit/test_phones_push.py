"""A push tells telephones in waves, never one in a call, and believes only what each has shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from clinic.leases import addresses, mac12
from clinic.loading import load
from clinic.people import Role
from clinic.waves import most
from clinicpbx.phones.pbx import notifies
from clinicpbx.phones.push import Job, Patience, Result, missing, push, stale, summary
from clinicpbx.phones.state import Contact, Look

CASE = load((Path(__file__).parents[2] / "inventory/case/clinic.yml").read_text(encoding="utf-8"))
LEASES = {ext: str(address) for ext, address in addresses(CASE).items()}
MACS = {p.ext: mac12(p.phone.mac) for p in CASE.people}
EXT = {mac: ext for ext, mac in MACS.items()}
NEW, OLD = "0123456789ab", "ba9876543210"


class Told:
    """Who keeps what was said, as the terminal would."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.counts: list[tuple[int, int, int, int]] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def count(self, done: int, failed: int, out: int, busy: int) -> None:
        self.counts.append((done, failed, out, busy))


class Clinic:
    """A PBX whose telephones apply what they are told after `slow` seconds; the sets name those that do not."""

    def __init__(self, stale: Collection[str], **bad: Collection[str]) -> None:
        self.bad = {k: set(v) for k, v in bad.items()}
        self.now, self.slow = 1000.0, 0.4
        self.busy: dict[str, float] = {}
        self.told: dict[str, list[float]] = {}
        self.at_once: list[set[str]] = []
        self.version = {ext: OLD if ext in stale else NEW for ext in MACS}

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def notify(self, phones: Mapping[str, Collection[str]]) -> None:
        self.now += 0.05
        for vendor, extensions in phones.items():
            for ext in extensions:
                assert self.busy.get(ext, 0) <= self.now, f"{ext} is in a call"
                assert CASE.by_ext[ext].phone.mac.startswith("80:5e:c0") == (vendor == "yealink")
                self.told.setdefault(ext, []).append(self.now)
        self.at_once.append({ext for ext in self.told if self.version[ext] != NEW})

    def look(self, until: Mapping[str, str] | None = None, seconds: float = 0.0) -> Look:
        end = self.now + max(seconds, 0.1)
        while until and self.now < end and not all(self.shows(EXT[m]) == v for m, v in until.items()):
            self.now += 0.05
        self.now += 0.1
        for ext in self.told:
            self.version[ext] = self.shows(ext)
        return Look(self.contacts(), frozenset(e for e, t in self.busy.items() if t > self.now), self.phones())

    def shows(self, ext: str) -> str:
        told = self.told.get(ext, [])
        deaf = ext in self.bad.get("deaf", ()) or (ext in self.bad.get("once_deaf", ()) and len(told) < 2)
        ready = told and not deaf and ext not in self.bad.get("unmoved", ()) and self.now - told[-1] >= self.slow
        return NEW if ready else self.version[ext]

    def contacts(self) -> dict[str, Contact]:
        gone = self.bad.get("off", set()) | {e for e in self.bad.get("mute", ()) if self.version[e] == NEW}
        strange = self.bad.get("elsewhere", ())
        return {e: Contact("10.77.20.250" if e in strange else LEASES[e], reach="Avail") for e in MACS if e not in gone}

    def phones(self) -> dict[str, dict[str, Any]]:
        found = {}
        for ext, mac in MACS.items():
            fetched = NEW if ext in self.bad.get("unmoved", ()) and ext in self.told else self.version[ext]
            found[mac] = {
                "ext": ext, "wanted": NEW, "first": "closed", "address": LEASES[ext],
                "refused": [{"at": self.now + 1, "address": LEASES[ext], "what": "closed"}]
                if ext in self.bad.get("reset", ()) else [],
                "applied": {"version": self.version[ext], "at": self.now},
                "fetched": {"version": fetched, "at": self.now, "address": LEASES[ext], "agent": ""},
            }  # fmt: skip
        return found

    def push(self, told: Told | None = None, patience: Patience | None = None) -> Result:
        found = self.look()
        jobs = stale(found, CASE.people)
        return push(CASE, self, jobs, found, told or Told(), patience, self.clock, self.pause)


def test_only_stale_telephones_are_told_and_each_is_confirmed() -> None:
    clinic = Clinic(["2001", "3111"])
    result = clinic.push()
    assert result.done.keys() == {"2001", "3111"} == clinic.told.keys() and not result.failed


def test_telephone_that_was_reset_is_named_although_it_had_the_version_and_is_not_told() -> None:
    clinic = Clinic([], reset=["3111"])
    result = clinic.push()
    assert "phones open" in result.failed["3111"] and not result.done and clinic.told == {}


def test_second_push_tells_nobody() -> None:
    clinic = Clinic(["2001", "3111"])
    clinic.push()
    clinic.told.clear()
    assert clinic.push() == Result() and clinic.told == {}


def test_one_telephone_is_confirmed_as_soon_as_it_shows_it() -> None:
    clinic = Clinic(["2001"])
    assert clinic.push().seconds <= clinic.slow + 0.4


def test_whole_clinic_changes_without_a_department_in_silence() -> None:
    clinic, told = Clinic(MACS), Told()
    result = clinic.push(told)
    assert result.done.keys() == MACS.keys() and len(result.waves) > 1
    for out in clinic.at_once:
        for slug in CASE.departments:
            members = CASE.members(slug)
            assert sum(p.ext in out for p in members) <= most(len(members))
            assert sum(p.ext in out and p.role is Role.RECEPTION for p in members) <= 1
        assert not {p.ext for p in CASE.with_role(Role.OPERATOR)} <= out
    assert max(len(out) for out in clinic.at_once) > 10, "control: there were waves to look at"
    assert told.counts[-1] == (len(MACS), 0, 0, 0)


def test_telephone_in_a_call_is_waited_for_and_said_so() -> None:
    clinic, told = Clinic(["3111", "3112"]), Told()
    clinic.busy["3111"] = clinic.now + 60
    result = clinic.push(told)
    assert result.done.keys() == {"3111", "3112"} and result.waited == ["3111"]
    assert clinic.told["3111"][0] >= 1060 > clinic.told["3112"][0]
    assert any("3111" in line and "in a call" in line for line in told.lines)


def test_call_that_does_not_end_is_left_alone() -> None:
    clinic = Clinic(["3111"])
    clinic.busy["3111"] = clinic.now + 9999
    result = clinic.push(patience=Patience(calls=120))
    assert "in a call" in result.failed["3111"] and clinic.told == {}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("deaf", "fetched nothing"),
        ("unmoved", "did not apply it"),
        ("mute", "did not register again"),
        ("off", "off: not registered"),
        ("reset", "refused by the PBX: closed, from 10.77.20.56; if it was reset: phones open CLINIC 3111"),
        ("elsewhere", "registered from 10.77.20.250, but its configuration went to"),
    ],
)
def test_telephone_that_did_not_is_named_with_its_reason_and_the_others_go_on(fault: str, why: str) -> None:
    clinic = Clinic(["3111", "3112"], **{fault: ["3111"]})
    result = clinic.push()
    assert why in result.failed["3111"] and result.done.keys() == {"3112"}
    (row,) = summary(CASE, result)
    phone = CASE.by_ext["3111"].phone
    assert (row["name"], row["room"]) == (CASE.by_ext["3111"].name, "111")
    assert (row["socket"], row["switch"], row["port"]) == (phone.socket, phone.switch, phone.port)


def test_lost_notify_is_repeated_and_not_for_ever() -> None:
    clinic = Clinic(["3111", "3112"], once_deaf=["3111"], deaf=["3112"])
    result = clinic.push()
    assert "3111" in result.done and len(clinic.told["3111"]) == 2
    assert len(clinic.told["3112"]) == Patience().tries


def test_one_deaf_telephone_does_not_hold_up_its_department() -> None:
    children = [p.ext for p in CASE.members("children")]
    clinic = Clinic(children, deaf=children[10:11])
    result = clinic.push()
    assert result.seconds < Patience().deaf + 5 and len(result.done) == len(children) - 1
    last = max(times[0] for times in clinic.told.values())
    assert last < 1000 + 30, "all others were told while it was waited for"


def test_department_whose_telephones_are_all_dead_but_still_registered_ends_soon() -> None:
    """A switch that died a minute ago: Asterisk does not know it yet."""
    dead = [p.ext for p in CASE.members("administration")]
    result = Clinic(MACS, deaf=dead).push()
    assert result.failed.keys() == set(dead) and result.done.keys() == MACS.keys() - set(dead)
    assert result.seconds < (len(dead) / most(len(dead)) + 2) * Patience().deaf


def test_interrupted_push_goes_on_where_it_was() -> None:
    clinic = Clinic(MACS)
    real, calls = clinic.notify, []

    def interrupted(phones: Mapping[str, Collection[str]]) -> None:
        calls.append(phones)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(phones)

    clinic.notify = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        clinic.push()
    clinic.notify = real  # type: ignore[method-assign]
    done = {e for e, v in clinic.version.items() if v == NEW}
    clinic.told.clear()
    assert clinic.push().done.keys() == MACS.keys() - done and done and not clinic.told.keys() & done


def test_no_notify_is_longer_than_asterisks_cli_reads() -> None:
    many = {"grandstream": [str(n) for n in range(3000, 3130)], "yealink": ["4201"], "nobody": []}
    commands = notifies(many)
    assert all(len(command.split()) < 64 for command in commands)
    assert [w for c in commands for w in c.split()[5:]] == [*many["grandstream"], "4201"]
    assert {c.split()[3] for c in commands} == {"grandstream", "yealink"}


def test_refusal_by_the_pbx_is_the_reason() -> None:
    clinic = Clinic(["3111"])
    found = clinic.look()
    about = dict(found.phones[MACS["3111"]])
    about["refused"] = [{"at": clinic.now + 1, "address": "10.77.20.99", "what": "address"}]
    why = missing(Look(found.contacts, frozenset(), {MACS["3111"]: about}), Job(CASE.by_ext["3111"], NEW))
    assert "refused by the PBX: address" in why and "10.77.20.99" in why


def test_summary_is_in_the_order_of_a_walk_through_the_building() -> None:
    rows = summary(CASE, Result(failed=dict.fromkeys(["4201", "3135", "2001", "3111"], "off")))
    assert [row["ext"] for row in rows] == ["2001", "3111", "3135", "4201"]


def test_telephone_that_the_pbx_does_not_know_yet_is_no_stale_one() -> None:
    assert stale(Look({}, frozenset(), {}), CASE.people) == []
