"""How the fleet's commands look in a terminal, and in a log file that somebody reads the morning after."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from clinic.model import Clinic

EVERY = 2.0
"""Seconds between two lines of progress where there is no terminal."""


def console(as_json: bool = False) -> Console:
    """Messages go to standard error when standard output is JSON."""
    found = Console(highlight=False, emoji=False, soft_wrap=True, stderr=as_json)
    if not found.is_terminal:
        found.width = 200  # a log file has no width, and a cut socket is no socket
    return found


def reports(clinic: str) -> Path:
    from clinicpbx.inventory import ROOT

    return ROOT / "reports" / clinic


class Progress:
    """A bar in a terminal; in a log file a line whenever something came true, at most every two seconds."""

    def __init__(self, to: Console) -> None:
        self.console, self.total = to, 0
        self.bar = Bar(
            TextColumn("  {task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(),
            console=to, transient=True, disable=not to.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("telephones", total=None, visible=False)
        self._last, self._said = "", 0.0

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.bar.stop()

    def begin(self, total: int) -> None:
        self.total = total
        self.bar.update(self.task, total=total, visible=True)

    def say(self, text: str) -> None:
        self.bar.console.print(text if text.startswith(" ") else f"  {text}", markup=False)

    def count(self, done: int, failed: int, out: int, busy: int) -> None:
        text = f"{out} being told" + (f", {busy} in a call" if busy else "") + (f", {failed} not" if failed else "")
        self.bar.update(self.task, completed=done + failed, description=text)
        line = f"  {done} of {self.total} confirmed, {text}"
        now, ended = time.monotonic(), done + failed == self.total
        if not self.console.is_terminal and line != self._last and (ended or now - self._said >= EVERY):
            self.console.print(line, markup=False)
            self._last, self._said = line, now


def pushed(to: Console, report: Mapping[str, Any]) -> None:
    for line in report["diff"]:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        to.print(line, style=style, markup=False)
    failed = report["failed"]
    if failed:
        to.print(_people(failed, ("why",)))
    if report["dry"]:
        names = ", ".join(report["stale"][:12]) + (" ..." if len(report["stale"]) > 12 else "")
        to.print(f"{len(report['stale'])} telephones would be told{': ' if names else ''}{names}", markup=False)
        return
    done = len(report["confirmed"])
    if report["left"]:
        to.print(f"  {len(report['left'])} others are not current and were not chosen")
    waves = f" in {len(report['waves'])} wave{'s' if len(report['waves']) != 1 else ''}" if done else ""
    text = f"{done} confirmed{waves}, {len(failed)} not, {report['unchanged']} current already, {report['seconds']} s"
    to.print(text, style="bold red" if failed else "bold green", markup=False)


def _people(rows: Sequence[Mapping[str, Any]], more: Sequence[str] = ()) -> Table:
    table = Table("ext", "person", "room", "socket", "switch", "port", *more, header_style="bold")
    for column in table.columns[:1] + table.columns[3:6]:
        column.no_wrap = True
    for row in rows:
        cells = [row["ext"], row["name"], row["room"], row["socket"], row["switch"], str(row["port"])]
        table.add_row(*(escape(str(cell)) for cell in (*cells, *(row[key] for key in more))))
    return table


STATES = {"current": "green", "stale": "yellow", "never": "red", "refused": "red", "unknown": "red"}


def status(to: Console, clinic: Clinic, rows: Sequence[Mapping[str, Any]], strangers: Collection[Any]) -> None:
    table = Table("ext", "person", "", "address", "ms", "model", "firmware", "configuration", "last seen", "socket",
                  "switch", "port", header_style="bold")  # fmt: skip
    for column in table.columns:
        column.no_wrap = column.header != "person"
    for row in rows:
        on = "[green]in a call[/]" if row["in_call"] else "[green]on[/]" if row["registered"] else "[red]off[/]"
        wrong = row["firmware_wanted"] and row["firmware"] != row["firmware_wanted"]
        firmware = f"[yellow]{escape(row['firmware'] or '?')}[/]" if wrong else escape(row["firmware"])
        moved = clinic.provisioning.dhcp and row["address"] not in ("", row["lease"])
        state, version = row["configuration"], row["version"]
        seen = "" if row["registered"] else row["seen"].replace("T", " ").removesuffix("+00:00") or "never"
        table.add_row(
            row["ext"], escape(row["name"]), on, f"[yellow]{row['address']}[/]" if moved else row["address"],
            f"{row['rtt_ms']:.1f}" if row["rtt_ms"] is not None else "", row["model"], firmware,
            f"[{STATES[state]}]{state}[/] {version[:6]}", seen, escape(row["socket"]), row["switch"], str(row["port"]),
        )  # fmt: skip
    to.print(table, soft_wrap=False)
    on, current = sum(r["registered"] for r in rows), sum(r["configuration"] == "current" for r in rows)
    to.print(f"{len(rows)} telephone{'s' if len(rows) != 1 else ''}: {on} on, {current} current. Times are UTC.")
    for row in rows:
        for refusal in row["refused"][-1:] if row["configuration"] != "current" else ():
            to.print(
                f"  {row['ext']} was refused: {refusal['what']}, from {refusal['address']}{_remedy(row, refusal)}",
                markup=False,
            )
    for stranger in strangers:
        to.print(
            f"  stranger {stranger['address']}: {stranger['count']} refused, last: {stranger['what']}", markup=False
        )


def _remedy(row: Mapping[str, Any], refusal: Mapping[str, Any]) -> str:
    if refusal["what"] == "closed":
        return f"; if it was reset: phones open CLINIC {row['ext']}"
    return f"; its lease is {row['lease']}" if refusal["what"] == "address" else ""


def diff(to: Console, lines: Sequence[str]) -> None:
    for line in lines:
        to.print(line, style={"+": "green", "-": "red", "@": "cyan"}.get(line[:1], ""), markup=False)


def dhcp(to: Console, ours: bool, found: Mapping[str, Any], files: Sequence[Path]) -> None:
    if ours:
        to.print("The description lets the PBX serve DHCP (provisioning.dhcp): none of this is needed.", style="yellow")
    to.print(f"Network {found['network']}, VLAN {found['vlan']}, telephones {' to '.join(found['range'])}.")
    table = Table("option", "meaning", "for everybody", header_style="bold")
    for code, meaning in found["meaning"].items():
        table.add_row(code, escape(meaning), escape(found["everybody"].get(code, "each telephone's own")))
    to.print(table)
    to.print(f"{len(found['phones'])} telephones, each with a fixed address and its own option 66. SECRET, mode 0600:")
    for file in files:
        to.print(f"  {file}", markup=False)


def firmware(to: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    words = {"right": "[green]right[/]", "missing": "[red]missing[/]", "other": "[red]another file[/]",
             "none": "as delivered"}  # fmt: skip
    table = Table("model", "telephones", "version", "file", "SHA-256", "", header_style="bold")
    for row in rows:
        digest = f"{row['sha256'][:16]}…" if row["sha256"] else ""
        table.add_row(row["model"], str(row["phones"]), escape(row["version"]), escape(row["file"]), digest,
                      words[row["state"]])  # fmt: skip
    to.print(table)
