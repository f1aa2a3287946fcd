"""The dial plan that an Asterisk has loaded, read from its own `dialplan show`, and what can be reached in it.

A place is written as in the dial plan and may hold `${...}` or `$[...]`: what is literal in it must fit something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_CONTEXT = re.compile(r"^\[ Context '(?P<name>[^']+)' created by")
_EXTENSION = re.compile(r"^  '(?P<name>.*?)'(?: \(CID match '[^']*'\))? =>\s+(?:(?P<priority>\d+)\.|hint:)")
_STEP = re.compile(r"^\s+(?:\[(?P<label>[^\]]+)\]\s+)?(?P<priority>\d+)\. ")
_INCLUDE = re.compile(r"^  Include =>\s+'(?P<name>[^',|]+)")
_CLASSES = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]", ".": ".+", "!": ".*"}


@dataclass
class Context:
    """Extensions with their priorities and labels; `elsewhere` when a switch may know more of them."""

    extensions: dict[str, set[str]] = field(default_factory=dict)
    includes: list[str] = field(default_factory=list)
    elsewhere: bool = False


@dataclass
class Plan:
    """Contexts by name."""

    contexts: dict[str, Context] = field(default_factory=dict)

    def label(self, context: str, extension: str, label: str) -> None:
        """Add a label that `dialplan show` keeps to itself: it never prints that of the first priority."""
        known = self.contexts.get(context, Context()).extensions.get(extension)
        if known is not None:
            known.add(label)

    def lacks(self, context: str, extension: str, mark: str) -> str | None:
        """Why a call cannot go there, None when it can. `mark` is a priority or a label."""
        names = [name for name in self.contexts if fits(context, name)]
        if not names:
            return f"no such context: {context}"
        marks = [m for name in names for m in self._marks(name, extension, set())]
        if not marks:
            return f"no such extension: {extension} in {context}"
        if re.fullmatch(r"[+-]\d+", mark) or any(fits(mark, m) for found in marks for m in found):
            return None
        return f"no such priority or label: {mark} of {extension} in {context}"

    def _marks(self, context: str, extension: str, seen: set[str]) -> Iterator[set[str]]:
        """Priorities and labels of every extension that answers to this one, includes followed."""
        if context in seen or context not in self.contexts:
            return
        seen.add(context)
        here = self.contexts[context]
        yield from (marks for name, marks in here.extensions.items() if answers(name, extension))
        if here.elsewhere:
            yield {"1"}
        for name in here.includes:
            yield from self._marks(name, extension, seen)


def read(shown: str) -> Plan:
    """A Plan from the text of `dialplan show`."""
    plan, context, extension = Plan(), Context(), ""
    for line in shown.splitlines():
        if found := _CONTEXT.match(line):
            context, extension = plan.contexts.setdefault(found["name"], Context()), ""
        elif found := _EXTENSION.match(line):
            extension = found["name"]
            context.extensions.setdefault(extension, set()).update([found["priority"]] if found["priority"] else [])
        elif found := _INCLUDE.match(line):
            context.includes.append(found["name"])
        elif "Switch =>" in line:
            context.elsewhere = True
        elif extension and (found := _STEP.match(line)):
            context.extensions[extension].update(m for m in (found["label"], found["priority"]) if m)
    return plan


def answers(name: str, wanted: str) -> bool:
    """Whether the extension `name`, perhaps a pattern, takes a call to `wanted` as Asterisk matches it."""
    if name == wanted or not name.startswith("_"):
        return fits(wanted, name)
    if "$" in wanted:
        return True
    parts = re.findall(r"\[[^\]]*\]|[^-]", name[1:])  # a dash outside of brackets is for the eye
    regex = "".join(p if len(p) > 1 else _CLASSES.get(p.upper(), re.escape(p)) for p in parts)
    return re.fullmatch(regex, wanted.replace("-", "")) is not None


def fits(written: str, name: str) -> bool:
    """Whether a place as written, variables and all, can be `name`."""
    return written == name or re.fullmatch(_regex_of(written), name) is not None


def _regex_of(written: str) -> str:
    out, depth, at = "", 0, 0
    while at < len(written):
        if written[at : at + 2] in ("${", "$["):
            out += "" if depth else ".*"
            depth, at = depth + 1, at + 2
            continue
        if depth:
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(written[at], 0)
        else:
            out += re.escape(written[at])
        at += 1
    return out
