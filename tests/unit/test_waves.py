"""Waves of telephones: nobody who calls meets silence while telephones change."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from clinic.loading import load
from clinic.model import Clinic
from clinic.people import Role
from clinic.synthetic import text
from clinic.waves import most, next_wave

CASE = load((Path(__file__).parents[2] / "inventory/case/clinic.yml").read_text(encoding="utf-8"))
EVERYBODY = [p.ext for p in CASE.people]


def broken(clinic: Clinic, wave: Collection[str]) -> list[str]:
    """The rules that a wave breaks, counted anew from what the issue says."""
    found = []
    for slug in clinic.departments:
        members = clinic.members(slug)
        mine = [p for p in members if p.ext in wave]
        if len(mine) > max(1, len(members) / 4):
            found.append(f"{slug}: {len(mine)} of {len(members)}")
        if sum(p.role is Role.RECEPTION for p in mine) > 1:
            found.append(f"{slug}: receptions")
    operators = {p.ext for p in clinic.people if p.role is Role.OPERATOR}
    if operators and operators <= set(wave):
        found.append("operators")
    return found


@pytest.mark.parametrize("size", [20, 150, 1000])
def test_waves_reach_everybody_and_no_wave_silences_a_department(size: int) -> None:
    clinic = load(text(size))
    pending, waves = [p.ext for p in clinic.people], 0
    while pending:
        wave = next_wave(clinic, pending)
        assert wave and not broken(clinic, wave)
        pending = [ext for ext in pending if ext not in wave]
        waves += 1
    assert waves <= 10, "a night has an end"


def test_control_everybody_at_once_breaks_every_rule() -> None:
    told = " ".join(broken(CASE, EVERYBODY))
    assert "children: " in told and "receptions" in told and "operators" in told


def test_telephones_that_are_still_out_count() -> None:
    first = next_wave(CASE, EVERYBODY)
    rest = [ext for ext in EVERYBODY if ext not in first]
    assert next_wave(CASE, rest, out=first) == (), "nothing fits beside a full wave"
    back = first[:-1]
    more = next_wave(CASE, rest, out=[first[-1]])
    assert more and not broken(CASE, {*more, first[-1]}) and back


def test_of_a_department_of_three_one_is_told_at_a_time() -> None:
    assert [most(n) for n in (1, 3, 4, 7, 8, 40)] == [1, 1, 1, 1, 2, 10]
    technical = [p.ext for p in CASE.members("call-centre") if p.role is Role.SUPERVISOR]
    assert len(next_wave(CASE, technical)) == most(len(CASE.members("call-centre")))


def test_receptions_of_two_departments_may_be_out_together() -> None:
    receptions = [p.ext for p in CASE.with_role(Role.RECEPTION)]
    wave = next_wave(CASE, receptions)
    assert {CASE.by_ext[ext].department for ext in wave} == {CASE.by_ext[ext].department for ext in receptions}
    assert len(wave) == len({CASE.by_ext[ext].department for ext in receptions})


def test_the_last_operator_at_work_waits_for_one_that_comes_back() -> None:
    operators = [p.ext for p in CASE.with_role(Role.OPERATOR)]
    last, away = operators[-1], operators[1:-1]
    assert next_wave(CASE, [last], out=operators[:1], away=away) == ()
    assert next_wave(CASE, [last], away=operators[:-1]) == (last,), "nobody comes back by waiting"


def test_a_hunt_group_of_two_keeps_one() -> None:
    clinic = load(text(150))
    pair = [p.ext for p in clinic.people if p.role is Role.DOCTOR and p.department == "children"][:2]
    group = clinic.groups[0].model_copy(update={"members": tuple(pair)})
    assert len(next_wave(clinic, pair)) == 2, "control: without the group both fit their department's quarter"
    assert len(next_wave(clinic.model_copy(update={"groups": (group,)}), pair)) == 1


def test_nothing_pending_is_no_wave() -> None:
    assert next_wave(CASE, []) == ()
