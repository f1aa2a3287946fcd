"""`clinicpbx phones`: the fleet of telephones, from the first night to the broken one on a Tuesday."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from clinic.leases import mac12
from clinicpbx import descriptions
from clinicpbx.cli import phones_view as view
from clinicpbx.errors import ClinicError

app = typer.Typer(
    no_args_is_help=True, add_completion=False,
    help="Telephones: configure, look, replace, move, print.",
    epilog="Examples:  clinicpbx phones push case  |  phones status case --dept children  |  "
    "phones replace case 3111 C0:74:AD:00:00:01  |  phones moved case 3111 2-214-1 sw-2 14",
)  # fmt: skip


def _extensions(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    return [(p.ext, p.name) for p in _described(ctx).people if p.ext.startswith(incomplete)]


def _departments(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    return [(slug, d.name) for slug, d in _described(ctx).departments.items() if slug.startswith(incomplete)]


def _switches(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    return [(name, s.location) for name, s in _described(ctx).switches.items() if name.startswith(incomplete)]


def _described(ctx: typer.Context) -> Any:
    return descriptions.read_or_explain(str(ctx.params.get("clinic") or "case"))


ClinicName = Annotated[
    str, typer.Argument(metavar="CLINIC", help="A clinic of inventory/, or the path of a clinic.yml")
]
Ext = Annotated[str, typer.Argument(metavar="EXT", help="The person's extension", autocompletion=_extensions)]
Depts = Annotated[
    list[str] | None, typer.Option("--dept", help="Only this department; may be repeated", autocompletion=_departments)
]
Exts = Annotated[
    list[str] | None, typer.Option("--ext", help="Only this extension; may be repeated", autocompletion=_extensions)
]
At = Annotated[str, typer.Option("--at", help="lab (default), lab1 ... or clinic")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Dry = Annotated[bool, typer.Option("--dry", help="Show what would change; change nothing")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write this .html or .pdf instead of both")]


@app.command(
    epilog="Examples:  phones push case  |  phones push case --dept children --dry  |  phones push case --ext 3111  |  "
    "phones push case --at clinic --changed"
)
def push(
    clinic: ClinicName,
    dept: Depts = None,
    ext: Exts = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only those whose files this push changes; leave old laggards in peace")
    ] = False,
    calls: Annotated[int, typer.Option("--calls", help="Wait so many seconds for a telephone in a call", min=0)] = 300,
    at: At = "",
    dry: Dry = False,
    as_json: Json = False,
) -> None:
    """Bring telephones to the description.

    Uploads what changed, tells those that are behind, and confirms each.

    In waves that leave no department in silence, and never a telephone in a call. Only a telephone that fetched its
    files, applied them and is registered counts. May be interrupted and run again: it goes on with the rest. Exit 1
    when one did not, with its person, room, socket, switch and port.
    """
    from clinicpbx.phones import run

    console = view.console(as_json)
    described = descriptions.read_or_explain(clinic)
    with view.Progress(console) as tell:
        report = run.push(
            clinic, at, described, tuple(dept or ()), tuple(ext or ()), changed=changed, dry=dry, calls=calls, tell=tell
        )
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        view.pushed(console, report)
    raise typer.Exit(1 if report["failed"] else 0)


@app.command(
    epilog="Examples:  phones status case  |  phones status case --off  |  phones status case --ext 3111 --json"
)
def status(
    clinic: ClinicName,
    dept: Depts = None,
    ext: Exts = None,
    off: Annotated[bool, typer.Option("--off", help="Only those that are not registered")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Only those whose configuration is not current")] = False,
    at: At = "",
    as_json: Json = False,
) -> None:
    """What every telephone is doing.

    Registered, address, round-trip, firmware, configuration, last seen, socket, switch and port.

    Exit 1 when one of those shown is off or not current.
    """
    from clinicpbx.login import login
    from clinicpbx.phones import state
    from clinicpbx.phones.pbx import Fleet

    described = descriptions.read_or_explain(clinic)
    people = state.chosen(described, dept or (), ext or ())
    with closing(login(clinic, at)) as client:
        found = Fleet(client).look(guard=True)
    rows = state.rows(described, found, people, time.time())
    rows = [r for r in rows if not (off and r["registered"]) and not (stale and r["configuration"] == "current")]
    behind = [r for r in rows if not r["registered"] or r["configuration"] != "current"]
    if as_json:
        strangers = [] if dept or ext else list(found.strangers)
        typer.echo(json.dumps({"phones": rows, "strangers": strangers}, ensure_ascii=False, indent=2))
    else:
        view.status(view.console(), described, rows, () if dept or ext else found.strangers)
    raise typer.Exit(1 if behind else 0)


@app.command(epilog="Examples:  phones replace case 3111 C0:74:AD:00:00:01  |  ... --model GRP2602  |  ... --dry")
def replace(
    clinic: ClinicName,
    ext: Ext,
    mac: Annotated[str, typer.Argument(metavar="NEWMAC", help="The new telephone's MAC address, in any spelling")],
    model: Annotated[str, typer.Option("--model", help="Its model, when it is another than the old one's")] = "",
    at: At = "",
    dry: Dry = False,
    as_json: Json = False,
) -> None:
    """Put a new telephone in a broken one's place.

    Description, secrets, first door and deploy in one step; then plug it in.

    Only the MAC address of that person changes in clinic.yml; the old telephone's passwords stop working.
    """
    from clinicpbx.phones import change

    changes = {"mac": change.address(mac)} | ({"model": model} if model else {})
    _changed(clinic, at, ext, changes, dry, as_json, "replaced")


@app.command(epilog="Example:  phones moved case 3111 2-214-1 sw-2 14")
def moved(
    clinic: ClinicName,
    ext: Ext,
    socket: Annotated[str, typer.Argument(metavar="SOCKET", help="The wall socket it is at now")],
    switch: Annotated[
        str, typer.Argument(metavar="SWITCH", help="The switch of that socket", autocompletion=_switches)
    ],
    port: Annotated[int, typer.Argument(metavar="PORT", help="The port of that switch", min=1)],
    at: At = "",
    dry: Dry = False,
    as_json: Json = False,
) -> None:
    """A telephone is at another socket now.

    The description is changed in place, and alerts and reports know.
    """
    _changed(clinic, at, ext, {"socket": socket, "switch": switch, "port": port}, dry, as_json, "deployed")


def _changed(
    clinic: str, at: str, ext: str, changes: dict[str, Any], dry: bool, as_json: bool, deploy: str
) -> None:  # fmt: skip
    """Show the change of the description and, unless `dry`, carry it out by this function of clinicpbx.phones.run."""
    from clinicpbx.phones import change

    console = view.console(as_json)
    edit = change.edit(descriptions.find(clinic), ext, changes)
    if not as_json:
        view.diff(console, edit.diff() or [f"{descriptions.shown(edit.path)} has this already"])
    report: dict[str, Any] = {"ext": ext, "dry": dry, "changes": changes, "diff": edit.diff()}
    if not dry:
        from clinicpbx.phones import run

        report |= getattr(run, deploy)(clinic, at, edit, ext, lambda text: console.print(text, markup=False))
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    for line in report.get("next", ()) if not as_json else ():
        console.print(line, markup=False)


@app.command("open", epilog="Examples:  phones open case 3111  |  phones open case 3111 15")
def open_(
    clinic: ClinicName,
    ext: Ext,
    minutes: Annotated[
        int, typer.Argument(metavar="[MINUTES]", help="How long; 0 closes it now", min=0, max=10080)
    ] = 60,
    at: At = "",
    as_json: Json = False,
) -> None:
    """Let a telephone in that was reset.

    Opens its first door again: after a reset to the factory's settings it knows no password.
    """
    from clinicpbx.login import login
    from clinicpbx.phones import state
    from clinicpbx.phones.pbx import Fleet

    described = descriptions.read_or_explain(clinic)
    person, *_ = state.chosen(described, (), (ext,))
    with closing(login(clinic, at)) as client:
        about = Fleet(client).door(mac12(person.phone.mac), minutes or None)
    if as_json:
        typer.echo(json.dumps({**state.place(described, person), **about}, ensure_ascii=False, indent=2))
    elif minutes:
        typer.echo(
            f"{ext} {person.name}: its first door is open for {minutes} min, until the telephone has used it."
            f" Switch it off and on: socket {person.phone.socket}, {person.phone.switch} port {person.phone.port}"
        )
    else:
        typer.echo(f"{ext} {person.name}: its first door is closed")


@app.command("dhcp-notes", epilog="Example:  phones dhcp-notes case --at clinic")
def dhcp_notes(clinic: ClinicName, at: At = "", as_json: Json = False) -> None:
    """What the clinic's own DHCP server is told.

    For a description with `provisioning: {dhcp: false}`.

    The options hold each telephone's first-access token: they go to files that only you can read, not to the screen.
    """
    from clinicpbx.phones import dhcp
    from clinicpbx.secrets import Store
    from clinicpbx.site import Site

    described = descriptions.read_or_explain(clinic)
    folder = descriptions.find(clinic).parent
    secrets = Site.at(at, folder).secrets(Store(folder).existing())
    found = dhcp.notes(described, secrets)
    files = dhcp.write(found, view.reports(folder.name))
    if as_json:
        typer.echo(json.dumps({**dhcp.public(found), "files": [str(f) for f in files]}, ensure_ascii=False, indent=2))
        return
    view.dhcp(view.console(), described.provisioning.dhcp, found, files)


@app.command(epilog="Examples:  phones labels case  |  phones labels case --dept children -o children.pdf")
def labels(
    clinic: ClinicName, dept: Depts = None, ext: Exts = None, output: Output = None, as_json: Json = False
) -> None:
    """Labels to print, 24 a page.

    70 x 37 mm each: extension, person, room, socket, switch and port, model and MAC address. HTML and PDF.
    """
    from clinic.sheets import labels as made
    from clinicpbx.phones import paper, state

    described = descriptions.read_or_explain(clinic)
    found = made(described, state.chosen(described, dept or (), ext or ()))
    _printed(
        paper.labels(described, found), paper.labels_pdf(described, found), clinic, "phone-labels", output, as_json
    )


@app.command("map", epilog="Example:  phones map case")
def map_(clinic: ClinicName, output: Output = None, as_json: Json = False) -> None:
    """Every switch's ports, to print.

    Which socket, whose telephone: for the door of the cabinet. HTML and PDF.
    """
    from clinic.sheets import panels
    from clinicpbx.phones import paper

    described = descriptions.read_or_explain(clinic)
    found = panels(described)
    _printed(
        paper.port_map(described, found), paper.port_map_pdf(described, found), clinic, "port-map", output, as_json
    )


def _printed(html: str, pdf: bytes, clinic: str, name: str, output: Path | None, as_json: bool) -> None:
    folder = view.reports(descriptions.find(clinic).parent.name)
    targets = [output] if output else [folder / f"{name}.html", folder / f"{name}.pdf"]
    for target in targets:
        if target.suffix not in (".html", ".pdf"):
            raise ClinicError(f"{target} is neither .html nor .pdf.", remedy=f"-o {name}.pdf")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(pdf if target.suffix == ".pdf" else html.encode())
    if as_json:
        typer.echo(json.dumps({"files": [str(t) for t in targets]}, ensure_ascii=False))
    else:
        for target in targets:
            typer.echo(f"wrote {target}")


@app.command(epilog="Example:  phones firmware case")
def firmware(clinic: ClinicName, as_json: Json = False) -> None:
    """Firmware by model, and its files.

    Exit 1 when a file beside the description is missing, or is not the one whose hash it names.
    """
    from clinicpbx.phones.firmware import listed

    described = descriptions.read_or_explain(clinic)
    rows = listed(described, descriptions.find(clinic).parent)
    if as_json:
        typer.echo(json.dumps({"firmware": rows}, ensure_ascii=False, indent=2))
    else:
        view.firmware(view.console(), rows)
    raise typer.Exit(1 if any(r["state"] in ("missing", "other") for r in rows) else 0)
