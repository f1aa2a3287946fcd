"""What a telephone does by itself when it is called."""

import fnmatch
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

ACTIONS = ("ring", "answer", "busy", "reject", "silent", "dead", "redirect", "manual")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One rule. Times in seconds, tones in Hz.

    ring: 180 and wait for the operator of the pool (also `manual`, which sends only 100).
    answer: 180, 200 after `after` seconds, send `tone`, hang up after `hold` seconds (None = never).
    busy: 486. reject: `code` after `after` seconds. redirect: 302 to `contact` after `after` seconds.
    silent: INVITE gets no response at all. dead: nothing comes in and nothing goes out, as if unplugged.
    `early_tone` sends 183 with that tone as early media while ringing; `q850` adds a Reason header to a refusal
    and to the BYE; `in_call` is what a second caller gets: "ring" (call waiting) or "busy".
    """

    action: str = "ring"
    after: float = 0.0
    tone: int | None = None
    hold: float | None = None
    code: int = 486
    q850: int | None = None
    contact: str = ""
    early_tone: int | None = None
    in_call: str = "ring"

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"behaviour action {self.action!r}: one of {', '.join(ACTIONS)} expected")
        if not 300 <= self.code <= 699:
            raise ValueError(f"behaviour code {self.code}: a final refusal (300-699) expected")
        if self.action == "redirect" and not self.contact:
            raise ValueError("behaviour redirect: contact (a sip: URI or a number) is missing")
        if self.in_call not in ("ring", "busy"):
            raise ValueError(f"behaviour in_call {self.in_call!r}: ring or busy expected")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def from_json(data: dict[str, Any]) -> Behaviour:
    """ValueError naming an unknown key or a wrong value."""
    known = {item.name for item in fields(Behaviour)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise ValueError(f"behaviour: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return Behaviour(**data)


@dataclass(frozen=True, slots=True)
class Rule:
    """A dialled number's pattern and what the far end does: shell style (`+7495*`), or `re:` and a full-match regex."""

    pattern: str
    behaviour: Behaviour

    def matches(self, number: str) -> bool:
        if self.pattern.startswith("re:"):
            return re.fullmatch(self.pattern[3:], number) is not None
        return fnmatch.fnmatchcase(number, self.pattern)


def choose(rules: list[Rule], number: str, default: Behaviour) -> Behaviour:
    """The first rule that matches the number."""
    return next((rule.behaviour for rule in rules if rule.matches(number)), default)
