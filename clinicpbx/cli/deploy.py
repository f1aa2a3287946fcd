"""`clinicpbx deploy`: runs deploy.py through pyinfra, with progress, a summary and an exit code."""

from __future__ import annotations

import json
import logging
import time
from typing import Annotated, Any

import typer

from clinicpbx.errors import ClinicError

app = typer.Typer(help="Deploy.")


@app.command()
def deploy(
    clinic: Annotated[str, typer.Argument(help="A clinic of inventory/, or the path of a clinic.yml")],
    at: Annotated[str, typer.Option(help="lab, lab1.. (a rehearsal, the default) or clinic")] = "",
    dry: Annotated[bool, typer.Option("--dry", help="Show the exact difference; change nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    only: Annotated[str, typer.Option(help="Phases of the summary, comma-separated: packages,asterisk")] = "",
    restart_asterisk: Annotated[
        bool, typer.Option("--restart-asterisk", help="Restart it if an address changed; refused while calls are up")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the real clinic")] = False,
) -> None:
    """Build or update the PBX. A second run changes nothing.

    Examples: clinicpbx deploy case --dry; clinicpbx deploy case; clinicpbx deploy case --at clinic
    """
    from rich.console import Console

    from clinicpbx import deployment, descriptions
    from clinicpbx.site import Site

    console = Console(highlight=False, stderr=as_json, soft_wrap=True, emoji=False)
    began = time.monotonic()
    target = Site.at(at, descriptions.find(clinic).parent)
    if not target.is_lab and not dry and not yes:
        hypervisor = descriptions.read_or_explain(clinic).hypervisor
        typer.confirm(f"Deploy {clinic} to the real hypervisor {hypervisor.api}?", abort=True)
    log = _log(target.clinic_dir.name, f"deploy {clinic} at {target.name}{' --dry' if dry else ''}")

    def say(text: str) -> None:
        console.print(text, markup=False)
        log.info(text)

    phases = [name for name in only.split(",") if name.strip()]
    try:
        result = deployment.run(clinic, target.name, dry=dry, say=say, only=phases, restart=restart_asterisk)
    except ClinicError as error:
        log.error(error)
        raise
    result["seconds"] = round(time.monotonic() - began, 2)
    log.info(f"{result['changed']} changed, {result['unchanged']} unchanged, failed: {result['failed'] or 'none'}")
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        _summary(console, result)
    if result["failed"]:
        if as_json:
            raise typer.Exit(1)
        raise ClinicError(
            f"The deploy failed at: {result['failed'][0]}",
            remedy="mend it and run the same command again; what is done stays, what is not is done then",
        )


def _log(clinic: str, title: str) -> logging.Logger:
    """reports/<clinic>/deploy.log: every run's lines, secrets already hidden."""
    from clinicpbx.inventory import ROOT

    file = ROOT / "reports" / clinic / "deploy.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("clinicpbx.deploy")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [handler]
    log.info(title)
    return log


def _summary(console: Any, result: dict[str, Any]) -> None:
    for line in result["diff"]:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        console.print(line, style=style, markup=False)
    for phase, facts in result["phases"].items():
        console.print(
            f"  {phase:<18} {facts['changed']:>3} changed  {facts['unchanged']:>3} unchanged"
            f"  {facts['seconds']:>6.2f} s" + (f"  {facts['not_done']} not done" if facts["not_done"] else "")
        )
    verb = "would change" if result["dry"] else "changed"
    console.print(
        f"{result['changed']} {verb}, {result['unchanged']} unchanged, {len(result['failed'])} failed,"
        f" {result['not_done']} not done, {result['seconds']} s ({result['site']})",
        style="bold red" if result["failed"] else "bold green",
    )
