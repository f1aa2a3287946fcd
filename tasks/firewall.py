"""The packet filter: loaded on trial, proven by a new connection, and only then kept.

The connection of the deploy itself proves nothing: it is established, and such packets pass. The rules are
clinic/rendering/firewall.py's.
"""

from __future__ import annotations

import difflib
import io
import json
import shlex
import socket
import time
from collections.abc import Generator
from hashlib import sha256
from pathlib import Path
from typing import Any

from pyinfra import host, logger
from pyinfra.api import FactBase, Host, State, deploy, operation
from pyinfra.api.command import FunctionCommand
from pyinfra.operations import systemd

from clinic.model import Clinic
from clinic.rendering.firewall import firewall as rendered
from clinicpbx.connection import client_of, stream, told
from tasks.trees import File, preview, tree

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "/usr/local/sbin/clinic-firewall"
LIBRARY = "/usr/lib/clinicpbx/services/firewall"
PROOF_SECONDS = 8
BACK_SECONDS = 40  # the trial's 30 s and what a busy machine needs to load the old rules


class Filter(FactBase[dict[str, Any]]):
    """`clinic-firewall status`; empty before the first deploy."""

    default = dict

    def command(self) -> str:
        return f"test ! -x {PROGRAM} && echo '{{}}' || {PROGRAM} status"

    def process(self, output: list[str]) -> dict[str, Any]:
        return dict(json.loads("\n".join(output) or "{}"))


class Kept(FactBase[str]):
    """The rules that load at boot."""

    default = str

    def command(self) -> str:
        return "cat /etc/nftables.conf 2>/dev/null || true"

    def process(self, output: list[str]) -> str:
        return "\n".join(output)


@operation()
def rules(text: str) -> Generator[FunctionCommand, None, None]:
    """Make these the packet filter's rules, unless they are: confirmed, loaded at boot, and live."""
    found = host.get_fact(Filter)
    wanted = sha256(text.encode()).hexdigest()
    if found.get("confirmed") == wanted and found["boots"] and found["live"]:
        host.noop("the packet filter is as wanted")
        return
    if found.get("confirmed") == wanted and not found["live"]:
        preview.append("--- the packet filter: somebody changed or flushed what is loaded")
    before = host.get_fact(Kept).splitlines()
    names = ("live/etc/nftables.conf", "new/etc/nftables.conf")
    preview.extend(difflib.unified_diff(before, text.splitlines(), *names, lineterm=""))
    yield FunctionCommand(_on_trial, (text,), {})


@told
def _on_trial(state: State, host: Host, text: str) -> bool:
    client = client_of(host)
    status, answer = stream(client, f"sudo {PROGRAM} apply", io.BytesIO(text.encode()))
    if status:
        logger.error(f"{host.print_prefix}the packet filter's new rules are refused, the old ones stay: {answer}")
        return False
    address, port = client.get_transport().getpeername()[:2]
    if not greets(address, port, PROOF_SECONDS):
        logger.error(
            f"{host.print_prefix}the new packet filter lets no new SSH connection in: nothing is confirmed, and the PBX"
            " takes the rules back by itself 30 s after they were loaded. Waiting for it."
        )
        back = greets(address, port, BACK_SECONDS)
        logger.error(
            f"{host.print_prefix}{'SSH answers again: the old rules are back' if back else 'SSH does not answer yet'};"
            " correct networks.management of the description and deploy again."
        )
        return False
    status, answer = stream(client, f"sudo {PROGRAM} confirm {shlex.quote(json.loads(answer)['digest'])}", io.BytesIO())
    if status:
        logger.error(f"{host.print_prefix}the packet filter's new rules were not confirmed in time: {answer}")
    return status == 0


def greets(address: str, port: int, seconds: float) -> bool:
    """Whether an SSH server greets on a new connection within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection((address, port), timeout=2) as greeted:
                if greeted.recv(4) == b"SSH-":
                    return True
        except OSError:
            pass
        time.sleep(0.2)
    return False


@deploy("Firewall")
def firewall(clinic: Clinic) -> None:
    """After the addresses and routes, which the rules ask; before anything listens."""
    library = {f"{LIBRARY}/{p.name}": File(p.read_bytes()) for p in sorted((ROOT / "services/firewall").glob("*.py"))}
    shared = {"/usr/lib/clinicpbx/services/__init__.py": File((ROOT / "services/__init__.py").read_bytes())}
    program = {PROGRAM: File((ROOT / "files/firewall/clinic-firewall").read_bytes(), "755")}
    tree(name="The packet filter's program is the deploy's own", wanted=library | shared | program)
    rules(name="The packet filter is tried by a new connection and kept", text=rendered(clinic))
    # Enabled, not started: the rules are live. Debian's unit is ordered before the network.
    systemd.service(name="It loads at boot, before the network", service="nftables", running=None, enabled=True)
