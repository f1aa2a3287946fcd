"""YAML text to plain values that remember their lines.

Every scalar stays the text that was written (null aside) and the typed model decides what it means, so 0101, 8:30 and
52:54:00:10:20:30 are never turned into numbers by YAML 1.1. Anchors, aliases and `<<` work; tags, duplicate keys,
endless or exploding aliases do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from clinic.mistakes import Mistake, Path, short, written

MAX_TEXT = 8 * 1024 * 1024  # a clinic of 5,000 phones takes 1.5 MB
MAX_NODES = 500_000
MAX_DEPTH = 32
PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq")}
NULLS = {"", "~", "null", "Null", "NULL"}

# The C loader without YAML 1.1's resolver is four times faster than safe_load.
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class Unreadable(Exception):  # noqa: N818 - carries the one mistake that stops the reading
    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake
        super().__init__(str(mistake))


@dataclass
class Document:
    """A file's values and its YAML nodes, which know their lines; `mistakes` are those of the YAML itself."""

    file: str
    data: Any = None
    root: yaml.Node | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    _visited: int = 0

    def line(self, path: Path) -> int:
        """Line (from 1) of a path: its key's line, or that of the nearest part of the path that exists."""
        node, line = self.root, 1
        for part in path:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def note(self, node: yaml.Node, path: Path, value: object, rule: str, remedy: str) -> Mistake:
        mistake = Mistake(self.file, node.start_mark.line + 1, written(path), short(value), rule, remedy)
        self.mistakes.append(mistake)
        return mistake


def read(text: str, file: str) -> Document:
    """Parse `text`. Unreadable when it is no YAML, too large, or an attack on the reader."""
    document = Document(file)
    if len(text) > MAX_TEXT:
        raise Unreadable(
            Mistake(
                file,
                1,
                "",
                f"{len(text)} characters",
                f"a description has at most {MAX_TEXT} characters",
                "Split the clinics: one description is one clinic",
            )
        )
    _refuse_depth(text, file)
    try:
        document.root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        source = text.splitlines()[line - 1 : line]
        raise Unreadable(
            Mistake(
                file,
                line,
                "",
                short(source[0] if source else ""),
                f"not YAML: {error.problem or error.context}",
                "Compare the indentation, quotes and brackets with the lines above",
            )
        ) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise Unreadable(
            Mistake(file, 1, "", "", f"not YAML: {short(error)}", "Save the file as plain UTF-8 text")
        ) from None
    document.data = _value(document, document.root, (), ()) if document.root else None
    return document


def _refuse_depth(text: str, file: str) -> None:
    """The C composer recurses without a guard: thousands of open brackets or `- - -` would end the whole program."""
    depth, place = 0, None
    for match in re.finditer(r"[\[\]{}]|^[ \t?:-]{200,}", text, re.M):
        depth += 1 if match[0] in "[{" else -1 if match[0] in "]}" else 1000
        if depth > 200:
            place = match.start()
            break
    if place is not None:
        line = text.count("\n", 0, place) + 1
        raise Unreadable(
            Mistake(
                file,
                line,
                "",
                short(text[place : place + 60]),
                "aliases or nesting grow without a limit",
                "Close the brackets; a description is at most eight levels deep",
            )
        )


def _value(document: Document, node: yaml.Node, path: Path, above: tuple[int, ...]) -> Any:
    document._visited += 1
    if id(node) in above or len(above) > MAX_DEPTH or document._visited > MAX_NODES:
        raise Unreadable(
            document.note(
                node,
                path,
                "",
                "aliases or nesting grow without a limit",
                "Write the values out; an alias may repeat a value, not contain itself",
            )
        )
    if node.tag not in PLAIN_TAGS:
        document.note(node, path, node.tag, "YAML tags are not used here", "Remove the tag, keep the value")
    if isinstance(node, yaml.ScalarNode):
        return None if node.style is None and node.value in NULLS else node.value
    inside = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        return [_value(document, item, (*path, index), inside) for index, item in enumerate(node.value)]
    return _mapping(document, node, path, inside)


def _mapping(document: Document, node: yaml.Node, path: Path, inside: tuple[int, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    first: dict[str, int] = {}
    for key, item in node.value:
        if not isinstance(key, yaml.ScalarNode):
            document.note(key, path, "", "a key is one word", "Write `key: value`")
        elif key.value in first:
            document.note(
                key,
                (*path, key.value),
                key.value,
                "a key is written once",
                f"Keep one of the two; the other is on line {first[key.value]}",
            )
        else:
            first[key.value] = key.start_mark.line + 1
            values[key.value] = _value(document, item, (*path, key.value), inside)
    if "<<" in values:
        _merge(document, node, path, values)
    return values


def _merge(document: Document, node: yaml.Node, path: Path, values: dict[str, Any]) -> None:
    """`<<: *anchor`: keys of the anchor, unless this mapping has its own. The node learns them too, for their lines."""
    item = next(value for key, value in node.value if key.value == "<<")
    sources = [item] if isinstance(item, yaml.MappingNode) else item.value
    merged = values.pop("<<")
    parts = merged if isinstance(merged, list) else [merged]
    if not all(isinstance(part, dict) for part in parts):
        document.note(item, (*path, "<<"), merged, "`<<` merges mappings only", "Point it at an anchor of a mapping")
        return
    for part, source in zip(parts, sources, strict=True):
        values |= {k: v for k, v in part.items() if k not in values}
        known = {k.value for k, _ in node.value}
        node.value = [*node.value, *((k, v) for k, v in source.value if k.value not in known)]
