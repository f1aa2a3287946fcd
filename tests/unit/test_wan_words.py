"""What the watchdog shows: metrics as Prometheus reads them, and wanctl's words as an engineer does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from services.wan import core, ctl, events
from tests.unit.test_wan_main import dog  # noqa: F401 - a fixture

SAMPLE = re.compile(r'[a-z_]+(?:\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? -?\d+(?:\.\d+)?')


def values(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines())}


def test_metrics_are_prometheus_text_and_tell_a_dead_uplink_from_a_living_one(dog: Any) -> None:  # noqa: F811
    dog.lines["main"].providers["north"].heard = 1.0
    before = values(dog.metrics())
    dog.verdicts["main"] = core.Verdict("router-dead", core.DEAD)
    dog.lines["main"].providers["north"].row = core.LEG_ROW
    text = dog.metrics()
    assert text.endswith("\n") and [line for line in text.splitlines() if not SAMPLE.fullmatch(line)] == []
    after = values(text)
    assert (before['clinic_wan_up{uplink="main"}'], after['clinic_wan_up{uplink="main"}']) == (1, 0)
    assert after['clinic_wan_up{uplink="lte-main"}'] == 1, "the control: the other one lives"
    leg = 'clinic_wan_provider_up{uplink="main",provider="north"}'
    assert (before[leg], after[leg]) == (1, 0)
    assert after['clinic_wan_current{uplink="main"}'] == 1 and after['clinic_wan_current{uplink="lte-main"}'] == 0


def test_status_says_which_uplink_carries_the_calls_and_what_is_the_matter(dog: Any) -> None:  # noqa: F811
    assert "unanswered" not in ctl.shown(dog.status()).split("\n")[1]
    dog.verdicts["main"] = core.Verdict("isp-dead", core.DEAD, "unanswered: 6 pings of the anchors")
    dog.state.current, dog.state.hold, dog.put = "lte-main", "lte-main", {"north-main"}
    lines = ctl.shown(json.loads(json.dumps(dog.status()))).splitlines()
    assert lines[0].startswith("calls by lte-main, held by an engineer on lte-main; 0 moves in ")
    assert "isp-dead" in lines[1] and "unanswered: 6 pings of the anchors" in lines[1]
    assert lines[2].startswith("* lte-main")
    assert [line for line in lines if line.startswith("  north-main ") and line.endswith(", avoided")]


def test_history_shows_the_last_events_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "events.log"
    rows = [{"at": 1796072000.5 + n, "kind": "left", "uplink": f"wan-{n}"} for n in range(5)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(events, "LOG", log)
    assert ctl.main(["history", "2", "--json"]) == 0
    assert [json.loads(line)["uplink"] for line in capsys.readouterr().out.splitlines()] == ["wan-3", "wan-4"]
    assert ctl.main(["history", "1"]) == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} left +uplink=wan-4\n", capsys.readouterr().out)


def test_wanctl_says_so_when_the_watchdog_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ctl, "PATH", tmp_path / "nobody")
    assert ctl.main(["status"]) == 1
    assert "systemctl status clinic-wan" in capsys.readouterr().err
