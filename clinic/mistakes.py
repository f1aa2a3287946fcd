"""A mistake in the clinic's description, told so that an engineer can mend it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found at a place of the description, before its file and line are known.

    `absent` names the section that lacks something; when an entry of that section was itself unreadable, the finding
    may only be its echo and is left out.
    """

    path: Path
    value: str
    rule: str
    remedy: str
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake. `line` counts from 1; `path` is written as people[3].phone.mac."""

    file: str
    line: int
    path: str
    value: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: {self.path}: " if self.path else f"{self.file}:{self.line}: "
        return f"{where}{self.value!r}: {self.rule}. {self.remedy}."

    def as_dict(self) -> dict[str, str | int]:
        return asdict(self)


class DescriptionError(Exception):
    """The description has mistakes; `mistakes` holds all of them, in the order of the file's lines."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda m: (m.line, m.path)))
        super().__init__("\n".join(str(m) for m in self.mistakes))


def written(path: Path) -> str:
    """A path as people write it: ("people", 3, "phone", "mac") is people[3].phone.mac."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def short(value: object, limit: int = 60) -> str:
    """A value for a message: one line, cut at `limit` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
