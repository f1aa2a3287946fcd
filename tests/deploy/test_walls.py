"""Bans and guard through pyinfra itself, offline: what they do to a bare PBX, and that a second run does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pyinfra.api.exceptions import PyinfraError

from clinic.loading import load
from clinic.model import Clinic
from clinic.synthetic import text
from tasks import fail2ban, guard, trees
from tests.deploy.fake_pbx import FakePbx

URL = "tgram://123456:secretToken/42"
Run = Callable[..., list[str]]


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(text(20)).model_copy(update={"alerts": ("duty",)})


@pytest.fixture
def pbx() -> FakePbx:
    return FakePbx()


@pytest.fixture
def run(pbx: FakePbx, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Run:
    def all_of_it(url: str = URL, **options: Any) -> list[str]:
        deploys = ((fail2ban.fail2ban, clinic), (guard.guard, clinic, {"alert/duty": url}))
        return pbx.run(monkeypatch, *deploys, **options)

    return all_of_it


def test_walls_stand_after_one_run_and_the_second_does_nothing(run: Run, pbx: FakePbx) -> None:
    assert len(run()) == 7
    assert {"fail2ban.service", "clinic-guard.service"} <= pbx.running & pbx.enabled
    assert (run(), pbx.commands, pbx.sent) == ([], [], [])


def test_configuration_is_tried_before_it_replaces_the_running_one(run: Run, pbx: FakePbx) -> None:
    run()
    sent = next(c for c in pbx.commands if "fail2ban-client -c" in c)
    assert sent.index("fail2ban-client -c") < sent.index("--directory=/ ")
    pbx.files["/etc/fail2ban/jail.local"] = (b"drift", "644", "root:root")
    pbx.refuse = lambda command: "fail2ban-client -c" in command
    with pytest.raises(PyinfraError):
        run()
    assert pbx.files["/etc/fail2ban/jail.local"][0] == b"drift", "what does not load replaces nothing"


def test_running_fail2ban_is_reloaded_and_never_restarted_for_its_jails(run: Run, pbx: FakePbx) -> None:
    run()
    pbx.files["/etc/fail2ban/jail.local"] = (b"drift", "644", "root:root")
    run()
    assert any("fail2ban-client reload" in c for c in pbx.commands)
    assert not any("restart" in c for c in pbx.commands)


def test_url_of_an_alert_is_in_one_closed_file_and_nowhere_else(run: Run, pbx: FakePbx) -> None:
    run(dry=True)
    assert "secretToken" not in "\n".join(trees.preview)
    run()
    assert "secretToken" not in "\n".join(pbx.commands)
    held = {path for path, (data, _, _) in pbx.files.items() if b"secretToken" in data}
    assert held == {"/etc/clinicpbx/alerts.json"}
    data, mode, owner = pbx.files["/etc/clinicpbx/alerts.json"]
    assert (json.loads(data), mode, owner) == ({"duty": URL}, "640", "root:clinic-guard")


def test_replaced_url_shows_neither_the_old_nor_the_new_in_a_diff(run: Run, pbx: FakePbx) -> None:
    run()
    run(url="tgram://987654:otherToken/42", dry=True)
    shown = "\n".join(trees.preview)
    assert "alerts.json" in shown and "secretToken" not in shown and "otherToken" not in shown
