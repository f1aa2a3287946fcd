"""What is wrong with a candidate configuration: pure functions over its files and a throw-away Asterisk's words.

Asterisk does not report a dial plan that calls a missing application or leaves a parenthesis open, and it skips a file
it cannot read; so the dial plan is read here as well, and every object the description promises must be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_STEP = re.compile(r"^\s*(?:exten|same)\s*=>?\s*(?P<rest>.*)$")
_APP = re.compile(r"^(?P<app>[A-Za-z_][A-Za-z0-9_]*)\s*(?:\((?P<args>.*)\)\s*)?$", re.S)
_FUNCTION = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\(")
_LOG = re.compile(r"^\[[^\]]*\]\s*(?P<level>ERROR|WARNING)\[[^\]]*\](?:\[[^\]]*\])?:?\s*(?P<text>.*)$")


@dataclass(frozen=True)
class Problem:
    """One reason to refuse a generation. `line` is 0 where Asterisk names none."""

    file: str
    line: int
    text: str
    rule: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.rule}: {self.text}"


@dataclass(frozen=True)
class Step:
    """One priority of the dial plan as it stands in a file."""

    file: str
    line: int
    text: str
    application: str
    arguments: str


def steps(files: Mapping[str, str]) -> Iterator[Step | Problem]:
    """Every step of the dial plan's files; a line that is no step is a Problem."""
    for name, text in files.items():
        for number, raw in enumerate(text.splitlines(), start=1):
            line = _without_comment(raw)
            found = _STEP.match(line)
            if not found:
                continue
            call = _application_of(line, found["rest"])
            if call is None:
                continue
            if not balanced(call):
                yield Problem(name, number, raw.strip(), "unbalanced bracket")
                continue
            parsed = _APP.match(call.strip())
            if not parsed:
                yield Problem(name, number, raw.strip(), "not an application call")
                continue
            yield Step(name, number, raw.strip(), parsed["app"], parsed["args"] or "")


def unknown_calls(found: Iterable[Step], applications: Iterable[str], functions: Iterable[str]) -> list[Problem]:
    """Steps that call an application or function which this Asterisk does not have."""
    apps, funcs = {a.lower() for a in applications}, set(functions)
    out = []
    for step in found:
        inner = _APP.match(step.arguments.partition("?")[2].strip()) if step.application.lower() == "execif" else None
        called = [step.application] + ([inner["app"]] if inner else [])
        out += [
            Problem(step.file, step.line, step.text, f"no such application: {name}")
            for name in called
            if name.lower() not in apps
        ]
        out += [
            Problem(step.file, step.line, step.text, f"no such function: {name}")
            for name in sorted(set(_FUNCTION.findall(step.text)) - funcs)
        ]
    return out


def jumps_to_nowhere(found: Iterable[Step], contexts: Iterable[str]) -> list[Problem]:
    """Goto and Gosub whose literal context does not exist."""
    known, out = set(contexts), []
    for step in found:
        if step.application.lower() in ("goto", "gosub"):
            parts = step.arguments.split(",")
            target = parts[0].strip()
            if len(parts) > 1 and "$" not in target and target not in known and not _is_label(parts):
                out.append(Problem(step.file, step.line, step.text, f"no such context: {target}"))
    return out


def log_problems(log: str) -> list[Problem]:
    """ERROR and WARNING lines of Asterisk's own log."""
    out = []
    for raw in log.splitlines():
        found = _LOG.match(raw)
        if found:
            where = re.search(r"at line (\d+) of (?:file )?'?([\w./-]+)'?", found["text"])
            line, name = (int(where[1]), where[2].rsplit("/", 1)[-1]) if where else (0, "asterisk")
            out.append(Problem(name, line, found["text"], found["level"]))
    return out


def missing(kind: str, expected: Iterable[str], present: Iterable[str]) -> list[Problem]:
    """Objects that the description promises and Asterisk did not load."""
    return [Problem("asterisk", 0, name, f"{kind} not loaded") for name in sorted(set(expected) - set(present))]


def balanced(text: str) -> bool:
    """Whether round, square and curly brackets close in order; a backslash takes the next character out."""
    stack: list[str] = []
    closing = {")": "(", "]": "[", "}": "{"}
    for char in re.sub(r"\\.", "", text):
        if char in "([{":
            stack.append(char)
        elif char in closing and (not stack or stack.pop() != closing[char]):
            return False
    return not stack


def _is_label(parts: list[str]) -> bool:
    return len(parts) == 1


def _without_comment(line: str) -> str:
    out, previous = [], ""
    for char in line:
        if char == ";" and previous != "\\":
            break
        out.append(char)
        previous = char
    return "".join(out)


def _application_of(line: str, rest: str) -> str | None:
    """`s,1,Dial(...)` or `n(label),Dial(...)` to `Dial(...)`; None for a hint."""
    fields = 1 if line.lstrip().startswith("same") else 2
    for _ in range(fields):
        head, comma, rest = rest.partition(",")
        if not comma:
            return None
        if head.strip() == "hint":
            return None
    return rest
