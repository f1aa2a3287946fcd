"""Where this control machine gets Debian from: read from its own apt configuration, so the project names no mirror.

Both formats of sources.list(5) are read: one-line `.list` and deb822 `.sources`. Pure but for `find()`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clinicpbx.errors import ClinicError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SUITE = re.compile(r"(bookworm|trixie|forky|sid|oldstable|stable|testing|unstable)(-updates|-security|/updates)?")
_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^]]*)]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)")


@dataclass(frozen=True)
class Source:
    """One binary source of the control machine: a URI, one suite, and the keyring file that signs it if named."""

    uri: str
    suite: str
    components: tuple[str, ...]
    keyring: str = ""


@dataclass(frozen=True)
class Mirrors:
    """The Debian archive and the security archive, with the keyring each is checked against."""

    archive: str
    security: str
    archive_keyring: str = str(KEYRING)
    security_keyring: str = str(KEYRING)

    def sources_list(self, release: str, *, source_suites: Iterable[str] = (), with_updates: bool = True) -> str:
        """The one-line sources for `release`, and deb-src lines for the suites the rebuilt source comes from.

        Only the source suites may be past their Valid-Until: what is taken from them is pinned by hash.
        """
        archive = f"[signed-by={self.archive_keyring}] {self.archive}"
        lines = [f"deb {archive} {release} main"]
        if with_updates:
            lines += [
                f"deb {archive} {release}-updates main",
                f"deb [signed-by={self.security_keyring}] {self.security} {release}-security main",
            ]
        for suite in source_suites:
            options = f"[signed-by={self.archive_keyring} check-valid-until=no]"
            lines.append(f"deb-src {options} {self.archive} {suite} main")
        return "\n".join(lines) + "\n"


def parse_list(text: str) -> Iterator[Source]:
    """The `deb` lines of a one-line file."""
    for line in text.splitlines():
        if found := _ONE_LINE.match(line.split("#", 1)[0].strip()):
            options = dict(word.partition("=")[::2] for word in (found["options"] or "").split())
            yield Source(
                found["uri"], found["suite"], tuple(found["components"].split()), _keyring(options.get("signed-by", ""))
            )


def parse_deb822(text: str) -> Iterator[Source]:
    """The enabled `deb` stanzas of a deb822 file, one Source for each pair of URI and suite."""
    uncommented = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", uncommented):
        fields = {
            name.lower(): value.strip()
            for name, value in re.findall(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(
                    uri, suite, tuple(fields.get("components", "").split()), _keyring(fields.get("signed-by", ""))
                )


def choose(sources: Iterable[Source]) -> Mirrors:
    """The Debian archive and security archive among `sources`.

    Third parties use Debian's suite names too, so a source signed by Debian's keyring, then one whose path ends as
    Debian's does, is preferred. Without a security source its conventional sibling is taken.
    """
    debian = [one for one in sources if "main" in one.components and _SUITE.fullmatch(one.suite.rstrip("/"))]
    plain = [one for one in debian if not one.suite.endswith(("-security", "/updates"))]
    secure = [one for one in debian if one.suite.endswith(("-security", "/updates"))]
    if not plain:
        raise ClinicError(
            "no Debian archive found in this machine's apt configuration",
            remedy="add Debian's `main` to /etc/apt/sources.list.d/debian.sources",
        )
    archive = max(plain, key=_likeness)
    security = max(secure, key=_likeness) if secure else Source(f"{archive.uri.rstrip('/')}-security", "", ())
    return Mirrors(
        archive.uri.rstrip("/"),
        security.uri.rstrip("/"),
        archive.keyring or str(KEYRING),
        security.keyring or str(KEYRING),
    )


def find(etc: Path = Path("/etc/apt")) -> Mirrors:
    """Read this machine's apt sources and choose the Debian ones."""
    sources: list[Source] = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if path.is_file() and path.suffix == ".list":
            sources += parse_list(path.read_text())
        elif path.is_file() and path.suffix == ".sources":
            sources += parse_deb822(path.read_text())
    return choose(sources)


def _keyring(value: str) -> str:
    """A keyring named by path; an embedded key or a fingerprint falls back to Debian's own keyring."""
    return value if value.startswith("/") and "," not in value and " " not in value else ""


def _likeness(source: Source) -> tuple[bool, bool]:
    path = source.uri.rstrip("/")
    return "debian-archive" in source.keyring, path.endswith(("/debian", "/debian-security"))
