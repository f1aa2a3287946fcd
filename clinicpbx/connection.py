"""pyinfra's SSH connection as this project needs it: without Nagle's delay, to a machine that exists, in one stream.

`install()` wraps pyinfra's SSHConnector once. A host whose data has `prepare` gets it called before it is connected:
the VM is made there, and the answer is whether it is new. Every connection sets TCP_NODELAY: one command falls from
44 ms to 3 ms. What made a connection impossible is kept in `refused`, for a caller that tells it better than pyinfra.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import socket
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, ParamSpec

import paramiko
from pyinfra import logger
from pyinfra.api import Host
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient.client import get_host_keys

from clinicpbx import memory
from clinicpbx.errors import ClinicError

_P = ParamSpec("_P")
CHUNK = 1 << 18
WAIT_SECONDS = 120
SETTLE_SECONDS = 300
KEEPALIVE_SECONDS = 15
LOST_SECONDS = 45  # how long the other side may leave what we send unacknowledged
SILENT_SECONDS = 300  # nothing that is streamed to is quiet for that long
FRESH_SECONDS = 20  # a first boot starts its SSH server, makes host keys, and starts it again
refused: list[ClinicError] = []


def install() -> None:
    """Wrap the connector; safe to call twice."""
    memory.install()
    original = SSHConnector.connect
    if getattr(original, "of_clinic", False):
        return

    def connect(self: SSHConnector) -> None:
        prepare = self.host.data.get("prepare")
        memory.forget()
        try:
            fresh = prepare() if prepare else False
            _connected(self, original, FRESH_SECONDS if fresh else 0)
            no_delay(self.client)
            if fresh:
                settled(self.client)
        except ClinicError as error:
            refused.append(error)
            raise ConnectError(str(error)) from None

    connect.of_clinic = True  # type: ignore[attr-defined]
    SSHConnector.connect = connect  # type: ignore[method-assign]


def _connected(connector: SSHConnector, original: Callable[[SSHConnector], None], patience: float) -> None:
    """Log in; for `patience` seconds a server that goes away again is tried anew. A refusal is final at once.

    Only a new machine gets patience. Its first boot may make new host keys, so only the last one seen stays pinned.
    """
    end = time.monotonic() + patience
    get_host_keys.cache.clear()  # pyinfra reads the pins once a process, and would not know those it added
    while not _tried(connector, original, last=time.monotonic() >= end):
        Path(connector.data["ssh_known_hosts_file"]).write_text("")
        get_host_keys.cache.clear()
        time.sleep(0.2)


def _tried(connector: SSHConnector, original: Callable[[SSHConnector], None], last: bool) -> bool:
    address, file = connector.data["ssh_hostname"], connector.data["ssh_known_hosts_file"]
    try:
        original(connector)
        return True
    except ConnectError as error:
        text = str(error.args[0])
        if "Host key for" in text:  # pyinfra's own advice names another file
            raise ClinicError(
                f"The machine at {address} shows another SSH host key than the one pinned in {file}.",
                remedy=f"if it was rebuilt by hand on purpose, remove the line of {address} there; if not, stop:"
                " something else answers in its place",
            ) from None
        if "Authentication" in text:
            raise ClinicError(
                f"The machine at {address} refuses the toolkit's SSH key.",
                remedy="it was made with another secrets.age: restore that file, or add the key on the PBX's console",
            ) from None
        if last:
            raise
        return False


def settled(client: Any) -> None:
    """Until cloud-init has done all of the first boot; it would undo names and hold apt's lock meanwhile."""
    channel = client.get_transport().open_session(timeout=20)
    channel.settimeout(SETTLE_SECONDS)
    channel.exec_command("cloud-init status --wait >/dev/null 2>&1")
    if not channel.status_event.wait(SETTLE_SECONDS) or channel.recv_exit_status() == 1:
        raise ClinicError(
            "The new machine's first boot did not complete (cloud-init).",
            remedy="read `cloud-init status --long` on its console; run the deploy again when it is mended",
        )
    channel.close()


def no_delay(client: Any) -> None:
    """Switch Nagle's algorithm off: paramiko leaves it on, and every command waits for a delayed ACK.

    And make a lost link known: a keepalive is sent into any silence, and one that is not acknowledged ends the
    connection. Without that a command that waits for its answer would wait for ever.
    """
    transport = client.get_transport()
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1000)
    transport.set_keepalive(KEEPALIVE_SECONDS)


def client_of(host: Host) -> Any:
    """paramiko's client of a connected host: pyinfra's type knows only what every connector has."""
    return host.connector.client  # type: ignore[attr-defined]


def stream(client: Any, command: str, source: IO[bytes]) -> tuple[int, str]:
    """Run `command` with `source` as its standard input. Its exit status and what it wrote to standard output.

    ClinicError when the link is lost, or nothing comes or goes for SILENT_SECONDS.
    """
    memory.forget()
    transport = client.get_transport()
    with _linked(command):
        channel = transport.open_session(window_size=1 << 24, timeout=LOST_SECONDS)
        channel.settimeout(SILENT_SECONDS)
        channel.exec_command(command)
    while chunk := source.read(CHUNK):
        with _linked(command):
            try:
                channel.sendall(chunk)
            except OSError:
                if channel.closed and transport.is_active():
                    break  # the program ended before it had read everything; it says why
                raise
    with _linked(command):
        if not channel.closed:
            channel.shutdown_write()
        with channel.makefile("rb") as out:
            answer = out.read().decode(errors="replace")
        with channel.makefile_stderr("rb") as err:
            complaint = err.read().decode(errors="replace")
        if not channel.status_event.wait(SILENT_SECONDS):
            raise TimeoutError
        status = channel.recv_exit_status()
        channel.close()
        if status == -1:  # paramiko's word for a program whose end nobody told
            raise EOFError("the link ended")
    return status, answer if status == 0 or answer else complaint


class Conversation:
    """A program on the machine that stays as long as the connection and answers one line with one line.

    After an error it is not to be asked again: an answer may still be on its way.
    """

    def __init__(self, client: Any, command: str) -> None:
        self.command = command
        with _linked(command):
            self._channel = client.get_transport().open_session(window_size=1 << 24, timeout=LOST_SECONDS)
            self._channel.settimeout(SILENT_SECONDS)
            self._channel.exec_command(command)
            self._answers = self._channel.makefile("rb")

    def ask(self, line: str) -> str:
        """ClinicError when the link is lost or the program has ended, with what it said last."""
        with _linked(self.command):
            try:
                self._channel.sendall(f"{line}\n".encode())
            except OSError:
                if not self._channel.closed:
                    raise
            answer: bytes = self._answers.readline()
            if answer.endswith(b"\n"):
                return answer.decode(errors="replace")
            said = self._channel.makefile_stderr("rb").read().decode(errors="replace").strip()
            if not self._channel.get_transport().is_active():
                raise EOFError("the link ended")
        raise ClinicError(
            f"`{textwrap.shorten(self.command, 60)}` ended on the PBX: {said.splitlines()[-1] if said else 'no word'}",
            remedy="run it there as the toolkit's user and mend what it says; nothing was changed by it",
        )


@contextlib.contextmanager
def _linked(command: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, paramiko.SSHException) as error:
        why = f"nothing came for {SILENT_SECONDS} s" if isinstance(error, TimeoutError) else error
        raise ClinicError(
            f"The connection to the PBX was lost during `{textwrap.shorten(command, 60)}`: {why}."
            " Whether the PBX finished it is not known.",
            remedy="see that the PBX answers, then run the same command again: what is done stays",
        ) from None


def told(callback: Callable[_P, bool]) -> Callable[_P, bool]:
    """For a function that pyinfra runs on a host: a ClinicError is logged and the operation failed, without a trace."""

    @functools.wraps(callback)
    def wrapped(*given: _P.args, **named: _P.kwargs) -> bool:
        try:
            return callback(*given, **named)
        except ClinicError as error:
            logger.error(str(error))
            return False

    wrapped.__signature__ = inspect.signature(callback)  # type: ignore[attr-defined]  # pyinfra counts arguments by it
    return wrapped


def wait_for_ssh(address: str, port: int = 22) -> None:
    """Until an SSH server greets there. ClinicError after two minutes."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        try:
            with socket.create_connection((address, port), timeout=1) as greeted:
                greeted.settimeout(2)
                if greeted.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise ClinicError(
        f"The PBX does not answer on {address}:{port} after {WAIT_SECONDS} s.",
        remedy="look at the machine's console on the hypervisor; run the deploy again when it is up",
    )
