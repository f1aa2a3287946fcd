"""The hypervisor's API, used by the toolkit's own client library; every exchange is held against the schema."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from proxmoxer import AuthenticationError, ProxmoxAPI, ResourceException

from clinicpbx.errors import ClinicError
from lab import clean, lab, netns, process, state
from tests.lab import rig
from tests.schema.pve_schema import journal, problems

LAB = 54
ROOT = rig.image()
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(ROOT is None, reason="needs CLINICPBX_LAB_IMAGE"),
]
KEY = quote("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtlZXAgdGhpcyBrZXkgb3V0IG9mIHVzZSwgaXQgaXM engineer", safe="")
MISSING = "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"


def up(journal_file: Path) -> dict[str, Any]:
    return lab.up(rig.plan(), LAB, image=ROOT, image_name="clinic-pbx-test.qcow2", journal=journal_file)


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Lab 54 is up and the tests' thread sits at the engineer's desk. At the end every exchange is checked."""
    clean.lab(LAB)
    file = tmp_path_factory.mktemp("api") / "journal.jsonl"
    started = time.monotonic()
    described = up(file)
    assert time.monotonic() - started < 5
    with netns.entered(described["namespaces"]["eng"]):
        yield described
    lab.down(LAB)
    assert netns.listed(f"cpx{LAB}-") == []
    exchanges = journal(file)
    assert exchanges
    assert [problem for exchange in exchanges for problem in problems(exchange)] == []
    text = file.read_text()
    assert described["api"]["token_secret"] not in text
    assert "let-me-in" not in text


@pytest.fixture(scope="module")
def api(at: dict[str, Any]) -> ProxmoxAPI:
    return rig.api(at)


@pytest.fixture(scope="module")
def vm(api: ProxmoxAPI, at: dict[str, Any]) -> Any:
    """The PBX's machine, created and started as a deploy does it."""
    started = time.monotonic()
    node = api.nodes("pve1")
    assert rig.ended(api, node.qemu.post(**rig.options(KEY))) == "OK"
    assert rig.ended(api, node.qemu(100).resize.put(disk="scsi0", size="20G")) == "OK"
    assert rig.ended(api, node.qemu(100).status.start.post()) == "OK"
    assert rig.banner(at["namespaces"]["eng"])
    print(f"create to SSH banner: {time.monotonic() - started:.2f} s")
    return node.qemu(100)


def refused(action: Any, *args: Any, **kwargs: Any) -> ResourceException:
    with pytest.raises(ResourceException) as caught:
        action(*args, **kwargs)
    return caught.value


def test_api_answers_over_its_own_authority_only(at: dict[str, Any], api: ProxmoxAPI) -> None:
    assert api.version.get()["version"].startswith("9.")
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://{at['api']['host']}:8006/api2/json/version", timeout=5)


@pytest.mark.parametrize("header", [None, "PVEAPIToken=deploy@pve!ci=wrong", "PVEAPIToken=other@pve!ci=wrong"])
def test_without_a_valid_token_the_answer_is_401_and_empty(at: dict[str, Any], header: str | None) -> None:
    where = f"https://{at['api']['host']}:8006/api2/json/nodes"
    answer = requests.get(where, headers={"Authorization": header}, verify=at["api"]["ca"], timeout=5)
    assert (answer.status_code, answer.content) == (401, b"")


def test_wrong_secret_is_an_authentication_error_to_the_client_library(at: dict[str, Any]) -> None:
    with pytest.raises((AuthenticationError, ResourceException), match="401"):
        rig.api(at, secret="0" * 32).version.get()


def test_auditor_may_look_but_not_touch(at: dict[str, Any], vm: Any) -> None:
    auditor = rig.api(at, "auditor").nodes("pve1").qemu(100)
    assert auditor.config.get()["name"] == "pbx"
    error = refused(auditor.status.stop.post)
    assert (error.status_code, "Permission check failed (/vms/100, VM.PowerMgmt)" in str(error)) == (403, True)


def test_discovery_lists_node_storages_image_and_free_number(api: ProxmoxAPI, vm: Any) -> None:
    assert [node["node"] for node in api.nodes.get()] == ["pve1"]
    assert api.nodes("pve1").status.get()["memory"]["total"] > 0
    importing = api.nodes("pve1").storage.get(content="import")
    assert [storage["storage"] for storage in importing] == ["local"]
    assert api.nodes("pve1").storage("local").status.get()["active"] == 1
    volumes = api.nodes("pve1").storage("local").content.get(content="import")
    assert [volume["volid"] for volume in volumes] == ["local:import/clinic-pbx-test.qcow2"]
    assert [found["vmid"] for found in api.cluster.resources.get(type="vm")] == [100]
    assert int(api.cluster.nextid.get()) == 101
    assert "already exists" in str(refused(api.cluster.nextid.get, vmid=100))
    assert refused(api.nodes("pve1").storage("nowhere").content.get).status_code == 500


def test_configuration_keeps_what_was_asked(vm: Any) -> None:
    config = vm.config.get()
    assert config["scsi0"] == "local-lvm:vm-100-disk-0,size=20G"
    assert config["scsi1"] == "local-lvm:vm-100-disk-1,size=2G"
    assert config["net1"] == f"virtio={rig.MACS[1].upper()},bridge=vmbr-voice,tag=20"
    assert config["sshkeys"] == KEY
    assert config["cores"] == 2


def test_bad_parameters_are_named(api: ProxmoxAPI) -> None:
    error = refused(api.nodes("pve1").qemu.post, vmid="seven", colour="red", cores="two", name="-")
    assert error.status_code == 400
    assert set(error.errors) == {"vmid", "colour", "cores", "name"}


def test_missing_and_existing_machines_are_refused_with_proxmox_words(api: ProxmoxAPI, vm: Any) -> None:
    node = api.nodes("pve1")
    missing = refused(node.qemu(999).config.get)
    assert (missing.status_code, missing.content) == (500, MISSING)
    twice = refused(node.qemu.post, vmid=100)
    assert (twice.status_code, "already exists" in twice.content) == (500, True)
    nothing = "local-lvm:0,import-from=local:import/no.qcow2"
    assert "does not exist" in refused(node.qemu.post, vmid=101, scsi0=nothing).content
    assert "storage 'no' does not exist" in refused(node.qemu.post, vmid=101, scsi0="no:4").content
    assert refused(api.nodes("pve1").lxc.get).status_code == 501
    assert "hostname lookup" in refused(api.nodes("pve9").status.get).content


def test_running_machine_is_neither_started_nor_destroyed(api: ProxmoxAPI, vm: Any) -> None:
    assert rig.ended(api, vm.status.start.post()) == "VM 100 already running"
    assert "is running - destroy failed" in refused(vm.delete).content
    assert vm.status.current.get()["status"] == "running"


def test_digest_protects_from_a_change_in_between(vm: Any) -> None:
    digest = vm.config.get()["digest"]
    vm.config.put(description="first", digest=digest)
    assert "detected modified configuration" in refused(vm.config.put, description="second", digest=digest).content
    assert vm.config.get()["description"] == "first"
    vm.config.put(delete="description")
    assert "description" not in vm.config.get()


def test_later_configuration_is_a_task_and_passwords_are_masked(api: ProxmoxAPI, vm: Any) -> None:
    assert rig.ended(api, vm.config.post(cipassword="let-me-in", tags="clinic-pbx")) == "OK"
    assert vm.config.get()["cipassword"] == "**********"
    assert vm.config.get()["tags"] == "clinic-pbx"


def test_disk_grows_but_never_shrinks(api: ProxmoxAPI, vm: Any) -> None:
    assert rig.ended(api, vm.resize.put(disk="scsi0", size="20G")) == "OK"
    assert rig.ended(api, vm.resize.put(disk="scsi0", size="+1G")) == "OK"
    assert "size=21G" in vm.config.get()["scsi0"]
    assert rig.ended(api, vm.resize.put(disk="scsi0", size="5G")) == "shrinking disks is not supported"
    assert "does not exist" in refused(vm.resize.put, disk="scsi9", size="5G").content


def test_guest_agent_answers_only_when_installed(vm: Any, at: dict[str, Any]) -> None:
    leader = lab.status(LAB)["machines"]["100"]["leader"]
    if rig.inside(leader, "command -v qemu-ga || true"):
        pytest.skip("the image has the guest agent")
    assert refused(vm.agent.ping.post).content == "QEMU guest agent is not running"
    rig.inside(leader, "touch /usr/sbin/qemu-ga")
    assert vm.agent.ping.post() == {"result": {}}
    rig.inside(leader, "rm /usr/sbin/qemu-ga")


def test_unplugged_card_is_felt_by_the_running_machine(vm: Any) -> None:
    card = vm.config.get()["net1"]
    leader = lab.status(LAB)["machines"]["100"]["leader"]
    assert rig.inside(leader, "cat /sys/class/net/eth1/carrier") == "1"
    vm.config.put(net1=f"{card},link_down=1")
    assert rig.inside(leader, "cat /sys/class/net/eth1/carrier") == "0"
    vm.config.put(net1=card)
    assert rig.inside(leader, "cat /sys/class/net/eth1/carrier") == "1"


def test_image_download_is_verified(api: ProxmoxAPI, at: dict[str, Any]) -> None:
    content = b"not really an image"

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.HTTPServer((at["engineer"], 8000), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    storage = api.nodes("pve1").storage("local")
    wanted = {
        "content": "import",
        "filename": "x.qcow2",
        "url": f"http://{at['engineer']}:8000/x",
        "checksum-algorithm": "sha256",
    }
    try:
        bad = rig.ended(api, storage("download-url").post(**wanted, checksum="0" * 64))
        assert bad.startswith("checksum mismatch")
        assert "local:import/x.qcow2" not in [v["volid"] for v in storage.content.get()]
        good = hashlib.sha256(content).hexdigest()
        assert rig.ended(api, storage("download-url").post(**wanted, checksum=good)) == "OK"
        assert "local:import/x.qcow2" in [v["volid"] for v in storage.content.get()]
        assert "refusing to override" in refused(storage("download-url").post, **wanted, checksum=good).content
        storage.content("local:import/x.qcow2").delete()
    finally:
        server.shutdown()
        server.server_close()
    assert refused(storage("download-url").post, **wanted | {"filename": "x.exe"}, checksum="0" * 64).status_code == 400


def test_snapshot_takes_the_machine_back(api: ProxmoxAPI, vm: Any, at: dict[str, Any]) -> None:
    def leader() -> int:
        return int(lab.status(LAB)["machines"]["100"]["leader"])

    rig.inside(leader(), "echo before >/root/mark")
    assert rig.ended(api, vm.snapshot.post(snapname="before-night", description="evening")) == "OK"
    assert rig.ended(api, vm.snapshot.post(snapname="before-night")) == "snapshot name 'before-night' already used"
    assert refused(vm.snapshot.post, snapname="9 lives").status_code == 400
    rig.inside(leader(), "echo after >/root/mark; touch /root/new")
    assert rig.ended(api, vm.snapshot("before-night").rollback.post(start=1)) == "OK"
    assert rig.banner(at["namespaces"]["eng"])
    assert rig.inside(leader(), "cat /root/mark; ls /root/new 2>/dev/null || true") == "before"
    assert [s["name"] for s in vm.snapshot.get()] == ["before-night", "current"]
    assert rig.ended(api, vm.snapshot("before-night").delete()) == "OK"
    assert rig.ended(api, vm.snapshot("before-night").rollback.post()) == "snapshot 'before-night' does not exist"


def listens(at: dict[str, Any]) -> bool:
    with socket.socket() as client:
        return client.connect_ex((at["api"]["host"], at["api"]["port"])) == 0


def test_daemon_dies_and_comes_back_over_the_running_machine(api: ProxmoxAPI, vm: Any, at: dict[str, Any]) -> None:
    leader = lab.status(LAB)["machines"]["100"]["leader"]
    upid = vm.config.post(tags="clinic-pbx;kept")
    assert rig.ended(api, upid) == "OK"
    daemon = process.recall(state.run_folder(LAB) / "hypervisor/pid")
    assert daemon
    os.kill(daemon, signal.SIGKILL)
    assert process.wait_for(lambda: not process.started_at(daemon), 5)
    assert process.wait_for(lambda: not listens(at), 5)  # its threads hold the socket for a moment longer
    with pytest.raises(requests.exceptions.ConnectionError):
        rig.api(at).version.get()
    again = up(Path(at["api"]["journal"]))
    at["api"].update(again["api"])
    back = rig.api(at)
    assert back.nodes("pve1").qemu(100).status.current.get()["status"] == "running"
    assert lab.status(LAB)["machines"]["100"]["leader"] == leader
    assert back.nodes("pve1").tasks(upid).status.get()["exitstatus"] == "OK"


def test_shutdown_delete_and_the_number_is_free_again(at: dict[str, Any], vm: Any) -> None:
    client = rig.api(at)
    machine = client.nodes("pve1").qemu(100)
    assert rig.ended(client, machine.status.reboot.post()) == "OK"
    assert rig.banner(at["namespaces"]["eng"])
    assert rig.ended(client, machine.status.shutdown.post(timeout=30)) == "OK"
    assert machine.status.current.get()["status"] == "stopped"
    assert "not running" in refused(machine.status.reboot.post).content
    assert rig.ended(client, machine.delete(purge=1)) == "OK"
    assert refused(machine.config.get).status_code == 500
    assert not (state.disk_folder(LAB) / "machines/100").exists()


def test_bridge_that_does_not_exist_fails_the_start(at: dict[str, Any]) -> None:
    client = rig.api(at)
    node = client.nodes("pve1")
    wrong = rig.options(KEY) | {"vmid": 102, "net1": f"virtio={rig.MACS[1]},bridge=vmbr9"}
    assert rig.ended(client, node.qemu.post(**wrong)) == "OK"
    assert rig.ended(client, node.qemu(102).status.start.post()) == "bridge 'vmbr9' does not exist"
    assert rig.ended(client, node.qemu(102).delete()) == "OK"


def test_state_file_is_for_root_only_and_up_again_changes_nothing(at: dict[str, Any]) -> None:
    assert stat.S_IMODE(state.file(LAB).stat().st_mode) == 0o600
    before = json.loads(state.file(LAB).read_text())
    daemon = process.recall(state.run_folder(LAB) / "hypervisor/pid")
    after = up(Path(at["api"]["journal"]))
    assert before["api"] == after["api"]
    assert process.recall(state.run_folder(LAB) / "hypervisor/pid") == daemon


def test_lab_refuses_what_it_cannot_build(tmp_path: Path) -> None:
    with pytest.raises(ClinicError, match="is not within 0 to 99"):
        lab.up(rig.plan(), 100)
    with pytest.raises(ClinicError, match="holds no system"):
        lab.up(rig.plan(), LAB, image=tmp_path)
