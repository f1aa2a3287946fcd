"""`clinicpbx generations`: the configurations that the PBX keeps, and the way back to one of them."""

from __future__ import annotations

import datetime as dt
import io
import json
import shlex
import tarfile
from contextlib import closing
from typing import Annotated, Any

import paramiko
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clinicpbx.connection import stream
from clinicpbx.errors import ClinicError
from clinicpbx.generation import NAMED_ONLY, RESTART_REMEDY, differing, refusal, unmoved
from clinicpbx.generation import diff as text_diff
from clinicpbx.login import login

HOME = "/var/lib/clinicpbx/generations"
PROGRAM = "sudo -n /usr/local/sbin/clinic-generation"
SHORT = 12

app = typer.Typer(
    no_args_is_help=True, add_completion=False,
    help="The configurations that the PBX keeps: list, compare, and go back to one.",
    epilog="Examples:  clinicpbx generations list case  |  generations diff previous live case  |  "
    "generations switch 3f9a0c case",
)  # fmt: skip

ClinicName = Annotated[
    str, typer.Argument(metavar="CLINIC", help="A clinic of inventory/, or the path of a clinic.yml")
]
At = Annotated[str, typer.Option("--at", help="lab (default), lab1 ... or clinic")]
Digest = Annotated[str, typer.Argument(help="The first characters of a digest, `live` or `previous`")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command("list")
def list_(clinic: ClinicName, at: At = "", as_json: Json = False) -> None:
    """Generations on the PBX, newest first, and which one is live."""
    with closing(login(clinic, at)) as client:
        found = _ask(client, "list")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("digest", "came", "files", "", header_style="bold")
    for row in found["generations"]:
        live = "[green]live[/]" if row["digest"] == found["current"] else ""
        came = dt.datetime.fromtimestamp(row["made"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(row["digest"][:SHORT], came, str(row["files"]), live)
    Console(highlight=False, emoji=False).print(table)


@app.command()
def diff(one: Digest, other: Digest, clinic: ClinicName, at: At = "") -> None:
    """What changes from one generation to the other, passwords hidden. Exit 1 when they differ, as diff does."""
    with closing(login(clinic, at)) as client:
        known = _ask(client, "list")
        old, new = resolve(one, known), resolve(other, known)
        changed = differing(_ask(client, f"files {old}"), _ask(client, f"files {new}"))
        before, after = (_read(client, digest, changed) for digest in (old, new))
    console = Console(highlight=False, emoji=False)
    texts = {path: data.decode() for path, data in before.items() if not path.endswith(NAMED_ONLY)}
    for line in text_diff(texts, after, changed):
        named = line.replace("--- live/", f"--- {old[:SHORT]}/", 1).replace("+++ new/", f"+++ {new[:SHORT]}/", 1)
        style = "green" if line.startswith("+") else "red" if line.startswith("-") else ""
        console.print(named, style=style, markup=False, soft_wrap=True)
    console.print(f"{len(changed)} files differ" if changed else "no difference")
    raise typer.Exit(1 if changed else 0)


@app.command()
def switch(digest: Digest, clinic: ClinicName, at: At = "") -> None:
    """Make a kept generation live again: one rename and a reload; calls go on."""
    with closing(login(clinic, at)) as client:
        wanted = resolve(digest, _ask(client, "list"))
        answer = _ask(client, f"switch {wanted}")
    before = (answer["before"] or "none")[:SHORT]
    changed = f"live, {before} before" if answer["changed"] else "live already"
    back = f"clinicpbx generations switch {escape(before)} {escape(clinic)}"
    Console(highlight=False, emoji=False).print(f"[green]{wanted[:SHORT]}[/] is {changed}. Back: {back}")
    if needed := answer.get("restart_needed"):
        raise ClinicError("\n  ".join(["Asterisk listens elsewhere:", *unmoved(needed), RESTART_REMEDY]))


def resolve(text: str, known: dict[str, Any]) -> str:
    """A digest from `live`, `previous` (the newest that is not live) or its first characters. Pure."""
    digests = [str(row["digest"]) for row in known["generations"]]
    if text in ("live", "previous"):
        found = [d for d in digests if (d == known["current"]) is (text == "live")][:1]
    else:
        found = [d for d in digests if d.startswith(text.lower())] if text.isalnum() else []
    if len(found) != 1:
        what = "several generations begin" if found else "no generation begins"
        raise ClinicError(f"On the PBX {what} with {text!r}.", remedy="clinicpbx generations list CLINIC")
    return found[0]


def _ask(client: paramiko.SSHClient, verb: str) -> Any:
    status, answer = stream(client, f"{PROGRAM} {verb}", io.BytesIO())
    if status:
        raise ClinicError("\n  ".join(["The PBX refuses; the live generation is as it was:", *refusal(answer)]))
    return json.loads(answer)


def _read(client: paramiko.SSHClient, digest: str, paths: list[str]) -> dict[str, bytes]:
    """Contents of those of the files that the generation has, in one stream."""
    if not paths:
        return {}
    names = " ".join(shlex.quote(path) for path in paths)
    command = f"sudo -n tar -C {HOME}/{digest} --ignore-failed-read -cf - -- {names} 2>/dev/null"
    _, out, _ = client.exec_command(command, timeout=30)
    with tarfile.open(fileobj=io.BytesIO(out.read())) as archive:
        return {m.name: f.read() for m in archive if m.isfile() and (f := archive.extractfile(m))}
