"""Changing one person's telephone in a description's text, and nothing else in it. Pure.

Only the characters of the values are replaced: comments, order and layout stay as the engineer wrote them. The new text
is then read as any description is, and must say what was meant and not one thing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import yaml

from clinic.document import Document, read
from clinic.loading import load
from clinic.mistakes import Finding
from clinic.model import Clinic

_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9./:\-]*[A-Za-z0-9])?")


class NotEditable(Exception):  # noqa: N818 - a refusal that is told with its remedy, no error of ours
    """`finding` says which value cannot be changed so, why, and what to do instead."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(f"{finding.value}: {finding.rule}. {finding.remedy}")


def with_phone(text: str, ext: str, changes: Mapping[str, str | int], file: str = "clinic.yml") -> tuple[str, Clinic]:
    """The text with these values of the telephone of `ext` (as mac, socket, switch, port), and its clinic.

    DescriptionError when the text has mistakes before or after; NotEditable when the place cannot be found for certain.
    """
    before = load(text, file)
    places = _places(read(text, file), ext, tuple(changes))
    new = text
    for key in sorted(changes, key=lambda key: places[key].start_mark.index, reverse=True):
        node = places[key]
        start, end = node.start_mark.index, node.end_mark.index
        new = new[:start] + _token(node, str(changes[key])) + new[end:]
    after = load(new, file)
    phone = after.by_ext[ext].phone if ext in after.by_ext else None
    wrong = [key for key, value in changes.items() if str(getattr(phone, key, None)) != str(value)]
    if wrong or _rest(after, ext, changes) != _rest(before, ext, changes):
        raise _refusal(ext, str(changes[wrong[0]]) if wrong else "", "another part of the description would change too")
    return new, after


def _places(document: Document, ext: str, keys: tuple[str, ...]) -> dict[str, yaml.ScalarNode]:
    """The node of each value, known to be this person's alone."""
    people = _child(document.root, "people")
    entries = people.value if isinstance(people, yaml.SequenceNode) else []
    mine = [e for e in entries if _text(_child(e, "ext")) == ext]
    if len(mine) != 1:
        raise _refusal(ext, ext, "there is no such person in the description" if not mine else "it is there twice")
    found: dict[str, yaml.ScalarNode] = {}
    for key in keys:
        node = _child(_child(mine[0], "phone"), key)
        if not isinstance(node, yaml.ScalarNode):
            raise _refusal(ext, key, "it is not written with the telephone of this person")
        if sum(seen is node for seen in _nodes(document.root)) > 1 or not _inside(node, mine[0]):
            raise _refusal(ext, node.value, "it is written by an anchor, and others may use the same one")
        found[key] = node
    return found


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _inside(node: yaml.Node, whole: yaml.Node) -> bool:
    return bool(whole.start_mark.index <= node.start_mark.index and node.end_mark.index <= whole.end_mark.index)


def _nodes(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Every place of the document, an alias's again; `document.read` has refused what would never end."""
    if node is None:
        return
    yield node
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _nodes(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _nodes(value)


def _token(node: yaml.ScalarNode, value: str) -> str:
    """The value as the old one was written: in its quotes, or without any where that is safe."""
    if node.style in ('"', "'") or not _PLAIN.fullmatch(value):
        quote = node.style if node.style in ('"', "'") else '"'
        return f"{quote}{value}{quote}"
    return value


def _rest(clinic: Clinic, ext: str, changes: Mapping[str, str | int]) -> Clinic:
    """The clinic without what was to change, for comparison."""
    people = tuple(
        p.model_copy(update={"phone": p.phone.model_copy(update=dict.fromkeys(changes))}) if p.ext == ext else p
        for p in clinic.people
    )
    return clinic.model_copy(update={"people": people})


def _refusal(ext: str, value: str, rule: str) -> NotEditable:
    return NotEditable(Finding(("people", ext), value or ext, rule, "edit clinic.yml by hand, then clinicpbx check"))
