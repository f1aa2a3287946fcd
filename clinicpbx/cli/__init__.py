"""`clinicpbx`: the engineer's program. Each module here is one group of commands, loaded only when it is called."""

from __future__ import annotations

import gc
import importlib
import os
import sys

import typer
from rich.console import Console

from clinicpbx.errors import ClinicError

TOP = {"check": "describe", "show": "describe", "new": "describe", "schema": "describe",
       "deploy": "deploy", "verify": "verify"}  # fmt: skip
GROUPS = ("secrets", "phones", "bundle", "generations", "fraud", "alert", "lab")
EPILOG = "Examples:  clinicpbx check case | clinicpbx lab up case | clinicpbx deploy case --dry | clinicpbx verify case"
INTERRUPTED = "Interrupted. What is listed above is done; run the same command again and it converges."


def build(word: str) -> typer.Typer:
    """The program with the commands that `word` may mean; all of them for help and completion."""
    root = typer.Typer(
        name="clinicpbx", help="Build, rehearse and verify a clinic's telephone system.", epilog=EPILOG,
        no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    )  # fmt: skip
    modules = dict.fromkeys([TOP[word]] if word in TOP else [word] if word in GROUPS else [*TOP.values(), *GROUPS])
    for name in modules:
        app: typer.Typer = importlib.import_module(f"clinicpbx.cli.{name}").app
        if name in GROUPS:
            root.add_typer(app, name=name)
        else:
            root.registered_commands += app.registered_commands

    @root.callback()
    def _callback() -> None:
        """Build, rehearse and verify a clinic's telephone system."""

    return root


def main(arguments: list[str] | None = None) -> None:
    """Run one command. Exit 0 done, 1 refused or failed, 2 wrong use, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    gc.set_threshold(100_000, 50, 100)  # a command lives for seconds; Python's default looks for garbage all the time
    completing = any(name.endswith("_COMPLETE") for name in os.environ)
    try:
        build("" if completing else next((a for a in given if not a.startswith("-")), ""))(given, prog_name="clinicpbx")
    except KeyboardInterrupt:
        _say(INTERRUPTED)
        sys.exit(130)
    except SystemExit as ended:
        if ended.code == 130:  # Typer's own answer to Ctrl-C
            _say(INTERRUPTED)
        raise
    except ClinicError as error:
        _say(str(error))
        sys.exit(1)


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(text, style="bold red", markup=False)
