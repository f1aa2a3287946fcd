"""Refusals at provisioning: who is told, how often, and what the words name."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from clinic.loading import load
from clinic.rendering.guard import guard
from clinic.synthetic import text
from services.guard import words
from services.guard.doors import AN_HOUR, CAUSES, Doors

NOW = 1_795_400_000.0


@pytest.fixture(scope="module")
def site() -> dict[str, Any]:
    return dict(json.loads(guard(load(text(20)))))


def line(at: float = NOW, **changed: str) -> str:
    event = {"kind": "refused", "address": "10.77.20.40", "ext": "2001", "of": "2001", "mac": "c074ad3a2510",
             "what": "closed", "agent": "x"}  # fmt: skip
    return json.dumps({"at": at, **event, **changed})


def test_refusal_of_a_telephone_is_told_once_an_hour_and_hides_no_attack() -> None:
    doors = Doors()
    assert doors.add(line()) and not doors.add(line(NOW + 60)) and not doors.add(line(NOW + 61, what="password"))
    assert doors.add(line(NOW + 62, what="other")) and not doors.add(line(NOW + 63, what="agent"))
    again = Doors(**json.loads(json.dumps(doors.dump())))
    assert not again.add(line(NOW + 120)), "a restart forgets nothing"
    assert again.add(line(NOW + 3601))


@pytest.mark.parametrize(
    "said",
    ["", "x", "[]", '"x"', "{}", line(kind="fetched"), line(kind="applied"), line(ext="", of=""), '{"at": "x"}'],
)
def test_what_is_no_refusal_of_a_telephone_is_not_told(said: str) -> None:
    assert Doors().add(said) is None


def test_flood_of_forged_addresses_fills_no_pager() -> None:
    doors = Doors()
    told = [doors.add(line(NOW + n, address=f"10.77.20.{n}", ext=str(2000 + n))) for n in range(200)]
    assert len([alert for alert in told if alert]) == AN_HOUR


@pytest.mark.parametrize("language", ["ru", "en"])
@pytest.mark.parametrize("what", [*CAUSES, "something new"])
def test_alert_names_person_socket_switch_and_port(site: dict[str, Any], language: str, what: str) -> None:
    ext, person = next(iter(site["people"].items()))
    other = list(site["people"])[1]
    for changed in ({"ext": ext, "of": ext}, {"ext": ext, "of": other}, {"ext": "", "of": ext}, {"ext": ext, "of": ""}):
        alert = Doors().add(line(what=what, **changed))
        assert alert
        title, body = words.message(alert, {**site, "language": language})
        assert ext in title and person["name"] in title and "{" not in title + body
        for fact in (person["name"], person["socket"], person["switch"], "10.77.20.40"):
            assert fact in body
        assert f"{'порт' if language == 'ru' else 'port'} {person['port']}" in body
        if changed["of"] == other:
            assert site["people"][other]["name"] in body


def test_reset_telephone_is_told_apart_from_stolen_credentials(site: dict[str, Any]) -> None:
    ext = next(iter(site["people"]))

    def body(**changed: str) -> str:
        alert = Doors().add(line(**changed))
        assert alert
        return words.message(alert, {**site, "language": "en"})[1]

    assert f"clinicpbx phones open CLINIC {ext}" in body(ext=ext, of=ext, what="closed")
    assert "secrets renew" in body(ext="", of=ext, what="address")
    assert "secrets renew" not in body(ext=ext, of=ext, what="password")
    assert "secrets renew CLINIC" in body(ext="", of=ext, what="address")
    assert "secrets renew" not in body(ext="", of=ext, what="password"), "a guess is nothing that anybody knows"


@pytest.mark.parametrize("language", ["ru", "en"])
def test_every_command_of_an_alert_names_its_clinic(language: str) -> None:
    """Typed as it stands at three in the morning, a command without it ends in a usage message."""
    place = "КЛИНИКА" if language == "ru" else "CLINIC"
    every = " ".join((words.RU if language == "ru" else words.EN).values())
    commands = re.findall(r"clinicpbx (?:phones \w+|secrets renew) ?\w*", every)
    assert len(commands) == 6 and [c for c in commands if not c.endswith(place)] == []
