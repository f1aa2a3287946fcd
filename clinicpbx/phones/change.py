"""One telephone replaced or moved: the description changed in place, secrets renewed, and what depends on it deployed.

Every step may be done again. Secrets are renewed before the description is written: whoever is interrupted between the
two repeats the command, and the new telephone gets the newest secrets.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from clinic.editing import NotEditable, with_phone
from clinic.leases import mac12
from clinic.mistakes import DescriptionError
from clinic.model import Clinic
from clinic.types import Mac
from clinicpbx.descriptions import shown
from clinicpbx.errors import ClinicError
from clinicpbx.secrets import Store


@dataclass(frozen=True)
class Edit:
    """A change of a description that was tried and not written yet."""

    path: Path
    old: str
    new: str
    clinic: Clinic

    @property
    def changes(self) -> bool:
        return self.old != self.new

    def diff(self) -> list[str]:
        name = shown(self.path)
        lines = difflib.unified_diff(self.old.splitlines(), self.new.splitlines(), name, f"{name} (new)", "", "", 0, "")
        return list(lines)

    def write(self) -> None:
        """Replace the file in one step, with its owner and mode. ClinicError when somebody changed it meanwhile."""
        path = self.path.resolve()
        if read(path) != self.old:
            raise ClinicError(f"{shown(self.path)} was changed by somebody else just now.", remedy="run it again")
        about, fresh = path.stat(), path.with_name(f".{path.name}.new")
        with fresh.open("w", encoding="utf-8", newline="") as out:
            out.write(self.new)
            out.flush()
            os.fsync(out.fileno())
        fresh.chmod(stat.S_IMODE(about.st_mode))
        if os.geteuid() == 0:
            os.chown(fresh, about.st_uid, about.st_gid)
        fresh.replace(path)


def read(path: Path) -> str:
    """The text with its own line ends."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise ClinicError(f"{path} is no UTF-8 text.", remedy="save it as UTF-8 in your editor") from None


def edit(path: Path, ext: str, changes: Mapping[str, str | int]) -> Edit:
    """The description with these values of a telephone. ClinicError with the first mistake that they would make."""
    old = read(path)
    try:
        new, clinic = with_phone(old, ext, changes, shown(path))
    except DescriptionError as error:
        mistakes = f"{len(error.mistakes)} mistake{'s' if len(error.mistakes) > 1 else ''}"
        raise ClinicError(
            f"{shown(path)} is left as it is: {mistakes}; the first: {error.mistakes[0]}",
            remedy="mend that, or choose another value",
        ) from None
    except NotEditable as error:
        found = error.finding
        raise ClinicError(
            f"{shown(path)} is left as it is: {found.value}: {found.rule}.", remedy=found.remedy
        ) from None
    return Edit(path, old, new, clinic)


def address(text: str) -> str:
    """A MAC address in any usual spelling, as the description has it. ClinicError for what is none."""
    try:
        return TypeAdapter(Mac).validate_python(text.strip())
    except ValidationError as error:
        raise ClinicError(
            f"{text!r} is no telephone's MAC address: {error.errors()[0]['msg'].removeprefix('Value error, ')}.",
            remedy="it is on the telephone's underside, as C0:74:AD:00:00:01",
        ) from None


def renew(folder: Path, before: Clinic, after: Clinic, ext: str) -> list[str]:
    """New secrets for the person's new telephone: the old one, wherever it went, opens nothing with what it knows."""
    wanted = [f"sip/{ext}", f"provisioning/{ext}", f"first-access/{mac12(after.by_ext[ext].phone.mac)}"]
    store = Store(folder)
    store.ensure(before)
    store.renew(after, wanted)
    return wanted
