"""The watchdog's judgement, on simulated lines: quick to leave, slow to return, never fooled by one witness."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from services.wan import core
from services.wan.core import Line, Rules, State, Track, Verdict

ANCHORS, PROVIDERS = ("192.0.2.53", "198.18.200.53"), ("north", "south")
RULES = Rules(("a", "b"), 20.0, 300.0)
TICK = 0.05


@dataclass
class Wire:
    """An uplink as it really is: what answers, how much is lost of a round trip, and after how long it answers."""

    gateway: bool = True
    internet: bool = True
    ping: bool = True
    sip: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(PROVIDERS, True))
    anchors: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(ANCHORS, True))
    loss: float = 0.0
    delay: float = 0.02


class World:
    """Two uplinks that are probed as services/wan/probes.py does, by a clock of its own."""

    def __init__(self, seed: int = 1) -> None:
        self.now, self.chance = 1000.0, random.Random(seed)  # noqa: S311
        self.wires = {name: Wire() for name in RULES.order}
        self.lines = {
            name: Line(name, Track(), {a: Track() for a in ANCHORS}, {p: Track(least=0.15) for p in PROVIDERS})
            for name in RULES.order
        }
        self.state = State("a")
        self.verdicts = dict.fromkeys(RULES.order, Verdict())
        self.moves: list[core.Decision] = []
        self.calls: dict[str, int] = {}
        self.requests = 0
        self._number = 0
        self._tick = 0
        self._flying: list[tuple[float, Track, int, Line, bool]] = []
        self._asked: dict[str, dict[str, float]] = {name: {} for name in RULES.order}

    def _send(self, line: Line, track: Track, answers: bool, *, far: bool, local: bool = False) -> None:
        wire = self.wires[line.name]
        self._number += 1
        track.sent(self._number, self.now)
        if answers and (local or self.chance.random() >= wire.loss):
            self._flying.append((self.now + wire.delay, track, self._number, line, far))

    def run(self, seconds: float) -> list[core.Decision]:
        """Let time pass; the moves that were made in it."""
        before = len(self.moves)
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self._tick += 1
            for at, track, number, line, far in [f for f in self._flying if f[0] <= self.now]:
                if track.answered(number, at) and far:
                    line.row = 0
            self._flying = [f for f in self._flying if f[0] > self.now]
            for line in self.lines.values():
                wire = self.wires[line.name]
                line.expire(self.now)
                others = [o for o in self.lines.values() if o is not line]
                if self._tick % 4 == 0:
                    self._send(line, line.gateway, wire.gateway, far=False, local=True)
                if self._tick % 2 == 0:
                    anchor = ANCHORS[self._tick // 2 % 2]
                    answers = wire.gateway and wire.internet and wire.ping and wire.anchors[anchor]
                    self._send(line, line.anchors[anchor], answers, far=True)
                asked = self._asked[line.name]
                for provider in core.due(line, asked, others, self.now):
                    asked[provider] = self.now
                    self.requests += 1
                    self._send(line, line.providers[provider],
                               wire.gateway and wire.internet and wire.sip[provider], far=False)  # fmt: skip
            if self._tick % 100 == 0:
                core.remember(list(self.lines.values()), ())
            for line in self.lines.values():
                others = [o for o in self.lines.values() if o is not line]
                found = core.judge(line, others, RULES.limit)
                if self.verdicts[line.name].dead and not found.dead:
                    line.begin_anew()
                    found = core.judge(line, others, RULES.limit)
                self.verdicts[line.name] = found
            decision = core.decide(self.state, self.verdicts, self.calls, self.now, RULES)
            if decision:
                core.follow(self.state, decision)
                self.moves.append(decision)
        return self.moves[before:]


@pytest.fixture
def world() -> World:
    made = World()
    assert made.run(20) == [] and made.state.current == "a"
    return made


def broken(world: World, **what: object) -> float:
    """Break uplink a and wait for the move; seconds until then."""
    for name, value in what.items():
        setattr(world.wires["a"], name, value)
    began = world.now
    moves = world.run(5)
    assert len(moves) == 1, moves
    return moves[0].at - began


# -- leaving ----------------------------------------------------------------------------------------------------------


def test_dead_router_is_left_within_a_second(world: World) -> None:
    assert broken(world, gateway=False) < 0.7
    assert world.moves[-1].why == "router-dead" and world.state.current == "b"


def test_one_slow_answer_of_a_provider_delays_nothing(world: World) -> None:
    for track in world.lines["a"].providers.values():
        track.mean, track.deviation = 0.3, 0.3
        assert track.timeout == core.SLOWEST
    assert broken(world, gateway=False) < 0.8
    assert world.moves[-1].why == "router-dead"


def test_dead_isp_behind_a_living_router_is_left_within_a_second_and_a_half(world: World) -> None:
    assert broken(world, internet=False) < 1.3
    assert world.moves[-1].why == "isp-dead"


def test_filtered_sip_is_found_though_the_internet_works(world: World) -> None:
    assert broken(world, sip=dict.fromkeys(PROVIDERS, False)) < 2.0
    assert world.moves[-1].why == "no-sip"


@pytest.mark.parametrize(("loss", "limit"), [(0.0, 1.5), (0.05, 2.0), (0.1, 2.1)])
def test_filtered_sip_is_found_sooner_on_a_cleaner_line(loss: float, limit: float) -> None:
    took = []
    for seed in range(20):
        world, chance = World(seed), random.Random(seed + 100)  # noqa: S311
        world.wires["a"].loss = loss
        world.run(20)
        world._asked["a"] = dict.fromkeys(PROVIDERS, world.now)  # as a doubt leaves it
        world.run(chance.uniform(2, 5))
        took.append(broken(world, sip=dict.fromkeys(PROVIDERS, False)))
    assert sorted(took)[-2] < limit, took


def test_cable_that_the_card_feels_is_left_at_once(world: World) -> None:
    world.lines["a"].carrier = False
    (move,) = world.run(0.2)
    assert move.why == "no-carrier"


@pytest.mark.parametrize("seed", range(5))
def test_heavy_loss_is_left_and_named(seed: int) -> None:
    world = World(seed)
    world.run(40)
    world.wires["a"].loss = 0.5
    moves = world.run(20)
    assert len(moves) == 1 and moves[0].why in ("lossy", "isp-dead")


def test_slow_line_is_no_dead_line(world: World) -> None:
    """A full buffer makes every answer late; they still come."""
    world.wires["a"].delay = 0.3
    assert world.run(60) == []


# -- staying ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_five_percent_random_loss_each_way_moves_nothing_in_half_an_hour(seed: int) -> None:
    world = World(seed)
    world.wires["a"].loss = 1 - 0.95**2
    assert world.run(1800) == []


def test_dead_provider_moves_nothing_and_is_named(world: World) -> None:
    for wire in world.wires.values():
        wire.sip = {"north": False, "south": True}
    assert world.run(30) == []
    assert core.providers(world.lines, world.verdicts) == {"north": False, "south": True}
    avoided = core.avoided(world.state, world.verdicts, world.lines, RULES.order)
    assert avoided == {"north-a", "north-b"}


@pytest.mark.parametrize("what", ["gateway", "one anchor", "both anchors"])
def test_one_silent_witness_is_no_dead_uplink(world: World, what: str) -> None:
    """Somebody filters ping on the router, or a host on the internet is off; SIP goes on."""
    wire = world.wires["a"]
    if what == "gateway":
        for line in world.lines.values():
            line.gateway = Track()
        assert world.run(30) == []
        return
    for anchor in ANCHORS[: 1 if what == "one anchor" else 2]:
        wire.anchors[anchor] = False
    assert world.run(60) == []


def test_both_dead_stays_where_it_is_and_takes_the_one_that_comes_back(world: World) -> None:
    for wire in world.wires.values():
        wire.gateway = False
    world.run(3)
    world.moves.clear()
    assert world.run(60) == [], "neither is better"
    assert core.avoided(world.state, world.verdicts, world.lines, RULES.order) == set(), "the dial plan tries all"
    other = "b" if world.state.current == "a" else "a"
    world.wires[other].gateway = True
    (move,) = world.run(3)
    assert move.to == other


# -- returning --------------------------------------------------------------------------------------------------------


def test_return_waits_for_five_clean_minutes_and_for_calls_that_are_carried(world: World) -> None:
    broken(world, gateway=False)
    world.wires["a"].gateway = True
    world.calls["a"] = 1
    assert world.run(400) == []
    world.calls.clear()
    (move,) = world.run(2)
    assert (move.to, move.why) == ("a", "well")


def test_flapping_costs_one_move_and_longer_patience(world: World) -> None:
    for _ in range(20):
        world.wires["a"].gateway = not world.wires["a"].gateway
        world.run(3)
    assert len(world.moves) == 1
    world.wires["a"].gateway = True
    assert len(world.run(310)) == 1, "the first time five minutes are enough"
    assert broken(world, gateway=False) < 1
    world.wires["a"].gateway = True
    assert world.run(320) == [], "the second time within the hour they are not"
    assert len(world.run(320)) == 1


def test_engineer_holds_an_uplink_but_not_a_dead_one(world: World) -> None:
    world.run(core.STEADY)
    world.state.hold = "b"
    (move,) = world.run(1)
    assert (move.to, move.why) == ("b", "hold")
    assert world.run(600) == []
    world.wires["b"].gateway = False
    (move,) = world.run(2)
    assert move.to == "a"
    for _ in range(40):
        world.wires["b"].gateway = not world.wires["b"].gateway
        assert world.run(3) == [], "one that flaps is not held"
    world.wires["b"].gateway = True
    (move,) = world.run(2 * core.STEADY + 3)
    assert (move.to, move.why) == ("b", "hold")


def test_held_uplink_without_sip_is_left(world: World) -> None:
    world.run(core.STEADY)
    world.state.hold = "b"
    world.run(1)
    world.wires["b"].loss = 0.4
    assert world.run(60) == [], "lossy is what the engineer wants"
    world.wires["b"].loss = 0.0
    world.run(40)
    world.wires["b"].sip = dict.fromkeys(PROVIDERS, False)
    assert [move.why for move in world.run(5)] == ["no-sip"]


# -- both bad ---------------------------------------------------------------------------------------------------------


def test_flapping_beside_a_lossy_backup_costs_one_move(world: World) -> None:
    world.wires["b"].loss = 0.35
    world.run(40)
    for _ in range(40):
        world.wires["a"].gateway = not world.wires["a"].gateway
        world.run(3)
    assert [move.to for move in world.moves] == ["b"]
    world.wires["a"].gateway = True
    (move,) = world.run(2 * core.STEADY + 3)
    assert move.to == "a", "the control: steadily better is better"


@pytest.mark.parametrize(("a", "b"), [(0.9, 0.4), (0.23, 0.23), (0.19, 0.19), (0.36, 0.28)])
@pytest.mark.parametrize("seed", range(3))
def test_two_lossy_uplinks_do_not_hand_the_calls_to_and_fro(seed: int, a: float, b: float) -> None:
    world = World(seed)
    world.run(40)
    world.wires["a"].loss, world.wires["b"].loss = a, b
    assert len(world.run(1200)) <= 6  # by chance, 1 to 5; without hysteresis hundreds


def test_less_bad_one_is_taken_in_the_end(world: World) -> None:
    world.run(40)
    world.wires["a"].loss, world.wires["b"].loss = 0.75, 0.25
    world.run(120)
    assert world.state.current == "b"


# -- providers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead", [("north",), ("north", "south")], ids=["after the other", "both at once"])
def test_providers_that_die_and_come_back_are_no_filter(dead: tuple[str, ...]) -> None:
    """Whenever each uplink asks: the answers of one uplink are not of the same moment as the other's silence."""
    for seed in range(25):
        world, chance = World(seed), random.Random(seed + 100)  # noqa: S311
        for name in world._asked:
            world._asked[name] = {provider: world.now - chance.uniform(0, 1.5) for provider in PROVIDERS}
        world.run(20)
        if dead == ("north",):
            for wire in world.wires.values():
                wire.sip["south"] = False
            assert world.run(30) == []
        for wire in world.wires.values():
            wire.sip |= dict.fromkeys(dead, False)
        assert world.run(20 + chance.uniform(0, 2)) == [], seed
        for wire in world.wires.values():
            wire.sip |= dict.fromkeys(dead, True)
        assert world.run(10) == [], seed


@pytest.mark.parametrize("seed", range(5))
def test_filtered_ping_moves_nothing_and_asks_no_provider_more_often(seed: int) -> None:
    world = World(seed)
    world.run(20)
    world.wires["a"].ping, world.wires["a"].loss = False, 0.04
    world.run(10)
    before = world.requests
    assert world.run(600) == []
    assert world.requests - before < 1.3 * 2 * 600 / core.SIP_EVERY
    assert broken(world, internet=False) < 5, "the control"


def test_silent_provider_is_asked_at_leisure(world: World) -> None:
    world.wires["a"].sip["north"] = world.wires["b"].sip["north"] = False
    world.run(60)
    before = world.requests
    world.run(60)
    assert world.requests - before < 1.1 * 2 * 60 / core.SIP_EVERY


def test_anchor_that_answers_by_one_uplink_only_is_not_missed_by_the_other() -> None:
    world = World()
    world.wires["b"].anchors[ANCHORS[0]] = False
    world.run(60)
    assert world.lines["b"].row == 0 and not world.lines["b"].suspicious()


# -- what follows -----------------------------------------------------------------------------------------------------


def test_left_uplink_is_avoided_and_carried_only_when_it_is_dead(world: World) -> None:
    broken(world, sip=dict.fromkeys(PROVIDERS, False))
    assert core.avoided(world.state, world.verdicts, world.lines, RULES.order) == {"north-a", "south-a"}
    assert core.carried(world.state, world.verdicts) == set()
    world.wires["a"].gateway = False
    world.run(2)
    assert core.carried(world.state, world.verdicts) == {"a"}


def test_a_restart_knows_what_answered_before(world: World) -> None:
    """Without that a dead uplink would look like one that was never asked."""
    known = core.known(world.lines.values())
    fresh = World()
    fresh.wires["a"].gateway = False
    fresh.run(7)
    assert fresh.verdicts["a"].dead, "the other uplink shows that the anchors live"
    lone = World()
    for wire in lone.wires.values():
        wire.gateway = False
    core.remember(list(lone.lines.values()), known)
    lone.run(3)
    assert all(v.dead for v in lone.verdicts.values())


def test_state_outlives_a_reboot(world: World) -> None:
    broken(world, gateway=False)
    stored = world.state.dump(1_795_000_000.0)
    again = State.load(stored, RULES.order, -1_795_000_900.0)  # the clock began anew
    assert again.current == "b" and again.left["a"][0] == pytest.approx(world.state.left["a"][0] - 900)
    assert State.load(stored, ("x", "y"), 0.0).current == "x", "an uplink that is gone carries nothing"


def test_standstill_of_the_machine_itself_loses_nothing() -> None:
    track = Track()
    track.sent(1, 0.0)
    track.forget()
    assert track.expire(60.0) == 0 and track.row == 0
    track.sent(2, 60.0)
    assert track.expire(60.2) == 1, "the control"


def test_late_answer_makes_good_its_own_loss_and_no_other() -> None:
    track = Track()
    for number in (1, 2, 3):
        track.sent(number, number / 10)
    track.answered(3, 0.35)
    track.expire(5.0)
    assert track.outcomes == {3: True, 1: False, 2: False}
    track.answered(1, 5.1)
    assert track.outcomes == {3: True, 1: True, 2: False}
    for number in range(10, 300):
        track.sent(number, 6.0)
        track.answered(number, 6.01)
    assert list(track.outcomes) == list(range(150, 300))
