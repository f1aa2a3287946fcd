"""Debian 13 roots made from the bundle and nothing else: the virtual machines' base, and the lab's tools.

Both are directory trees, used read-only below an overlay, cached by the bundle's content and this recipe.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from clinicpbx.bundle import Bundle, cache, groups
from clinicpbx.bundle.cache import Progress, quiet

FILES = Path(__file__).with_name("image_files")
CUSTOMISE = Path(__file__).with_name("image_customise.sh")


def ensure(bundle: Bundle, progress: Progress = quiet) -> Path:
    """The base root of a virtual machine: boots systemd, runs cloud-init (NoCloud), takes an SSH login by key.

    It holds no host key, no password, no machine id and no package source. `content` beside it holds its digest.
    """
    return _root(bundle, "image", groups.load().image, "base", progress)


def tools(bundle: Bundle, progress: Progress = quiet) -> Path:
    """The lab's own root: the providers' Asterisk, SIP tools, speech. For chroot inside a network namespace."""
    return _root(bundle, "tools", groups.load().tools, "tools", progress)


def content(root: Path) -> str:
    """The digest of a root made here: of the packages and the recipe it was made from."""
    return root.with_name("content").read_text().strip()


def _root(bundle: Bundle, kind: str, packages: Sequence[str], shape: str, progress: Progress) -> Path:
    recipe = [CUSTOMISE.read_bytes(), *(path.read_bytes() for path in files(shape))]
    digest = cache.digest(bundle.digest, kind, " ".join(packages), *recipe)
    target = cache.root() / kind / digest
    if not target.exists():
        with cache.lock(kind, progress):
            if not target.exists():
                progress(f"making the {kind} root of {len(packages)} packages and what they need")
                _make(bundle, packages, shape, target, digest)
    return target / "root"


def _make(bundle: Bundle, packages: Sequence[str], shape: str, target: Path, digest: str) -> None:
    log = cache.root() / f"{target.parent.name}.log"
    log.write_text("")
    sources = [f"deb [signed-by={bundle.key}] copy://{bundle.path} ./"]
    with cache.atomic(target) as room:
        make_root(packages, room / "root", sources, shape, log=log)
        (room / "content").write_text(f"{digest}\n")


def make_root(packages: Sequence[str], root: Path, sources: Sequence[str], shape: str, *hooks: str, log: Path) -> None:
    """A Debian 13 root at `root` of these packages from these `deb` lines; `hooks` run last (mmdebstrap(1))."""
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--format=directory", "--skip=output/mknod"),
        f"--include={','.join(packages)}",
        # manuals and translations nobody opens on these machines: smaller, and faster to install
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-include=/usr/share/locale/ru/*",
        "--dpkgopt=path-include=/usr/share/locale/locale.alias",
        "--dpkgopt=force-unsafe-io",  # an unfinished root is thrown away, so nothing need reach the disk in order
        f'--customize-hook=sh {CUSTOMISE} {shape} "$1" {FILES}',
        *(f"--customize-hook={hook}" for hook in hooks),
        *("", str(root), *sources),
    ]
    cache.run(command, what=f"making the {log.stem} root", log=log)
    for name in ("run", "tmp"):  # what the making left in places that are empty at every boot
        shutil.rmtree(root / name)
        (root / name).mkdir()
    (root / "run").chmod(0o755)
    (root / "tmp").chmod(0o1777)


def files(shape: str) -> list[Path]:
    """The files that a shape of root gets, sorted."""
    return sorted(path for path in (FILES / shape).rglob("*") if path.is_file())
