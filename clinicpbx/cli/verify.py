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
    borrow: Annotated[
        bool,
        typer.Option(
            "--borrow", help="Treat a lab as a real clinic: stand in for its telephones, touch nothing outside the PBX"
        ),
    ] = False,
    despite_calls: Annotated[
        bool, typer.Option("--despite-calls", help="At a clinic: borrow the telephones although somebody uses them")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="Print the checks and run none")] = False,
) -> None:
    """Prove a deployed clinic with real calls. Exit 0 GO, 1 NO-GO, 2 wrong use; the report is in reports/.

    At a real clinic this machine needs an address in the voice network: its softphones stand in for every telephone
    for about two minutes, and calls go out by one provider and come in by another. Nobody else is called, and no
    provider or emergency service is disturbed; checks that would need that are left out.

    Example: clinicpbx verify case --at clinic
    """
    from clinicpbx.verify import runner, table  # here: pytest and testinfra are slow to import

    errors = Console(stderr=True, highlight=False, emoji=False)
    try:
        if listed:
            for check in runner.catalogue(clinic, at).values():
                typer.echo(f"{check.id:32} {check.title}  [{check.proves}]")
            return
        chosen = tuple(name.strip() for name in only.split(",") if name.strip())
        outcome = runner.verify(
            clinic, at, only=chosen, console=errors, keep_going=keep_going, borrow=borrow,
            despite_calls=despite_calls,
        )  # fmt: skip
    except runner.WrongUse as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    except ClinicError as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(outcome.verification.as_json(), ensure_ascii=False, indent=1))
    else:
        Console(highlight=False, emoji=False).print(table.summary(outcome.verification, outcome.folder))
    raise typer.Exit(outcome.exit_code)
