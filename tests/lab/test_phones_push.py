"""The fleet's commands on the case's telephones: pushed, waited for, moved, replaced, reset, interrupted.

The tests of this file leave the description as they found it, and all telephones current.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab import phones
from tests.lab.conftest import LAB, ROOT, Case

pytestmark = pytest.mark.lab
LABEL, EXT = "label: Бухгалтерия}", "4001"  # a key of the chief doctor's telephone alone
NAME, EVERYBODY = "Юдин Антон Константинович", 155  # in all phonebooks; the adapter has none
NEW_MAC = "00:0b:82:ff:00:01"


@pytest.fixture
def description(case: Case, deployed: dict[str, object]) -> Iterator[Case]:
    old = case.file.read_text()
    assert case.json("phones", "push", str(case.file))["failed"] == [], "a telephone is behind before the test"
    yield case
    case.file.write_text(old)
    assert case.json("phones", "push", str(case.file))["failed"] == []


def push(case: Case, *options: str, expect: int = 0) -> dict[str, Any]:
    return case.json("phones", "push", str(case.file), *options, expect=expect)


def change(case: Case, old: str, new: str) -> None:
    text = case.file.read_text()
    assert text.count(old) == 1
    case.file.write_text(text.replace(old, new))


def status(case: Case, *options: str, expect: int = 0) -> list[dict[str, Any]]:
    return list(case.json("phones", "status", str(case.file), *options, expect=expect)["phones"])


def registered(ext: str, timeout: float = 15) -> bool:
    with phones.handsets(LAB) as box:
        return not box.wait([phones.known(LAB, [ext])[ext]], timeout=timeout)["waiting"]


def test_one_changed_key_is_on_its_telephone_alone(description: Case) -> None:
    before = {row["ext"]: row["version"] for row in status(description)}
    change(description, LABEL, "label: Касса}")
    report = push(description)
    assert report["confirmed"].keys() == {EXT} and report["failed"] == []
    after = {row["ext"]: row["version"] for row in status(description)}
    assert {ext for ext, version in after.items() if version != before[ext]} == {EXT}


def test_second_push_changes_and_tells_nothing(description: Case) -> None:
    report = push(description)
    assert (report["uploaded"], report["confirmed"], report["unchanged"]) == (0, {}, 156)


def test_dry_push_says_who_would_be_told_and_tells_nobody(description: Case) -> None:
    change(description, LABEL, "label: Касса}")
    report = push(description, "--dry")
    assert report["stale"] == [EXT] and report["confirmed"] == {}
    assert status(description, "--ext", EXT)[0]["configuration"] == "current", "nothing was uploaded"


def test_telephone_in_a_call_is_told_when_the_call_is_over(description: Case) -> None:
    change(description, LABEL, "label: Касса}")
    command = [sys.executable, "-m", "clinicpbx", "phones", "push", str(description.file)]
    with phones.pool(LAB) as pool:
        call = pool.call(EXT, "4002", tone=440)
        pool.wait_incoming("4002", 5).answer(tone=620)
        call.wait_answered(5)
        with subprocess.Popen(
            command, cwd=ROOT, env=description.environment, stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout
            assert any(f"{EXT} " in line and "in a call" in line for line in running.stdout), "it was told in its call"
            time.sleep(3)
            call.wait_tone(620, 3)
            assert running.poll() is None
            call.hangup()
            assert running.wait(30) == 0
    assert status(description, "--ext", EXT)[0]["configuration"] == "current"


def test_telephone_that_is_off_is_named_with_its_place_and_comes_by_itself(description: Case) -> None:
    with phones.pool(LAB) as pool:
        pool.unregister([EXT])
    phones.power(LAB, [EXT], False)
    change(description, LABEL, "label: Касса}")
    (row,) = push(description, expect=1)["failed"]
    assert (row["ext"], row["room"], row["socket"], row["switch"], row["port"]) == (EXT, "420", "4-420-1", "sw-4", 7)
    assert row["why"].startswith("off")
    phones.power(LAB, [EXT], True)
    assert registered(EXT) and push(description)["confirmed"] == {}


def test_interrupted_push_goes_on_with_the_rest(description: Case) -> None:
    change(description, NAME, "Юдина Антонина Константиновна")
    command = [sys.executable, "-m", "clinicpbx", "phones", "push", str(description.file)]
    with subprocess.Popen(
        command, cwd=ROOT, env=description.environment, stdout=subprocess.PIPE, text=True,
        # a background shell hands down an ignored SIGINT: then nothing would be interrupted
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:  # fmt: skip
        assert running.stdout and any("being told" in line for line in running.stdout)
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
    left = push(description)
    assert left["failed"] == [] and 0 < len(left["confirmed"]) < EVERYBODY
    assert push(description)["confirmed"] == {}


def test_reset_telephone_is_refused_and_named_until_its_door_is_opened(description: Case) -> None:
    assert status(description, "--stale") == []
    phones.reset(LAB, "4003")
    assert not registered("4003", timeout=4)
    (row,) = status(description, "--stale", expect=1)
    assert (row["ext"], row["configuration"], row["refused"][-1]["what"]) == ("4003", "refused", "closed")
    (failed,) = push(description, expect=1)["failed"]
    assert "phones open CLINIC 4003" in failed["why"] and failed["socket"] == "4-421-1"
    description.run("phones", "open", str(description.file), "4003")
    assert registered("4003") and status(description, "--stale") == []


def test_replaced_telephone_works_and_the_old_one_opens_nothing(description: Case) -> None:
    old = phones.known(LAB, ["4004"])["4004"]
    old_mac = ":".join(old[n : n + 2] for n in range(0, 12, 2))
    text = description.file.read_text()
    done = description.json("phones", "replace", str(description.file), "4004", NEW_MAC)
    assert set(done["renewed"]) == {"sip/4004", "provisioning/4004", "first-access/000b82ff0001"}
    lines = [
        (a, b) for a, b in zip(text.splitlines(), description.file.read_text().splitlines(), strict=True) if a != b
    ]
    assert [a.replace(old_mac, NEW_MAC) for a, _ in lines] == [b for _, b in lines] and len(lines) == 1
    phones.power(LAB, ["4004"], False)
    phones.power(LAB, ["4004"], True)
    assert not registered("4004", timeout=4), "the old telephone, with all it knew, is still let in"
    phones.swap(LAB, "4004", NEW_MAC)
    try:
        assert registered("4004")
        (row,) = status(description, "--ext", "4004")
        assert (row["configuration"], row["door"], row["registered"]) == ("current", "closed", True)
    finally:
        description.json("phones", "replace", str(description.file), "4004", old_mac)
        phones.swap(LAB, "4004", old)
        assert not registered("4004", timeout=4), "it knows its former passwords only"
        phones.reset(LAB, "4004")  # as one that comes back from repair
    assert registered("4004")


def test_moved_telephone_keeps_its_version_and_a_taken_port_is_refused(description: Case) -> None:
    (before,) = status(description, "--ext", "4005")
    text = description.file.read_text()
    refused = description.run("phones", "moved", str(description.file), "4005", "9-1-1", "sw-4", "7", expect=1)
    assert "already used by 4001" in refused and description.file.read_text() == text
    description.run("phones", "moved", str(description.file), "4005", "9-1-1", "sw-4", "48")
    (after,) = status(description, "--ext", "4005")
    assert (after["socket"], after["port"], after["version"]) == ("9-1-1", 48, before["version"])
    old = (before["socket"], before["switch"], str(before["port"]))
    description.run("phones", "moved", str(description.file), "4005", *old)
    assert description.file.read_text() == text and description.json("deploy", str(description.file))["changed"] == 0
