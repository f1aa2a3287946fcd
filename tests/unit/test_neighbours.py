"""A power cut brings all telephones back at once: the kernel has room for each of them as a neighbour."""

from __future__ import annotations

from pathlib import Path

from clinic.synthetic import MAX_PEOPLE
from lab import network

SYSCTL = Path(__file__).parents[2] / "files/base/sysctl.conf"


def limits(text: str) -> dict[str, int]:
    """Settings of the neighbour table; `-` lets a container, which has none, go on."""
    pairs = [line.split("=") for line in text.splitlines() if line.startswith("-net.ipv4.neigh.default.")]
    return {name.strip().rpartition(".")[2]: int(value) for name, value in pairs}


def test_the_largest_clinic_fits_into_the_neighbour_table() -> None:
    found = limits(SYSCTL.read_text())
    first, second, third = (found[f"gc_thresh{n}"] for n in (1, 2, 3))
    assert first < second < third
    assert second > MAX_PEOPLE, "above the second one the kernel searches for entries to drop"


def test_the_lab_has_the_room_of_a_real_pbx() -> None:
    assert limits(SYSCTL.read_text()) == network.NEIGHBOURS


def test_the_lab_enlarges_the_table_and_never_shrinks_it(tmp_path: Path) -> None:
    for name, value in (("gc_thresh1", "128"), ("gc_thresh2", "99999")):
        (tmp_path / name).write_text(value)
    network.make_room(tmp_path)
    assert (tmp_path / "gc_thresh1").read_text() == "8192"
    assert (tmp_path / "gc_thresh2").read_text() == "99999"
    network.make_room(tmp_path / "absent")
