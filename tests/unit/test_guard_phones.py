"""The guard tells of telephones that are off: of one by its socket, of many by their switch, once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

from clinic.loading import load
from clinic.rendering.guard import guard
from services.guard import words
from services.guard.core import Alert
from services.guard.phones import Phones, contacts

CASE = load((Path(__file__).parents[2] / "inventory/case/clinic.yml").read_text(encoding="utf-8"))
SITE: dict[str, Any] = json.loads(guard(CASE))
NOW = 1_795_400_000.0
EXPIRY = 300.0
ALL = tuple(SITE["people"])
SW1 = tuple(ext for ext in ALL if SITE["people"][ext]["switch"] == "sw-1")


class Clinic:
    """Telephones that register every 150 s for 300 s, as real ones do, each at a moment of its own; looked at."""

    def __init__(self, phones: Phones | None = None, on: Iterable[str] = ALL) -> None:
        self.phones, self.now, self.on = phones or Phones(), NOW, set(on)
        self.until = {ext: self.now + EXPIRY - int(ext) % 150 for ext in self.on}
        self.alerts: list[Alert] = []

    def lasts(self, seconds: float, off: Collection[str] | None = None) -> list[Alert]:
        """So much time goes by with these `off`. The alerts of that time."""
        if off is not None:
            self.on = set(ALL) - set(off)
        found: list[Alert] = []
        end = self.now + seconds
        while self.now < end:
            self.now += 10
            for ext in self.on:
                if self.until.get(ext, 0) - self.now < 150:
                    self.until[ext] = self.now + EXPIRY
            self.until = {ext: until for ext, until in self.until.items() if until > self.now}
            found += self.phones.look(self.until, SITE, self.now)
        return found


def kinds(alerts: Iterable[Alert]) -> list[str]:
    return [alert.kind for alert in alerts]


def test_contacts_are_read_as_asterisk_writes_them() -> None:
    value = json.dumps({"uri": "sip:2001@10.77.20.40:5060", "expiration_time": "1795400300", "user_agent": "x"})
    keys = {"/registrar/contact/2001;@0a1b": value, "/registrar/contact/2002;@0a1b": "torn", "/toll/day": "1"}
    assert contacts(keys) == {"2001": 1795400300.0}


def test_telephone_that_is_off_is_told_once_with_its_socket_and_again_when_it_is_back() -> None:
    clinic = Clinic()
    assert clinic.lasts(600) == []
    assert clinic.lasts(590, off=["3111"]) == [], "not before it was off for ten minutes"
    (alert,) = clinic.lasts(2 * EXPIRY)
    title, body = words.message(alert, SITE)
    person = SITE["people"]["3111"]
    assert alert.kind == "phone-off" and "3111" in title and person["name"] in title
    assert person["socket"] in body and person["switch"] in body and f"порт {person['port']}" in body
    assert clinic.lasts(7200) == []
    assert kinds(clinic.lasts(20, off=[])) == ["phone-back"]
    assert clinic.lasts(7200) == []


def test_reboot_is_nothing_to_tell() -> None:
    clinic = Clinic()
    clinic.lasts(600)
    assert clinic.lasts(700, off=["3111"]) == [] == clinic.lasts(3600, off=[])


def test_dead_switch_is_one_alert_that_names_it_and_none_of_its_telephones() -> None:
    clinic = Clinic()
    clinic.lasts(600)
    (alert,) = clinic.lasts(3600, off=SW1)
    title, body = words.message(alert, SITE)
    assert alert.kind == "phones-switch" and "sw-1" in title and f"{len(SW1)} из {len(SW1)}" in title
    assert SITE["switches"]["sw-1"] in body and "кросс" in body
    (back,) = clinic.lasts(3600, off=[])
    assert back.kind == "phones-switch-back" and back.facts["off"] == 0


def test_control_half_of_a_switch_is_the_switch_and_less_are_telephones() -> None:
    few = SW1[: len(SW1) // 2 - 1]
    clinic = Clinic()
    clinic.lasts(600)
    assert kinds(clinic.lasts(3600, off=few)) == ["phone-off"] * len(few)
    other = Clinic()
    other.lasts(600)
    assert kinds(other.lasts(3600, off=SW1[: -(-len(SW1) // 2)])) == ["phones-switch"]


def test_two_telephones_are_never_a_switch() -> None:
    clinic = Clinic(on=[*SW1[:2], *(e for e in ALL if e not in SW1)])
    clinic.lasts(600, off=SW1[2:])
    assert sorted(kinds(clinic.lasts(3600, off=SW1))) == ["phone-off", "phone-off"]


def test_those_that_stay_off_when_their_switch_is_back_get_their_time_and_are_then_told_one_by_one() -> None:
    clinic = Clinic()
    clinic.lasts(600)
    clinic.lasts(3600, off=SW1)
    assert kinds(clinic.lasts(300, off=SW1[:2])) == ["phones-switch-back"]
    assert sorted(kinds(clinic.lasts(3600))) == ["phone-off", "phone-off"]


def test_whole_network_is_one_alert_and_no_switch_is_blamed() -> None:
    clinic = Clinic()
    clinic.lasts(600)
    (alert,) = clinic.lasts(3600, off=ALL)
    assert alert.kind == "phones-all" and alert.facts["off"] == len(ALL)
    assert kinds(clinic.lasts(3600, off=[])) == ["phones-all-back"]


def test_telephones_that_never_registered_are_not_told_of() -> None:
    """The first night: the PBX is there, the telephones are in their boxes."""
    assert Clinic(on=()).lasts(7200, off=ALL) == []
    clinic = Clinic(on=["2001"])
    assert clinic.lasts(7200, off=[e for e in ALL if e != "2001"]) == []
    assert kinds(clinic.lasts(3600, off=ALL)) == ["phone-off"], "control: the one that did register is"


def test_restart_tells_nothing_twice_and_gives_everybody_their_time() -> None:
    clinic = Clinic()
    clinic.lasts(600)
    clinic.lasts(1800, off=["3111"])
    kept = json.loads(json.dumps(clinic.phones.dump()))
    again = Clinic(Phones(**kept), on=clinic.on)
    again.now, again.until = clinic.now + 4 * 3600, {}
    again.on = set()
    first = again.lasts(300)
    assert first == [], "the PBX was off for hours, and the telephones have had no time yet"
    again.on = set(ALL) - {"3111"}
    assert again.lasts(7200) == [], "3111 was told of before"
    assert kinds(again.lasts(20, off=[])) == ["phone-back"]


def test_told_switch_survives_a_restart() -> None:
    clinic = Clinic()
    clinic.lasts(600)
    clinic.lasts(3600, off=SW1)
    again = Clinic(Phones(**json.loads(json.dumps(clinic.phones.dump()))), on=clinic.on)
    again.now = clinic.now + 60
    again.until = clinic.until
    assert again.lasts(7200) == []
    assert kinds(again.lasts(3600, off=[])) == ["phones-switch-back"]


def test_person_who_left_is_forgotten() -> None:
    clinic = Clinic()
    clinic.lasts(600)
    clinic.lasts(1800, off=["3111"])
    fewer = SITE | {"people": {e: p for e, p in SITE["people"].items() if e != "3111"}}
    assert clinic.phones.look(clinic.until, fewer, clinic.now + 10) == []
    assert "3111" not in clinic.phones.dump()["seen"] and "3111" not in clinic.phones.dump()["told"]


@pytest.mark.parametrize("minutes", [1, 30])
def test_the_description_says_how_long(minutes: int) -> None:
    phones, site = Phones(), SITE | {"off_minutes": minutes}
    phones.look({"3111": NOW + 20}, site, NOW)
    found: list[float] = []
    for step in range(1, 3600):
        found += [step for _ in phones.look({"3111": NOW + 20}, site, NOW + step)]
    assert found == [20 + 60 * minutes]
