"""Files by content: each package file lies in `pool/<sha256[:2]>/<sha256>` and is checked before it is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from clinicpbx.bundle import cache
from clinicpbx.bundle.apt import Apt, Available
from clinicpbx.bundle.cache import Progress
from clinicpbx.bundle.lock import Pinned
from clinicpbx.errors import ClinicError

_BATCH = 40
_CHANGED = "run again; if it is refused again, the mirror serves a changed file: do not use that mirror"


def place(checksum: str) -> Path:
    """Where the file with this SHA-256 lies, or will lie."""
    return cache.root() / "pool" / checksum[:2] / checksum


def check(path: Path, name: str, expected: str, remedy: str = "") -> None:
    """Refuse, by name, a file whose content is not what was pinned."""
    found = cache.sha256(path)
    if found != expected:
        raise ClinicError(
            f"{name}: the file is not the pinned one\n"
            f"    file     {path}\n    expected {expected}\n    found    {found}",
            remedy=remedy or f"rm {path}, then `clinicpbx bundle build` fetches it again",
        )


def missing(packages: Iterable[Pinned]) -> list[Pinned]:
    return [package for package in packages if not place(package.sha256).exists()]


def gone(packages: Iterable[Pinned], index: Mapping[str, list[Available]]) -> list[Pinned]:
    """The pinned files that the mirror no longer has."""
    return [
        package for package in packages if not any(one.sha256 == package.sha256 for one in index.get(package.name, ()))
    ]


def fetch(packages: list[Pinned], apt: Apt, index: Mapping[str, list[Available]], progress: Progress) -> None:
    """Download into the pool. An interrupted run keeps what was complete; a wrong file never gets its place."""
    incoming = cache.root() / "pool" / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    uris = {one.sha256: one for group in index.values() for one in group}
    total = sum(uris[package.sha256].size for package in packages) / 1e6
    for start in range(0, len(packages), _BATCH):
        batch = packages[start : start + _BATCH]
        progress(f"downloading packages {start + 1}-{start + len(batch)} of {len(packages)} ({total:.0f} MB in all)")
        for package in batch:  # what an interrupted run left of it
            (incoming / package.sha256).unlink(missing_ok=True)
        apt.download([(uris[package.sha256].uri, incoming / package.sha256) for package in batch])
        for package in batch:
            check(incoming / package.sha256, f"{package.name} {package.version}", package.sha256, _CHANGED)
            target = place(package.sha256)
            target.parent.mkdir(exist_ok=True)
            (incoming / package.sha256).rename(target)
