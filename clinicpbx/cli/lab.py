"""`clinicpbx lab`: the rehearsal on this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clinicpbx import descriptions
from clinicpbx.errors import ClinicError

app = typer.Typer(
    no_args_is_help=True, add_completion=False,
    help="The rehearsal: a twin of the clinic on this machine, with phones, providers and faults.",
    epilog="Examples:  clinicpbx lab up case  |  lab status  |  lab call 2001 3101  |  "
    "lab call pstn:+79161234567 +74951230001  |  lab fault provider-503 north",
)  # fmt: skip


def _number() -> int:
    """The lab that CLINICPBX_AT names, else 0."""
    found = re.fullmatch(r"lab(\d{1,2})", os.environ.get("CLINICPBX_AT", ""))
    return int(found[1]) if found else 0


Lab = Annotated[int, typer.Option("--lab", help="Number of the lab; several can run side by side", min=0, max=99)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
N = _number()


@app.command(epilog="Example:  clinicpbx lab up case --lab 1")
def up(
    clinic: Annotated[str, typer.Argument(help="A clinic of inventory/, or the path of a clinic.yml")] = "case",
    lab: Lab = N,
) -> None:
    """Bring it up: networks, hypervisor, providers, phones. May be repeated; what runs is left alone."""
    from clinicpbx import bundle as bundles
    from clinicpbx import image, inventory
    from clinicpbx.secrets import Store
    from clinicpbx.site import Site
    from lab import lab as labs

    console, began = Console(highlight=False, emoji=False), time.monotonic()
    journal = os.environ.get("CLINICPBX_API_JOURNAL")  # every exchange with the hypervisor, secrets masked
    built = descriptions.read_or_explain(clinic)
    path = descriptions.find(clinic)
    with console.status("the description and its secrets") as line:

        def progress(text: str) -> None:
            line.update(escape(text))
            if not console.is_terminal:
                console.print(f"  {text}", markup=False)

        secrets = Site.at(f"lab{lab or ''}", path.parent).secrets(Store(path.parent).ensure(built))
        bundle = bundles.ensure(inventory.ROOT / "bundle.lock", production=False, progress=progress)
        base, tools = image.ensure(bundle, progress), image.tools(bundle, progress)
        progress("networks, hypervisor, providers, phones")
        labs.up(
            built, lab, image=base, image_name=inventory.image_name(bundle), tools=tools, secrets=secrets,
            clinic_path=path.resolve(), journal=Path(journal) if journal else None,
        )  # fmt: skip
    for warning in bundle.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")
    _print_status(console, labs.status(lab), lab)
    following = escape(deploy_command(clinic, lab))
    took = time.monotonic() - began
    console.print(f"[green]Lab {lab} is up[/] after {took:.1f} s. Next: {following}", soft_wrap=True)


def deploy_command(clinic: str, lab: int) -> str:
    """What is typed next: the clinic as it was named, and the site unless it is the one that is meant anyway."""
    site = f"lab{lab or ''}"
    at = "" if (os.environ.get("CLINICPBX_AT") or "lab") == site else f" --at {site}"
    return f"clinicpbx deploy {shlex.quote(clinic)}{at}"


@app.command()
def down(lab: Lab = N) -> None:
    """Take it down: machines, processes, networks, disks. Nothing up is no error."""
    from lab import lab as labs

    began = time.monotonic()
    labs.down(lab)
    Console(highlight=False, emoji=False).print(f"Lab {lab} is down after {time.monotonic() - began:.1f} s.")


@app.command()
def status(lab: Lab = N, as_json: Json = False) -> None:
    """What stands and which faults are on. Exit 1 when the lab is down."""
    from lab import faults
    from lab import lab as labs

    found = labs.status(lab)
    if as_json:
        active = [vars(fault) for fault in faults.active(lab)] if found["up"] else []
        typer.echo(json.dumps(found | {"lab": lab, "faults": active}, ensure_ascii=False, indent=2))
    else:
        _print_status(Console(highlight=False, emoji=False), found, lab)
    raise typer.Exit(0 if found["up"] else 1)


@app.command(
    epilog="Examples:  lab call 2001 3101  |  lab call 2001 89161234567  |  "
    "lab call pstn:+79161234567 +74951230001  |  numbers ending in 0009911 are busy, 0009912 ring"
)
def call(
    caller: Annotated[str, typer.Argument(metavar="FROM", help="An extension, or pstn:NUMBER for an outside caller")],
    called: Annotated[str, typer.Argument(metavar="TO", help="An extension, group, code or number; from pstn, a DID")],
    seconds: Annotated[float, typer.Option(help="How long to talk", min=0, max=3600)] = 5,
    answer: Annotated[bool, typer.Option("--answer/--ring", help="The first phone that rings answers")] = True,
    wait: Annotated[float, typer.Option(help="How long to let it ring, seconds", min=1, max=600)] = 60,
    lab: Lab = N,
    as_json: Json = False,
) -> None:
    """Place a real call and print what both sides saw and heard. Exit 0 when each heard the other (or, with --ring,
    when a phone rang)."""
    from lab import calls

    console = Console(highlight=False, emoji=False)

    def say(at: float, side: str, what: str) -> None:
        if not as_json:
            console.print(f"{at:7.2f} s  [bold]{escape(side):<18}[/] {escape(what)}")

    found = calls.place(lab, _clinic(lab), caller, called, seconds=seconds, answer=answer, wait=wait, say=say)
    good = bool(found.rang) if not answer else bool(found.answered_by) and (found.both_ways or not seconds)
    if as_json:
        typer.echo(json.dumps(vars(found) | {"ok": good}, ensure_ascii=False, indent=2))
    else:
        verdict = "[green]heard each other[/]" if found.both_ways else "[green]rang[/]" if good else "[red]no[/]"
        console.print(f"{escape(caller)} -> {escape(called)}: {verdict}")
    raise typer.Exit(0 if good else 1)


@app.command(epilog="Examples:  lab fault provider-503 north  |  lab fault provider-503 north off  |  lab fault clear")
def fault(
    name: Annotated[str, typer.Argument(help="A fault of `lab faults`; `clear` mends everything")],
    target: Annotated[str, typer.Argument(help="Provider, uplink or extension; none for pbx faults")] = "",
    switch: Annotated[str, typer.Argument(metavar="[on|off]")] = "on",
    value: Annotated[str, typer.Option(help="Channels of provider-full, percent of uplink-loss")] = "",
    lab: Lab = N,
) -> None:
    """Break something, or mend it."""
    from lab import faults

    console = Console(highlight=False, emoji=False)
    if target in ("on", "off"):
        target, switch = "", target
    if switch not in ("on", "off"):
        raise ClinicError(f"A fault is on or off, not {switch!r}.", remedy="clinicpbx lab fault --help")
    if name == "clear":
        was = faults.clear_all(lab)
        console.print(
            f"Mended: {', '.join(f'{item.name} {item.target}'.strip() for item in was) or 'nothing was broken'}"
        )
    elif switch == "on":
        put = faults.apply(lab, name, target, value)
        console.print(f"[red]on[/]   {put.name} {put.target} {put.value}: {faults.KNOWN[name].meaning}")
    else:
        faults.clear(lab, name, target)
        console.print(f"[green]off[/]  {name} {target}")


@app.command()
def faults(lab: Lab = N, as_json: Json = False) -> None:
    """What can be broken, and what is."""
    from lab import faults as known
    from lab import state

    now = state.load(lab) if state.exists(lab) else {"routers": {}}
    active = known.active(lab) if state.exists(lab) else []
    rows: list[dict[str, Any]] = [
        {
            "fault": name, "meaning": entry.meaning,
            "targets": known.targets(now, entry.kind) or (["EXT"] if entry.kind == "phone" else []),
            "on": [f"{item.target} {item.value}".strip() or "yes" for item in active if item.name == name],
        }
        for name, entry in known.KNOWN.items()
    ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    table = Table("fault", "target", "on", "what an engineer sees", header_style="bold")
    for row in rows:
        table.add_row(
            row["fault"], ", ".join(row["targets"]), f"[red]{', '.join(row['on'])}[/]" if row["on"] else "",
            row["meaning"],
        )  # fmt: skip
    Console(highlight=False, emoji=False).print(table)


@app.command(
    epilog="Examples:  lab phones  |  lab phones --off 2001 2002  |  lab phones --on  |  lab phones --reset 2001  |  "
    "lab phones --swap 2001 c0:74:ad:00:00:01"
)
def phones(
    exts: Annotated[list[str] | None, typer.Argument(metavar="[EXT]...", help="Some extensions; all without")] = None,
    register: Annotated[bool, typer.Option("--register", help="Register them now")] = False,
    on: Annotated[bool, typer.Option("--on", help="Plug them in")] = False,
    off: Annotated[bool, typer.Option("--off", help="Cut their power")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Back to the factory's settings, one telephone")] = False,
    swap: Annotated[bool, typer.Option("--swap", help="EXT MAC: a new device on that desk")] = False,
    everyone: Annotated[bool, typer.Option("--all", help="List the registered ones too")] = False,
    lab: Lab = N,
    as_json: Json = False,
) -> None:
    """The telephones as devices: their state, address and account. Exit 1 when one that is on is not registered."""
    from lab import phones as devices

    if sum((register, on, off, reset, swap)) > 1 or (reset and len(exts or ()) != 1) or (swap and len(exts or ()) != 2):
        raise ClinicError(
            "One thing at a time: --on and --off take any extensions, --reset one, --swap an extension and a MAC.",
            remedy="clinicpbx lab phones --help",
        )
    chosen = exts or None
    if swap and exts:
        devices.swap(lab, *exts)
        chosen = exts[:1]
    elif reset and exts:
        devices.reset(lab, exts[0])
    elif on or off:
        devices.power(lab, chosen, on)
    elif register:
        devices.register(lab, some=chosen)
    _print_phones(lab, devices.status(lab, chosen), everyone or bool(chosen), as_json)


def _print_phones(lab: int, found: dict[str, dict[str, Any]], everyone: bool, as_json: bool) -> None:
    lit = {ext: item for ext, item in found.items() if item["state"] != "off"}
    good = [ext for ext, item in lit.items() if item["state"] == "registered"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        console, clinic = Console(highlight=False, emoji=False), _clinic(lab)
        table = Table("ext", "name", "model", "MAC", "address", "state", "", header_style="bold")
        for ext, item in sorted(found.items()):
            if everyone or ext not in good:
                person = clinic.by_ext.get(ext)
                row = (ext, person.name if person else "", *(item[k] for k in ("model", "mac", "address", "state")))
                table.add_row(*(escape(str(cell)) for cell in (*row, item["error"])))
        if table.row_count:
            console.print(table)
        off = f", {len(found) - len(lit)} are off" if len(lit) < len(found) else ""
        console.print(f"{len(good)} of {len(lit)} phones are registered{off}")
    raise typer.Exit(0 if len(good) == len(lit) else 1)


@app.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="Example:  clinicpbx lab exec -- curl -k https://10.77.10.2:8006/",
)  # fmt: skip
def execute(
    command: Annotated[list[str], typer.Argument(help="Program and arguments, after --")],
    space: Annotated[str, typer.Option(help="Another namespace of the lab: net, pstn, phones, hv ...")] = "eng",
    lab: Lab = N,
) -> None:
    """Run a program on the engineer's workstation of the lab; its exit code is ours."""
    from lab import netns, state

    spaces = state.load(lab)["namespaces"]
    if space not in spaces:
        raise ClinicError(f"Lab {lab} has no namespace {space}.", remedy=f"one of: {', '.join(spaces)}")
    netns.move_to(spaces[space])
    try:
        os.execvp(command[0], command)  # noqa: S606 - the engineer's own command
    except OSError as error:
        raise ClinicError(f"{command[0]}: {error.strerror}", remedy="write it after --") from None


@app.command(epilog="Examples:  lab drill security case  |  lab drill security --quick --json  |  ... --only fraud")
def drill(
    kind: Annotated[str, typer.Argument(help="security or wan")],
    clinic: Annotated[str, typer.Argument(help="A clinic of inventory/, or the path of a clinic.yml")] = "case",
    lab: Lab = N,
    quick: Annotated[bool, typer.Option("--quick", help="Shorter floods, fewer messages and destinations")] = False,
    only: Annotated[
        str,
        typer.Option(
            "--only", help="Parts of security: scan, flood, malformed, fraud, emergency; faults of wan: cable, ..."
        ),
    ] = "",
    runs: Annotated[
        int | None, typer.Option("--runs", min=1, help="Runs of each fault of wan [default: 20, quick 2]")
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="wan: what the last report has and is not measured now stays in the report")
    ] = False,
    as_json: Json = False,
) -> None:
    """Attack the deployed rehearsal for real and report the figures. Exit 1 when one is beyond its limit."""
    if kind not in ("security", "wan"):
        raise ClinicError(f"There is no drill `{kind}`.", remedy="clinicpbx lab drill security | wan")
    from clinicpbx.drill import security

    chosen = [part.strip() for part in only.split(",") if part.strip()]
    console = Console(stderr=as_json, highlight=False, emoji=False)
    if kind == "wan":
        return _wan(console, clinic, lab, runs or (2 if quick else 20), chosen, quick=quick, add=add, as_json=as_json)
    report = security.run(
        clinic, f"lab{lab or ''}", lambda text: console.print(text, markup=False), quick=quick, only=chosen
    )
    folder = security.write(report)
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        for figure in security.TOLD:
            console.print(f"{figure:30} {report[figure]}", markup=False)
        for line in report["against"]:
            console.print(line, style="red", markup=False)
        console.print(f"{report['verdict']}  {folder / 'report.html'}", style="bold", markup=False)
    raise typer.Exit(1 if report["against"] else 0)


def _wan(
    console: Console, clinic: str, lab: int, runs: int, only: list[str], *, quick: bool, add: bool, as_json: bool
) -> None:
    from clinicpbx.drill import wan, wan_report

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    report: dict[str, Any] = {}
    for found in wan.run(clinic, f"lab{lab or ''}", say, runs=runs, only=only, quick=quick):
        report = wan_report.added(found, wan_report.latest(clinic)) if add else found
        folder = wan_report.write(report)
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    for line in report["against"]:
        console.print(line, style="red", markup=False)
    console.print(f"{report['verdict']}  {folder / 'report.html'}", style="bold", markup=False)
    raise typer.Exit(1 if report["against"] else 0)


def _clinic(lab: int) -> Any:
    from lab import state

    path = state.load(lab).get("clinic_path")
    if not path or not Path(path).exists():
        raise ClinicError(f"Lab {lab} does not say of which description it is.", remedy="clinicpbx lab up CLINIC")
    return descriptions.read_or_explain(path)


def _print_status(console: Console, found: dict[str, Any], lab: int) -> None:
    if not found["up"] and not found["namespaces"]:
        console.print(f"Lab {lab} is down. clinicpbx lab up")
        return
    title = f"lab {lab}: {found['clinic'] or 'no clinic'}, {'up' if found['up'] else 'incomplete'}"
    table = Table("part", "state", title=escape(title), title_justify="left", header_style="bold")
    table.add_row("network", f"{found['namespaces']} namespaces")
    for name, text in found["parts"].items():
        table.add_row(name, escape(text))
    for vmid, machine in found["machines"].items():
        table.add_row(f"VM {vmid}", f"up {machine['uptime']} s" if machine["pid"] else "off")
    if found["up"]:
        from lab import faults

        on = [escape(f"{item.name} {item.target}".strip()) for item in faults.active(lab)]
        table.add_row("faults", f"[red]{', '.join(on)}[/]" if on else "none")
    console.print(table)
