"""The JSON Schema in the repository is the model's, and says what the model says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from clinic import schema, synthetic
from clinicpbx.descriptions import starter

INVENTORY = Path(__file__).parents[2] / "inventory"


class EditorLoader(yaml.SafeLoader):
    """Scalars as an editor's YAML 1.2 sees them: dates are texts."""


EditorLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def as_editor(text: str) -> Any:
    return yaml.load(text, Loader=EditorLoader)  # noqa: S506 - derived from SafeLoader


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema.schema())
    return jsonschema.Draft202012Validator(schema.schema())


def test_schema_in_the_repository_is_fresh() -> None:
    kept = (INVENTORY / "clinic.schema.json").read_text(encoding="utf-8")
    assert kept == schema.text(), "write it again: clinicpbx schema -o inventory/clinic.schema.json"
    assert json.loads(kept)["additionalProperties"] is False


@pytest.mark.parametrize(
    "text",
    [(INVENTORY / "case" / "clinic.yml").read_text(encoding="utf-8"), starter("x"), synthetic.text(150)],
    ids=["case", "starter", "synthetic"],
)
def test_valid_clinic_has_no_marks_in_an_editor(validator: jsonschema.Draft202012Validator, text: str) -> None:
    assert [e.message for e in validator.iter_errors(as_editor(text))] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("role: chief", "role: boss"),
        ("timezone:", "timezon:"),
        ("GXP1625", "GXP1626"),
        ("c0:74:ad:00:00:05", "c0:74:ad:00:05"),
        ("range: 2000-2099", "range: 2000..2099"),
        ("ext: 2001", "ext: anna"),
        ('number: "+74950000002"', 'number: "four nine five"'),
        ("vlan: 20", "vlan: 5000"),
    ],
)
def test_mistake_is_marked_in_an_editor(validator: jsonschema.Draft202012Validator, old: str, new: str) -> None:
    text = starter("x")
    assert old in text
    assert list(validator.iter_errors(as_editor(text.replace(old, new))))
