"""Hold exchanges with the hypervisor's API against Proxmox VE's published schema.

The schema comes from the PyPI package `fakepve`, a test-time dependency only: nothing shipped imports it.
An exchange is a line of the API daemon's journal: method, path, params, status, reason, data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fakepve import schema as published

STATUSES = (200, 400, 401, 403, 500, 501, 595, 596)


def problems(exchange: Mapping[str, Any]) -> list[str]:
    """What in the exchange contradicts the schema; an empty list when nothing does."""
    method, path, status = exchange["method"], exchange["path"], exchange["status"]
    where = f"{method} {path}"
    # A volume's name has a slash, which Proxmox takes as part of the path's last member.
    content, mark, volume = path.partition("/content/")
    match = published.load().match(content + mark + volume.replace("/", "%2F"))
    info = match.methods.get(method) if match else None
    if info is None:
        return [] if status == 501 else [f"{where}: no such call in the schema, yet the answer is {status}"]
    if status not in STATUSES:
        return [f"{where}: Proxmox never answers {status}"]
    _, errors = published.validate(info.get("parameters"), {**match.params, **exchange["params"]} | _volume(match))
    if status == 400:
        return []  # the request was refused: right when the schema says so, and the lab may know more
    found = [f"{where}: parameter {name}: {why}" for name, why in errors.items()]
    if status == 200:
        found += [f"{where}: answer{why}" for why in mismatches(info.get("returns") or {}, exchange["data"])]
    return found


def _volume(match: Any) -> dict[str, str]:
    return {"volume": match.params["volume"].replace("%2F", "/")} if "volume" in match.params else {}


def mismatches(schema: Mapping[str, Any], data: Any, place: str = "") -> Iterator[str]:
    """Differences between an answer and its schema. Numbers written as text are numbers, as in Perl."""
    kind = schema.get("type")
    if kind in (None, "any"):
        return
    if data is None:
        if kind != "null" and not schema.get("optional"):
            yield f"{place}: null instead of {kind}"
        return
    if not _is(kind, data):
        yield f"{place}: {data!r} is no {kind}"
        return
    if kind == "array":
        for number, item in enumerate(data):
            yield from mismatches(schema.get("items") or {}, item, f"{place}[{number}]")
    elif kind == "object":
        for name, child in (schema.get("properties") or {}).items():
            if name in data:
                yield from mismatches(child, data[name], f"{place}.{name}")
            elif not child.get("optional") and "[n]" not in name:
                yield f"{place}: {name} is missing"
    elif "enum" in schema and str(data) not in [str(value) for value in schema["enum"]]:
        yield f"{place}: {data!r} is not one of {schema['enum']}"


def journal(file: Path) -> list[dict[str, Any]]:
    """The exchanges that an API daemon wrote down."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def _is(kind: str, data: Any) -> bool:
    if kind == "null":
        return False
    if kind == "object":
        return isinstance(data, dict)
    if kind == "array":
        return isinstance(data, list)
    if isinstance(data, dict | list):
        return False
    if kind == "boolean":
        return data in (0, 1, True, False, "0", "1")
    if kind in ("integer", "number"):
        try:
            float(data)
        except ValueError:
            return False
        return kind == "number" or float(data) == int(float(data))
    return isinstance(data, str | int | float)
