"""From names to pins: what the groups need from the mirror now, or the nearest to a lock whose files have left it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clinicpbx.bundle import cache, pool, repository
from clinicpbx.bundle.apt import RELEASE, Apt, Available
from clinicpbx.bundle.groups import Groups
from clinicpbx.bundle.lock import Lock, Pinned, SourcePin
from clinicpbx.bundle.mirrors import Mirrors
from clinicpbx.errors import ClinicError


def source_apt(mirrors: Mirrors, groups: Groups) -> Apt:
    """An apt that sees only the source suites, which may be past their expiry: the pinned hash is what protects."""
    lines = mirrors.sources_list(RELEASE, source_suites=groups.rebuild.suites)
    text = "".join(line for line in lines.splitlines(keepends=True) if line.startswith("deb-src"))
    return Apt(cache.root() / "apt-source", text, expiry=True)


def release_apt(mirrors: Mirrors) -> Apt:
    """An apt that sees Debian 13, its updates and its security archive."""
    return Apt(cache.root() / "apt", mirrors.sources_list(RELEASE))


def resolve(
    mirrors: Mirrors, groups: Groups, source: SourcePin, rebuilt: list[Pinned], keep: tuple[Pinned, ...] = ()
) -> Lock:
    """Resolve every set of the groups; `keep` are pins to stay at where the mirror still has them."""
    with cache.atomic(cache.root() / "apt-resolve") as home:
        local = home / "rebuilt"
        local.mkdir()
        repository.write(local, rebuilt)
        text = f"deb [signed-by={local / repository.KEY_NAME}] file:{local} ./\n"
        apt = Apt(home, mirrors.sources_list(RELEASE) + text)
        apt.refresh()
        index = apt.index()
        stay = [pin for pin in keep if pin not in pool.gone(keep, index)]
        apt.prefer((pin.name, pin.version) for pin in stay)
        try:
            chosen = {pair for packages in groups.sets() for pair in apt.resolve(packages)}
        except ClinicError:
            if not stay:
                raise
            apt.prefer(())  # old and new pins exclude each other: take everything as it is now
            chosen = {pair for packages in groups.sets() for pair in apt.resolve(packages)}
    ours = {pin.name for pin in rebuilt}
    pins = [_pin(name, version, index) for name, version in sorted(chosen) if name not in ours]
    names = [pin.name for pin in pins]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ClinicError(f"two versions wanted of {', '.join(twice)}", remedy="adjust the groups in packages.yml")
    return Lock(source, tuple(pins))


def _pin(name: str, version: str, index: Mapping[str, list[Available]]) -> Pinned:
    for one in index[name]:
        if one.version == version:
            return Pinned(name, version, one.sha256, one.origin)
    raise ClinicError(f"{name} {version} is in no index", remedy="run again: the mirror changed meanwhile")


def installed_sets(repository_path: Path, groups: Groups) -> list[set[str]]:
    """The names that each set of the groups installs, in their order, from the finished repository only."""
    key = repository_path / repository.KEY_NAME
    with cache.atomic(cache.root() / "apt-check") as home:
        apt = Apt(home, f"deb [signed-by={key}] file:{repository_path} ./\n")
        apt.refresh()
        try:
            return [{name for name, _ in apt.resolve(packages)} for packages in groups.sets()]
        except ClinicError as error:
            message = f"bundle.lock does not hold all that packages.yml asks for: {error.message}"
            raise ClinicError(
                message, remedy="`clinicpbx bundle update`, then review the diff of bundle.lock"
            ) from None
