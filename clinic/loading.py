"""`load(text, file)`: a description's text to a `Clinic`, or every mistake in it at once.

Three passes, each with the same kind of message: YAML, types (pydantic), and the rules that look across the clinic.
When entries fail the second pass, the third runs on the others, so that nobody corrects one mistake to meet the next.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from clinic.document import Document, Unreadable, read
from clinic.mistakes import DescriptionError, Finding, Mistake, Path, short, written
from clinic.model import Clinic
from clinic.public import conventions
from clinic.rules import RULES
from clinic.wording import explained

# Sections whose entries stand alone: one unreadable entry is set aside and the others are checked further.
COLLECTIONS = {
    "departments",
    "people",
    "groups",
    "switches",
    "uplinks",
    "trunks",
    "hours",
    "prompts",
    "flows",
    "engineers",
}


def load(text: str, file: str = "clinic.yml") -> Clinic:
    """The clinic described by `text`; `file` is only named in messages. DescriptionError holds all mistakes."""
    try:
        document = read(text, file)
    except Unreadable as error:
        raise DescriptionError([error.mistake]) from None
    clinic, mistakes = _typed(document)
    mistakes = [*document.mistakes, *mistakes]
    if mistakes or clinic is None:
        raise DescriptionError(mistakes)
    return clinic


def findings(clinic: Clinic) -> list[Finding]:
    """Everything the rules have to say about a clinic that was built without a file."""
    return [finding for rule in RULES for finding in rule(clinic)]


def _typed(document: Document) -> tuple[Clinic | None, list[Mistake]]:
    if not isinstance(document.data, dict):
        return None, [
            Mistake(
                document.file,
                1,
                "",
                short(document.data or ""),
                "a description is a mapping of sections",
                "Begin with `clinicpbx new NAME` and edit what it writes",
            )
        ]
    mistakes: list[Mistake] = []
    written_by = conventions(document.data)
    salvage = _Salvage(document.data)
    for _ in range(4):
        try:
            clinic = Clinic.model_validate(salvage.data, context=written_by)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=True)
            told_of = [e for e in details if not salvage.echo(e)]
            known = {(m.path, m.line) for m in mistakes}
            told = [_told(document, salvage, e) for e in told_of]
            mistakes += [m for m in told if (m.path, m.line) not in known]
            if not salvage.set_aside([e["loc"] for e in details], {e["loc"] for e in details if _extra(e)}):
                return None, mistakes
            continue
        for finding in findings(clinic):
            if finding.absent not in salvage.incomplete:
                mistakes.append(_placed(document, finding, salvage.original(finding.path)))
        return clinic, mistakes
    return None, mistakes


def _extra(error: ErrorDetails) -> bool:
    return error["type"] == "extra_forbidden"


def _told(document: Document, salvage: _Salvage, error: ErrorDetails) -> Mistake:
    path = salvage.original(tuple(p for p in error["loc"] if p != "[key]"))
    value, rule, remedy = explained(error, path)
    return Mistake(document.file, document.line(path), written(path), value, rule, remedy)


def _placed(document: Document, finding: Finding, path: Path) -> Mistake:
    return Mistake(
        document.file, document.line(path), written(path), short(finding.value), finding.rule, finding.remedy
    )


class _Salvage:
    """The readable rest of a description, and where its list entries stood in the file."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.incomplete: set[str] = set()
        self._origin: dict[Path, list[int]] = {}

    def original(self, path: Path) -> Path:
        """A path in the rest as a path in the file: list positions move when entries are set aside."""
        out: Path = ()
        for part in path:
            kept = self._origin.get(out)
            out = (*out, kept[part] if kept is not None and isinstance(part, int) else part)
        return out

    def echo(self, error: ErrorDetails) -> bool:
        """Whether something is missing only because it was set aside."""
        return error["type"] in ("missing", "too_short") and error["loc"][0] in self.incomplete

    def set_aside(self, locs: list[Path], extra: set[Path]) -> bool:
        """Remove the smallest units that hold the unreadable values; False when the rest would be no clinic."""
        units = {self._unit(loc, loc in extra) for loc in locs}
        if () in units:
            return False
        # From the back, so that earlier positions in a list stay true while later ones go.
        for unit in sorted(units, key=_order, reverse=True):
            self._remove(unit)
        return True

    def _unit(self, loc: Path, extra: bool) -> Path:
        loc = tuple(p for p in loc if p != "[key]")
        if extra:
            return loc
        if len(loc) >= 4 and loc[0] == "trunks" and loc[2] == "dids":
            return loc[:4]
        if len(loc) >= 4 and loc[:2] == ("provisioning", "keys"):
            return loc[:4]
        if len(loc) >= 2 and loc[0] in COLLECTIONS:
            return loc[:2]
        parent = self._at(loc[:-1])
        return loc if isinstance(parent, dict) and loc and loc[-1] in parent else ()

    def _at(self, path: Path) -> Any:
        node: Any = self.data
        for part in path:
            if isinstance(node, dict):
                node = node.get(part)
            elif isinstance(node, list) and isinstance(part, int) and part < len(node):
                node = node[part]
            else:
                return None
        return node

    def _remove(self, unit: Path) -> None:
        parent, last = self._at(unit[:-1]), unit[-1]
        if isinstance(parent, dict):
            parent.pop(last, None)
        elif isinstance(parent, list) and isinstance(last, int):
            where = self.original(unit[:-1])
            kept = self._origin.setdefault(where, list(range(len(parent))))
            del kept[last], parent[last]
        if isinstance(unit[0], str):
            self.incomplete.add(unit[0])


def _order(unit: Path) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, p, "") if isinstance(p, int) else (0, 0, p) for p in unit)
