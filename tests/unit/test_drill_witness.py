"""What a drill's witness makes of Asterisk's process: memory and descriptors that came back, or did not."""

from __future__ import annotations

from typing import cast

from clinicpbx.drill.witness import Process, Sound, Witness, settled
from softphone.client import Call

BEFORE = Process(100, 0, 80_000, 35, 1.0)


def test_a_process_is_read_from_its_lines() -> None:
    text = "MainPID=100\nNRestarts=0\nrss=80000\nfiles=35\ncpu=1000000\n"
    assert Process.parse(text) == BEFORE


def test_memory_within_the_allowance_is_settled() -> None:
    assert settled(BEFORE, Process(100, 0, 112_000, 36, 2.0))


def test_memory_above_it_is_a_leak() -> None:
    assert not settled(BEFORE, Process(100, 0, 113_000, 35, 2.0))


def test_descriptors_left_open_are_a_leak() -> None:
    assert not settled(BEFORE, Process(100, 0, 80_000, 40, 2.0))


def heard(name: str, windows: int, silent: int, *, ended: bool = False) -> Sound:
    return Sound(name, cast(Call, None), 440, windows=windows, silent=silent, ended=ended)


def test_a_call_that_stands_in_silence_is_dropped() -> None:
    said = [heard("a caller", 300, 15), heard("a called", 300, 0), heard("b caller", 300, 16), heard("c called", 0, 0)]
    assert Witness(said).report()["calls_dropped"] == 2
    assert Witness([heard("a caller", 300, 0, ended=True), heard("a called", 300, 0)]).report()["calls_dropped"] == 1
