"""One person's telephone is changed in the text of a description, and not a character more."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from clinic.editing import NotEditable, with_phone
from clinic.loading import load
from clinic.mistakes import DescriptionError
from clinic.synthetic import text as synthetic

CASE = (Path(__file__).parents[2] / "inventory/case/clinic.yml").read_text(encoding="utf-8")
MAC = "c0:74:ad:99:88:77"


def changed(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return [line for line in lines if line[0] in "+-" and not line.startswith(("+++", "---"))]


def test_replacing_a_telephone_changes_one_token_of_one_line() -> None:
    old = load(CASE).by_ext["3111"].phone.mac
    new, clinic = with_phone(CASE, "3111", {"mac": MAC})
    minus, plus = changed(CASE, new)
    assert minus[1:].replace(f'"{old}"', f'"{MAC}"') == plus[1:]
    assert clinic.by_ext["3111"].phone.mac == MAC and load(new) == clinic


def test_person_whose_keys_are_an_anchor_that_others_use_keeps_it() -> None:
    old = CASE
    for ext, keys in (("2001", "&operator-keys [{kind: line}, {kind: park}]"), ("2002", "*operator-keys")):
        line = next(line for line in old.splitlines() if f"{{ext: {ext}," in line)
        old = old.replace(line, f"{line[:-2]}, keys: {keys}}}}}")
    new, clinic = with_phone(old, "2001", {"mac": MAC})
    assert len(changed(old, new)) == 2 and "&operator-keys" in new
    assert clinic.by_ext["2002"].phone.keys == clinic.by_ext["2001"].phone.keys


def test_moving_changes_socket_switch_and_port_together() -> None:
    new, clinic = with_phone(CASE, "3111", {"socket": "4-409-9", "switch": "sw-4", "port": 48})
    assert len(changed(CASE, new)) == 2
    phone = clinic.by_ext["3111"].phone
    assert (phone.socket, phone.switch, phone.port) == ("4-409-9", "sw-4", 48)


@pytest.mark.parametrize("written", ["c0:74:ad:00:00:01", "'c0:74:ad:00:00:01'", '"c0:74:ad:00:00:01"'])
def test_quotes_stay_as_they_were(written: str) -> None:
    plain = synthetic(20).replace('"c0:74:ad:00:00:01"', written)
    new, _ = with_phone(plain, "2002", {"mac": MAC})
    assert new == plain.replace(written, written.replace("c0:74:ad:00:00:01", MAC))


def test_comments_line_ends_and_letters_beyond_the_first_plane_move_nothing() -> None:
    odd = "# 𝄞 заметка\r\n" + CASE.replace("\n", "\r\n")
    new, _ = with_phone(odd, "3111", {"mac": MAC})
    assert new.count("\r\n") == odd.count("\r\n") and MAC in new and new.startswith("# 𝄞 заметка\r\n")


def test_block_style_is_edited_too() -> None:
    line = next(li for li in CASE.splitlines() if "ext: 3112" in li)
    block = (
        "  - ext: 3112 # приёмная\n    name: Зоя\n    department: children\n    role: doctor\n    specialty: Педиатр\n"
        "    phone:\n      model: GXP1625\n      mac: 00:0b:82:3a:06:9f   # на столе\n      socket: 1-112-1\n"
        "      switch: sw-1\n      port: 14"
    )
    new, _ = with_phone(CASE.replace(line, block), "3112", {"mac": MAC, "port": 45})
    assert f"      mac: {MAC}   # на столе\n" in new and "      port: 45" in new


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_what_breaks_a_rule_is_refused_with_its_line() -> None:
    taken = load(CASE).by_ext["3112"].phone
    with pytest.raises(DescriptionError) as caught:
        with_phone(CASE, "3111", {"mac": taken.mac})
    assert any("mac" in m.path for m in caught.value.mistakes)
    with pytest.raises(DescriptionError):
        with_phone(CASE, "3111", {"socket": "1-111-1", "switch": taken.switch, "port": taken.port})
    with pytest.raises(DescriptionError):
        with_phone(CASE, "3111", {"mac": "no mac"})


def test_value_cannot_carry_other_keys_in() -> None:
    with pytest.raises((DescriptionError, NotEditable)):
        with_phone(CASE, "3111", {"socket": '1-1", port: 47, x: "'})
    with pytest.raises((DescriptionError, NotEditable)):
        with_phone(CASE, "3111", {"mac": f'{MAC}", consoles: "1'})


def test_telephone_that_others_share_by_an_anchor_is_refused() -> None:
    one, two = (li for li in CASE.splitlines() if "ext: 4201" in li or "ext: 4202" in li)
    start = one.index("phone: ")
    shared = CASE.replace(one, one[:start] + "phone: &p " + one[start + 7 :])
    with_phone(shared, "4201", {"mac": MAC})  # an anchor that nobody uses is no reason
    merged = shared.replace(
        two, two[: two.index("phone: ")] + 'phone: {<<: *p, mac: "c0:74:ad:00:00:09", port: 47, socket: 4-9-9}}'
    )
    load(merged)
    with pytest.raises(NotEditable, match="anchor"):
        with_phone(merged, "4202", {"switch": "sw-1"})
    with pytest.raises(NotEditable, match="anchor"):
        with_phone(merged, "4201", {"switch": "sw-1"})


def test_unknown_person_is_refused() -> None:
    with pytest.raises(NotEditable, match="no such person"):
        with_phone(CASE, "9999", {"mac": MAC})
