"""The rules that look across the clinic. Each takes a `Clinic` and yields findings; none does I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from clinic.mistakes import Finding
from clinic.model import Clinic

Rule = Callable[[Clinic], Iterator[Finding]]

RULES: tuple[Rule, ...] = ()
