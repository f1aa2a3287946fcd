"""The toolkit's hypervisor client against the lab's API over TLS: real requests, each held to the published schema."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clinic import vm
from clinic.loading import load
from clinic.model import Clinic
from clinic.synthetic import text
from clinicpbx import hypervisor as module
from clinicpbx.errors import ClinicError
from lab.hypervisor import certs
from lab.hypervisor.errors import TaskError
from tests.deploy.hypervisor_on_loopback import IMAGE, Served, served
from tests.schema.pve_schema import journal, problems

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtlZXAgdGhpcyBrZXkgb3V0IG9mIHVzZSwgaXQgaXM+/= clinic-pbx"

# The server's sockets end with its threads; their late collection is no fault of the client.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What a test left open is collected within it, and not told of in another."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(text(20))


@pytest.fixture
def api(clinic: Clinic, tmp_path: Path) -> Iterator[Served]:
    """At the end every request and every answer is checked."""
    with served(clinic, tmp_path / "hv") as running:
        yield running
        exchanges = journal(running.journal) if running.journal.exists() else []
    assert [problem for exchange in exchanges for problem in problems(exchange)] == []


def make(api: Served) -> tuple[bool, list[str]]:
    said: list[str] = []
    return api.client().create(api.clinic, IMAGE, KEY, say=said.append), said


def requests(api: Served, *methods: str) -> list[str]:
    return [f"{e['method']} {e['path']}" for e in journal(api.journal) if e["method"] in methods]


def told(action: Callable[[], Any]) -> ClinicError:
    with pytest.raises(ClinicError) as caught:
        action()
    assert caught.value.remedy
    return caught.value


def test_missing_machine_is_made_as_described_and_started(api: Served) -> None:
    client, vmid = api.client(), api.clinic.hypervisor.vm.id
    assert client.machine(vmid) is None
    fresh, said = make(api)
    assert fresh and len(said) == 2
    found = client.machine(vmid)
    assert found and found["status"] == "running"
    assert vm.differences(api.clinic, found, KEY) == []


def test_second_deploy_only_looks(api: Served) -> None:
    make(api)
    before = len(requests(api, "POST", "PUT", "DELETE"))
    assert make(api) == (False, [])
    assert len(requests(api, "POST", "PUT", "DELETE")) == before


def test_stopped_machine_is_started_and_nothing_else(api: Served) -> None:
    make(api)
    before = len(requests(api, "POST", "PUT", "DELETE"))
    api.qemu.machine(api.clinic.hypervisor.vm.id).pid = 0
    fresh, said = make(api)
    assert not fresh and len(said) == 1
    assert [r.rpartition("/")[2] for r in requests(api, "POST", "PUT", "DELETE")[before:]] == ["start"]


@pytest.mark.parametrize(("method", "step"), [("PUT", "/resize"), ("PUT", "/config"), ("POST", "/status/start")])
def test_creation_cut_off_at_any_step_is_completed_by_the_next_run(api: Served, method: str, step: str) -> None:
    api.refuse(method, step, "the node restarts")
    assert "the node restarts" in told(lambda: make(api)).message
    make(api)
    found = api.client().machine(api.clinic.hypervisor.vm.id)
    assert found and found["status"] == "running"
    assert vm.differences(api.clinic, found, KEY) == []
    assert sum(r.endswith("/qemu") for r in requests(api, "POST")) == 1


def test_machine_of_somebody_else_is_neither_started_nor_changed(api: Served) -> None:
    make(api)
    api.qemu.machine(api.clinic.hypervisor.vm.id).pid = 0
    client = api.client()
    client._node.qemu(api.clinic.hypervisor.vm.id).config.put(
        net0="virtio=02:00:00:00:00:77,bridge=x,tag=1", name="erp"
    )
    before = len(requests(api, "POST", "PUT", "DELETE"))
    error = told(lambda: make(api))
    assert "`erp`" in error.message and "left as it is" in error.message
    assert len(requests(api, "POST", "PUT", "DELETE")) == before


def test_changed_machine_is_never_rebuilt(api: Served) -> None:
    make(api)
    client = api.client()
    client._node.qemu(api.clinic.hypervisor.vm.id).config.put(memory="1024")
    assert make(api) == (False, [])
    found = client.machine(api.clinic.hypervisor.vm.id)
    assert found
    assert [d.split(":")[0] for d in vm.differences(api.clinic, found, KEY)] == ["memory"]


def test_missing_image_is_named_before_anything_is_made(api: Served) -> None:
    error = told(lambda: api.client().create(api.clinic, "clinic-pbx-other.qcow2", KEY, say=print))
    assert "import/clinic-pbx-other.qcow2" in error.message
    assert requests(api, "POST", "PUT") == []


def test_refused_token_is_told_without_the_token(api: Served) -> None:
    error = told(lambda: api.client(token_secret="wrong-secret").machine(120))
    assert "refuses the API token" in error.message and "wrong-secret" not in str(error)


def test_missing_permission_is_named(api: Served) -> None:
    client = api.client(token_id="a@pve!auditor", token_secret="looks-only")
    error = told(lambda: client.create(api.clinic, IMAGE, KEY, say=print))
    assert "VM.Allocate" in error.message


def test_other_certificate_is_refused(api: Served, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certs.write(tmp_path / "other", "127.0.0.1")
    error = told(lambda: api.client(ca=tmp_path / "other" / "ca.pem").machine(120))
    assert "certificate" in error.message and "stop here" in error.remedy


def test_wrong_address_is_told_at_once(api: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    error = told(lambda: api.client(port=closed).machine(120))
    assert f"127.0.0.1:{closed}" in error.message and "hypervisor.api" in error.remedy


def test_failed_task_is_a_failure_with_its_text(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = api.qemu.machine(api.clinic.hypervisor.vm.id)

    def fails(*_: object) -> None:
        raise TaskError("no space left")

    monkeypatch.setattr(machine, "start", fails)
    error = told(lambda: make(api))
    assert "no space left" in error.message and "UPID" in error.remedy


@pytest.mark.parametrize("reason", ["VM is locked (backup)", "got timeout"])
def test_passing_trouble_is_waited_out(api: Served, reason: str) -> None:
    make(api)
    api.refuse("GET", "/config", reason, times=2)
    assert api.client().machine(api.clinic.hypervisor.vm.id)


def test_lasting_trouble_is_told(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    make(api)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.5)
    api.refuse("GET", "/config", "VM is locked (backup)", times=99)
    assert "VM is locked (backup)" in told(lambda: api.client().machine(api.clinic.hypervisor.vm.id)).message
