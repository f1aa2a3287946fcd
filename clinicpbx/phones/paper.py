"""Label sheets and port maps as pages: HTML that prints well, and the same as PDF.

The PDF's font is Debian's DejaVu (package fonts-dejavu-core, see scripts/packages.txt): it has Cyrillic.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from fpdf import FPDF
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clinic.model import Clinic
from clinic.sheets import WORDS, Label, Panel
from clinicpbx.errors import ClinicError

TEMPLATES = Path(__file__).resolve().parent.parent.parent / "templates" / "print"
FONTS = Path("/usr/share/fonts/truetype/dejavu")
COLOURS = ("#cfe3ff", "#d8f2d4", "#ffe9b8", "#f4d3e6", "#d9d5f7", "#c9efec", "#ffd7c9", "#e6e6e6")
"""A department's in the map: light, so that black print reads on it, also on paper without colours."""
WIDE, HIGH, ACROSS, DOWN = 70.0, 37.0, 3, 8
"""Millimetres of a label, and how many there are on A4: the common sheet of 24."""
MARGIN = 10.0


def labels(clinic: Clinic, found: Sequence[Label]) -> str:
    return _page("labels.html.j2", clinic, labels=found)


def port_map(clinic: Clinic, found: Sequence[Panel]) -> str:
    titles = {slug: department.name for slug, department in clinic.departments.items()}
    return _page("map.html.j2", clinic, panels=found, colours=colours(clinic), departments=titles)


def colours(clinic: Clinic) -> dict[str, str]:
    return {slug: COLOURS[n % len(COLOURS)] for n, slug in enumerate(clinic.departments)}


def _page(template: str, clinic: Clinic, **values: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    shared = {"name": clinic.name, "language": clinic.language, "words": WORDS[clinic.language]}
    return environment.get_template(template).render(**shared, **values)


def labels_pdf(clinic: Clinic, found: Sequence[Label]) -> bytes:
    words, pdf = WORDS[clinic.language], _document(clinic, "labels", "portrait")
    for place, label in enumerate(found):
        row, column = divmod(place % (ACROSS * DOWN), ACROSS)
        if row == column == 0:
            pdf.add_page()
        x, y = column * WIDE + 5, 0.5 + row * HIGH + 4
        room = WIDE - 10
        _write(pdf, x, y, room, 9, label.ext, 24, "B")
        _write(pdf, x, y, room, 2.6, words["socket"], 6, align="R")
        _write(pdf, x, y + 2.8, room, 5, label.socket, 12, "B", align="R")
        _write(pdf, x, y + 12, room, 5, label.name, 9.5)
        # The room first: where the line is too long, the department's end is what nobody misses.
        where = (f"{words['room']} {label.room} · " if label.room else "") + label.department
        _write(pdf, x, y + 16.8, room, 4, where, 7)
        pdf.line(x, y + 24.4, x + room, y + 24.4)
        _write(pdf, x, y + 25, 21, 3.4, f"{label.switch} · {words['port']} {label.port}", 6.5)
        _write(pdf, x + 20, y + 25, 16, 3.4, label.model, 6.5, align="C")
        _write(pdf, x, y + 25, room, 3.4, label.mac, 6, "", "R", family="mono")
    return bytes(pdf.output())


def port_map_pdf(clinic: Clinic, found: Sequence[Panel]) -> bytes:
    pdf, tints = _document(clinic, "map", "landscape"), colours(clinic)
    for panel in found:
        pdf.add_page()
        _heading(pdf, clinic, panel)
        _front(pdf, panel, tints)
        _legend(pdf, clinic, panel, tints)
        _list(pdf, clinic, panel)
    return bytes(pdf.output())


def _heading(pdf: FPDF, clinic: Clinic, panel: Panel) -> None:
    words = WORDS[clinic.language]
    _write(pdf, MARGIN, MARGIN, 60, 8, panel.name, 17, "B")
    where = " · ".join(part for part in (panel.model, panel.location) if part)
    _write(pdf, MARGIN + pdf.get_string_width(panel.name) + 4, MARGIN + 1, 150, 8, where, 9)
    count = f"{len(panel.labels)} {words['phones']}, {panel.ports} {words['ports']}"
    _write(pdf, MARGIN + 127, MARGIN, 150, 4, clinic.name, 8, align="R")
    _write(pdf, MARGIN + 127, MARGIN + 4, 150, 4, count, 8, align="R")


def _front(pdf: FPDF, panel: Panel, tints: dict[str, str]) -> None:
    pdf.set_fill_color(39, 49, 58)
    pdf.rect(MARGIN, 21, 277, 30.2, style="F")
    for down, row in enumerate((panel.upper, panel.lower)):
        wide = (277 - 4 - 0.6 * (len(row) - 1)) / max(1, len(row))
        for place, (number, label) in enumerate(row):
            x, y = MARGIN + 2 + place * (wide + 0.6), 23 + down * 13.7
            pdf.set_fill_color(*_rgb(tints[label.slug] if label else "#4a5660"))
            pdf.rect(x, y, wide, 12.5, style="F")
            pdf.set_text_color(*((40, 40, 40) if label else (203, 211, 217)))
            _write(pdf, x, y + 0.4, wide, 2.2, str(number), 5, align="C")
            pdf.set_text_color(0, 0, 0)
            if label:
                _write(pdf, x, y + 2.8, wide, 3.6, label.ext, 8, "B", "C")
                _write(pdf, x, y + 6.9, wide, 2.2, label.socket, 4.6, align="C")
                _write(pdf, x, y + 9.2, wide, 2.2, label.short.split()[0], 4.6, align="C")


def _legend(pdf: FPDF, clinic: Clinic, panel: Panel, tints: dict[str, str]) -> None:
    x = MARGIN
    for slug in [s for s in clinic.departments if any(label.slug == s for label in panel.labels)]:
        pdf.set_fill_color(*_rgb(tints[slug]))
        pdf.rect(x, 53.6, 3, 3, style="DF")
        title = clinic.departments[slug].name
        _write(pdf, x + 4, 53, 80, 4.2, title, 7)
        x += 10 + pdf.get_string_width(title)


COLUMNS = {"port": 8.0, "socket": 18.0, "ext": 12.0, "name": 45.0, "room": 11.0, "model": 16.0, "mac": 23.0}


def _list(pdf: FPDF, clinic: Clinic, panel: Panel) -> None:
    """Two columns, the first half of the ports on the left; the page's height decides the lines'."""
    words, half = WORDS[clinic.language], -(-len(panel.labels) // 2)
    high = min(4.6, 136 / (half + 1)) if half else 4.6
    for side, part in enumerate((panel.labels[:half], panel.labels[half:])):
        y = 61.0
        cells = [words[key] for key in COLUMNS]
        for label in (None, *part):
            x = MARGIN + side * 141
            if label:
                cells = [str(label.port), label.socket, label.ext, label.name, label.room, label.model, label.mac]
            for (key, wide), cell in zip(COLUMNS.items(), cells, strict=True):
                bold = "B" if label is None or key == "ext" else ""
                mono = key == "mac" and label
                align = "R" if key == "port" and label else "L"
                _write(pdf, x, y, wide - 1, high, cell, 5.6 if mono else 6.2, bold, align, "mono" if mono else "sans")
                x += wide + (1.5 if key == "port" else 0)
            pdf.set_draw_color(*((0, 0, 0) if label is None else (185, 194, 202)))
            pdf.line(MARGIN + side * 141, y + high, MARGIN + side * 141 + 136, y + high)
            y += high
    pdf.set_draw_color(0, 0, 0)


def _document(clinic: Clinic, what: str, orientation: str) -> FPDF:
    pdf = FPDF(orientation="portrait" if orientation == "portrait" else "landscape", unit="mm", format="A4")
    pdf.set_auto_page_break(False)
    pdf.set_margin(0)
    pdf.c_margin = 0
    pdf.set_creation_date(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))  # the same description, the same bytes
    pdf.set_title(f"{WORDS[clinic.language][what]} · {clinic.name}")
    try:
        for family, style, file in (("sans", "", "DejaVuSans"), ("sans", "B", "DejaVuSans-Bold"),
                                    ("mono", "", "DejaVuSansMono")):  # fmt: skip
            pdf.add_font(family, style, FONTS / f"{file}.ttf")
    except FileNotFoundError as error:
        raise ClinicError(
            f"There is no font with Cyrillic: {error}.", remedy="scripts/setup, or -o FILE.html"
        ) from None
    pdf.set_line_width(0.15)
    return pdf


def _write(
    pdf: FPDF, x: float, y: float, wide: float, high: float, text: str, size: float, style: str = "", align: str = "L",
    family: str = "sans",
) -> None:  # fmt: skip
    """One line of text in a box; smaller, then cut, where it would not fit."""
    pdf.set_font(family, style, size)
    if (width := pdf.get_string_width(text)) > wide:
        pdf.set_font_size(max(size * wide / width, size * 0.72))
        while len(text) > 1 and pdf.get_string_width(text) > wide:
            text = text.removesuffix("…")[:-1] + "…"
    pdf.set_xy(x, y)
    pdf.cell(wide, high, text, align=align)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
