"""Asterisk's manager interface: an Asterisk that hangs must not stop the probes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from services.wan import ami


@pytest.fixture
def asterisk(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A listener on loopback in Asterisk's place."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(ami, "PORT", server.getsockname()[1])
        server.settimeout(2)
        yield server


def test_login_then_answers_to_whoever_asked(asterisk: socket.socket) -> None:
    manager = ami.Manager("wan", "geheim")
    manager.connect(1.0)
    with asterisk.accept()[0] as peer:
        assert b"Secret: geheim\r\n" in peer.recv(4096)
        peer.sendall(b"Asterisk Call Manager/9.0.0\r\nResponse: Success\r\nMessage: yes\r\n\r\n")
        _until(lambda: manager.connected, manager)
        found: list[list[ami.Message]] = []
        manager.act("Ping", found.append)
        assert manager.waiting
        peer.recv(4096)
        peer.sendall(b"Response: Success\r\nActionID: 1\r\nPing: Pong\r\n\r\n")
        _until(lambda: bool(found), manager)
        assert found[0][0]["Ping"] == "Pong" and not manager.waiting
    manager.close()


def test_asterisk_that_hangs_costs_a_moment_and_is_left(asterisk: socket.socket) -> None:
    manager = ami.Manager("wan", "geheim")
    began = time.monotonic()
    manager.connect(1.0)
    assert time.monotonic() - began < 2 * ami.MOMENT and not manager.connected and manager.socket
    manager.poll(1.0 + ami.PATIENCE)
    assert manager.socket
    manager.poll(1.1 + ami.PATIENCE)
    assert manager.socket is None, "nobody answered the login"


def test_asterisk_that_stops_answering_is_left(asterisk: socket.socket) -> None:
    manager = ami.Manager("wan", "geheim")
    manager.connect(1.0)
    with asterisk.accept()[0] as peer:
        peer.sendall(b"Asterisk Call Manager/9.0.0\r\nResponse: Success\r\n\r\n")
        _until(lambda: manager.connected, manager)
        manager.act("Ping")
        manager.poll(time.monotonic() + ami.PATIENCE + 0.1)
        assert not manager.connected and not manager.waiting


@pytest.mark.parametrize("said", [b"Response: Error\r\nMessage: Authentication failed\r\n\r\n", b""])
def test_refused_login_is_no_connection(asterisk: socket.socket, said: bytes) -> None:
    manager = ami.Manager("wan", "falsch")
    manager.connect(1.0)
    with asterisk.accept()[0] as peer:
        peer.recv(4096)
        peer.sendall(said)
    _until(lambda: manager.socket is None, manager)
    assert not manager.connected


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(ami, "PORT", server.getsockname()[1])
    manager = ami.Manager("wan", "x")
    manager.connect(1.0)
    assert manager.socket is None and not manager.connected


def _until(done: object, manager: ami.Manager) -> None:
    end = time.monotonic() + 2
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end
        manager.poll(1.0)
        time.sleep(0.01)
