"""Settings to bytes, so that nothing a person wrote can be more than a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

Settings = Mapping[str, str]


def plain(value: str) -> str:
    """One line of characters that XML 1.0 and a configuration file allow; everything else becomes a blank.

    Surrogates, U+FFFE and U+FFFF are no characters of XML (section 2.2).
    """
    return value if value.isprintable() else " ".join("".join(c if c.isprintable() else " " for c in value).split())


def text(value: str) -> str:
    """A value as text between tags or in an attribute. A certificate keeps its lines."""
    if value.isalnum() or not value:
        return value
    kept = "\n".join(plain(line) for line in value.split("\n")) if value.startswith("-----BEGIN ") else plain(value)
    return escape(kept)


def tag(element: str, /, *inside: str, **attributes: str) -> str:
    """An element. `inside` is markup made by `text` or `tag`, never what a person wrote."""
    opened = "".join(f' {key}="{text(value)}"' for key, value in attributes.items())
    return f"<{element}{opened}>{''.join(inside)}</{element}>"


def document(root: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}\n'.encode()


def aliases(mac: str, settings: Settings) -> bytes:
    """Grandstream's named settings: config version 2. An empty `mac` leaves the element out. Keys are ours."""
    return _grandstream(mac, "2", (f'<item name="{key}">{text(value)}</item>\n' for key, value in settings.items()))


def p_values(mac: str, settings: Settings) -> bytes:
    """Grandstream's numbered settings: config version 1. Keys are ours."""
    return _grandstream(mac, "1", (f"<{key}>{text(value)}</{key}>\n" for key, value in settings.items()))


def _grandstream(mac: str, version: str, settings: Iterable[str]) -> bytes:
    body = tag("config", "\n", *settings, version=version)
    return document(tag("gs_provision", "\n", f"{tag('mac', text(mac))}\n" if mac else "", body, "\n", version="1"))


def cfg(settings: Settings, *repeated: tuple[str, str]) -> bytes:
    """Yealink's file. An empty value is written `%NULL%`, which clears what the telephone had.

    `repeated` are keys that a file may have twice.
    """
    lines = [f"{key} = {plain(value).strip() or '%NULL%'}\n" for key, value in (*settings.items(), *repeated)]
    return f"#!version:1.0.0.1\n{''.join(lines)}".encode()
