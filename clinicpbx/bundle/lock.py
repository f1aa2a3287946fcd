"""bundle.lock: every package of the PBX, the image and the lab's tools, pinned. Pure text in, pure text out.

One package a line, sorted, so that an update reads as a diff:

    source asterisk 1:22.10.1-1 8799...eb2          the source we rebuild, by the SHA-256 of its .dsc
    adduser 3.152 2f1c...                           name, version, SHA-256 of the .deb
    openssl 3.5.1-1+deb13u1 77aa... security        and where it came from, unless the main archive
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from clinicpbx.errors import ClinicError

HEADER = """\
# Every package the bundle holds: name, version, SHA-256 of the file, origin (the main archive when absent).
# Written by `clinicpbx bundle update` for Debian 13 on amd64; review its diff, do not edit by hand.
# The `source` line pins what is rebuilt for Debian 13 by the SHA-256 of its .dsc.
"""
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"[0-9A-Za-z.+:~-]+")
_HASH = re.compile(r"[0-9a-f]{64}")
_ORIGINS = ("", "security", "rebuilt")


@dataclass(frozen=True, order=True)
class Pinned:
    """One binary package. `filename` is its name in the pool: the version without its epoch, as Debian writes it."""

    name: str
    version: str
    sha256: str
    origin: str = ""

    @property
    def filename(self) -> str:
        return f"{self.name}_{self.version.partition(':')[2] or self.version}.deb"

    def line(self) -> str:
        return " ".join(filter(None, (self.name, self.version, self.sha256, self.origin)))


@dataclass(frozen=True)
class SourcePin:
    """The source package that is rebuilt, pinned by its .dsc, which itself pins every file of the source."""

    name: str
    version: str
    sha256: str

    def line(self) -> str:
        return f"source {self.name} {self.version} {self.sha256}"


@dataclass(frozen=True)
class Lock:
    """The whole lock. `packages` are sorted by name and have one version each."""

    source: SourcePin
    packages: tuple[Pinned, ...]

    def text(self) -> str:
        return HEADER + "\n".join([self.source.line(), *(package.line() for package in self.packages)]) + "\n"

    def versions(self) -> dict[str, str]:
        return {package.name: package.version for package in self.packages}


def parse(text: str, path: str = "bundle.lock") -> Lock:
    """Read a lock. Raises ClinicError naming the file and line of the first mistake."""
    source: SourcePin | None = None
    packages: dict[str, Pinned] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        is_source = words[0] == "source" and len(words) == 4
        name, version, checksum, *rest = words[1:] if is_source else words if len(words) >= 3 else (*words, "", "", "")
        if (
            not _NAME.fullmatch(name)
            or not _VERSION.fullmatch(version)
            or not _HASH.fullmatch(checksum)
            or len(rest) > 1
            or (rest and rest[0] not in _ORIGINS)
        ):
            raise _wrong(path, number, f"`{line.strip()}` is not `name version sha256 [security]`")
        if is_source:
            if source:
                raise _wrong(path, number, "a second `source` line")
            source = SourcePin(name, version, checksum)
        elif name in packages:
            raise _wrong(path, number, f"{name} is pinned twice")
        else:
            packages[name] = Pinned(name, version, checksum, *rest)
    if source is None:
        raise _wrong(path, 1, "the `source` line is missing")
    return Lock(source, tuple(sorted(packages.values())))


def read(path: Path) -> Lock:
    """Read a lock file; a missing one is an error with its remedy."""
    try:
        return parse(path.read_text(), str(path))
    except FileNotFoundError:
        raise ClinicError(f"{path} does not exist", remedy="clinicpbx bundle update") from None


def diff(old: str, new: str, path: str = "bundle.lock") -> str:
    """A unified diff of two lock texts, without context: the changed pins only."""
    return "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"a/{path}", f"b/{path}", n=0))


def changes(old: Lock, new: Lock) -> tuple[str, ...]:
    """One sentence for each package whose version differs; for the lab's warning."""
    before, after = old.versions(), new.versions()
    found = [
        f"{name} {before[name]} -> {after.get(name, 'none')}" for name in before if after.get(name) != before[name]
    ]
    found += [f"{name} {after[name]} is new" for name in after if name not in before]
    if old.source != new.source:
        found.append(f"source {old.source.name} {old.source.version} -> {new.source.version}")
    return tuple(sorted(found))


def _wrong(path: str, line: int, message: str) -> ClinicError:
    return ClinicError(f"{path}, line {line}: {message}", remedy="git checkout the file, or clinicpbx bundle update")
