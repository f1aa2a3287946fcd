"""Reads telephones' files for the tests, as plainly as their format allows: XML by a parser, cfg by lines."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from clinic.loading import load
from clinic.model import Clinic
from clinic.rendering.phones import PhoneFiles

CASE = Path(__file__).resolve().parents[2] / "inventory/case/clinic.yml"


class Secrets(dict[str, str]):
    """Any secret by name, each different."""

    def __missing__(self, name: str) -> str:
        return f"secret-of-{name.replace('/', '-')}"


def case(**changes: object) -> Clinic:
    clinic = load(CASE.read_text(encoding="utf-8"), str(CASE))
    return clinic.model_copy(update=changes) if changes else clinic


def of(phones: dict[str, PhoneFiles], ext: str) -> PhoneFiles:
    return next(phone for phone in phones.values() if phone.ext == ext)


def tree(data: bytes) -> ElementTree.Element:
    """The root element; bytes that are no well-formed XML fail the test."""
    return ElementTree.fromstring(data)  # noqa: S314 - our own bytes


def xml(phone: PhoneFiles, version: str) -> dict[str, str]:
    """The settings of a Grandstream file, which must be one, for this telephone, in the wanted dialect."""
    ((name, data),) = phone.files.items()
    assert name == f"cfg{phone.mac}.xml"
    root = tree(data)
    assert (root.tag, root.get("version"), root.findtext("mac")) == ("gs_provision", "1", phone.mac)
    config = root.find("config")
    assert config is not None and config.get("version") == version
    pairs = [(e.get("name", "") if version == "2" else e.tag, e.text or "") for e in config]
    assert len(dict(pairs)) == len(pairs), "a setting twice"
    return dict(pairs)


def cfg(phone: PhoneFiles) -> dict[str, list[str]]:
    """The settings of a Yealink file; a key may be there twice."""
    ((name, data),) = phone.files.items()
    assert name == f"{phone.mac}.cfg"
    first, *lines = data.decode().splitlines()
    assert first == "#!version:1.0.0.1"
    out: dict[str, list[str]] = {}
    for line in lines:
        key, equals, value = line.partition(" = ")
        assert equals and key == key.strip() and value, line
        out.setdefault(key, []).append(value)
    return out
