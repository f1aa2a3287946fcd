"""Finding and reading a clinic's description on the control machine."""

from __future__ import annotations

import json
from pathlib import Path

from clinic.loading import load
from clinic.mistakes import DescriptionError
from clinic.model import Clinic
from clinicpbx.errors import ClinicError

INVENTORY = Path("inventory")
FILE = "clinic.yml"
_REPOSITORY = Path(__file__).resolve().parent.parent


def find(clinic: str) -> Path:
    """`case` to inventory/case/clinic.yml (of the working directory, else of the repository); a path to itself."""
    given = Path(clinic)
    tries = [Path.cwd() / INVENTORY / clinic / FILE, _REPOSITORY / INVENTORY / clinic / FILE]
    if given.suffix in (".yml", ".yaml") or len(given.parts) > 1:
        tries = [given, given / FILE]
    for path in tries:
        if path.is_file():
            return path
    raise ClinicError(f"There is no description of a clinic at {tries[0]}.", remedy=f"clinicpbx new {given.stem}")


def read(clinic: str) -> Clinic:
    """The clinic by name or path. ClinicError when it cannot be read; DescriptionError when it has mistakes."""
    path = find(clinic)
    return load(text(path), shown(path))


def read_or_explain(clinic: str) -> Clinic:
    """As `read`, with the mistakes as one ClinicError: for commands whose business is not the description."""
    try:
        return read(clinic)
    except DescriptionError as error:
        count = len(error.mistakes)
        raise ClinicError(
            f"The description has {count} mistake{'s' if count > 1 else ''}; the first: {error.mistakes[0]}",
            remedy=f"clinicpbx check {clinic}",
        ) from None


def starter(slug: str, title: str = "") -> str:
    """clinic.yml of a small valid clinic; `slug` is its folder's name, `title` what the staff call it."""
    model = (_REPOSITORY / "files" / "description" / FILE).read_text(encoding="utf-8")
    filled = model.replace("check NAME", f"check {slug}", 1)
    return filled.replace("name: NAME", f"name: {json.dumps(title or slug, ensure_ascii=False)}", 1)


def text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ClinicError(f"{path} is no UTF-8 text.", remedy="Save it as UTF-8 in your editor") from None
    except OSError as error:
        raise ClinicError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path and its owner") from None


def shown(path: Path) -> str:
    """The path as messages print it: relative to the working directory when it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
