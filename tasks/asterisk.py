"""Asterisk: the service in its sandbox, and the configuration as one generation."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Generator
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import FactBase, Host, State, deploy, operation
from pyinfra.api.command import FunctionCommand
from pyinfra.operations import systemd

from clinicpbx.connection import client_of, stream, told
from clinicpbx.generation import NAMED_ONLY, RESTART_REMEDY, Generation, diff, differing, refusal, unmoved
from tasks.trees import File, preview, tree

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "/usr/local/sbin/clinic-generation"
LIBRARY = "/usr/lib/clinicpbx/services"


class LiveGeneration(FactBase[dict[str, str]]):
    """Path to SHA-256 of the live generation; empty before the first deploy."""

    default = dict

    def command(self) -> str:
        return f"test -x {PROGRAM} && {PROGRAM} files || echo '{{}}'"

    def process(self, output: list[str]) -> dict[str, str]:
        return dict(json.loads("\n".join(output) or "{}"))


class LiveFiles(FactBase[dict[str, str]]):
    """Contents of named text files of the live generation, for the dry run's diff."""

    default = dict

    def command(self, paths: str) -> str:
        names = " ".join(shlex.quote(p) for p in paths.split("\n"))
        script = (
            "import json,sys,pathlib;r=pathlib.Path('/var/lib/clinicpbx/generations/current');"
            "json.dump({p:(r/p).read_text() for p in sys.argv[1:] if (r/p).is_file()},sys.stdout)"
        )
        return f"python3 -c {shlex.quote(script)} {names}"

    def process(self, output: list[str]) -> dict[str, str]:
        return dict(json.loads("\n".join(output) or "{}"))


class RestartNeeded(FactBase[list[dict[str, str]]]):
    """Transports that listen elsewhere than the live generation says; empty before the first deploy."""

    default = list

    def command(self) -> str:
        # An older program does not know the word and ends with 2; any other failure must not pass for "none".
        return f"test ! -x {PROGRAM} && echo '{{}}' || {PROGRAM} binds || {{ test $? = 2 && echo '{{}}'; }}"

    def process(self, output: list[str]) -> list[dict[str, str]]:
        return list(json.loads("\n".join(output) or "{}").get("restart_needed", []))


@operation()
def generation(wanted: Generation) -> Generator[FunctionCommand, None, None]:
    """Upload, check and switch in, unless the live generation already is the wanted one."""
    live = host.get_fact(LiveGeneration)
    changed = differing(live, wanted.hashes())
    if not changed:
        host.noop(f"generation {wanted.digest[:12]} is live")
        return
    preview.append(f"--- generation {wanted.digest[:12]}: {len(changed)} of {len(wanted.tree)} files differ")
    preview.extend(show_diff(wanted, changed))
    yield FunctionCommand(_switch_in, (wanted,), {})


@told
def _switch_in(state: State, host: Host, wanted: Generation) -> bool:
    """Run the PBX's own program; whatever it says is wrong is printed line by line, and the deploy stops."""
    command = f"sudo {PROGRAM} apply {wanted.digest}"
    status, answer = stream(client_of(host), command, wanted.packed())
    if status:
        logger.error(f"{host.print_prefix}generation {wanted.digest[:12]} is refused; the running one is untouched:")
        for line in refusal(answer):
            logger.error(f"{host.print_prefix}  {line}")
    return status == 0


def show_diff(wanted: Generation, changed: list[str]) -> list[str]:
    """The exact difference between the live and the wanted generation, passwords hidden. Changes nothing."""
    texts = [p for p in changed if not p.endswith(NAMED_ONLY)]
    live = host.get_fact(LiveFiles, "\n".join(texts)) if texts else {}
    return list(diff(live, wanted.tree, changed))


@deploy("Asterisk")
def asterisk(wanted: Generation) -> None:
    """Service, sandbox and the configuration. Asterisk is reloaded, never restarted."""
    library = {
        f"{LIBRARY}/{p.relative_to(ROOT / 'services')}": File(p.read_bytes())
        for p in [ROOT / "services/__init__.py", *sorted((ROOT / "services/generation").glob("*.py"))]
    }
    tree(
        name="The generation program is the deploy's own",
        wanted=library | {PROGRAM: File((ROOT / "files/asterisk/clinic-generation").read_bytes(), "755")},
    )
    tree(
        name="Asterisk runs as its own user in a sandbox, and its directories are there",
        wanted={
            "/etc/systemd/system/asterisk.service.d/clinic.conf": File(
                (ROOT / "files/asterisk/clinic.conf").read_bytes()
            )
        },
        then=(
            "install -d -o asterisk -g asterisk -m 750 /var/log/asterisk /var/log/asterisk/cdr-custom"
            " /var/log/asterisk/cel-custom /var/lib/asterisk/keys",
            "install -d -o root -g asterisk -m 750 /var/lib/clinicpbx/generations",
            "systemctl daemon-reload",
        ),
    )
    generation(name="The new generation is checked and switched in", wanted=wanted)
    systemd.service(name="Asterisk runs and starts with the machine", service="asterisk", running=True, enabled=True)


@deploy("Asterisk")
def configuration(wanted: Generation) -> None:
    """The configuration alone, on a PBX that has all the rest: for `phones push`."""
    generation(name="The new generation is checked and switched in", wanted=wanted)


@operation()
def addresses(restart: bool) -> Generator[FunctionCommand, None, None]:
    """Asterisk listens where the generation says. Otherwise the deploy fails; it restarts only when told to."""
    needed = host.get_fact(RestartNeeded)
    if not needed:
        host.noop("every transport listens where it should")
        return
    preview.extend(f"--- {line}" for line in unmoved(needed))
    yield FunctionCommand(_restart if restart else _tell_of_restart, (needed,), {})


def _tell_of_restart(state: State, host: Host, needed: list[dict[str, str]]) -> bool:
    for line in [*unmoved(needed), RESTART_REMEDY]:
        logger.error(f"{host.print_prefix}{line}")
    return False


@told
def _restart(state: State, host: Host, needed: list[dict[str, str]]) -> bool:
    status, answer = stream(client_of(host), f"sudo {PROGRAM} restart", io.BytesIO())
    if status:
        logger.error(f"{host.print_prefix}Asterisk is not restarted, or not well:")
        for line in refusal(answer):
            logger.error(f"{host.print_prefix}  {line}")
    return status == 0


@deploy("Asterisk")
def listening(restart: bool) -> None:
    """Last of all: a changed address takes effect with a restart, which ends calls and is the engineer's to ask for."""
    addresses(name="Asterisk listens at the generation's addresses", restart=restart)
