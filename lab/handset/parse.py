"""A configuration file as the telephone reads it: settings by the vendor's own names, and what it cannot read. Pure.

Grandstream: P-values, or aliases where the family knows them; an alias is filed under its P-value, because to the
telephone they are one setting. Yealink: `key = value`. What a family does not know it ignores, as the telephone does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from lab.handset.aliases import ALIASED, to_p_value
from lab.handset.names import Identity

LARGEST = 1 << 20  # bytes; a telephone has no more room for a configuration
_P_VALUE = re.compile(r"P[1-9]\d{0,6}|P0")
_KEY = re.compile(r"[a-z][\w.\-]*", re.ASCII)
_NOTHING = ("%NULL%", "%EMPTY%")
_MARK = re.compile(r"#!version:\d+(\.\d+){3}\s*$")

Settings = dict[str, str]


class IllFormedError(ValueError):
    """The telephone cannot read the file, keeps what it had and says so on its screen."""


def parse(phone: Identity, data: bytes) -> Settings:
    """The settings that the file has. IllFormedError when this telephone would refuse it whole."""
    if len(data) > LARGEST:
        raise IllFormedError(f"{len(data)} bytes, more than the telephone holds")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise IllFormedError("not UTF-8") from None
    return _yealink(text) if phone.yealink else _grandstream(phone, text)


def merge(before: Settings, new: Settings) -> Settings:
    """What is set after a file: a setting that it does not name stays, an empty one is cleared."""
    return {key: value for key, value in {**before, **new}.items() if value != ""}


def _yealink(text: str) -> Settings:
    lines = text.splitlines()
    if not lines or not _MARK.match(lines[0]):
        raise IllFormedError("its first line is no #!version:1.0.0.1")
    found: Settings = {}
    for line in lines[1:]:
        key, equals, value = line.partition("=")
        key = key.strip()
        if equals and not line.lstrip().startswith(("#", "[")) and _KEY.fullmatch(key):
            value = value.strip()
            found[key] = "" if value in _NOTHING else value
    return found


def _grandstream(phone: Identity, text: str) -> Settings:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # the telephone's reader knows neither; ours must not follow them
        raise IllFormedError("a document type, which the telephone does not read")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - without a document type there are no entities to expand
    except (ElementTree.ParseError, ValueError) as error:
        raise IllFormedError(f"no well-formed XML: {error}") from None
    if root.tag != "gs_provision":
        raise IllFormedError(f"<{root.tag}> in place of <gs_provision>")
    owner = "".join(c for c in (root.findtext("mac") or "").lower() if c in "0123456789abcdef")
    if owner and owner != phone.mac:
        raise IllFormedError("it names another telephone's MAC address")
    found: Settings = {}
    for config in root.iterfind("config"):
        if config.get("version") == "1":
            found |= {child.tag: _text(child) for child in config if _P_VALUE.fullmatch(child.tag)}
        elif config.get("version") == "2" and phone.family in ALIASED:
            for name, value in _items(config):
                if known := to_p_value(name, value):
                    found[known[0]] = known[1]
    return found


def _items(config: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """`<item name="a.b">v</item>`, and the nested form `<item name="a"><part name="b">v</part></item>`."""
    for item in config.iterfind("item"):
        name = item.get("name", "")
        if len(item):
            yield from ((f"{name}.{part.get('name', '')}", _text(part)) for part in item.iterfind("part"))
        else:
            yield name, _text(item)


def _text(element: ElementTree.Element) -> str:
    return (element.text or "").strip()
