"""Commands about the bundle: make it, renew its lock, hash it again, list it, make its disk image."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from clinicpbx import bundle as bundles
from clinicpbx import disk_image
from clinicpbx.bundle import Bundle

app = typer.Typer(add_completion=False, help="The signed package repository everything is installed from.")

LOCK = Path(__file__).resolve().parents[2] / "bundle.lock"

UPLOAD = """\
`clinicpbx deploy CLINIC --at clinic` uploads it when it makes the machine. By hand, STORE being the description's
hypervisor.image_storage, whose content types must include Import (Datacenter > Storage):
  1. scp {path} root@HYPERVISOR:/var/tmp/
  2. ssh root@HYPERVISOR 'cd /var/tmp && echo "{checksum}  {name}" | sha256sum -c &&
     mkdir -p $(dirname $(pvesm path STORE:import/{name})) && mv {name} $(pvesm path STORE:import/{name})'
  3. ssh root@HYPERVISOR pvesm list STORE --content import
or in the web interface: node > STORE > Import > Upload, with SHA-256 as the hash algorithm."""

LockPath = Annotated[Path, typer.Option("--lock", help="The lock file")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Nearest = Annotated[
    bool, typer.Option("--nearest", help="For a rehearsal: replace what left the mirror, with a warning")
]


@app.callback(invoke_without_command=True)
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        build()


@app.command()
def build(lock: LockPath = LOCK, nearest: Nearest = False, as_json: Json = False) -> None:
    """Make the bundle of the lock, or find it in the cache. The default."""
    _report(_ensure(lock, nearest, verify=False), as_json)


@app.command()
def verify(lock: LockPath = LOCK, nearest: Nearest = False, as_json: Json = False) -> None:
    """Hash every file of the bundle again; a changed one is refused by name."""
    _report(_ensure(lock, nearest, verify=True), as_json)


@app.command()
def update(lock: LockPath = LOCK, as_json: Json = False) -> None:
    """Resolve everything anew from the mirror and rewrite the lock; review the diff it prints, then commit it."""
    difference = bundles.update(lock, progress=_say)
    if as_json:
        print(json.dumps({"changed": bool(difference), "diff": difference}))
    elif difference:
        Console(highlight=False, soft_wrap=True, emoji=False).print(difference, end="", markup=False)
    else:
        _say("nothing newer: bundle.lock stays as it is")


@app.command()
def image(lock: LockPath = LOCK, as_json: Json = False) -> None:
    """Make the bootable disk image for a real hypervisor, or find it in the cache; say how it gets there."""
    bundle = _ensure(lock, False, verify=False)
    path = disk_image.ensure(bundle, _say)
    size, checksum = path.stat().st_size, disk_image.checksum(path)
    if as_json:
        print(json.dumps({"path": str(path), "size": size, "sha256": checksum}))
        return
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(f"{path}\n{size} bytes ({size / 1e6:.0f} MB), SHA-256 {checksum}\n", markup=False)
    console.print(UPLOAD.format(path=path, name=path.name, checksum=checksum), markup=False)


@app.command()
def show(lock: LockPath = LOCK, nearest: Nearest = False, as_json: Json = False) -> None:
    """List the packages of the bundle, and which of them the PBX adds to its image."""
    bundle = _ensure(lock, nearest, verify=False)
    beyond = set(bundle.pbx)
    if as_json:
        _report(bundle, as_json)
        return
    table = Table("package", "version", "origin", "on the PBX")
    for package in bundle.packages:
        table.add_row(
            package.name, package.version, package.origin or "main", "yes" if package.name in beyond else "",
        )  # fmt: skip
    Console(highlight=False, emoji=False).print(table)
    made = disk_image.place(bundle)
    state = f"{made}, SHA-256 {disk_image.checksum(made)}" if made.exists() else "not made: clinicpbx bundle image"
    Console(highlight=False, soft_wrap=True, emoji=False).print(
        f"disk image for a real hypervisor: {state}", markup=False
    )


def _ensure(lock: Path, nearest: bool, *, verify: bool) -> Bundle:
    started = time.monotonic()
    bundle = bundles.ensure(lock, production=not nearest, progress=_say, verify=verify)
    what = "every file hashed again" if verify else "ready"
    _say(f"bundle {bundle.digest}: {len(bundle.packages)} packages, {what} in {time.monotonic() - started:.1f} s")
    return bundle


def _report(bundle: Bundle, as_json: bool) -> None:
    if as_json:
        packages = [{"name": p.name, "version": p.version, "sha256": p.sha256, "origin": p.origin or "main"}
                    for p in bundle.packages]  # fmt: skip
        made = disk_image.place(bundle)
        facts = {"digest": bundle.digest, "path": str(bundle.path), "key": str(bundle.key), "pbx": bundle.pbx,
                 "disk": [p.name for p in bundle.disk], "disk_image": str(made) if made.exists() else None,
                 "warnings": bundle.warnings, "packages": packages}  # fmt: skip
        print(json.dumps(facts, indent=1))
    else:
        Console(highlight=False, soft_wrap=True, emoji=False).print(str(bundle.path), markup=False)


def _say(line: str) -> None:
    style = "bold yellow" if line.startswith("WARNING") else "dim"
    Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(line, style=style, markup=False)
