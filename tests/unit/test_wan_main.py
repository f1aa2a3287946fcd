"""What the watchdog does with its decisions: whose calls it ends, what it tells Asterisk, whom it obeys."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.wan import control, core, main, routes

UPLINKS = ("main", "lte-main")
"""Names that end alike: a leg is looked up, not guessed from its end."""


@pytest.fixture
def dog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[main.Watchdog]:
    site = {
        "uplinks": [
            {"name": name, "address": f"192.0.2.{n}", "gateway": "192.0.2.250", "external": f"198.18.{n}.2"}
            for n, name in enumerate(UPLINKS)
        ],
        "anchors": ["192.0.2.53"], "resolvers": ["127.0.0.1"], "loss_percent": 20, "return_seconds": 300, "secret": "x",
        "providers": [{"name": name, "server": "198.51.100.1", "port": 5060} for name in ("north", "south")],
    }  # fmt: skip
    (tmp_path / "wan.json").write_text(json.dumps(site))
    monkeypatch.setattr(main, "SITE", tmp_path / "wan.json")
    monkeypatch.setattr(main, "STATE", tmp_path / "state.json")
    monkeypatch.setattr(control, "PATH", tmp_path / "control")
    monkeypatch.setattr(routes, "run", lambda *_, **__: None)
    monkeypatch.setattr(routes, "standing", list)
    monkeypatch.setattr(routes, "take_along", lambda *_: None)
    made = main.Watchdog()
    monkeypatch.setattr(made.events, "tell", lambda kind, **_: told.append(kind))
    told: list[str] = []
    made.told = told  # type: ignore[attr-defined]
    made.acts = []  # type: ignore[attr-defined]
    made.manager = SimpleNamespace(connected=True, act=lambda *words, **more: made.acts.append((words[0], more)))  # type: ignore
    made.registrar.manager = made.manager
    yield made
    made.control.socket.close()
    made.resolvers.socket.close()
    made.selector.close()


def channels(*states: tuple[str, str]) -> list[dict[str, str]]:
    return [{"Channel": f"PJSIP/{leg}-0000000{n}", "ChannelStateDesc": state} for n, (leg, state) in enumerate(states)]


def ended(dog: Any) -> list[str]:
    return [more["Channel"].rpartition("-")[0] for action, more in dog.acts if action == "Hangup"]


def test_calls_that_wait_on_a_dead_uplink_are_sent_on_and_nobody_elses(dog: Any) -> None:
    dog.verdicts["lte-main"] = core.Verdict("router-dead", core.DEAD)
    dog.put = {"north-lte-main"}
    waiting = [("north-lte-main", state) for state in ("Down", "Dialing", "Ringing", "Ring", "Up")]
    dog.send_on(channels(*waiting, ("north-main", "Down"), ("2001", "Down")))
    assert ended(dog) == ["PJSIP/north-lte-main"] * 3, "who calls us and who talks goes on"


def test_calls_that_ring_by_a_provider_in_doubt_ring_on(dog: Any) -> None:
    dog.lines["main"].providers["north"].row = core.LEG_ROW
    dog.put = {"north-main"}
    dog.send_on(channels(("north-main", "Ringing"), ("north-main", "Ring"), ("north-main", "Down")))
    assert len(ended(dog)) == 1


def test_calls_on_a_silent_leg_are_looked_for_again(dog: Any) -> None:
    dog.put = set()
    dog.verdicts["main"] = core.Verdict("isp-dead", core.DEAD)
    dog.state.current = "lte-main"
    dog.calls_follow(True)
    assert dog.put == {"north-main", "south-main"} and len(dog.sweeps) == 1 + len(main.SWEEPS)
    assert ("DBPut", {"Family": "wan", "Key": "avoid/north-main", "Val": "1"}) in dog.acts


def test_packets_that_could_not_be_taken_along_are_tried_again(dog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dog.verdicts["main"] = core.Verdict("isp-dead", core.DEAD)
    dog.state.current = "lte-main"
    tries: list[list[str]] = []

    def take(ways: object, taken: list[routes.Way], by: routes.Way, flush: object) -> None:
        tries.append([way.name for way in taken])
        if len(tries) == 1:
            raise OSError("busy")

    monkeypatch.setattr(routes, "take_along", take)
    now = time.monotonic()
    dog.packets(now)
    assert dog.taken == {}
    dog.packets(now + 0.05)
    assert len(tries) == 1, "not with every look"
    dog.packets(now + main.TOLD + 0.1)
    assert dog.taken.keys() == {"main"} and tries == [["main"], ["main"]]
    dog.packets(now + main.TOLD + 0.2)
    assert len(tries) == 2


COMPLETE = [{"Event": "CoreShowChannelsComplete"}]
UP = channels(("north-main", "Up"))


@pytest.fixture
def back(dog: Any) -> float:
    """The main line was out, counted without a call before, and is in again since this moment."""
    now = time.monotonic()
    dog.counted(now, COMPLETE)
    dog.verdicts["main"], dog.state.current = core.Verdict("router-dead", core.DEAD), "lte-main"
    dog.packets(now)
    dog.verdicts["main"], dog.state.clean["main"] = core.Verdict(), now + 1
    dog.packets(now + 1)
    assert dog.taken.keys() == {"main"}, "the control: it is taken along, and well for no time yet"
    dog.acts.clear()
    return now + 1


@pytest.mark.parametrize("calls", [0, 1])
def test_line_that_is_back_is_let_go_when_its_calls_have_ended(dog: Any, back: float, calls: int) -> None:
    """Only then does it register again: while a call is carried, who calls in must not reach it by that way."""
    well = back + main.WELL
    dog.packets(well)
    assert dog.taken, "nobody has counted since it is well"
    assert [action for action, _ in dog.acts] == ["CoreShowChannels"]
    dog.counted(well, UP * calls + COMPLETE)
    dog.packets(well + 0.1)
    assert bool(dog.taken) == bool(calls)
    dog.packets(back + main.LONGEST_CARRY)
    assert dog.taken == {}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [(-1.0, COMPLETE), (main.WELL - 0.1, COMPLETE), (main.WELL, [{"Response": "Error"}])],
    ids=["when it was dead", "before it was well", "refused"],
)
def test_line_that_is_back_is_kept_until_its_calls_were_counted(
    dog: Any, back: float, asked: float, answer: list[dict[str, str]]
) -> None:
    dog.counted(back + asked, answer)
    dog.packets(back + main.WELL + 0.1)
    assert dog.taken.keys() == {"main"}


def test_it_is_asked_for_a_count_twice_a_second_and_not_with_every_look(dog: Any, back: float) -> None:
    for n in range(20):
        dog.packets(back + main.WELL + n / 20)
    assert [action for action, _ in dog.acts] == ["CoreShowChannels"] * 2


def test_call_that_is_carried_no_longer_introduces_itself_by_its_own_way(dog: Any, back: float) -> None:
    dog.packets(back + main.LONGEST_CARRY)
    assert dog.taken == {}
    asks = [more for action, more in dog.acts if action == "CoreShowChannels"]
    assert len(asks) == 2, "who is up there, and the count"


def test_engineer_holds_at_once_and_never_a_dead_uplink(dog: Any) -> None:
    dog.hold("lte-main")
    assert dog.state.current == "lte-main" and dog.state.hold == "lte-main"
    dog.verdicts["main"] = core.Verdict("router-dead", core.DEAD)
    dog.hold("main")
    assert dog.state.current == "lte-main"


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e9", "x"])
def test_test_of_no_sensible_length_is_refused(dog: Any, seconds: str) -> None:
    assert "error" in dog.control.answer(["test", "main", seconds]) and dog.tests == {}


def test_test_ends_after_a_minute_at_most(dog: Any) -> None:
    dog.control.answer(["test", "main", "600"])
    assert dog.tests["main"] <= time.monotonic() + control.LONGEST_TEST


def test_two_dead_uplinks_are_told_also_when_one_was_lossy_before(dog: Any) -> None:
    dog.verdicts["lte-main"] = core.Verdict("lossy", 40.0)
    dog.news(1.0)
    for name in UPLINKS:
        dog.verdicts[name] = core.Verdict("router-dead", core.DEAD)
    dog.news(2.0)
    dog.news(3.0)
    assert dog.told == ["down", "no-line"]
