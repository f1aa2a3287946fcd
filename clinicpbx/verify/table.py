"""Verification on the terminal: what runs now, then a table and the verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from clinicpbx.verify.results import Check, Result, Verification

COLOURS = {"passed": "green", "failed": "bold red", "not-tried": "yellow"}
VERDICTS = {"GO": "bold green", "NO-GO": "bold red", "PARTIAL": "bold yellow"}


class Live:
    """Progress while checks run: one bar, and a line for each check under way."""

    def __init__(self, console: Console, total: int) -> None:
        self.progress = Progress(
            SpinnerColumn(), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.description}"), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.bar = self.progress.add_task("starting", total=total)
        self.running: dict[str, str] = {}

    @contextlib.contextmanager
    def progress_of(self) -> Iterator[Live]:
        with self.progress:
            yield self

    def started(self, check: Check) -> None:
        self.running[check.id] = check.title
        self._tell()

    def finished(self, result: Result) -> None:
        self.running.pop(result.check.id, None)
        self.progress.advance(self.bar)
        if result.status == "failed":
            text = f"[bold red]failed[/] {escape(result.check.id)}: {escape(result.failure)}"
            self.progress.console.print(text, soft_wrap=True)
        self._tell()

    def _tell(self) -> None:
        self.progress.update(self.bar, description=escape(" · ".join(self.running)[:90]))


def summary(run: Verification, folder: Path) -> RenderableType:
    """The table of all checks, the reasons against a GO, the verdict."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("", "check", "what it shows", "s", "controls"):
        right = name in ("s", "controls")
        table.add_column(name, justify="right" if right else "left", no_wrap=name in ("", "check", "s"))
    for result in run.results:
        state = f"[{COLOURS[result.status]}]{result.status}[/]"
        check, seconds, controls = result.check, f"{result.seconds:.1f}", str(len(result.controls))
        table.add_row(state, escape(check.id), escape(check.title), seconds, controls)
    counts = f"{run.count('passed')} passed, {run.count('failed')} failed, {run.count('not-tried')} not tried"
    verdict = f"[{VERDICTS[run.verdict]}]{run.verdict}[/]"
    text = f"{verdict}  {counts} in {run.seconds:.0f} s\n{escape(str(folder / 'report.html'))}"
    parts: list[RenderableType] = [table, ""]
    parts += [f"[red]·[/] {escape(line)}" for line in run.against]
    parts += [f"[yellow]·[/] {escape(run.left_out)}"] if run.left_out else []
    return Group(*parts, Panel(text, expand=False, border_style=VERDICTS[run.verdict].split()[-1]))
