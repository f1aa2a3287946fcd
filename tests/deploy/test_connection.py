"""pyinfra's own SSH connection, as the project needs it: fast, pinned, to a machine that was made before."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pyinfra.api import Config, FactBase, Inventory, State
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import StateStage
from pyinfra.connectors.ssh import SSHConnector

from clinicpbx import connection, memory
from clinicpbx.errors import ClinicError
from tasks import looking
from tests.deploy.ssh_on_loopback import serving

USER_KEY = paramiko.ECDSAKey.generate()
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What a test left open is collected within it, and not told of in another."""
    yield
    gc.collect()


@pytest.fixture
def server() -> Iterator[int]:
    with serving(paramiko.ECDSAKey.generate()) as port:
        yield port


def connected(port: int, known: Path, **data: Any) -> Any:
    """The host after pyinfra has connected to it; PyinfraError when it could not."""
    connection.install()
    connection.refused.clear()
    known.touch()
    settings = {
        "ssh_hostname": "127.0.0.1", "ssh_port": port, "ssh_user": "clinic", "ssh_known_hosts_file": str(known),
        "ssh_strict_host_key_checking": "accept-new", "ssh_allow_agent": False, "ssh_look_for_keys": False,
        "ssh_paramiko_connect_kwargs": {"pkey": USER_KEY},
    }  # fmt: skip
    state = State(Inventory(([("pbx", settings | data)], {})), Config(CONNECT_TIMEOUT=5))
    state.set_stage(StateStage.Connect)
    connect_all(state)
    return next(iter(state.inventory))


def no_delay_of(client: Any) -> int:
    return int(client.get_transport().sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


def test_every_connection_of_pyinfra_has_nagle_off(server: int, tmp_path: Path) -> None:
    host = connected(server, tmp_path / "known")
    assert no_delay_of(connection.client_of(host)) == 1
    disconnect_all(host.state)


def test_paramiko_alone_leaves_nagle_on(server: int) -> None:
    """The control: when this fails, paramiko has learnt it and our own line can go."""
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # a server of this test alone
        client.connect("127.0.0.1", server, "x", pkey=USER_KEY, allow_agent=False, look_for_keys=False)
        assert no_delay_of(client) == 0


def test_installing_twice_wraps_once() -> None:
    connection.install()
    first = SSHConnector.connect
    connection.install()
    assert SSHConnector.connect is first


def test_machine_is_made_before_the_connection(server: int, tmp_path: Path) -> None:
    order: list[str] = []

    def prepare() -> bool:
        order.append("made")
        return False

    host = connected(server, tmp_path / "known", prepare=prepare)
    assert order == ["made"] and host.connected


def test_machine_that_cannot_be_made_is_one_error_with_its_remedy(server: int, tmp_path: Path) -> None:
    def prepare() -> bool:
        raise ClinicError("no such hypervisor", remedy="look again")

    with pytest.raises(PyinfraError):
        connected(server, tmp_path / "known", prepare=prepare)
    assert [e.message for e in connection.refused] == ["no such hypervisor"]


def test_host_key_is_pinned_at_first_sight_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    known = tmp_path / "known"
    with serving(paramiko.ECDSAKey.generate()) as port:
        disconnect_all(connected(port, known).state)
        pinned = known.read_text()
        assert "ecdsa-sha2" in pinned
        disconnect_all(connected(port, known).state)
        assert known.read_text() == pinned
    with serving(paramiko.ECDSAKey.generate()) as other:
        known.write_text(pinned.replace(str(port), str(other)))
        with pytest.raises(PyinfraError):
            connected(other, known)
    (error,) = connection.refused
    assert str(known) in error.message and "127.0.0.1" in error.remedy and "stop" in error.remedy


def test_new_machine_that_makes_new_host_keys_at_its_first_boot_has_only_the_last_one_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, keys = tmp_path / "known", [paramiko.ECDSAKey.generate() for _ in range(2)]
    tried: list[int] = []
    with serving(*keys) as port:
        real = connection._tried

        def restarts(connector: Any, *rest: Any, **named: Any) -> bool:
            """The server goes away after the first login."""
            tried.append(1)
            return bool(real(connector, *rest, **named)) and len(tried) > 1

        monkeypatch.setattr(connection, "_tried", restarts)
        monkeypatch.setattr(connection, "settled", lambda client: None)
        connected(port, known, prepare=lambda: True)
    assert len(tried) == 2
    assert [line.split()[2] for line in known.read_text().splitlines()] == [keys[1].get_base64()]


def test_refused_key_is_told_with_its_reason(tmp_path: Path) -> None:
    with serving(paramiko.ECDSAKey.generate(), refuse=True) as port, pytest.raises(PyinfraError):
        connected(port, tmp_path / "known")
    assert "refuses the toolkit's SSH key" in connection.refused[0].message


class Counted(FactBase[int]):
    """How often the machine was asked: each asking adds a line to the file."""

    def command(self, file: str) -> str:
        return f"echo >>{file}; wc -l <{file}"

    def process(self, output: list[str]) -> int:
        return int(output[0])


@pytest.mark.parametrize("change", ["command", "file", "stream", "age"])
def test_facts_are_asked_once_until_something_is_done_to_the_machine(
    server: int, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = connected(server, tmp_path / "known")
    first, other = str(tmp_path / "count"), str(tmp_path / "other")
    assert [host.get_fact(Counted, first) for _ in range(3)] == [1, 1, 1]
    assert host.get_fact(Counted, other) == 1
    match change:
        case "command":
            host.run_shell_command("true")
        case "file":
            monkeypatch.setattr(SSHConnector, "_put_file", lambda *_: None)
            host.put_file(io.BytesIO(b""), str(tmp_path / "put"))
        case "stream":
            connection.stream(connection.client_of(host), "true", io.BytesIO(b""))
        case "age":
            monkeypatch.setattr(memory, "SECONDS", 0)
    assert host.get_fact(Counted, first) == 2
    disconnect_all(host.state)


def test_stream_sends_megabytes_and_brings_the_answer_and_the_status(server: int, tmp_path: Path) -> None:
    host = connected(server, tmp_path / "known")
    client, data = connection.client_of(host), os.urandom(5 << 20)
    status, answer = connection.stream(client, "sha256sum", io.BytesIO(data))
    assert (status, answer.split()[0]) == (0, hashlib.sha256(data).hexdigest())
    assert connection.stream(client, "cat >/dev/null; echo why >&2; exit 3", io.BytesIO(b"")) == (3, "why\n")
    disconnect_all(host.state)


def test_every_connection_notices_a_lost_link(server: int, tmp_path: Path) -> None:
    host = connected(server, tmp_path / "known")
    transport = connection.client_of(host).get_transport()
    told = transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert told == connection.LOST_SECONDS * 1000
    assert transport.packetizer._Packetizer__keepalive_interval == connection.KEEPALIVE_SECONDS
    disconnect_all(host.state)


@pytest.mark.parametrize("data", [b"", b"x" * (24 << 20)], ids=["waits for the answer", "waits for room to send"])
def test_stream_to_a_program_that_says_nothing_ends(
    data: bytes, server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = connected(server, tmp_path / "known")
    monkeypatch.setattr(connection, "SILENT_SECONDS", 0.3)
    with pytest.raises(ClinicError, match=r"`sleep 2`: nothing came for 0.3 s") as error:
        connection.stream(connection.client_of(host), "sleep 2", io.BytesIO(data))
    assert "run the same command again" in error.value.remedy
    disconnect_all(host.state)


def test_stream_over_a_link_that_ends_is_told_as_lost(server: int, tmp_path: Path) -> None:
    host = connected(server, tmp_path / "known")
    client = connection.client_of(host)
    threading.Timer(0.3, client.get_transport().close).start()
    with pytest.raises(ClinicError, match="connection to the PBX was lost during `sleep 2`"):
        connection.stream(client, "sleep 2", io.BytesIO(b""))
    with pytest.raises(ClinicError, match="connection to the PBX was lost"):
        connection.stream(client, "true", io.BytesIO(b""))


def test_program_that_ends_before_it_has_read_everything_says_why(server: int, tmp_path: Path) -> None:
    host = connected(server, tmp_path / "known")
    source = io.BytesIO(os.urandom(64 << 20))
    assert connection.stream(connection.client_of(host), "echo full >&2; exit 3", source) == (3, "full\n")
    disconnect_all(host.state)


def test_files_are_looked_at_by_one_program_that_stays(
    server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "AS_ROOT", "")  # the lab's deploys ask with sudo
    host = connected(server, tmp_path / "known")
    began: list[str] = []
    real = connection.Conversation.__init__

    def counted(self: connection.Conversation, client: Any, command: str) -> None:
        began.append(command)
        real(self, client, command)

    monkeypatch.setattr(connection.Conversation, "__init__", counted)
    file, folder = tmp_path / "Имя файла", tmp_path / "folder"
    file.write_text("раз")
    file.chmod(0o640)
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/secret").write_text("x")
    (folder / "link").symlink_to("nowhere")
    asked = [str(file), str(folder), str(tmp_path / "absent")]
    digest = hashlib.sha256("раз".encode()).hexdigest()
    owner = f"{file.owner()}:{file.group()}"
    assert looking.look(host, asked) == {str(file): [digest, "640", owner, "раз"]}
    file.write_text("два")
    assert looking.look(host, asked)[str(file)][3] == "два", "nothing is remembered"
    found = looking.below(host, str(folder))
    assert found.keys() == {"deep/secret", "link"} and len(found["deep/secret"]) == 3
    assert looking.below(host, str(tmp_path / "absent")) == {}
    assert len(began) == 1
    disconnect_all(host.state)


def test_conversation_with_a_program_that_ended_says_why(server: int, tmp_path: Path) -> None:
    host = connected(server, tmp_path / "known")
    talk = connection.Conversation(
        connection.client_of(host), "read line; echo $line; echo python$((1+2)) >&2; exit 127"
    )
    assert talk.ask("first") == "first\n", "the control: it answered while it ran"
    with pytest.raises(ClinicError, match="ended on the PBX: python3") as error:
        talk.ask("second")
    assert "connection" not in error.value.message, "the link is well"
    disconnect_all(host.state)


def test_wait_for_ssh_sees_the_server_and_gives_up_on_silence(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.wait_for_ssh("127.0.0.1", server)
    monkeypatch.setattr(connection, "WAIT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    with pytest.raises(ClinicError, match="does not answer"):
        connection.wait_for_ssh("127.0.0.1", closed)
