"""The machine as the hypervisor must have it: what is sent, and what counts as a difference."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from fakepve import schema

from clinic import vm
from clinic.loading import load
from clinic.model import Clinic
from clinic.synthetic import text

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtlZXAgdGhpcyBrZXkgb3V0IG9mIHVzZSwgaXQgaXM+/= clinic-pbx"


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(text(40))


def as_proxmox_answers(clinic: Clinic) -> dict[str, Any]:
    """The configuration of a machine made as described, in Proxmox's own spelling."""
    config = {k: v for k, v in (vm.creation(clinic, "x.qcow2", KEY) | vm.later(clinic)).items() if k != "vmid"}
    machine = clinic.hypervisor.vm
    config["memory"] = str(machine.memory_mib)
    config["scsi0"] = f"store:vm-{machine.id}-disk-0,size={machine.disk_gib}G"
    config["scsi1"] = f"store:vm-{machine.id}-disk-1,size={machine.recordings_gib}G"
    for name in [n for n in config if n.startswith("net")]:
        model, rest = config[name].split(",", 1)
        config[name] = f"virtio={model.removeprefix('virtio=').upper()},{','.join(reversed(rest.split(',')))}"
    return config | {"digest": "0" * 40, "meta": "creation-qemu=10.0.2", "vmgenid": "1", "smbios1": "uuid=1"}


def test_published_schema_accepts_every_parameter(clinic: Clinic) -> None:
    for method, path, parameters in (
        ("POST", "/nodes/pve1/qemu", vm.creation(clinic, "clinic-pbx-0123456789ab.qcow2", KEY)),
        ("PUT", f"/nodes/pve1/qemu/{clinic.hypervisor.vm.id}/config", vm.later(clinic)),
    ):
        match = schema.load().match(path)
        assert match
        sent = {**match.params, **{k: str(v) for k, v in parameters.items()}}
        assert schema.validate(match.methods[method]["parameters"], sent)[1] == {}


def test_schema_refuses_a_wrong_parameter(clinic: Clinic) -> None:
    """The control: the check above can fail."""
    match = schema.load().match("/nodes/pve1/qemu")
    assert match
    sent = {k: str(v) for k, v in vm.creation(clinic, "x.qcow2", KEY).items()} | match.params | {"corse": "4"}
    assert "corse" in schema.validate(match.methods["POST"]["parameters"], sent)[1]


def test_every_card_has_a_fixed_mac_and_only_the_first_uplink_the_gateway(clinic: Clinic) -> None:
    made = vm.creation(clinic, "x.qcow2", KEY)
    macs = [made[f"net{n}"].split(",")[0].removeprefix("virtio=") for n in range(2 + len(clinic.uplinks))]
    assert tuple(macs) == clinic.hypervisor.vm.macs
    gateways = [n for n in range(len(macs)) if "gw=" in made[f"ipconfig{n}"]]
    assert gateways == [2]


def test_key_is_sent_encoded_as_proxmox_wants_it(clinic: Clinic) -> None:
    sent = vm.creation(clinic, "x.qcow2", KEY)["sshkeys"]
    assert not set(sent) & set(" /+=")
    assert unquote(sent) == KEY


def test_first_boot_upgrades_nothing(clinic: Clinic) -> None:
    assert vm.creation(clinic, "x.qcow2", KEY)["ciupgrade"] == 0


def test_machine_as_described_has_no_difference_however_proxmox_spells_it(clinic: Clinic) -> None:
    assert vm.differences(clinic, as_proxmox_answers(clinic), KEY) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("memory", "512"),
        ("cores", 1),
        ("name", "other"),
        ("onboot", 0),
        ("tags", ""),
        ("startup", "order=9"),
        ("sshkeys", "ssh-ed25519%20AAAA%20other"),
        ("net0", "virtio=02:00:00:00:00:01,bridge=vmbr0"),
        ("ipconfig1", "ip=dhcp"),
        ("scsi0", "store:vm-1-disk-0,size=1G"),
        ("scsi1", "store:vm-1-disk-1,size=4T"),
        ("net9", "virtio=02:00:00:00:00:09,bridge=vmbr0"),
    ],
)
def test_difference_is_named(clinic: Clinic, key: str, value: object) -> None:
    found = as_proxmox_answers(clinic) | {key: value}
    told = vm.differences(clinic, found, KEY)
    assert len(told) == 1 and told[0].startswith(f"{key}: has ")


def test_missing_second_disk_is_a_difference(clinic: Clinic) -> None:
    found = as_proxmox_answers(clinic)
    del found["scsi1"]
    assert [d.split(":")[0] for d in vm.differences(clinic, found, KEY)] == ["scsi1"]


@pytest.mark.parametrize(("size", "gib"), [("32G", 32), ("1T", 1024), ("2252M", 2252 / 1024), ("4194304K", 4)])
def test_disk_sizes_are_read_in_every_unit(size: str, gib: float) -> None:
    assert vm.disk_gib({"scsi0": f"store:vm-1-disk-0,cache=none,size={size},ssd=1"}, "scsi0") == gib
    assert vm.disk_gib({}, "scsi0") is None


def test_machine_of_somebody_else_is_recognised(clinic: Clinic) -> None:
    assert vm.is_ours(clinic, as_proxmox_answers(clinic))
    assert not vm.is_ours(clinic, {"net0": "virtio=02:00:00:00:00:01,bridge=vmbr0"})
    assert not vm.is_ours(clinic, {})
