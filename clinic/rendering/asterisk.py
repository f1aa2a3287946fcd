"""The whole Asterisk configuration of a clinic as one tree of files.

`render(clinic, secrets, templates)` gives `{relative path: bytes}`; the same input gives the same bytes, so the tree's
digest names a generation. Policy is decided in `clinic.*`; templates only write values down.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from jinja2 import DictLoader, Environment, StrictUndefined

from clinic.callflow import DAYS, Did, Hours, Opening, days_of
from clinic.model import Clinic
from clinic.numbering import CLOSED, dialled_as, plan, spellings, written_as
from clinic.people import Group, Person, Role
from clinic.rendering.legs import legs
from clinic.rendering.modules import MODULES
from clinic.rendering.records import CDR_COLUMNS, CEL_COLUMNS
from clinic.rendering.toll import counted
from clinic.secrets import TLS_PBX, certificate_of, key_of
from clinic.types import ServiceClass

RECORDINGS = "/var/spool/asterisk/recordings"
CURRENT = "/var/lib/clinicpbx/generations/current"


@dataclass(frozen=True, slots=True)
class Directories:
    """Where an Asterisk keeps its things; the throw-away one gets others."""

    etc: str = CURRENT
    modules: str = "/usr/lib/x86_64-linux-gnu/asterisk/modules"
    varlib: str = "/var/lib/asterisk"
    spool: str = "/var/spool/asterisk"
    run: str = "/run/asterisk"
    log: str = "/var/log/asterisk"


def render(clinic: Clinic, secrets: Mapping[str, str], templates: Mapping[str, str]) -> dict[str, bytes]:
    """Every file of the generation. `templates` maps `asterisk/...j2` to its text; a missing secret is a KeyError."""
    environment = Environment(
        loader=DictLoader(dict(templates)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML; `conf` below escapes what people write
    )
    environment.filters |= {
        "conf": conf_text,
        "re": lambda value: re.escape(str(value)),
        "prefix": lambda value, text: f"{text}{value}",
    }
    values = _values(clinic, secrets)
    tree = {}
    for name in sorted(t for t in templates if t.startswith("asterisk/")):
        target = str(PurePosixPath(name).relative_to("asterisk")).removesuffix(".j2")
        tree[target] = environment.get_template(name).render(values).encode()
    tree["tls/pbx.crt"] = certificate_of(secrets[TLS_PBX]).encode()
    tree["tls/pbx.key"] = key_of(secrets[TLS_PBX]).encode()
    tree["expected.json"] = json.dumps(expected(clinic, tree), indent=1, sort_keys=True).encode()
    return tree


def digest(tree: Mapping[str, bytes]) -> str:
    """SHA-256 over paths and contents, in hexadecimal: the generation's name."""
    total = hashlib.sha256()
    for path in sorted(tree):
        total.update(f"{path}\0{len(tree[path])}\0".encode())
        total.update(tree[path])
    return total.hexdigest()


def conf_text(text: str) -> str:
    """Free text made safe inside a quoted value or an application's argument: no quote, comma, bracket or `$`."""
    return re.sub(r"[\"\\,;$(){}\[\]|&<>\r\n]", " ", text).strip()


def _values(clinic: Clinic, secrets: Mapping[str, str]) -> dict[str, object]:
    usable = tuple(c for c in ServiceClass)

    def forwarded(person: Person) -> ServiceClass:
        return min(clinic.class_of(person), clinic.forwarding.highest_class, key=lambda c: c.rank)

    def receptions(department: str) -> tuple[str, ...]:
        return tuple(p.ext for p in clinic.with_role(Role.RECEPTION, department))

    def records(did: Did) -> bool:
        """Whether all who may answer belong to departments that are recorded."""
        group = next((g for g in all_groups(clinic) if g.number == did.to), None)
        answering = group.members if group else [did.to or ""]
        return all(clinic.departments[clinic.by_ext[ext].department].record for ext in answering)

    parking = clinic.numbering.parking.numbers()
    return {
        "clinic": clinic,
        "secrets": secrets,
        "dirs": Directories(),
        "modules": MODULES,
        "legs": legs(clinic),
        "classes": usable,
        "closed": CLOSED,
        "destinations": plan(clinic.numbering.area_code, clinic.toll.countries),
        "abroad_rank": ServiceClass.INTERNATIONAL.rank,
        "toll": counted(clinic),
        "dialled_as": dialled_as,
        "spellings": spellings,
        "known_spellings": {t.name: {s for d in t.dids for s in spellings(d.number)} for t in clinic.trunks},
        "own_numbers": {t.name: _own_numbers(clinic, t.name) for t in clinic.trunks if t.enabled},
        "operators": tuple(p for p in clinic.people if p.role in (Role.OPERATOR, Role.SUPERVISOR)),
        "receptions": receptions,
        "forward_class": lambda person: forwarded(person).value,
        "forward_rank": lambda person: forwarded(person).rank,
        "records": records,
        "groups": all_groups(clinic),
        "cc": clinic.call_centre,
        "numbering": {"park": parking[0], "first_place": parking[1], "last_place": parking[-1]},
        "ext_pattern": "X" * len(clinic.people[0].ext),
        "local_pattern": "[2-79]" + "X" * (9 - len(clinic.numbering.area_code)),
        "prompt": lambda name: f"{CURRENT}/prompts/{name}",
        "between": _between,
        "weekdays": _weekdays,
        "recordings": RECORDINGS,
        "cdr_columns": CDR_COLUMNS,
        "cel_columns": CEL_COLUMNS,
    }


def all_groups(clinic: Clinic) -> tuple[Group, ...]:
    """The departments' own hunt groups, then those the engineer wrote."""
    departments = tuple(
        Group(number=d.group, name=d.name, members=tuple(p.ext for p in clinic.members(slug)))
        for slug, d in clinic.departments.items()
        if d.group and clinic.members(slug)
    )
    return departments + clinic.groups


def _own_numbers(clinic: Clinic, trunk_name: str) -> tuple[tuple[str, str], ...]:
    """(extension, caller-ID as this provider writes it) of people with a public number of their own on this trunk."""
    return tuple(
        (did.to, written_as(did.number, trunk.number_format))
        for trunk in clinic.trunks
        if trunk.name == trunk_name
        for did in trunk.dids
        if did.to in clinic.by_ext and did.to is not None
    )


def _between(opening: Opening) -> str:
    """Dial-plan condition over clock_time; the leading 1 keeps 0900 a plain decimal number, and 23:59 is midnight."""
    end = "12400" if opening.end == dt.time(23, 59) else f"1{opening.end:%H%M}"
    return f"${{clock_time}} >= 1{opening.start:%H%M} & ${{clock_time}} < {end}"


def _weekdays(hours: Hours) -> Iterator[tuple[int, Opening | None]]:
    for index, day in enumerate(DAYS, start=1):
        yield index, next((o for key, o in hours.week.items() if day in days_of(key)), None)


def expected(clinic: Clinic, tree: Mapping[str, bytes]) -> dict[str, list[str]]:
    """What Asterisk must have loaded from this tree; a file silently skipped shows as something missing."""
    ways = legs(clinic)
    people, names = [p.ext for p in clinic.people], [leg.name for leg in ways]
    authenticated = [leg.name for leg in ways if leg.trunk.auth == "registration"]
    dialplan = b"\n".join(data for path, data in tree.items() if path.startswith("dialplan/")).decode()
    return {
        "endpoints": [*people, *names],
        "aors": [*people, *names],
        "auths": [*people, *authenticated],
        "identifications": names,
        "links": [
            *(f"{ext} has {kind} {ext}" for ext in people for kind in ("auth", "AOR")),
            *(f"{name} has {kind} {name}" for name in names for kind in ("AOR", "identify")),
            *(f"{name} has outbound auth {name}" for name in authenticated),
            *(f"{p.ext} has transport voice-tls" for p in clinic.people if clinic.encrypts(p)),
            *(f"{leg.name} has transport {leg.uplink.name}" for leg in ways),
        ],
        "registrations": [leg.name for leg in ways if leg.registers],
        "transports": ["voice", "voice-tls", *(u.name for u in clinic.uplinks)],
        "binds": [str(clinic.networks.voice.pbx), *(str(u.address.ip) for u in clinic.uplinks)],
        "queues": ["operators"],
        "contexts": sorted(set(re.findall(r"^\[([^\]]+)\]", dialplan, re.M))),
        "modules": list(MODULES),
    }
