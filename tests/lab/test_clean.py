"""Cleaning up after a crash: whatever was killed or lost, nothing of the lab remains, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from clinicpbx.errors import ClinicError
from lab import clean, lab, netns, process, state
from lab.machines import Card, Machine
from tests.lab import rig

LAB, NEIGHBOUR = 56, 57
CLEAN = Path(__file__).parents[2] / "scripts/clean"
pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def remains(number: int) -> list[str]:
    """Everything by which a lab could be noticed on this machine."""
    mounts = Path("/proc/self/mounts").read_text()
    loops = subprocess.run(["losetup", "--all"], capture_output=True, text=True, check=True).stdout
    found = netns.listed(f"cpx{number}-")
    found += [str(f) for f in (state.run_folder(number), state.disk_folder(number)) if f.exists()]
    return found + [line for line in (mounts + loops).splitlines() if f"clinicpbx/lab{number}/" in line]


def test_clean_removes_a_crashed_lab_and_leaves_its_neighbour_alone() -> None:
    clean.lab(LAB)
    clean.lab(NEIGHBOUR)
    try:
        described = lab.up(rig.plan(), LAB)
        neighbour = lab.up(rig.plan(), NEIGHBOUR)
        space = described["namespaces"]["phones"]
        with netns.entered(space):
            lost = subprocess.Popen(["sleep", "600"], start_new_session=True)  # no pid file knows it
        daemon = process.recall(state.run_folder(LAB) / "hypervisor/pid")
        assert daemon
        os.kill(daemon, signal.SIGKILL)
        state.file(LAB).unlink()
        assert len(remains(LAB)) > 5
        for _ in range(2):
            subprocess.run([CLEAN, str(LAB)], check=True, capture_output=True, timeout=60)
        assert remains(LAB) == []
        assert lost.wait(timeout=5) in (-signal.SIGTERM, -signal.SIGKILL)
        assert lab.status(NEIGHBOUR)["up"]
        with netns.entered(neighbour["namespaces"]["eng"]):
            assert rig.api(neighbour).version.get()
    finally:
        clean.lab(LAB)
        clean.lab(NEIGHBOUR)
    assert remains(NEIGHBOUR) == []


@pytest.mark.skipif(rig.image() is None, reason="needs CLINICPBX_LAB_IMAGE")
def test_clean_ends_a_machine_whose_supervisor_was_killed() -> None:
    clean.lab(LAB)
    image = rig.image()
    assert image is not None
    try:
        lab.up(rig.plan(), LAB, image=image)
        made = Machine(LAB, 100, state.disk_folder(LAB) / "machines/100", state.run_folder(LAB))
        made.create()
        made.start(image, (Card(0, rig.MACS[0], "vmbr-mgmt"),), {}, {"scsi1": 16 << 20})
        leader, supervisor = made.leader, made.pid
        assert leader
        assert supervisor
        os.kill(supervisor, signal.SIGKILL)
        assert process.wait_for(lambda: made.pid is None, 5)
        assert process.started_at(leader)  # control: the machine itself still runs
        subprocess.run([CLEAN, str(LAB)], check=True, capture_output=True, timeout=60)
        assert not process.started_at(leader)
        assert remains(LAB) == []
    finally:
        clean.lab(LAB)


def test_nothing_to_clean_is_no_error() -> None:
    for _ in range(2):
        assert subprocess.run([CLEAN, str(LAB)], check=False, capture_output=True, timeout=60).returncode == 0
    assert not lab.status(LAB)["up"]


def test_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lab.PROGRAMS, "no-such-program", "some-package")
    with pytest.raises(ClinicError, match="apt-get install some-package"):
        lab.up(rig.plan(), LAB)
