"""What is wrong with a candidate configuration: pure functions over its files and a throw-away Asterisk's words.

Asterisk does not report a dial plan that calls a missing application or leaves a parenthesis open, and it skips a file
it cannot read; so the dial plan is read here as well, and every object the description promises must be there. Where
its steps lead is the matter of `targets`, what they play of `sounds`, what PJSIP's objects name of `objects`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_STEP = re.compile(r"^\s*(?:exten|same)\s*=>?\s*(?P<rest>.*)$")
_APP = re.compile(r"^(?P<app>[A-Za-z_][A-Za-z0-9_]*)\s*(?:\((?P<args>.*)\)\s*)?$", re.S)
_CONTEXT = re.compile(r"^\s*\[([^\]]+)\]")
_LABEL = re.compile(r"\(([^)]+)\)")
_LOG = re.compile(r"^\[[^\]]*\]\s*(?P<level>ERROR|WARNING)\[[^\]]*\](?:\[[^\]]*\])?:?\s*(?P<text>.*)$")
NOT_LOADED = " not loaded"
NAMED = 8


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


class RefusedError(Exception):
    """The operation did not happen; the live configuration is as it was."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


@dataclass(frozen=True)
class Step:
    """One priority of the dial plan as it stands in a file, and where: `label` is empty when it has none."""

    file: str
    line: int
    text: str
    application: str
    arguments: str
    context: str = ""
    extension: str = ""
    label: str = ""


def steps(files: Mapping[str, str]) -> Iterator[Step | Problem]:
    """Every step of the dial plan's files; a line that is no step is a Problem."""
    for name, text in files.items():
        context = extension = ""
        for number, raw in enumerate(text.splitlines(), start=1):
            line = without_comment(raw)
            if header := _CONTEXT.match(line):
                context = header[1]
            found = _STEP.match(line)
            if not found:
                continue
            if not line.lstrip().startswith("same"):
                extension = found["rest"].partition(",")[0].strip()
            fields = _application_of(line, found["rest"])
            if fields is None:
                continue
            priority, call = fields
            if not balanced(call):
                yield Problem(name, number, raw.strip(), "unbalanced bracket")
                continue
            parsed = application(call)
            if not parsed:
                yield Problem(name, number, raw.strip(), "not an application call")
                continue
            label = _LABEL.search(priority)
            yield Step(name, number, raw.strip(), *parsed, context, extension, label[1] if label else "")


def application(text: str) -> tuple[str, str] | None:
    """Name and arguments of `Name(arguments)`; None when it is no call."""
    parsed = _APP.match(text.strip())
    return (parsed["app"], parsed["args"] or "") if parsed else None


def log_problems(log: str) -> list[Problem]:
    """ERROR and WARNING lines of Asterisk's own log."""
    out = []
    for raw in log.splitlines():
        found = _LOG.match(raw)
        if found:
            where = re.search(r"\bline (\d+) (?:of|in) (?:file )?'?([\w./-]+)'?", found["text"])
            line, name = (int(where[1]), where[2].rsplit("/", 1)[-1]) if where else (0, "asterisk")
            out.append(Problem(name, line, found["text"], found["level"]))
    return out


def missing(kind: str, expected: Iterable[str], present: Iterable[str]) -> list[Problem]:
    """Objects that the description promises and Asterisk did not load."""
    return [Problem("asterisk", 0, name, f"{kind}{NOT_LOADED}") for name in sorted(set(expected) - set(present))]


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """What to mend first: lines of files, each fault once; then what only has a name, and what is just a consequence.

    One mistake in a template is told by Asterisk for every phone, and each phone is then missing: both become one.
    """
    placed: dict[tuple[str, int, str], Problem] = {}
    alike: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        if problem.line:
            placed.setdefault((problem.file, problem.line, problem.rule), problem)
        else:
            text = "" if problem.rule.endswith(NOT_LOADED) else re.sub(r"'[^']*'|\d+", "#", problem.text)
            found = alike.setdefault((problem.rule, text), [])
            found += [problem] if problem not in found else []
    first = sorted(placed.values(), key=lambda p: (p.file, p.line, p.rule))
    rest = sorted((_one_of(found) for found in alike.values()), key=lambda p: p.rule.endswith(NOT_LOADED))
    return first + rest


def _one_of(alike: list[Problem]) -> Problem:
    first, count = alike[0], len(alike)
    if count == 1:
        return first
    if first.rule.endswith(NOT_LOADED):
        kind = first.rule.removesuffix(NOT_LOADED)
        names = ", ".join(p.text for p in alike[:NAMED]) + (" ..." if count > NAMED else "")
        return Problem(first.file, 0, names, f"{count} {kind}s{NOT_LOADED}")
    return Problem(first.file, 0, f"{first.text} (and {count - 1} alike)", first.rule)


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


def without_comment(line: str) -> str:
    """The line up to its first semicolon; one after a backslash is text."""
    out, previous = [], ""
    for char in line:
        if char == ";" and previous != "\\":
            break
        out.append(char)
        previous = char
    return "".join(out)


def _application_of(line: str, rest: str) -> tuple[str, str] | None:
    """`s,1,Dial(...)` or `n(label),Dial(...)` to its priority and `Dial(...)`; None for a hint."""
    fields, head = 1 if line.lstrip().startswith("same") else 2, ""
    for _ in range(fields):
        head, comma, rest = rest.partition(",")
        if not comma:
            return None
        if head.strip() == "hint":
            return None
    return head, rest
