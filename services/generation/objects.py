"""PJSIP's objects as the files write them, templates included, and whether what they name exists."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .core import Problem

_SECTION = re.compile(r"^\[(?P<name>[^\]]+)\](?:\((?P<flags>[^)]*)\))?")
_OPTION = re.compile(r"^\s*(?P<key>[\w/-]+)\s*=>?\s*(?P<value>.*)$")
# Of which type which option names objects of which kind.
_NAMES = {
    "endpoint": {"aors": "aor", "auth": "auth", "outbound_auth": "auth", "transport": "transport",
                 "context": "context", "subscribe_context": "context"},
    "registration": {"outbound_auth": "auth", "transport": "transport", "endpoint": "endpoint"},
    "identify": {"endpoint": "endpoint"},
}  # fmt: skip
_LINKS = {"InAuth": "auth", "OutAuth": "outbound auth", "Aor": "AOR", "Identify": "identify", "Transport": "transport"}


@dataclass
class Section:
    """One object or template; `options` are those inherited, then its own: key to (value, file, line)."""

    name: str
    template: bool
    options: dict[str, tuple[str, str, int]] = field(default_factory=dict)


def sections(files: Mapping[str, str]) -> list[Section]:
    """Every section of the files, in order. A template that is not known gives nothing; Asterisk reports that."""
    out: list[Section] = []
    for file, text in files.items():
        for number, raw in enumerate(text.splitlines(), start=1):
            line = raw.partition(";")[0].rstrip()
            if head := _SECTION.match(line):
                flags = [flag.strip() for flag in (head["flags"] or "").split(",")]
                fresh = Section(head["name"], "!" in flags)
                for parent in out:
                    if parent.template and parent.name in flags:
                        fresh.options |= parent.options
                out.append(fresh)
            elif out and (option := _OPTION.match(line)):
                out[-1].options[option["key"]] = (option["value"].strip(), file, number)
    return out


def dangling(found: list[Section], loaded: Mapping[str, Collection[str]]) -> list[Problem]:
    """Lines that name an object which Asterisk has not loaded. `loaded` maps a kind to its names."""
    out = []
    for section in found:
        kind = section.options.get("type", ("", "", 0))[0]
        if section.template:
            continue
        for key, wanted in _NAMES.get(kind, {}).items():
            value, file, line = section.options.get(key, ("", "", 0))
            for name in filter(None, (part.strip() for part in value.split(","))):
                if name not in loaded[wanted]:
                    text = f"[{section.name}] {key} = {name}"
                    out.append(Problem(file, line, text, f"no such {wanted}: {name}"))
    return out


def links(shown: str) -> list[str]:
    """`2001 has auth 2001` and the like, of every endpoint in `pjsip show endpoints`."""
    out, endpoint = [], ""
    for line in shown.splitlines():
        kind, _, rest = line.strip().partition(":")
        name = rest.split()[0].split("/")[0] if rest.strip() else ""
        if kind == "Endpoint":
            endpoint = name
        elif kind in _LINKS and endpoint and not name.startswith("<"):
            out.append(f"{endpoint} has {_LINKS[kind]} {name}")
    return out
