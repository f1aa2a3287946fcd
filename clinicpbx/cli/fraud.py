"""`clinicpbx fraud`: what calls cost today, what is closed, and opening it again."""

from __future__ import annotations

import datetime as dt
import io
import json
import shlex
from contextlib import closing
from typing import Annotated, Any

import paramiko
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clinicpbx import descriptions, fraud
from clinicpbx.connection import stream
from clinicpbx.errors import ClinicError
from clinicpbx.login import login

ASTERISK = "sudo -n asterisk -C /var/lib/clinicpbx/generations/current/asterisk.conf -rx"

app = typer.Typer(
    no_args_is_help=True, add_completion=False,
    help="Calls that cost money: today's purses, what is closed, and opening it again.",
    epilog="Examples:  clinicpbx fraud status case  |  fraud reopen case 3111  |  fraud reopen case clinic trunk-north",
)  # fmt: skip

ClinicName = Annotated[
    str, typer.Argument(metavar="CLINIC", help="A clinic of inventory/, or the path of a clinic.yml")
]
At = Annotated[str, typer.Option("--at", help="lab (default), lab1 ... or clinic")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command(epilog="Example:  clinicpbx fraud status case --json")
def status(clinic: ClinicName, at: At = "", as_json: Json = False) -> None:
    """What was spent today, by person, trunk and clinic, and what is closed. Exit 1 while something is closed."""
    described = descriptions.read_or_explain(clinic)
    with closing(login(clinic, at)) as client:
        report = fraud.status(described, _known(client), dt.datetime.now(dt.UTC))
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _show(report, clinic)
    raise typer.Exit(1 if report["closed"] or report["locked"] else 0)


@app.command(epilog="Example:  clinicpbx fraud reopen case 3111")
def reopen(
    clinic: ClinicName,
    scopes: Annotated[list[str], typer.Argument(help="Extensions, trunk-NAME, clinic, or all", metavar="SCOPE...")],
    at: At = "",
    as_json: Json = False,
) -> None:
    """Open what a cap or a wrong PIN closed; the scope's day begins anew. Ask first why it was closed."""
    with closing(login(clinic, at)) as client:
        gone = fraud.to_delete(_known(client), scopes)
        for key in gone:
            family, _, last = f"toll/{key}".rpartition("/")
            _asterisk(client, f"database del {family} {last}")
        left = [key for key in gone if key in _known(client)]
    if left:
        raise ClinicError(f"The PBX kept {', '.join(left)}.", remedy="run it again; is Asterisk running?")
    if as_json:
        typer.echo(json.dumps({"reopened": gone}))
        return
    typer.echo(f"{', '.join(scopes)}: open, {len(gone)} counters and locks removed")


def _known(client: paramiko.SSHClient) -> dict[str, str]:
    return fraud.keys(_asterisk(client, "database show toll"))


def _asterisk(client: paramiko.SSHClient, command: str) -> str:
    status, answer = stream(client, f"{ASTERISK} {shlex.quote(command)}", io.BytesIO())
    if status:
        raise ClinicError(f"Asterisk does not answer: {answer.strip()}", remedy="is it running? see the journal")
    return answer


def _show(report: dict[str, Any], clinic: str) -> None:
    console = Console(highlight=False, emoji=False)
    table = Table("scope", "who", "money", "of", "minutes abroad", "of", "", header_style="bold", title=report["day"])
    for purse in report["purses"]:
        said = [f"[red]{what} closed {when[11:16]}[/]" for what, when in purse["closed"].items()]
        said += [f"[yellow]too many at once {purse['full'][11:16]}[/]"] if purse["full"] else []
        table.add_row(
            purse["scope"], escape(purse["who"]), f"{purse['money']:.2f}", _cap(purse["money_cap"]),
            f"{purse['minutes']:.0f}", _cap(purse["minutes_cap"]), ", ".join(said),
        )  # fmt: skip
    console.print(table)
    for ext, when in report["locked"].items():
        console.print(f"[red]PIN of {ext} is locked since {when}[/]")
    if report["closed"] or report["locked"]:
        console.print(f"Open again: clinicpbx fraud reopen {escape(clinic)} SCOPE")


def _cap(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
