"""The command `clinicpbx verify`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from clinicpbx.errors import ClinicError

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def verify(
    clinic: Annotated[str, typer.Argument(help="A clinic of inventory/, or the path of a clinic.yml")],
    at: Annotated[str, typer.Option("--at", help="lab, lab1, ... or clinic", envvar="CLINICPBX_AT")] = "lab",
    only: Annotated[str, typer.Option("--only", help="Ids of checks, comma-separated: a partial run, never a GO")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print verify.json")] = False,
    keep_going: Annotated[bool, typer.Option(help="Go on after a failed check")] = True,
    listed: Annotated[bool, typer.Option("--list", help="Print the checks and run none")] = False,
) -> None:
    """Prove a deployed clinic with real calls. Exit 0 GO, 1 NO-GO, 2 wrong use; the report is in reports/."""
    from clinicpbx.verify import runner, table  # here: pytest and testinfra are slow to import

    errors = Console(stderr=True, highlight=False)
    try:
        if listed:
            for check in runner.catalogue(clinic, at).values():
                typer.echo(f"{check.id:32} {check.title}  [{check.proves}]")
            return
        chosen = tuple(name.strip() for name in only.split(",") if name.strip())
        outcome = runner.verify(clinic, at, only=chosen, console=errors, keep_going=keep_going)
    except runner.WrongUse as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    except ClinicError as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(outcome.verification.as_json(), ensure_ascii=False, indent=1))
    else:
        Console(highlight=False).print(table.summary(outcome.verification, outcome.folder))
    raise typer.Exit(outcome.exit_code)
