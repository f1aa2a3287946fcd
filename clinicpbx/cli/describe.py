"""Commands about the description alone; none of them contacts anything."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clinic.mistakes import DescriptionError, Mistake
from clinic.schema import text as schema_text
from clinic.views import VIEWS, Row
from clinicpbx import descriptions, provisioning
from clinicpbx.errors import ClinicError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The clinic's description.")

ClinicName = Annotated[str, typer.Argument(help="A clinic of inventory/, or the path of a clinic.yml")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


# Columns that are useless when cut.
NARROW = {"number", "ext", "mac", "port", "switch", "socket", "address", "keys", "pages"}


class What(StrEnum):
    PEOPLE = "people"
    GROUPS = "groups"
    FLOW = "flow"
    PORTS = "ports"
    PHONES = "phones"
    ALL = "all"


@app.command()
def check(clinic: ClinicName, as_json: Json = False) -> None:
    """Report every mistake in the description: file, line, value, rule, remedy. Exit 1 when there is one."""
    console = Console(highlight=False, emoji=False)
    try:
        built = descriptions.read(clinic)
    except DescriptionError as error:
        if as_json:
            _print_json({"ok": False, "mistakes": [m.as_dict() for m in error.mistakes]})
        else:
            for mistake in error.mistakes:
                _print_mistake(console, mistake)
            count = len(error.mistakes)
            console.print(f"[bold red]{count} mistake{'s' if count > 1 else ''}.[/] Nothing was contacted.")
        raise typer.Exit(1) from None
    if built.provisioning.firmware:
        provisioning.firmware(built, descriptions.find(clinic).parent)
    if as_json:
        _print_json({"ok": True, "mistakes": []})
    else:
        numbers = f"{len(built.people)} people, {len(built.trunks)} trunks, {len(built.dids)} public numbers"
        console.print(f"[green]No mistakes.[/] {escape(built.name)}: {numbers}.")


@app.command()
def show(
    clinic: ClinicName,
    what: Annotated[What, typer.Option(help="Which table")] = What.ALL,
    as_json: Json = False,
) -> None:
    """Print the clinic as tables: people, groups, call flow, switch ports."""
    built = descriptions.read_or_explain(clinic)
    names = list(VIEWS) if what is What.ALL else [what.value]
    tables = {name: VIEWS[name](built) for name in names}
    if as_json:
        _print_json(tables)
        return
    console = Console(highlight=False, emoji=False)
    for name, rows in tables.items():
        console.print(_table(f"{built.name}: {name}", rows))


@app.command()
def new(
    clinic: Annotated[str, typer.Argument(help="Short name of the clinic: its folder in inventory/")],
    title: Annotated[str, typer.Option("--title", help="What the staff call the clinic")] = "",
) -> None:
    """Write a small commented clinic to start from, into inventory/ of the working directory. Never overwrites one."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", clinic):
        raise ClinicError(f"{clinic!r} is no short name: a-z, 0-9 and hyphens.", remedy="clinicpbx new polyclinic-2")
    path = descriptions.INVENTORY / clinic / descriptions.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(descriptions.starter(clinic, title))
    except FileExistsError:
        raise ClinicError(f"{path} exists already and is left as it is.", remedy="Choose another name") from None
    _keep_schema(descriptions.INVENTORY / "clinic.schema.json")
    Console(highlight=False, emoji=False).print(f"Wrote {path}. Edit it, then: clinicpbx check {clinic}")


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file")] = None,
) -> None:
    """Print the description's JSON Schema, which editors use to complete keys and mark errors."""
    if output is None:
        typer.echo(schema_text(), nl=False)
    else:
        output.write_text(schema_text(), encoding="utf-8")


def _keep_schema(path: Path) -> None:
    """Put the schema beside the clinics, where their first line points an editor to."""
    if not path.exists():
        path.write_text(schema_text(), encoding="utf-8")


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _print_mistake(console: Console, mistake: Mistake) -> None:
    where = f"{mistake.file}:{mistake.line}"
    console.print(f"[bold]{escape(where)}[/]  {escape(mistake.path)}", soft_wrap=True)
    if mistake.value:
        console.print(f"  value   {escape(mistake.value)}", soft_wrap=True)
    console.print(f"  rule    {escape(mistake.rule)}", soft_wrap=True)
    console.print(f"  remedy  {escape(mistake.remedy)}\n", soft_wrap=True)


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for column in rows[0] if rows else ():
        table.add_column(column, no_wrap=column in NARROW)
    for row in rows:
        table.add_row(*(escape(value) for value in row.values()))
    return table
