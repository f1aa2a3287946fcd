"""Secrets: revealed one at a time, on purpose, and entered by prompt."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from clinic import secrets as names
from clinicpbx import descriptions
from clinicpbx.errors import ClinicError
from clinicpbx.secrets import Store, identity_file

app = typer.Typer(no_args_is_help=True, help="Generated and entered secrets of a clinic.")
ClinicName = Annotated[str, typer.Argument(help="A clinic of inventory/, or the path of a clinic.yml")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command()
def ensure(clinic: ClinicName) -> None:
    """Make what is missing; what is there is never rewritten."""
    folder = descriptions.find(clinic).parent
    before = len(Store(folder).load())
    after = len(Store(folder).ensure(descriptions.read_or_explain(clinic)))
    typer.echo(f"{after - before} made, {after} in {Store(folder).file}, sealed for {identity_file()}")


@app.command("list")
def list_(clinic: ClinicName, as_json: Json = False) -> None:
    """Names only: what is there, and what is still to be entered."""
    described = descriptions.read_or_explain(clinic)
    have = Store(descriptions.find(clinic).parent).load()
    absent = [n for n in (*names.generated(described), *names.CERTIFICATES, *names.entered(described)) if n not in have]
    if as_json:
        typer.echo(json.dumps({"present": sorted(have), "missing": absent}))
        return
    for name in sorted(have):
        typer.echo(name)
    for name in absent:
        typer.echo(f"{name}  (missing)")


@app.command()
def show(
    words: Annotated[list[str], typer.Argument(metavar="[CLINIC] NAME", help="An extension, or a name from `list`")],
) -> None:
    """Reveal one secret. Without CLINIC it is the case's, or that of CLINICPBX_CLINIC.

    Example: clinicpbx secrets show 2001; clinicpbx secrets show family 2001
    """
    if len(words) > 2:
        raise typer.BadParameter("one clinic and one name at most")
    clinic = words[0] if len(words) == 2 else os.environ.get("CLINICPBX_CLINIC", "case")
    have = Store(descriptions.find(clinic).parent).load()
    wanted = names.explain(words[-1])
    if wanted not in have:
        raise ClinicError(f"There is no secret `{wanted}`.", remedy=f"clinicpbx secrets list {clinic}")
    typer.echo(have[wanted])


@app.command(epilog="Example:  clinicpbx secrets renew case 3111 pin/4002")
def renew(
    clinic: ClinicName,
    wanted: Annotated[list[str], typer.Argument(metavar="NAME...", help="Extensions, or names from `list`")],
) -> None:
    """Replace generated secrets that others may know; the next deploy takes the new ones to the PBX."""
    described = descriptions.read_or_explain(clinic)
    given = [names.explain(name) for name in wanted]
    for name in given:
        if name not in names.generated(described) or not name.startswith(names.RENEWED):
            raise ClinicError(
                f"`{name}` is not renewed so.",
                remedy="an extension, sip/EXT, pin/EXT, provisioning/EXT, first-access/MAC; others: `secrets enter`",
            )
    Store(descriptions.find(clinic).parent).renew(described, given)
    typer.echo(f"{', '.join(given)}: new. Next: clinicpbx deploy {clinic}; a telephone fetches its new password then")


@app.command()
def ca(clinic: ClinicName) -> None:
    """Print the certificate of the clinic's authority, for telephones to trust. Its key stays sealed.

    Example: clinicpbx secrets ca case > clinic-ca.pem
    """
    from clinicpbx import certificates

    have = Store(descriptions.find(clinic).parent).existing()
    if names.TLS_CA not in have:
        raise ClinicError("This clinic has no authority yet.", remedy=f"clinicpbx secrets ensure {clinic}")
    typer.echo(names.certificate_of(have[names.TLS_CA]), nl=False)
    typer.echo(f"SHA-256 {certificates.fingerprint(have[names.TLS_CA])}", err=True)


@app.command()
def enter(clinic: ClinicName, name: Annotated[str, typer.Argument(help="trunk/<name> or hypervisor/token")]) -> None:
    """Enter a secret that only you know; it is asked for and not shown."""
    described = descriptions.read_or_explain(clinic)
    if name not in names.entered(described):
        known = ", ".join(names.entered(described))
        raise ClinicError(f"`{name}` is not entered by hand.", remedy=f"one of: {known}")
    value = typer.prompt(name, hide_input=True, confirmation_prompt=True).strip()
    if not value or any(c in value for c in "\r\n;"):
        raise ClinicError("A secret is one line without `;`.", remedy="ask the provider for another password")
    Store(descriptions.find(clinic).parent).put(name, value)
    typer.echo(f"{name} is stored")
