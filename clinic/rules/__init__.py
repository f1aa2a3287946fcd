"""The rules that look across the clinic. Each takes a `Clinic` and yields findings; none contacts anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from clinic.mistakes import Finding
from clinic.model import Clinic
from clinic.rules import (
    calls,
    groups,
    hours,
    keys,
    machine,
    networks,
    numbering,
    people,
    phones,
    provisioning,
    toll,
    trunks,
)

Rule = Callable[[Clinic], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    *numbering.RULES,
    *people.RULES,
    *groups.RULES,
    *phones.RULES,
    *keys.RULES,
    *provisioning.RULES,
    *networks.RULES,
    *trunks.RULES,
    *toll.RULES,
    *hours.RULES,
    *calls.RULES,
    *machine.RULES,
)
