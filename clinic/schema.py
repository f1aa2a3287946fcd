"""The description's JSON Schema, from the typed model: editors complete keys and mark errors while one types."""

from __future__ import annotations

import json
from typing import Any

from clinic.model import Clinic
from clinic.phones import MODELS


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of clinic.yml, as an editor's YAML 1.2 reads it."""
    made = Clinic.model_json_schema(by_alias=True, mode="validation")
    definitions = made["$defs"]
    definitions["Phone"]["properties"]["model"]["enum"] = sorted(MODELS)
    definitions["Emergency"]["properties"]["numbers"]["items"]["type"] = ["string", "integer"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A clinic for clinic-pbx",
        **{key: value for key, value in made.items() if key != "title"},
    }


def text() -> str:
    """The schema as the file that is kept in the repository."""
    return json.dumps(schema(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
