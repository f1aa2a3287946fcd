"""A changed address of Asterisk: told by every deploy until it is true, and never made true by a restart unasked."""

from __future__ import annotations

import logging

import pytest
from pyinfra.api.exceptions import PyinfraError

from clinicpbx.errors import ClinicError
from tasks import asterisk, trees
from tests.deploy.fake_pbx import FakePbx

MOVED = {"transport": "wan-a", "wanted": "udp 10.77.31.3:5060", "actual": "udp 10.77.31.2:5060"}


@pytest.fixture
def pbx() -> FakePbx:
    return FakePbx()


def restarts(pbx: FakePbx) -> list[str]:
    return [command for command in pbx.commands if "restart" in command]


@pytest.mark.parametrize("restart", [False, True])
def test_nothing_is_done_while_asterisk_listens_where_it_should(
    restart: bool, pbx: FakePbx, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pbx.run(monkeypatch, (asterisk.listening, restart)) == []
    assert restarts(pbx) == []


def test_every_deploy_fails_and_says_which_transport_until_it_is_true(
    pbx: FakePbx, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pbx.restart_needed = [MOVED]
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.ERROR), pytest.raises(PyinfraError):
            pbx.run(monkeypatch, (asterisk.listening, False))
        assert "transport wan-a: wanted udp 10.77.31.3:5060, actual udp 10.77.31.2:5060" in caplog.text
        assert "--restart-asterisk" in caplog.text
        assert restarts(pbx) == []


def test_engineer_who_asks_gets_the_restart_once(pbx: FakePbx, monkeypatch: pytest.MonkeyPatch) -> None:
    pbx.restart_needed = [MOVED]
    assert pbx.run(monkeypatch, (asterisk.listening, True)) == ["Asterisk listens at the generation's addresses"]
    assert restarts(pbx) == [f"sudo {asterisk.PROGRAM} restart"]
    assert pbx.run(monkeypatch, (asterisk.listening, True)) == []


def test_restart_that_the_pbx_refuses_fails_the_deploy(pbx: FakePbx, monkeypatch: pytest.MonkeyPatch) -> None:
    pbx.restart_needed, pbx.refuse = [MOVED], lambda command: command.endswith(" restart")
    with pytest.raises(PyinfraError):
        pbx.run(monkeypatch, (asterisk.listening, True))


def test_lost_connection_is_told_with_its_remedy_and_without_a_trace(
    pbx: FakePbx, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(command: str) -> bool:
        raise ClinicError("the connection was lost", remedy="run it again")

    pbx.restart_needed, pbx.refuse = [MOVED], lost
    with caplog.at_level(logging.WARNING), pytest.raises(PyinfraError):
        pbx.run(monkeypatch, (asterisk.listening, True))
    assert "the connection was lost\n  Remedy: run it again" in caplog.text
    assert "Traceback" not in caplog.text


def test_dry_run_names_the_transport(pbx: FakePbx, monkeypatch: pytest.MonkeyPatch) -> None:
    pbx.restart_needed = [MOVED]
    assert pbx.run(monkeypatch, (asterisk.listening, False), dry=True)
    assert any("transport wan-a" in line for line in trees.preview)
