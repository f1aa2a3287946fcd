"""A private apt beside the machine's own: its own sources, lists and (empty) status; nothing installed, nothing shared.

It answers what a set of packages needs, where each file is, and fetches files with apt's own transports, so that
the machine's proxies and credentials keep working.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clinicpbx.bundle.cache import run
from clinicpbx.errors import ClinicError

RELEASE = "trixie"
_URI = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) ?(?P<hash>\S*)", re.MULTILINE)


@dataclass(frozen=True)
class Available:
    """A binary package file the mirror has now."""

    name: str
    version: str
    sha256: str
    size: int
    uri: str
    origin: str


class Apt:
    """apt in `home`, seeing only `sources` (the text of a sources.list) and packages it is told are installed."""

    def __init__(self, home: Path, sources: str, *, expiry: bool = True) -> None:
        self.home = home
        for folder in ("lists/partial", "archives/partial"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        for file in ("status", "preferences"):
            (home / file).write_text("")
        (home / "sources.list").write_text(sources)
        settings = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::sourcelist": home / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": home / "preferences",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": home,
            "Dir::State::lists": home / "lists",
            "Dir::State::status": home / "status",
            "Dir::Cache": home,
            "APT::Architecture": "amd64",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "false",
            "Acquire::Check-Valid-Until": str(expiry).lower(),
            "Acquire::Retries": "3",
        }
        inherited = run(["apt-config", "dump"], what="reading apt's configuration").splitlines()
        transports = [line for line in inherited if re.match(r"Acquire::(https?|socks)[: ]", line)]
        config = "\n".join([f'{key} "{value}";' for key, value in settings.items()] + transports) + "\n"
        (home / "apt.conf").write_text(config)
        (home / "apt.conf").chmod(0o600)  # a proxy's address may hold a password

    def call(self, *words: str, what: str) -> str:
        return run(words, what=what, env={"APT_CONFIG": str(self.home / "apt.conf")})

    def refresh(self) -> None:
        """Fetch the mirror's signed indexes (a quarter of a minute the first time, a second later on)."""
        self.call("apt-get", "--error-on=any", "--quiet=2", "update", what="reading the Debian mirror's indexes")

    def prefer(self, versions: Iterable[tuple[str, str]]) -> None:
        """Take these exact versions, even against a newer one (apt_preferences(5), priority above 1000)."""
        (self.home / "preferences").write_text(
            "".join(f"Package: {name}\nPin: version {version}\nPin-Priority: 1001\n\n" for name, version in versions)
        )

    def resolve(self, packages: Sequence[str]) -> list[tuple[str, str]]:
        """(name, version) of `packages`, of Debian's essential ones, and of everything they depend on."""
        words = ["apt-get", "install", "--print-uris", "--yes", "--quiet=2", "--no-install-recommends"]
        answer = self.call(*words, "?essential", "apt", *packages, what="resolving the packages' dependencies")
        return sorted({split_filename(found["file"]) for found in _URI.finditer(answer)})

    def index(self) -> dict[str, list[Available]]:
        """Every binary package file of the sources, by name; from the fetched indexes."""
        found: dict[str, list[Available]] = {}
        form = "$(FILENAME)|$(REPO_URI)|$(CODENAME)"
        targets = self.call("apt-get", "indextargets", "--format", form, "Created-By: Packages", what="listing indexes")
        for line in targets.splitlines():
            path, base, codename = line.split("|")
            if not Path(path).exists():
                continue  # an empty suite has no file
            origin = "security" if codename.endswith("-security") else "rebuilt" if base.startswith("file:") else ""
            for package in parse_index(Path(path).read_text(), base, origin):
                found.setdefault(package.name, []).append(package)
        return found

    def source_versions(self, name: str) -> dict[str, str]:
        """Version -> SHA-256 of its .dsc, for each version of a source package."""
        text = self.call("apt-cache", "showsrc", name, what=f"looking for the source of {name}")
        return parse_showsrc(text, name)

    def source_files(self, name: str, version: str) -> list[tuple[str, str, str]]:
        """(URI, file name, SHA-256) of each file of one source version; the .dsc is first."""
        words = ["apt-get", "source", "--print-uris", "--download-only", "--quiet=2", f"{name}={version}"]
        answer = self.call(*words, what=f"finding the source of {name}")
        files = [(hit["uri"], hit["file"], hit["hash"].removeprefix("SHA256:")) for hit in _URI.finditer(answer)]
        return sorted(files, key=lambda file: not file[1].endswith(".dsc"))

    def download(self, files: Sequence[tuple[str, Path]]) -> None:
        """Fetch each URI to its path. The caller checks hashes: only it can name what it expected."""
        words = [word for uri, path in files for word in (uri, str(path), "")]
        self.call("/usr/lib/apt/apt-helper", "download-file", *words, what="downloading from the Debian mirror")


def split_filename(file: str) -> tuple[str, str]:
    """`libx_1%3a2-3_amd64.deb` -> ("libx", "1:2-3")."""
    name, version, _ = file.split("_")
    return name, version.replace("%3a", ":")


def parse_index(text: str, base: str, origin: str) -> Iterator[Available]:
    """The stanzas of a Packages file; `base` is the URI its Filename fields are relative to."""
    wanted = ("Package", "Version", "SHA256", "Size", "Filename")
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if line.startswith(wanted) and ": " in line)
        if "Filename" in fields:
            uri = f"{base.rstrip('/')}/{fields['Filename'].removeprefix('./')}"
            yield Available(fields["Package"], fields["Version"], fields["SHA256"], int(fields["Size"]), uri, origin)


def parse_showsrc(text: str, name: str) -> dict[str, str]:
    """Version -> .dsc hash from `apt-cache showsrc`, whose stanzas are those of a Sources file."""
    found: dict[str, str] = {}
    for stanza in text.split("\n\n"):
        version = re.search(r"^Version: (\S+)", stanza, re.MULTILINE)
        checksums = re.search(r"^Checksums-Sha256:.*((?:\n .*)+)", stanza, re.MULTILINE)
        dsc = checksums and re.search(r"([0-9a-f]{64}) \d+ \S+\.dsc", checksums[1])
        if version and dsc and re.search(rf"^Package: {re.escape(name)}$", stanza, re.MULTILINE):
            found[version[1]] = dsc[1]
    return found


def newest(versions: Iterable[str]) -> str:
    """The newest of Debian version numbers, compared as dpkg does."""
    best = ""
    for version in versions:
        if not best or _later(version, best):
            best = version
    if not best:
        raise ClinicError("no version to choose from", remedy="see what the mirror offers with apt-cache policy")
    return best


def _later(left: str, right: str) -> bool:
    script = f"dpkg --compare-versions {shlex.quote(left)} gt {shlex.quote(right)} && echo yes || echo no"
    return run(["sh", "-c", script], what="comparing versions").strip() == "yes"
