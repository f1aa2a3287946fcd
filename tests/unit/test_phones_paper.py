"""Labels and port maps: everybody is on them once, where the cable ends; pages that a printer takes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from fpdf import FPDF

from clinic.loading import load
from clinic.sheets import WORDS, labels, panels
from clinic.synthetic import text
from clinicpbx.phones import paper

CASE = load((Path(__file__).parents[2] / "inventory/case/clinic.yml").read_text(encoding="utf-8"))


def test_every_telephone_has_one_label_in_the_order_of_a_walk() -> None:
    found = labels(CASE)
    assert sorted(label.ext for label in found) == sorted(p.ext for p in CASE.people)
    order = list(CASE.switches)
    assert [(order.index(label.switch), label.port) for label in found] == sorted(
        (order.index(p.phone.switch), p.phone.port) for p in CASE.people
    )
    label = next(label for label in found if label.ext == "3111")
    phone = CASE.by_ext["3111"].phone
    assert (label.socket, label.port, label.mac, label.room) == (phone.socket, phone.port, phone.mac, "111")
    assert label.short == "Богданова Д.И."


def test_panel_has_every_port_once_odd_ones_above() -> None:
    for panel in panels(CASE):
        numbers = [n for n, _ in (*panel.upper, *panel.lower)]
        assert sorted(numbers) == list(range(1, CASE.switches[panel.name].ports + 1))
        assert all(n % 2 for n, _ in panel.upper) and not any(n % 2 for n, _ in panel.lower)
        assert all(label is None or label.port == n for n, label in (*panel.upper, *panel.lower))
    assert sum(len(panel.labels) for panel in panels(CASE)) == len(CASE.people)


def test_switch_without_a_telephone_is_on_the_map_too() -> None:
    empty = CASE.model_copy(update={"switches": {**CASE.switches, "sw-9": CASE.switches["sw-1"]}})
    (panel,) = (p for p in panels(empty) if p.name == "sw-9")
    assert panel.labels == () and {label for _, label in panel.upper} == {None}
    assert "sw-9" in paper.port_map(empty, panels(empty)) and paper.port_map_pdf(empty, panels(empty))


def test_pages_hold_everybody_and_what_people_wrote_is_no_html() -> None:
    evil = CASE.people[0].model_copy(update={"name": "<script>alert(1)</script> & Ко"})
    clinic = CASE.model_copy(update={"people": (evil, *CASE.people[1:])})
    for page in (paper.labels(clinic, labels(clinic)), paper.port_map(clinic, panels(clinic))):
        assert "<script>" not in page and "&lt;script&gt;" in page
        assert all(p.phone.socket in page and p.ext in page for p in clinic.people)
        assert "http" not in page.replace("http-equiv", ""), "a page without outside parts"


@pytest.mark.parametrize("size", [20, 150])
def test_pdf_has_24_labels_a_page_and_a_page_a_switch(size: int) -> None:
    clinic = load(text(size))
    for data, pages in (
        (paper.labels_pdf(clinic, labels(clinic)), -(-size // 24)),
        (paper.port_map_pdf(clinic, panels(clinic)), len(clinic.switches)),
    ):
        assert data.startswith(b"%PDF-") and len(re.findall(rb"/Type /Page\b(?!s)", data)) == pages


def test_room_is_on_the_label_however_long_the_department_is(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(FPDF, "cell", lambda _, w, h, text, **more: written.append(text))
    one = replace(labels(CASE)[0], department="Отделение " * 12, room="101")
    paper.labels_pdf(CASE, [one])
    assert any(text.startswith("каб. 101") and text.endswith("…") for text in written)


def test_the_same_description_gives_the_same_bytes() -> None:
    assert paper.labels_pdf(CASE, labels(CASE)[:3]) == paper.labels_pdf(CASE, labels(CASE)[:3])


def test_no_password_can_be_on_paper() -> None:
    """The control of what labels are made of: the description alone, which holds no secret."""
    fields = set(labels(CASE)[0].__dataclass_fields__)
    assert fields == {
        "ext", "name", "short", "department", "slug", "room", "socket", "switch", "port", "model", "mac"
    }  # fmt: skip


def test_both_languages_have_the_same_words() -> None:
    assert WORDS["ru"].keys() == WORDS["en"].keys()
    english = CASE.model_copy(update={"language": "en"})
    assert "socket" in paper.labels(english, labels(english)) and "розетка" in paper.labels(CASE, labels(CASE))
