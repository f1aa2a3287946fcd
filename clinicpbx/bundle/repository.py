"""A flat apt repository of given files, signed by this machine's own bundle key, with a stamp of its content."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from clinicpbx.bundle import cache, pool
from clinicpbx.bundle.lock import Pinned
from clinicpbx.errors import ClinicError

KEY_NAME = "clinicpbx-bundle.gpg"
_HASHES = ("MD5", "SHA1", "SHA256", "SHA512")
_WHO = "clinic-pbx bundle <bundle@clinicpbx.invalid>"


def write(target: Path, packages: Iterable[Pinned]) -> None:
    """Fill `target` with the packages (hard links into the pool), Packages, Release, InRelease and the public key.

    apt reads it as `deb [signed-by=<target>/clinicpbx-bundle.gpg] file:<target> ./`.
    """
    folder = target / "pool"
    folder.mkdir()
    for package in packages:
        pool.check(pool.place(package.sha256), f"{package.name} {package.version}", package.sha256)
        os.link(pool.place(package.sha256), folder / package.filename)
    hashes = [f"-oAPT::FTPArchive::{kind}={'true' if kind == 'SHA256' else 'false'}" for kind in _HASHES]
    words: list[str | Path] = ["sh", "-c", 'cd "$1" && shift && exec apt-ftparchive "$@"', "sh", target]
    index = cache.run([*words, *hashes, "packages", "pool"], what="indexing the bundle")
    (target / "Packages").write_text(index)
    (target / "Packages.gz").write_bytes(gzip.compress(index.encode(), mtime=0))
    labels = [f"-oAPT::FTPArchive::Release::{key}=clinicpbx" for key in ("Origin", "Label", "Suite", "Codename")]
    release = cache.run([*words, *hashes, *labels, "release", "."], what="indexing the bundle")
    (target / "Release").write_text(release)
    sign(target)


def sign(target: Path) -> None:
    """Sign Release as InRelease and put the public key beside it."""
    home = signing_key()
    gpg: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--yes", "--quiet", "--no-tty"]
    try:
        cache.run(
            [*gpg, "--clearsign", "--output", target / "InRelease", target / "Release"], what="signing the bundle"
        )
        cache.run([*gpg, "--output", target / KEY_NAME, "--export"], what="exporting the bundle's key")
    finally:
        _stop_agent(home)


def signing_key() -> Path:
    """The GnuPG home of this control machine's bundle key, made on first use; its secret never leaves it."""
    home = cache.root() / "key"
    if not (home / "complete").exists():
        with cache.lock("key"):
            if not (home / "complete").exists():
                home.mkdir(mode=0o700, exist_ok=True)
                words: list[str | Path] = [
                    "gpg",
                    "--homedir",
                    home,
                    "--batch",
                    "--quiet",
                    "--no-tty",
                    "--passphrase",
                    "",
                ]
                try:
                    cache.run([*words, "--quick-generate-key", _WHO, "ed25519", "sign", "never"], what="making a key")
                finally:
                    _stop_agent(home)
                (home / "complete").touch()
    return home


def _stop_agent(home: Path) -> None:
    """gpg leaves an agent behind; nothing of ours outlives the command."""
    cache.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], what="ending gpg-agent")


def stamp(target: Path, names: Sequence[str]) -> None:
    """Record the hash, size and time of each file under `names` (folders or files), for `check`."""
    files = sorted(path for name in names for path in _walk(target / name))
    entries = {str(path.relative_to(target)): [*_quick(path), cache.sha256(path)] for path in files}
    (target / "stamp.json").write_text(json.dumps(entries, indent=0))


def check(target: Path, *, thorough: bool = False) -> None:
    """Refuse, by name, a file that is missing or no longer what was stamped.

    Files whose size and time are those of the stamp are taken as they are (a few ms for all), unless `thorough`.
    """
    changed = False
    entries: dict[str, list[str | int]] = json.loads((target / "stamp.json").read_text())
    for name, entry in entries.items():
        path = target / name
        size, mtime, expected = entry
        try:
            same = _quick(path) == [size, mtime]
        except FileNotFoundError:
            raise ClinicError(
                f"{path} is missing", remedy=f"rm -r {target}, then `clinicpbx bundle build` makes it again"
            ) from None
        if thorough or not same:
            again = (
                f"rm -r {target} {pool.place(str(expected))}; then `clinicpbx bundle build` fetches and makes it again"
            )
            pool.check(path, path.name, str(expected), again)
            entries[name] = [*_quick(path), expected]
            changed = changed or not same
    if changed:  # touched, not altered
        (target / "stamp.json").write_text(json.dumps(entries, indent=0))


def _quick(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _walk(path: Path) -> list[Path]:
    return [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
