"""The bundle: made from the lock, cached by content. The order of `ensure` is the order things happen in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from clinicpbx.bundle import cache, groups, lock, mirrors, pool, rebuild, repository, resolve
from clinicpbx.bundle.apt import RELEASE
from clinicpbx.bundle.cache import Progress, quiet
from clinicpbx.bundle.lock import Lock, Pinned
from clinicpbx.errors import ClinicError

RECIPE = "2"  # raise when the layout of the finished bundle changes
UPDATE = "clinicpbx bundle update"


@dataclass(frozen=True)
class Bundle:
    """A finished bundle.

    path      a signed flat repository of every package (image, PBX, tools): `deb [signed-by=KEY] file:PATH ./`
    digest    16 hex digits of its content, `disk` apart
    key       the public key that signs it
    packages  every package in it, pinned, `disk` apart
    pbx       the names the PBX needs beyond the image; they are also a signed repository of their own, `pbx_path`
    disk      what a bootable disk needs beyond the image, only: a signed repository of its own, `disk_path`, so that
              another kernel leaves the lab's roots as they are
    warnings  pins that had left the mirror and were replaced by the nearest (never in production)
    """

    path: Path
    digest: str
    key: Path
    packages: tuple[Pinned, ...]
    pbx: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    disk: tuple[Pinned, ...] = ()

    @property
    def pbx_path(self) -> Path:
        """The repository to send to the PBX: what it needs beyond its image, nothing else."""
        return self.path / "pbx"

    @property
    def disk_path(self) -> Path:
        """The repository of what a disk needs to boot by itself: kernel, boot loader."""
        return self.path / "disk"


def ensure(lock_path: Path, *, production: bool, progress: Progress = quiet, verify: bool = False) -> Bundle:
    """The bundle of this lock, from the cache (some milliseconds) or made now.

    A pin that left the mirror stops a production bundle; elsewhere the nearest is taken, with a warning.
    `verify` hashes every file again. Raises ClinicError naming the package or file that is at fault.
    """
    pinned = lock.read(lock_path)
    wanted = groups.load()
    exact = _place(pinned, wanted)
    nearest = exact.with_name(f"{exact.name}-nearest")
    for place in (exact,) if production else (exact, nearest):
        if place.exists():
            return _opened(place, progress, verify)
    with cache.lock("bundle", progress):
        for place in (exact,) if production else (exact, nearest):
            if place.exists():
                return _opened(place, progress, verify)
        return _opened(_make(pinned, wanted, exact, nearest, production, progress), progress, False)


def update(lock_path: Path, *, progress: Progress = quiet) -> str:
    """Resolve everything anew, rewrite the lock, and give its diff for review (empty when nothing changed)."""
    wanted = groups.load()
    found = mirrors.find()
    with cache.lock("bundle", progress):
        progress("reading the Debian mirror's indexes")
        apt = resolve.source_apt(found, wanted)
        apt.refresh()
        source = rebuild.latest(wanted.rebuild, apt)
        rebuilt = _rebuilt(source, wanted, found, progress)
        progress("resolving the packages and their dependencies")
        new = resolve.resolve(found, wanted, source, rebuilt).text()
    old = lock_path.read_text() if lock_path.exists() else ""
    if new != old:
        lock_path.write_text(new)
    return lock.diff(old, new, lock_path.name)


def pbx_files(bundle: Bundle) -> list[Path]:
    """The .deb files the PBX needs beyond its image."""
    wanted = set(bundle.pbx)
    return [bundle.pbx_path / "pool" / package.filename for package in bundle.packages if package.name in wanted]


def _place(pinned: Lock, wanted: groups.Groups) -> Path:
    return cache.root() / "bundles" / cache.digest(RECIPE, pinned.text(), wanted.text, rebuild.SCRIPT.read_bytes())


def _opened(place: Path, progress: Progress, verify: bool) -> Bundle:
    repository.check(place, thorough=verify)
    facts = json.loads((place / "bundle.json").read_text())
    for warning in facts["warnings"]:
        progress(f"WARNING: not the pinned one: {warning}")
    packages, disk = (tuple(Pinned(*entry) for entry in facts[name]) for name in ("packages", "disk"))
    key = place / repository.KEY_NAME
    return Bundle(place, facts["digest"], key, packages, tuple(facts["pbx"]), tuple(facts["warnings"]), disk)


def _make(
    pinned: Lock, wanted: groups.Groups, exact: Path, nearest: Path, production: bool, progress: Progress
) -> Path:
    found = mirrors.find()
    used = pinned
    if not rebuild.place(pinned.source, wanted.rebuild).exists():
        apt = resolve.source_apt(found, wanted)
        apt.refresh()
        if not rebuild.available(pinned.source, apt):
            if production:
                raise _left([f"source {pinned.source.name} {pinned.source.version}"])
            used = Lock(rebuild.latest(wanted.rebuild, apt), pinned.packages)
    rebuilt = _rebuilt(used.source, wanted, found, progress)
    absent = pool.missing(used.packages)
    if absent or used is not pinned:
        progress("reading the Debian mirror's indexes")
        release = resolve.release_apt(found)
        release.refresh()
        index = release.index()
        lost = pool.gone(absent, index)
        if lost and production:
            raise _left([f"{one.name} {one.version}" for one in lost])
        if lost or used is not pinned:
            progress(f"{len(lost)} pinned packages have left the mirror: resolving the nearest ones")
            used = resolve.resolve(found, wanted, used.source, rebuilt, used.packages)
        pool.fetch(pool.missing(used.packages), release, index, progress)
    warnings = lock.changes(pinned, used)
    target = nearest if warnings else exact
    _write(target, used, rebuilt, wanted, warnings, progress)
    return target


def _rebuilt(source: lock.SourcePin, wanted: groups.Groups, found: mirrors.Mirrors, progress: Progress) -> list[Pinned]:
    apt = resolve.source_apt(found, wanted)
    return rebuild.ensure(source, wanted.rebuild, apt, found.sources_list(RELEASE), progress)


def _write(
    target: Path,
    used: Lock,
    rebuilt: list[Pinned],
    wanted: groups.Groups,
    warnings: tuple[str, ...],
    progress: Progress,
) -> None:
    everything = tuple(sorted((*used.packages, *rebuilt)))
    progress(f"checking, indexing and signing {len(everything)} packages")
    with cache.atomic(target) as room:
        (room / "all").mkdir()
        repository.write(room / "all", everything)
        image, together, tools, disk = resolve.installed_sets(room / "all", wanted)
        cache.remove_tree(room / "all")
        booting = disk - image - together - tools
        packages = [package for package in everything if package.name not in booting]
        boot = [package for package in everything if package.name in booting]
        beyond = sorted(together - image)
        repository.write(room, packages)
        for name, part in (("pbx", [package for package in packages if package.name in set(beyond)]), ("disk", boot)):
            (room / name).mkdir()
            repository.write(room / name, part)
        facts = {
            "digest": cache.digest(*(package.line() for package in packages)),
            "pbx": beyond,
            "warnings": warnings,
            "packages": [[one.name, one.version, one.sha256, one.origin] for one in packages],
            "disk": [[one.name, one.version, one.sha256, one.origin] for one in boot],
        }
        (room / "bundle.json").write_text(json.dumps(facts, indent=0))
        (room / "bundle.lock").write_text(used.text())
        names = ["pool", "Packages", "Packages.gz", "Release", "InRelease", repository.KEY_NAME, "bundle.json"]
        repository.stamp(room, [*names, "pbx", "disk"])


def _left(lost: list[str]) -> ClinicError:
    shown = ", ".join(lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")
    return ClinicError(
        f"the Debian mirror no longer has what bundle.lock pins: {shown}",
        remedy=f"`{UPDATE}`, then review the diff of bundle.lock and commit it",
    )
