"""The case's telephones as devices: power cuts, a factory reset, a device that nobody has written down."""

from __future__ import annotations

from typing import Any

import pytest

from lab import phones
from tests.lab.conftest import LAB, Case

pytestmark = pytest.mark.lab
EXT, UNKNOWN = "4201", "805ec0ffff01"


def wait(*exts: str, timeout: float = 15) -> dict[str, Any]:
    """What is not registered in time, by MAC address; of all without `exts`."""
    with phones.handsets(LAB) as box:
        return dict(box.wait(list(phones.known(LAB, exts or None).values()), timeout=timeout)["waiting"])


def test_all_come_back_after_a_power_cut(case: Case, deployed: dict[str, object]) -> None:
    phones.power(LAB, None, False)
    assert {one["state"] for one in phones.status(LAB).values()} == {"off"}
    phones.power(LAB, None, True)
    assert wait(timeout=60) == {}
    found = phones.status(LAB)
    assert len(found) == 156 and {one["door"] for one in found.values()} == {"second"}
    assert len({one["address"] for one in found.values()}) == 156


def test_accounts_come_from_the_pbx_and_from_nowhere_else(case: Case, deployed: dict[str, object]) -> None:
    """The control: with provisioning stopped a new telephone has no account, and an old one goes on."""
    phones.power(LAB, [EXT, "2001"], False)
    case.pbx("systemctl stop nginx")
    try:
        phones.power(LAB, ["2001"], True)
        assert wait("2001") == {}
        assert "no answer" in phones.status(LAB, ["2001"])["2001"]["error"]
        case.pbx(f"clinic-phones open {phones.known(LAB, [EXT])[EXT]}")
        phones.reset(LAB, EXT)
        assert wait(EXT, timeout=4), "it registered without having been told how"
    finally:
        case.pbx("systemctl start nginx")
    assert wait(EXT) == {} and wait("2001") == {}


def test_a_reset_telephone_needs_its_door_opened(case: Case, deployed: dict[str, object]) -> None:
    phones.reset(LAB, EXT)
    assert wait(EXT, timeout=4)
    assert "403" in phones.status(LAB, [EXT])[EXT]["error"]
    case.pbx(f"clinic-phones open {phones.known(LAB, [EXT])[EXT]}")
    assert wait(EXT) == {}


def test_an_unknown_device_gets_no_account_and_the_old_one_comes_back(case: Case, deployed: dict[str, object]) -> None:
    old = phones.known(LAB, [EXT])[EXT]
    phones.swap(LAB, EXT, UNKNOWN)
    try:
        assert wait(EXT, timeout=4)
        found = phones.status(LAB, [EXT])[EXT]
        assert found["exts"] == [] and found["address"].startswith("10.77.20.") and int(found["address"][9:]) < 31
    finally:
        phones.swap(LAB, EXT, old)
    assert wait(EXT) == {}, "it kept its settings without power"


def test_no_log_of_the_telephones_has_a_secret(case: Case, deployed: dict[str, object]) -> None:
    from lab import state

    text = "".join(p.read_text() for p in state.run_folder(LAB).glob("handsets/*") if p.name in ("log", "out"))
    assert "/f/" not in text and "password" not in text.lower()
