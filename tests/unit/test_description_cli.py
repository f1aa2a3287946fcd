"""check, show, new and schema, as an engineer runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clinicpbx.cli.describe import app
from clinicpbx.errors import ClinicError


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """A runner in an empty directory; the repository's clinics are found from anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return CliRunner()


def test_check_finds_the_case_by_name_and_by_path(run: CliRunner) -> None:
    path = Path(__file__).parents[2] / "inventory" / "case" / "clinic.yml"
    for clinic in ("case", str(path), str(path.parent)):
        result = run.invoke(app, ["check", clinic])
        assert result.exit_code == 0, result.output
        assert "No mistakes." in result.output


def test_new_clinic_passes_check_and_is_never_overwritten(run: CliRunner) -> None:
    assert run.invoke(app, ["new", "alpha", "--title", "Альфа"]).exit_code == 0
    assert run.invoke(app, ["check", "alpha"]).exit_code == 0
    assert Path("inventory/clinic.schema.json").is_file()
    Path("inventory/alpha/clinic.yml").write_text("mine", encoding="utf-8")
    refused = run.invoke(app, ["new", "alpha"])
    assert isinstance(refused.exception, ClinicError)
    assert Path("inventory/alpha/clinic.yml").read_text(encoding="utf-8") == "mine"


def test_new_clinic_stays_inside_the_inventory(run: CliRunner) -> None:
    assert isinstance(run.invoke(app, ["new", "../evil"]).exception, ClinicError)


def test_check_prints_every_mistake_and_exits_1(run: CliRunner) -> None:
    run.invoke(app, ["new", "alpha"])
    path = Path("inventory/alpha/clinic.yml")
    text = path.read_text(encoding="utf-8").replace("Europe/Moscow", "[bold]Mars").replace("port: 5}", "port: 4}")
    path.write_text(text, encoding="utf-8")
    result = run.invoke(app, ["check", "alpha"])
    assert result.exit_code == 1
    assert "no such key" not in result.output
    assert "2 mistakes." not in result.output  # an unclosed bracket is one mistake of YAML
    path.write_text(text.replace("[bold]Mars", "'[bold]Mars'"), encoding="utf-8")
    result = run.invoke(app, ["check", "alpha"])
    line = next(n for n, row in enumerate(text.splitlines(), 1) if row.startswith("timezone"))
    assert f"inventory/alpha/clinic.yml:{line}" in result.output
    assert "[bold]Mars" in result.output  # a value is printed, not interpreted
    assert "the switch port is already used by 3011" in result.output
    assert "2 mistakes." in result.output
    told = json.loads(run.invoke(app, ["check", "alpha", "--json"]).output)
    assert [m["path"] for m in told["mistakes"]] == ["timezone", "people[4].phone.port"]
    assert all(m["file"] and m["line"] and m["value"] and m["rule"] and m["remedy"] for m in told["mistakes"])


def test_show_prints_every_person_group_number_and_port(run: CliRunner) -> None:
    result = run.invoke(app, ["show", "case"])
    assert result.exit_code == 0
    for expected in ("Регистратура детская", "+74957650003", "sw-4", "Детский кардиолог"):
        assert expected in result.output


def test_show_gives_json(run: CliRunner) -> None:
    tables = json.loads(run.invoke(app, ["show", "case", "--what", "ports", "--json"]).output)
    assert list(tables) == ["ports"]
    cables = [(row["switch"], row["port"]) for row in tables["ports"]]
    assert len(cables) == len(set(cables)) >= 152


def test_show_gives_every_telephone_its_address_and_keys(run: CliRunner) -> None:
    rows = json.loads(run.invoke(app, ["show", "case", "--what", "phones", "--json"]).output)["phones"]
    assert len({row["address"] for row in rows}) == len(rows) >= 152
    operator = next(row for row in rows if row["ext"] == "2001")
    assert (operator["keys"], operator["pages"], operator["encrypted"]) == ("29", "2", "")
    assert next(row for row in rows if row["ext"] == "4101")["encrypted"] == "yes"


def test_unknown_clinic_is_refused_with_a_remedy(run: CliRunner) -> None:
    refused = run.invoke(app, ["check", "nowhere"]).exception
    assert isinstance(refused, ClinicError)
    assert refused.remedy == "clinicpbx new nowhere"


def test_schema_is_printed(run: CliRunner) -> None:
    assert json.loads(run.invoke(app, ["schema"]).output)["title"] == "A clinic for clinic-pbx"
