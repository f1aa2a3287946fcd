"""A role's few lines become buttons, and labels that fit."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinic import labels
from clinic.keys import Mode, buttons, layout, pages
from clinic.model import Clinic
from clinic.people import Key, Person
from clinic.phones import MODELS
from clinic.rendering import asterisk
from clinicpbx.generation import templates
from tests.unit.phones_reader import Secrets, case


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return case()


def with_keys(clinic: Clinic, ext: str, *keys: Key) -> Person:
    person = clinic.by_ext[ext]
    return person.model_copy(update={"phone": person.phone.model_copy(update={"keys": keys})})


def numbers(clinic: Clinic, ext: str, mode: Mode) -> list[str]:
    return [b.number for b in buttons(clinic, clinic.by_ext[ext]) if b.mode is mode]


def test_operators_see_the_queue_and_log_in_pause_and_transfer_by_one_key(clinic: Clinic) -> None:
    lamps = numbers(clinic, "2001", Mode.LAMP)
    assert lamps[:3] == ["5000", "*112001", "*132001"] and {"7001", "7004", "2011", "2012", "2013"} <= set(lamps)
    assert numbers(clinic, "2001", Mode.DIAL) == ["*131", "*132", "*133"]
    assert numbers(clinic, "2001", Mode.PARK) == ["7000"]
    assert numbers(clinic, "2001", Mode.TRANSFER) == [
        "3101", "3102", "3103", "3104", "3201", "3202", "3203", "3204", "5006", "5007", "5008"]  # fmt: skip


def test_supervisors_see_operators_and_nobody_their_own_lamp(clinic: Clinic) -> None:
    lamps = numbers(clinic, "2011", Mode.LAMP)
    assert {"2001", "2002", "2003", "2004", "2005", "2012", "2013", "*112011"} <= set(lamps)
    assert "2011" not in lamps and "*112001" not in lamps


def test_receptions_see_their_department_and_no_other(clinic: Clinic) -> None:
    for own, other in (("children", "adults"), ("adults", "children")):
        reception = next(p for p in clinic.members(own) if p.role.value == "reception")
        lamps = numbers(clinic, reception.ext, Mode.LAMP)
        assert {p.ext for p in clinic.members(own)} - {reception.ext} == set(lamps) - {"7001"}
        assert not {p.ext for p in clinic.members(other)} & set(lamps)
        assert len(lamps) == len(set(lamps)), "rows overlap, buttons do not"


def test_persons_own_keys_replace_the_roles(clinic: Clinic) -> None:
    person = with_keys(clinic, "2001", Key(kind="blf", value="4001"))
    assert [(b.mode, b.number) for b in buttons(clinic, person)] == [(Mode.LINE, ""), (Mode.LAMP, "4001")]


def test_first_takes_so_many_of_a_row(clinic: Clinic) -> None:
    person = with_keys(
        clinic, "3101", Key(kind="blf", of="department", first=3), Key(kind="park", of="places", first=2)
    )
    assert [b.number for b in buttons(clinic, person)][1:] == ["3102", "3103", "3104", "7001", "7002"]


def test_console_has_a_page_a_department_and_none_without_a_console(clinic: Clinic) -> None:
    shown = pages(clinic, clinic.by_ext["2001"])
    assert [len(page) for page in shown] == [20, 20]
    assert [b.number for b in shown[0]][:5] == ["3101", "3102", "3103", "3104", "3111"]
    person = clinic.by_ext["2001"]
    bare = person.model_copy(update={"phone": person.phone.model_copy(update={"consoles": 0})})
    assert pages(clinic, bare) == ()


def test_page_begins_with_the_departments_group_and_ends_where_it_ends(clinic: Clinic) -> None:
    ours = clinic.provisioning.model_copy(
        update={"consoles": {clinic.by_ext["2001"].role: ("accounting", "technical")}}
    )
    changed = clinic.model_copy(update={"provisioning": ours})
    first, second = pages(changed, changed.by_ext["2001"])
    assert (first[0].mode, first[0].number, first[0].label) == (Mode.TRANSFER, "5007", "Бухгалтерия")
    assert [b.number for b in first[1:]] == [f"41{n:02d}" for n in range(1, 9)]
    console = layout(changed, changed.by_ext["2001"], MODELS["GRP2615"]).console
    assert console[9] is None and console[19] is None and console[20] == second[0]


def test_keys_beside_the_display_are_filled_before_its_pages(clinic: Clinic) -> None:
    """GRP2614: 16 keys on the display, 24 beside it."""
    keys = [Key(kind="line"), *(Key(kind="blf", value=p.ext) for p in clinic.members("adults")[:30])]
    got = layout(clinic, with_keys(clinic, "3101", *keys), MODELS["GRP2614"])
    assert (len(got.line_keys), len(got.multi_keys), got.console) == (7, 24, ())
    assert [b.mode for b in got.line_keys] == [Mode.LINE, *[Mode.LAMP] * 6]


def test_whatever_a_button_watches_has_a_hint_and_whatever_it_dials_exists(clinic: Clinic) -> None:
    """Against the rendered dial plan: a lamp without a hint stays dark, a code that nobody answers beeps."""
    plan = asterisk.render(clinic, Secrets(), templates())
    hints = set(re.findall(r"^exten => ([^,]+),hint,", plan["dialplan/people.conf"].decode(), re.M))
    people, features = plan["dialplan/people.conf"].decode(), plan["dialplan/features.conf"].decode()
    codes = set(re.findall(r"^exten => ([^,]+),1,", features, re.M))
    groups = set(re.findall(r"^exten => (5\d+),1,", people, re.M))
    assert "include => parkedcalls" in people and {"_*11XXXX", "_*13XXXX", "*131", "*14"} <= codes
    places, known = set(clinic.numbering.parking.numbers()[1:]), {p.ext for p in clinic.people}
    for person in clinic.people:
        for button in (*buttons(clinic, person), *(b for page in pages(clinic, person) for b in page)):
            if button.mode is Mode.LAMP:
                assert button.number in hints | places, button
            elif button.mode is Mode.DIAL:
                assert button.number in codes, button
            elif button.mode is Mode.TRANSFER:
                assert button.number in groups | known, button
    assert "5000" in hints and "5001" not in hints, "the control: the queue has a hint, a hunt group has none"


def test_lamps_number_is_obeyed_for_its_owner_only(clinic: Clinic) -> None:
    """Else anybody who may dial a code could log an operator out."""
    features = asterisk.render(clinic, Secrets(), templates())["dialplan/features.conf"].decode()
    for code, on, off in (("*11", "*11,1", "*12,1"), ("*13", "*131,1", "*14,1")):
        asked, owner, turn = features.split(f"exten => _{code}XXXX,1,")[1].splitlines()[:3]
        assert asked == "Gosub(operator,s,1)" and '"${EXTEN:3}" != "${who}"]?refuse,s,1' in owner
        assert turn.endswith(f"?{off}:{on})")


@pytest.mark.parametrize(
    ("name", "limit", "label"),
    [
        ("Лебедева Анна Сергеевна", 40, "Лебедева Анна Сергеевна"),
        ("Лебедева Анна Сергеевна", 14, "Лебедева А.С."),
        ("Лебедева Анна Сергеевна", 12, "Лебедева А."),
        ("Лебедева Анна Сергеевна", 8, "Лебедева"),
        ("Виноградова Лариса Леонидовна", 14, "Виноградова Л."),
        ("Константинопольская Анна", 12, "Константино…"),
        ("Ли", 8, "Ли"),
        ("Ким Ён", 8, "Ким Ён"),
        ("Лебедева\nАнна", 14, "Лебедева Анна"),
    ],
)
def test_names_are_shortened_as_people_do(name: str, limit: int, label: str) -> None:
    assert labels.of_person(name, limit) == label


@pytest.mark.parametrize(
    ("text", "limit", "label"),
    [
        ("Старший смены 1", 14, "Старший с. 1"),
        ("Старший смены 1", 9, "Старший 1"),
        ("Детское отделение", 14, "Детское о."),
        ("Детское отделение", 8, "Детское"),
        ("Линия 1", 8, "Линия 1"),
        ("Оториноларингология", 12, None),
    ],
)
def test_words_are_shortened_from_behind_and_numbers_stay(text: str, limit: int, label: str | None) -> None:
    assert labels.of_words(text, limit) == label


def test_strange_characters_are_named_once() -> None:
    assert labels.strange("Стойка №1 — «дети»") == ""
    assert labels.strange("漢 字 漢") == "漢字"


def test_namesakes_are_told_apart_by_their_extensions_and_others_keep_their_initials(clinic: Clinic) -> None:
    names = {"3101": "Иванова Анна Сергеевна", "3102": "Иванова Алла Степановна", "3103": "Иванова Ольга Петровна"}
    people = tuple(p.model_copy(update={"name": names.get(p.ext, p.name)}) for p in clinic.people)
    same = Clinic(**{name: getattr(clinic, name) for name in Clinic.model_fields} | {"people": people})
    row = [*(Key(kind="blf", value=ext) for ext in names), Key(kind="transfer", value="3101")]
    keys = layout(same, with_keys(same, "2001", *row), MODELS["GRP2614"]).multi_keys
    assert [b.label for b in keys] == ["Иванова 3101", "Иванова 3102", "Иванова Ольга Петровна", "Иванова 3101"]
    alone = layout(same, with_keys(same, "2001", *row[1:3]), MODELS["GRP2614"]).multi_keys
    assert [b.label for b in alone] == ["Иванова Алла Степановна", "Иванова Ольга Петровна"], "control: no namesake"


@given(name=st.text(min_size=1, max_size=80), limit=st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_no_label_is_longer_than_the_display(name: str, limit: int) -> None:
    namesake = labels.of_namesake(name, "3101", limit)
    for label in (labels.of_person(name, limit), labels.cut(name, limit), labels.of_words(name, limit) or "", namesake):
        assert len(label) <= limit and labels.strange(label) == ""
