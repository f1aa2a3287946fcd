"""The case, small and synthetic clinics: what they hold, how they are read, what a reader survives."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinic import synthetic
from clinic.loading import findings, load
from clinic.mistakes import DescriptionError
from clinic.model import Clinic
from clinic.people import Role
from clinic.phones import MODELS
from clinic.rules.numbering import emergency_not_shadowed
from clinic.rules.real import examples
from clinic.types import NumberRange
from clinicpbx.descriptions import starter

CASE = Path(__file__).parents[2] / "inventory" / "case" / "clinic.yml"


@pytest.fixture(scope="module")
def case() -> Clinic:
    return load(CASE.read_text(encoding="utf-8"), str(CASE))


def test_case_has_the_size_of_the_published_case(case: Clinic) -> None:
    doctors = case.with_role(Role.DOCTOR)
    assert len(case.people) >= 152
    assert len(doctors) >= 112
    assert len({d.specialty for d in doctors}) >= 22
    assert len(case.with_role(Role.OPERATOR)) == 5
    assert len(case.with_role(Role.SUPERVISOR)) == 3
    assert len(case.with_role(Role.CHIEF)) == 1
    assert [len(case.with_role(Role.RECEPTION, d)) for d in ("children", "adults")] == [4, 4]
    assert {d.department for d in doctors} == {"children", "adults"}
    assert case.members("accounting") and case.members("administration") and case.members("technical")
    assert len(case.trunks) == 2 and len(case.uplinks) == 2 and len(case.switches) == 4


def test_case_names_are_distinct_and_agree_in_gender(case: Clinic) -> None:
    names = [p.name for p in case.people]
    assert len(set(names)) == len(names)
    for name in names:
        surname, _, patronymic = name.split()
        assert surname.endswith("а") == patronymic.endswith("на"), name


def test_case_is_read_in_half_a_second() -> None:
    text = CASE.read_text(encoding="utf-8")
    started = time.perf_counter()
    load(text)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    "written", ["+7 495 000-00-02", "8 (495) 000-00-02", "74950000002", "84950000002", "+74950000002", "000-00-02"]
)
def test_public_number_is_e164_however_it_is_written(written: str) -> None:
    text = starter("x").replace('"+74950000002"', written).replace('caller_id: "+74950000001"', f"caller_id: {written}")
    trunk = load(text).trunks[0]
    assert (trunk.dids[1].number, trunk.caller_id) == ("+74950000002", "+74950000002")


def test_speed_dial_to_the_city_is_e164_and_an_extension_stays() -> None:
    key, dial = '{kind: blf, value: "3001", label: Стойка}', "{{kind: speed-dial, value: {}}}"
    dials = {"8 916 123-45-67": "+79161234567", "3001": "3001", '"*8"': "*8", "8800200-06-00": "+78002000600"}
    for written, kept in dials.items():
        assert load(starter("x").replace(key, dial.format(written))).people[5].phone.keys[1].value == kept


def test_case_file_points_editors_to_the_schema() -> None:
    assert CASE.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=../clinic.schema.json\n")


def test_starter_is_valid_whatever_the_clinic_is_called() -> None:
    assert load(starter("alpha", 'Клиника "Альфа": дети # и взрослые')).name == 'Клиника "Альфа": дети # и взрослые'


@pytest.mark.parametrize("people", [20, 150, 219, 220, 1000, 1501, 5000])
def test_synthetic_clinic_is_valid_and_has_its_size(people: int) -> None:
    assert len(load(synthetic.text(people)).people) == people


def test_synthetic_clinic_depends_on_its_seed_only() -> None:
    assert synthetic.text(150, seed=7) == synthetic.text(150, seed=7) != synthetic.text(150, seed=8)


def test_synthetic_clinic_of_one_person_is_refused() -> None:
    with pytest.raises(ValueError, match="20 to"):
        synthetic.text(1)


def test_anchors_and_merges_keep_their_lines() -> None:
    """A mistake in merged keys is told on the line where they were written."""
    text = starter("x").replace("  - name: main\n", "  - &north\n    name: main\n")
    text = text.replace("auth: address # the provider knows us by our address\n    channels: 5\n",
                        "<<: *north\n    auth: nonsense\n")  # fmt: skip
    with pytest.raises(DescriptionError) as caught:
        load(text)
    assert [m.path for m in caught.value.mistakes] == ["trunks[1].auth"]
    assert "auth: nonsense" in text.splitlines()[caught.value.mistakes[0].line - 1]


def test_numbers_stay_what_was_written() -> None:
    """YAML 1.1 would make a number of 52:54:00:10:20:30 and of 0495."""
    text = starter("x").replace('"bc:24:11:00:00:01"', "52:54:00:10:20:30").replace('"101"', "0101")
    clinic = load(text)
    assert clinic.hypervisor.vm.macs[0] == "52:54:00:10:20:30"
    assert clinic.people[0].room == "0101"


@pytest.mark.parametrize(
    "attack",
    [
        "- " * 100_000,
        "[" * 100_000,
        "{a: " * 100_000,
        "a: &a [*a]",
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)),
        "# " + "x" * 9_000_000,
        "\x00",
        "",
        "just a sentence",
        "[1, 2]",
    ],
    ids=["sequences", "brackets", "braces", "loop", "bomb", "huge", "binary", "empty", "text", "list"],
)
def test_attack_on_the_reader_is_one_mistake(attack: str) -> None:
    started = time.perf_counter()
    with pytest.raises(DescriptionError) as caught:
        load(attack)
    assert len(caught.value.mistakes) == 1
    assert time.perf_counter() - started < 5


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(DescriptionError):
        load(text)


@given(first=st.integers(100, 9999), size=st.integers(0, 300), emergency=st.sampled_from(["101", "104", "112", "01"]))
@settings(max_examples=150, deadline=None)
def test_shadowing_agrees_with_counting(case: Clinic, first: int, size: int, emergency: str) -> None:
    """The arithmetic of prefixes says what trying each number says."""
    width = len(str(first))
    parking = NumberRange(first=first, last=min(first + size, 10**width - 1), width=width)
    clinic = case.model_copy(
        update={
            "numbering": case.numbering.model_copy(update={"parking": parking}),
            "emergency": case.emergency.model_copy(update={"numbers": (emergency,)}),
        }
    )
    counted = any(n.startswith(emergency) or emergency.startswith(n) for n in parking.numbers())
    found = any(f.path == ("numbering", "parking") for f in emergency_not_shadowed(clinic))
    assert found == counted


def test_rules_accept_the_case(case: Clinic) -> None:
    assert findings(case) == []


def test_models_carry_what_their_makers_say() -> None:
    """Expectations stated from the data sheets, not from the code."""
    assert MODELS["GRP2615"].room_for_keys(lines=4, consoles=1) == 76
    assert MODELS["GRP2614"].room_for_keys(lines=2, consoles=0) == 38
    assert MODELS["GXP1625"].room_for_keys(lines=1, consoles=0) == 0
    assert MODELS["GXP1630"].room_for_keys(lines=1, consoles=0) == 8
    assert MODELS["GXP2170"].max_consoles == 4
    assert MODELS["GRP2614"].max_consoles == MODELS["GXP2135"].max_consoles == 0


def test_example_addresses_are_refused_at_a_real_site(case: Clinic) -> None:
    assert {f.value for f in examples(case)} == {"198.51.100.10", "203.0.113.10", "198.18.1.2", "198.18.2.2"}
    text = starter("x").replace("198.51.100.10", "81.2.3.4").replace("203.0.113.10", "81.2.3.5")
    text = text.replace("198.18.1.2", "81.2.3.6").replace("198.18.2.2", "81.2.3.7")
    assert list(examples(load(text))) == []
