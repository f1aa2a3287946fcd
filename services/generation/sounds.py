"""The sound files that a configuration plays: each that is named literally must be there, or callers hear nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from .core import Problem, Step
from .targets import calls, options, split

# Which argument holds the files, several of them joined by an ampersand.
_PLAYS = {
    "playback": 0, "background": 0, "backgrounddetect": 0, "controlplayback": 0, "read": 1, "readexten": 1,
    "authenticate": 3, "queue": 3,
}  # fmt: skip
_SETTINGS = re.compile(
    r"^\s*(?P<key>announce|periodic-announce|queue-\w+|sound-\w+|courtesytone|xfersound|xferfailsound|pickupsound"
    r"|pickupfailsound)\s*=>?\s*(?P<value>[^;\s]*)"
)
_POSITION = re.compile(r"^\s*announce-position\s*=\s*(?:yes|limit|more)\b")
_POSITION_PLAYS = ("queue-youarenext", "queue-thereare", "queue-callswaiting", "queue-thankyou")


def missing(steps: Iterable[Step], settings: Mapping[str, str], exists: Callable[[str], bool]) -> list[Problem]:
    """Steps, and lines of the settings' files, that name a file for which `exists(name)` is false."""
    named = [(s.file, s.line, s.text, name) for s in steps for name in played(s)]
    for file, text in settings.items():
        named += [(file, number, line, name) for number, line, name in _set(text)]
    known: dict[str, bool] = {}
    for *_, name in named:
        if name not in known:
            known[name] = exists(name)
    return [Problem(file, line, text, f"no such sound: {name}") for file, line, text, name in named if not known[name]]


def played(step: Step) -> Iterator[str]:
    """Names, without extension, that the step plays whatever its variables hold."""
    for name, text in calls(step):
        given, app = split(text, ","), name.lower()
        files = given[_PLAYS[app]].split("&") if app in _PLAYS and len(given) > _PLAYS[app] else []
        if app == "dial" and len(given) > 2:
            files += [part for letter, value in options(given[2]) if letter == "A" for part in value.split(":")]
        yield from (f.strip() for f in files if f.strip() and "$" not in f and "://" not in f)


def places(name: str, language: str) -> list[str]:
    """Where Asterisk looks, in its order: under the language and its parents, then under none.

    A relative name is looked for as `<language>/name`, an absolute one as `/path/<language>/name`.
    """
    tongues = [language, language.partition("_")[0]] if "_" in language else [language]
    folder, slash, base = name.rpartition("/")
    if name.startswith("/"):
        return [f"{folder}/{tongue}/{base}" for tongue in tongues] + [name]
    return [f"{tongue}/{folder}{slash}{base}" for tongue in tongues] + [name]


def _set(text: str) -> Iterator[tuple[int, str, str]]:
    own = {m["key"] for line in text.splitlines() if (m := _SETTINGS.match(line))}
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _SETTINGS.match(line):
            yield from ((number, line.strip(), name) for name in found["value"].split(",") if name)
        elif _POSITION.match(line):
            yield from ((number, line.strip(), name) for name in _POSITION_PLAYS if name not in own)
