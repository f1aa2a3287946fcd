"""Machines really boot: cards, disks, reboots, and what is left when they die."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import clean, cloudinit, network, process, state, topology
from lab.disks import BY_ID
from lab.machines import Card, Machine, MachineError
from tests.lab import rig

LAB = 53
ROOT = rig.image()
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(ROOT is None, reason="needs CLINICPBX_LAB_IMAGE"),
]
CARDS = tuple(Card(n, mac, d) for n, (mac, d) in enumerate(zip(rig.MACS, ("vmbr-mgmt", "vmbr-voice"), strict=False)))
SEED = cloudinit.seed({key: str(v) for key, v in rig.options().items() if key not in ("net2", "net3")})
ENGINEER = topology.namespace(LAB, "eng")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine on lab 53's network, with a 64 MiB second disk, started by a program that has ended since."""
    clean.lab(LAB)
    network.build(topology.derive(rig.plan(), LAB))
    made = Machine(LAB, 100, state.disk_folder(LAB) / "machines/100", state.run_folder(LAB))
    made.create()
    program = (
        "from pathlib import Path; from lab.machines import *; from tests.lab.test_machines import *;"
        f"Machine({LAB}, 100, Path({str(made.folder)!r}), Path({str(made.run)!r}))"
        ".start(ROOT, CARDS, CARD_SEED, {'scsi1': 64 << 20})"
    ).replace("CARD_SEED", "SEED")
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=Path(__file__).parents[2])
    assert rig.banner(ENGINEER).startswith(b"SSH-2.0-")
    print(f"start to SSH banner: {time.monotonic() - started:.2f} s")
    yield made
    clean.lab(LAB)
    assert not made.folder.exists()


def test_machine_outlives_the_program_that_started_it(machine: Machine) -> None:
    assert machine.pid
    assert machine.leader
    assert process.started_at(machine.leader)


def test_cards_have_the_described_mac_addresses_in_order(machine: Machine) -> None:
    for number in (0, 1):
        assert rig.inside(machine.leader, f"cat /sys/class/net/eth{number}/address") == rig.MACS[number]
    assert rig.inside(machine.leader, "ls /sys/class/net").split() == ["eth0", "eth1", "lo"]


def test_cloud_init_set_hostname_addresses_and_user(machine: Machine) -> None:
    assert rig.inside(machine.leader, "hostname") == "pbx"
    assert f"{rig.PBX}/24" in rig.inside(machine.leader, "ip -br address show eth0")
    assert "engineer" in rig.inside(machine.leader, "cat /etc/passwd")
    assert "nobody-we-know" not in rig.inside(machine.leader, "cat /etc/passwd")


def test_second_disk_is_a_block_device_of_its_size(machine: Machine) -> None:
    device = BY_ID.format(name="scsi1")
    assert rig.inside(machine.leader, f"blockdev --getsize64 {device}") == str(64 << 20)
    assert rig.inside(machine.leader, f"test -e {BY_ID.format(name='scsi2')} || echo absent") == "absent"


def test_running_machine_is_not_started_again(machine: Machine) -> None:
    assert ROOT is not None
    with pytest.raises(MachineError, match="VM 100 already running"):
        machine.start(ROOT, CARDS, SEED, {})


def test_reboot_inside_keeps_the_disk_and_forgets_the_firewall(machine: Machine) -> None:
    before = machine.leader
    rig.inside(before, "echo kept >/root/mark; nft add table inet forgotten; systemctl reboot --no-block")
    assert process.wait_for(lambda: machine.leader not in (None, before), 20)
    assert rig.banner(ENGINEER)
    assert rig.inside(machine.leader, "cat /root/mark") == "kept"
    assert "forgotten" not in rig.inside(machine.leader, "nft list ruleset")


def test_base_image_is_never_written(machine: Machine) -> None:
    assert ROOT is not None
    assert (machine.disk / "root/mark").exists()
    assert not (ROOT / "root/mark").exists()


def test_machine_killed_outright_leaves_nothing_mounted_and_starts_again(machine: Machine) -> None:
    assert ROOT is not None
    assert machine.leader
    machine.stop(0)
    assert machine.pid is None
    assert str(machine.folder) not in Path("/proc/self/mounts").read_text()
    assert not process.recall(machine.run / "vm100.pid")
    machine.start(ROOT, CARDS, SEED, {"scsi1": 64 << 20})
    assert rig.banner(ENGINEER)
    assert rig.inside(machine.leader, "cat /root/mark") == "kept"


def test_machine_shuts_down_by_itself_when_asked(machine: Machine) -> None:
    assert machine.stop(30)
    assert machine.pid is None


def test_image_without_a_system_is_an_error_that_says_so(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="did not start: "):
        machine.start(tmp_path, (), {}, {})
    assert machine.pid is None
