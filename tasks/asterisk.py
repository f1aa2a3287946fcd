"""Asterisk: the service in its sandbox, and the configuration as one generation."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import FactBase, Host, QuoteString, State, StringCommand, deploy, operation
from pyinfra.api.command import FileUploadCommand, FunctionCommand
from pyinfra.operations import files, systemd

from clinicpbx.generation import Generation, diff, differing, refusal

PROGRAM = "/usr/local/sbin/clinic-generation"
LIBRARY = "/usr/lib/clinicpbx/services"


class LiveGeneration(FactBase[dict[str, str]]):
    """Path to SHA-256 of the live generation; empty before the first deploy."""

    def command(self) -> str:
        return f"test -x {PROGRAM} && {PROGRAM} files || echo '{{}}'"

    def process(self, output: list[str]) -> dict[str, str]:
        return dict(json.loads("\n".join(output) or "{}"))


class LiveFiles(FactBase[dict[str, str]]):
    """Contents of named text files of the live generation, for the dry run's diff."""

    def command(self, paths: str) -> str:
        names = " ".join(shlex.quote(p) for p in paths.split("\n"))
        script = (
            "import json,sys,pathlib;r=pathlib.Path('/var/lib/clinicpbx/generations/current');"
            "json.dump({p:(r/p).read_text() for p in sys.argv[1:] if (r/p).is_file()},sys.stdout)"
        )
        return f"python3 -c {shlex.quote(script)} {names}"

    def process(self, output: list[str]) -> dict[str, str]:
        return dict(json.loads("\n".join(output) or "{}"))


@operation()
def generation(wanted: Generation) -> Iterator[StringCommand | FileUploadCommand | FunctionCommand]:
    """Upload, check and switch in, unless the live generation already is the wanted one."""
    changed = differing(host.get_fact(LiveGeneration), wanted.hashes())
    if not changed:
        host.noop(f"generation {wanted.digest[:12]} is live")
        return
    upload = f"/run/clinic-generation-{wanted.digest[:16]}.tar"
    yield FileUploadCommand(wanted.packed(), upload, remote_temp_filename=f"/tmp/{wanted.digest[:16]}.tar")  # noqa: S108
    yield FunctionCommand(_switch_in, (upload, wanted.digest), {})


def _switch_in(state: State, host: Host, upload: str, digest: str) -> bool:
    """Run the PBX's own program; whatever it says is wrong is printed line by line, and the deploy stops."""
    script = f"{PROGRAM} apply {digest} < {upload}; status=$?; rm -f {upload}; exit $status"
    done, output = host.run_shell_command(StringCommand("sh", "-c", QuoteString(script)), _sudo=True)
    if not done:
        logger.error(f"{host.print_prefix}generation {digest[:12]} is refused; the running one is untouched:")
        for line in refusal(output.stdout):
            logger.error(f"{host.print_prefix}  {line}")
    return bool(done)


def show_diff(wanted: Generation) -> list[str]:
    """The exact difference between the live and the wanted generation, passwords hidden. Changes nothing."""
    changed = differing(host.get_fact(LiveGeneration), wanted.hashes())
    texts = [p for p in changed if not p.endswith((".wav", ".json"))]
    live = host.get_fact(LiveFiles, "\n".join(texts)) if texts else {}
    return list(diff(live, wanted.tree, changed))


@deploy("Asterisk")
def asterisk(wanted: Generation) -> None:
    """Service, sandbox and the configuration. Asterisk is reloaded, never restarted."""
    root = Path(__file__).resolve().parent.parent
    files.put(
        name="The generation program is the deploy's own",
        src=str(root / "files/asterisk/clinic-generation"), dest=PROGRAM, mode="755",
    )  # fmt: skip
    files.sync(
        name="Its library is beside it",
        src=str(root / "services/generation"), dest=f"{LIBRARY}/generation", exclude="*.pyc", exclude_dir="__pycache__",
        mode="644", dir_mode="755",
    )  # fmt: skip
    files.put(
        name="The services are one package", src=str(root / "services/__init__.py"), dest=f"{LIBRARY}/__init__.py"
    )
    sandbox = files.put(
        name="Asterisk runs as its own user in a sandbox",
        src=str(root / "files/asterisk/clinic.conf"), dest="/etc/systemd/system/asterisk.service.d/clinic.conf",
    )  # fmt: skip
    for path in ("/var/lib/asterisk/keys", "/var/log/asterisk/cdr-custom", "/var/log/asterisk/cel-custom"):
        files.directory(name=f"{path} is Asterisk's", path=path, user="asterisk", group="asterisk", mode="750")
    generation(name="The new generation is checked and switched in", wanted=wanted)
    systemd.daemon_reload(name="systemd knows the sandbox", _if=sandbox.did_change)
    systemd.service(name="Asterisk runs and starts with the machine", service="asterisk", running=True, enabled=True)
