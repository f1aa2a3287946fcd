"""Where the steps of a dial plan lead: every place that an application, an option or a setting names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from .core import Problem, Step, application, without_comment
from .plan import Plan, fits

_HANDLER = re.compile(r"^CHANNEL\(hangup_handler_(?:push|pop|wipe)\)=(?P<to>.+)$", re.S)
_CONTEXT_IS = re.compile(r"^_{0,2}(?:TRANSFER_CONTEXT|FORWARD_CONTEXT)=(?P<to>.+)$")
_WORD = r"(?:\$[{\[](?:[^{}\[\]]|[{\[][^{}\[\]]*[}\]])*[}\]]|[^,&@/(){}\[\]|\s\"$])*"
_LOCAL = re.compile(rf"\bLocal/(?P<extension>{_WORD})@(?P<context>{_WORD})")
_DEVICE = re.compile(rf"\bPJSIP/(?:{_WORD}@)?(?P<endpoint>[\w.-]+)(?=[,&/)\s\"}}\]]|$)")
_QUEUE = re.compile(r"^(?:(?:Add|Remove|Pause|Unpause)QueueMember|Queue)$", re.I)
_ASKED = re.compile(r"DIALPLAN_EXISTS\((?P<context>[\w-]+)[,)]")
_FUNCTION = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\(")
# In a Dial or a Queue: options whose argument is context^exten^priority, and those that are a context alone.
_PLACES, _ROUTINES = "bBFG", "U"


def jumps_to_nowhere(steps: Iterable[Step], plan: Plan) -> list[Problem]:
    """Steps that lead where nothing is, in as far as their targets are literal."""
    out = []
    for step in steps:
        found = [plan.lacks(*_place(to, step)) for to in targets(step) if to.strip()]
        found += [plan.lacks(m["context"], m["extension"], "1") for m in _LOCAL.finditer(step.arguments)]
        found += [_no_context(name, plan) for name in contexts(step)]
        out += [Problem(step.file, step.line, step.text, rule) for rule in found if rule]
    return out


def unknown_devices(files: Mapping[str, str], endpoints: Collection[str]) -> list[Problem]:
    """Lines, hints and queue members among them, that name a literal PJSIP endpoint which is not loaded."""
    return [
        Problem(file, number, line.strip(), f"no such endpoint: {found['endpoint']}")
        for file, text in files.items()
        for number, line in enumerate(text.splitlines(), start=1)
        for found in _DEVICE.finditer(without_comment(line))
        if found["endpoint"] not in endpoints
    ]


def unknown_queues(steps: Iterable[Step], queues: Collection[str]) -> list[Problem]:
    """Steps that put a call or an operator into a literal queue which does not exist."""
    named = [(step, split(text, ",")[0].strip()) for step in steps for name, text in calls(step) if _QUEUE.search(name)]
    return [
        Problem(step.file, step.line, step.text, f"no such queue: {queue}")
        for step, queue in named
        if queue and "$" not in queue and queue not in queues
    ]


def unknown_calls(steps: Iterable[Step], applications: Iterable[str], functions: Iterable[str]) -> list[Problem]:
    """Steps that call an application or function which this Asterisk does not have."""
    apps, funcs, out = {a.lower() for a in applications}, set(functions), []
    for step in steps:
        rules = [f"no such application: {name}" for name, _ in calls(step) if name.lower() not in apps]
        rules += [f"no such function: {name}" for name in sorted(set(_FUNCTION.findall(step.text)) - funcs)]
        out += [Problem(step.file, step.line, step.text, rule) for rule in rules]
    return out


def calls(step: Step) -> Iterator[tuple[str, str]]:
    """(application, arguments) of a step, and of what it executes in turn."""
    yield from _calls(step.application, step.arguments)


def _calls(name: str, arguments: str) -> Iterator[tuple[str, str]]:
    yield name, arguments
    match name.lower():
        case "execif":
            inner = branches(arguments)
        case "exec" | "tryexec":
            inner = [arguments]
        case _:
            inner = []
    for text in inner:
        parsed = application(text)
        if parsed:
            yield from _calls(*parsed)


def targets(step: Step) -> Iterator[str]:
    """Every `[[context,]extension,]priority` that the step may go to, as it is written."""
    for name, text in calls(step):
        given = split(text, ",")
        given += [""] * (8 - len(given))
        match name.lower():
            case "goto" | "gosub":
                yield text
            case "gotoif" | "gosubif" | "gotoiftime":
                yield from branches(text)
            case "dial":
                yield from _of_options(given[2])
            case "queue":
                yield from _of_options(given[1])
                yield from [_routine(given[6])] if given[6] else []
            case "originate":
                if given[1].strip().lower() == "exten":
                    yield ",".join((given[2], given[3] or "s", given[4] or "1"))
                yield from _of_options(given[6])
            case "set" | "mset":
                yield from (m["to"] for m in [_HANDLER.match(text.strip())] if m)


def contexts(step: Step) -> Iterator[str]:
    """Contexts that the step names without an extension."""
    yield from (m["context"] for m in _ASKED.finditer(step.arguments))
    for name, text in calls(step):
        if name.lower() in ("set", "mset") and (found := _CONTEXT_IS.match(text.strip())):
            yield found["to"].strip()


def branches(text: str) -> list[str]:
    """What stands after the question mark: `condition?one:other`."""
    condition, *rest = split(text, "?")
    return split(text[len(condition) + 1 :], ":") if rest else []


def options(text: str) -> Iterator[tuple[str, str]]:
    """(letter, argument) of an application's options."""
    at = 0
    while at < len(text):
        letter, argument = text[at], ""
        if text[at + 1 : at + 2] == "(":
            argument = split(text[at + 2 :], ")")[0]
            at += len(argument) + 2
        at += 1
        yield letter, argument


def split(text: str, separator: str) -> list[str]:
    """Parts between separators that stand outside of every bracket; a backslash takes the next character out."""
    parts, depth, escaped = [""], 0, False
    for char in text:
        if not escaped and char == separator and depth == 0:
            parts.append("")
            continue
        if not escaped:
            depth += (char in "([{") - (char in ")]}")
        escaped = char == "\\" and not escaped
        parts[-1] += char
    return parts


def _of_options(text: str) -> Iterator[str]:
    for letter, argument in options(text):
        if argument and letter in _PLACES:
            yield ",".join(split(argument, "^"))
        elif argument and letter in _ROUTINES:
            yield _routine(argument)


def _routine(text: str) -> str:
    return f"{split(text, '^')[0]},s,1"


def _place(written: str, step: Step) -> tuple[str, str, str]:
    """Context, extension and priority; what is not written is the step's own. A Gosub's arguments are no part of it."""
    parts = [part.strip() for part in split(written, ",")]
    parts[-1] = split(parts[-1], "(")[0].strip()
    own = [step.context, step.extension]
    context, extension, mark = [*own[: max(0, 3 - len(parts))], *parts][:3]
    return context or step.context, extension or step.extension, mark


def _no_context(name: str, plan: Plan) -> str | None:
    return None if any(fits(name, known) for known in plan.contexts) else f"no such context: {name}"
