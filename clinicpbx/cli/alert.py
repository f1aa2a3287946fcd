"""`clinicpbx alert`: whether alerts reach the people they are for."""

from __future__ import annotations

import io
import json
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clinicpbx.connection import stream
from clinicpbx.errors import ClinicError
from clinicpbx.login import login

PROGRAM = "sudo -n /usr/local/sbin/clinic-guard"

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Alerts: whether they arrive.",
    epilog="Example:  clinicpbx alert test case",
)  # fmt: skip

ClinicName = Annotated[
    str, typer.Argument(metavar="CLINIC", help="A clinic of inventory/, or the path of a clinic.yml")
]
At = Annotated[str, typer.Option("--at", help="lab (default), lab1 ... or clinic")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.callback()
def _group() -> None:
    """Alerts: whether they arrive."""


@app.command(epilog="Example:  clinicpbx alert test case --at clinic")
def test(clinic: ClinicName, at: At = "", as_json: Json = False) -> None:
    """Send a test alert to every target through the PBX's own guard. Exit 1 when one of them did not take it."""
    with closing(login(clinic, at)) as client:
        status, answer = stream(client, f"{PROGRAM} test", io.BytesIO())
    try:
        found = json.loads(answer)
    except ValueError:
        raise ClinicError(
            "The guard does not answer.", remedy="on the PBX: systemctl status clinic-guard; or deploy again"
        ) from None
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
        raise typer.Exit(status)
    console = Console(highlight=False, emoji=False)
    if not found["targets"]:
        console.print("The description names no target under `alerts`.")
        raise typer.Exit(0)
    table = Table("target", "answer", "waiting", header_style="bold")
    for name, said in found["targets"].items():
        style = "green" if said == "accepted" else "red"
        table.add_row(escape(name), f"[{style}]{escape(said)}[/]", str(found["waiting"].get(name, 0)))
    console.print(table)
    raise typer.Exit(status)
