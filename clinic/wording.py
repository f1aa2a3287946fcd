"""pydantic's errors in the words of an engineer: value, rule, remedy."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from clinic.mistakes import Path, short
from clinic.model import Clinic
from clinic.types import Extension, Slug


def _pattern(of: Any) -> str:
    return next(str(m.pattern) for f in get_args(of) for m in getattr(f, "metadata", ()) if hasattr(m, "pattern"))


# What a pattern means, for those an engineer meets most.
PATTERNS = {
    _pattern(Extension): ("an internal number has 3 to 6 digits", "Write digits only, as 2001"),
    _pattern(Slug): ("a short name has a-z, 0-9 and hyphens and begins with a letter", "Write it as call-centre"),
    r"^[0-9]{2,4}$": ("an emergency number has 2 to 4 digits", "Write digits only, as 112"),
    r"^[0-9]{3,5}$": ("a city code has 3 to 5 digits", "Write it without 8 or +7, as 495"),
    r"^[1-9]$": ("a pause reason is dialled as one digit, 1 to 9", "Number the reasons 1, 2, 3"),
    r"^[\w.\-]+\.wav$": ("a recorded prompt is a WAV file beside clinic.yml", "Write its bare name, as greeting.wav"),
}

RULES: dict[str, Callable[[dict[str, Any]], tuple[str, str]]] = {
    "public_number": lambda c: (c["rule"], c["remedy"]),
    "missing": lambda c: ("this key is required", "Add it; `clinicpbx new` writes an example"),
    "int_parsing": lambda c: ("a whole number belongs here", "Write digits only"),
    "int_from_float": lambda c: ("a whole number belongs here", "Write digits only"),
    "bool_parsing": lambda c: ("this is on or off", "Write true or false"),
    "string_type": lambda c: ("a text belongs here", "Write one value on the key's line"),
    "string_too_short": lambda c: (
        f"the text has at least {c['min_length']} character(s)",
        "Write it, or remove the key when it is optional",
    ),
    "string_too_long": lambda c: (f"the text has at most {c['max_length']} characters", "Shorten it"),
    "too_short": lambda c: (f"the list has at least {c['min_length']} entry", "Add one"),
    "too_long": lambda c: (f"the list has at most {c['max_length']} entries", "Remove those that are too many"),
    "greater_than_equal": lambda c: (f"the number is {c['ge']} or more", "Raise it"),
    "less_than_equal": lambda c: (f"the number is {c['le']} or less", "Lower it"),
    "enum": lambda c: (f"one of: {c['expected']}", "Choose one of these"),
    "literal_error": lambda c: (f"one of: {c['expected']}", "Choose one of these"),
    "ip_v4_address": lambda c: ("an IPv4 address belongs here", "Write four numbers of 0 to 255, as 10.77.20.10"),
    "ip_v4_network": lambda c: (
        "a network is its first address and prefix",
        "Write no address inside it, as 10.77.20.0/24",
    ),
    "ip_v4_interface": lambda c: ("an address with its prefix belongs here", "Write it as 10.77.31.2/24"),
    "model_type": lambda c: ("a mapping belongs here", "Write `key: value` lines below, or {key: value}"),
    "dict_type": lambda c: ("a mapping belongs here", "Write `key: value` lines below, or {key: value}"),
    "tuple_type": lambda c: ("a list belongs here", "Write `- entry` lines below, or [entry, entry]"),
}


def explained(error: ErrorDetails, path: Path) -> tuple[str, str, str]:
    """(value, rule, remedy) of one pydantic error at `path` of the file. All texts are non-empty except the value."""
    kind, context = error["type"], error.get("ctx", {})
    value = "" if kind == "missing" else _shown(error["input"])
    if kind == "extra_forbidden":
        return str(path[-1]), "no such key here", _closest(path)
    if kind == "missing":
        return value, f"the key `{path[-1]}` is required", "Add it; `clinicpbx new` writes an example"
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern", ""))
        rule, remedy = PATTERNS.get(pattern, ("", ""))
        return value, rule or f"the text fits {pattern}", remedy or "Compare it with the examples in docs/operations"
    if kind == "value_error":
        rule, _, example = str(context.get("error", error["msg"])).rpartition(", as ")
        return (value, rule, f"Write it as {example}") if rule else (value, example, "Correct the value")
    if kind in RULES:
        return value, *RULES[kind](context)
    if kind.startswith("date"):
        return value, "a date is written year-month-day", "Write it as 2026-12-31"
    return value, error["msg"][0].lower() + error["msg"][1:], "Correct the value"


def _shown(value: object) -> str:
    return "" if value is None else short(value) if not isinstance(value, dict | list) else short(f"{value}", 40)


def _closest(path: Path) -> str:
    """Name the key that was probably meant."""
    known = _keys(path[:-1])
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(known)}" if known else "Remove it"


def _keys(path: Path) -> list[str]:
    model: Any = Clinic
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            fields = {f.alias or n: f.annotation for n, f in model.model_fields.items()}
            if part not in fields:
                return []
            model = fields[str(part)]
        else:
            arguments = [a for a in get_args(model) if a is not Ellipsis]
            model = arguments[-1] if arguments else None
    return [f.alias or n for n, f in model.model_fields.items()] if hasattr(model, "model_fields") else []
