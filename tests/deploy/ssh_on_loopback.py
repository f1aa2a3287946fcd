"""A real SSH server on 127.0.0.1 that runs each command in a local shell. For tests of the connection itself."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import IO

import paramiko

AUTH_SUCCESSFUL, AUTH_FAILED, OPEN_SUCCEEDED = 0, 2, 0  # as paramiko.common names them


class _Anyone(paramiko.ServerInterface):
    """Everybody with any key may run one command per channel; `refuse` sends them all away."""

    def __init__(self, refuse: bool) -> None:
        self.refuse = refuse

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_FAILED if self.refuse else AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=_run, args=(channel, command.decode()), daemon=True).start()
        return True


def _give(channel: paramiko.Channel, program: IO[bytes]) -> None:
    with contextlib.suppress(OSError, ValueError):  # of a program that has ended
        while block := channel.recv(1 << 16):
            program.write(block)
            program.flush()
    with contextlib.suppress(OSError):
        program.close()


def _run(channel: paramiko.Channel, command: str) -> None:
    with subprocess.Popen(
        ["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        giving = threading.Thread(target=_give, args=(channel, process.stdin), daemon=True)
        giving.start()
        while block := os.read(process.stdout.fileno(), 1 << 16):
            channel.sendall(block)
        channel.sendall_stderr(process.stderr.read())
        channel.send_exit_status(process.wait(30))
        channel.shutdown_write()
        giving.join(1)  # closed too soon, it would be closed before the client hears that its command was taken
    channel.close()


@contextlib.contextmanager
def serving(*host_keys: paramiko.PKey, refuse: bool = False) -> Iterator[int]:
    """The port of a server with this host key; with several, each connection meets the next of them."""
    following = itertools.chain(host_keys, itertools.repeat(host_keys[-1]))
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as open_ones:
        done = threading.Event()

        def accept() -> None:
            while not done.is_set():
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                transport = paramiko.Transport(client)
                transport.daemon = True
                transport.add_server_key(next(following))
                open_ones.callback(transport.close)
                with contextlib.suppress(paramiko.SSHException, EOFError):
                    transport.start_server(event=threading.Event(), server=_Anyone(refuse))

        threading.Thread(target=accept, daemon=True).start()
        yield int(listening.getsockname()[1])
        done.set()
        listening.shutdown(socket.SHUT_RDWR)
