"""Asterisk for Debian 13, from Debian's own source package, in a Debian 13 chroot. About five minutes, once."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from clinicpbx.bundle import cache, pool
from clinicpbx.bundle.apt import RELEASE, Apt, newest
from clinicpbx.bundle.cache import Progress
from clinicpbx.bundle.groups import Rebuild
from clinicpbx.bundle.lock import Pinned, SourcePin
from clinicpbx.errors import ClinicError

SCRIPT = Path(__file__).with_name("rebuild.sh")


def latest(recipe: Rebuild, apt: Apt) -> SourcePin:
    """The newest source of the recipe's series on the mirror, pinned by its .dsc."""
    found = {
        version: checksum
        for version, checksum in apt.source_versions(recipe.source).items()
        if version.startswith(recipe.series)
    }
    if not found:
        raise ClinicError(
            f"the mirror has no source of {recipe.source} {recipe.series}x in {', '.join(recipe.suites)}",
            remedy="set `rebuild.suites` in packages.yml to suites that have one",
        )
    version = newest(found)
    return SourcePin(recipe.source, version, found[version])


def available(source: SourcePin, apt: Apt) -> bool:
    """Whether the mirror still has exactly this source."""
    return apt.source_versions(source.name).get(source.version) == source.sha256


def place(source: SourcePin, recipe: Rebuild) -> Path:
    """Where the packages of this source, built by this recipe, lie or will lie."""
    return cache.root() / "built" / cache.digest(source.line(), SCRIPT.read_bytes(), recipe.suffix)


def ensure(source: SourcePin, recipe: Rebuild, apt: Apt, sources_list: str, progress: Progress) -> list[Pinned]:
    """The rebuilt packages, from the cache or built now; their files are in the pool.

    `sources_list` is the text of Debian 13's sources for the build chroot. Raises ClinicError when a source file is
    not the pinned one or the build fails (the whole log is named).
    """
    target = place(source, recipe)
    if not target.exists():
        with cache.lock("rebuild", progress):
            if not target.exists():
                _build(source, recipe, apt, sources_list, target, progress)
    return packages(target, recipe)


def packages(built: Path, recipe: Rebuild) -> list[Pinned]:
    """The kept packages of one finished build, pinned; a file that was lost from the pool is put back."""
    found = []
    for line in (built / "packages").read_text().splitlines():
        name, version, checksum = line.split()
        if name not in recipe.packages:
            continue
        file = pool.place(checksum)
        if not file.exists():
            pool.check(built / f"{name}.deb", name, checksum)
            file.parent.mkdir(parents=True, exist_ok=True)
            os.link(built / f"{name}.deb", file)
        found.append(Pinned(name, version, checksum, "rebuilt"))
    return found


def _build(source: SourcePin, recipe: Rebuild, apt: Apt, sources_list: str, target: Path, progress: Progress) -> None:
    started = time.monotonic()
    log = cache.root() / "rebuild.log"
    log.write_text("")
    files = _source_files(source, apt, progress)
    work = target.parent / f"chroot-{target.name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    chroot = work / "root"
    if not (work / "prepared").exists():  # an interrupted run may have left the chroot, its slowest download
        if work.exists():
            cache.remove_tree(work)
        work.mkdir()
        progress(f"making the Debian 13 build chroot for {source.name} {source.version}")
        _chroot(chroot, files, recipe, source, sources_list, log)
        (work / "prepared").touch()
    progress(f"compiling {source.name} (about 4 minutes on 2 cores; log: {log})")
    _compile(chroot, log)
    with cache.atomic(target) as room:
        lines = []
        for deb in sorted((chroot / "build/debs").glob("*.deb")):
            form = "${Package} ${Version}"
            name, version = cache.run(
                ["dpkg-deb", "--show", f"--showformat={form}", deb], what="reading a package"
            ).split()
            if name in recipe.packages:
                shutil.move(deb, room / f"{name}.deb")
                lines.append(f"{name} {version} {cache.sha256(room / f'{name}.deb')}\n")
        built = {line.split()[0] for line in lines}
        if absent := sorted(set(recipe.packages) - built):
            raise ClinicError(f"the build made no {', '.join(absent)}", remedy=f"read {log}")
        (room / "packages").write_text("".join(lines))
    cache.remove_tree(work)
    progress(f"{source.name} built in {(time.monotonic() - started) / 60:.1f} minutes")


def _source_files(source: SourcePin, apt: Apt, progress: Progress) -> list[Path]:
    """The .dsc, which must be the pinned one, and the files it pins in turn."""
    folder = cache.root() / "sources" / source.sha256
    folder.mkdir(parents=True, exist_ok=True)
    if (dsc := next(folder.glob("*.dsc"), None)) is None or not (folder / "complete").exists():
        progress(f"downloading the source of {source.name} {source.version}")
        listed = apt.source_files(source.name, source.version)
        apt.download([(uri, folder / name) for uri, name, _ in listed])
        dsc = folder / listed[0][1]
        (folder / "complete").touch()
    try:
        pool.check(dsc, dsc.name, source.sha256)
        files = [dsc]
        for name, checksum in dsc_files(dsc.read_text()):
            pool.check(folder / name, name, checksum)
            files.append(folder / name)
    except (ClinicError, FileNotFoundError):
        (folder / "complete").unlink(missing_ok=True)
        raise
    return files


def dsc_files(text: str) -> list[tuple[str, str]]:
    """(file name, SHA-256) of each file a .dsc names in its Checksums-Sha256."""
    files = []
    inside = False
    for line in text.splitlines():
        if not line.startswith(" "):
            inside = line.startswith("Checksums-Sha256:")
        elif inside:
            checksum, _size, name = line.split()
            if "/" in name or not name:
                raise ClinicError(f"a .dsc names the file {name!r}", remedy="do not use this source")
            files.append((name, checksum))
    return files


def _chroot(chroot: Path, files: list[Path], recipe: Rebuild, source: SourcePin, sources_list: str, log: Path) -> None:
    copy = " ".join(f"'{path}'" for path in [*files, SCRIPT])
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=buildd", "--skip=output/mknod"),
        f'--customize-hook=mkdir "$1/build" && cp {copy} "$1/build/"',
        f'--customize-hook=chroot "$1" /build/rebuild.sh prepare {source.name} {recipe.suffix}',
        *(RELEASE, str(chroot), "-"),
    ]
    cache.run(command, what="making the build chroot", log=log, stdin=sources_list)


def _compile(chroot: Path, log: Path) -> None:
    """Build as an ordinary user, without any network, in namespaces that end with the build."""
    script = (
        'mount -t proc proc "$1/proc" && mount -t tmpfs -o mode=1777 tmpfs "$1/tmp" && '
        'exec chroot --userspec=builder:builder "$1" env HOME=/build JOBS="$2" /build/rebuild.sh compile'
    )
    words = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "sh", "-c", script, "sh"]
    cache.run([*words, chroot, str(os.cpu_count() or 2)], what="building Asterisk", log=log, timeout=3600)
