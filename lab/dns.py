"""A DNS server that refuses everything, and so shows that it lives. Standard library only. RFC 1035.

python3 -m lab.dns ADDRESS FOLDER     writes FOLDER/ready when it listens
"""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path
from typing import Any

from lab import netns, process, state
from lab.components import Context, launch
from lab.topology import namespace

REFUSED = 5


def answer(question: bytes) -> bytes:
    """The question again, as a refusal. Pure."""
    return question[:2] + bytes([0x80 | (question[2] & 0x79), REFUSED]) + question[4:6] + b"\0" * 6 + question[12:]


class DnsComponent:
    """The clinic's first DNS server, where it is in the management network: on the engineer's workstation."""

    name = "dns"

    def start(self, context: Context) -> dict[str, Any]:
        management = context.plan.management
        here = [r for r in getattr(context.clinic, "resolvers", ()) if r in management]
        if not here:
            return {}
        with contextlib.suppress(netns.CommandError):  # it has it already
            netns.ip_batch(
                [f"addr add {here[0]}/{management.prefixlen} dev eth0"], namespace=namespace(context.lab, "eng")
            )
        begin(context.lab, str(here[0]))
        return {"dns": str(here[0])}

    def stop(self, lab: int) -> None:
        end(lab)

    def status(self, lab: int) -> str:
        return "running" if process.recall(_folder(lab) / "pid") else "stopped"


def begin(lab: int, address: str) -> None:
    folder = _folder(lab)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if process.recall(folder / "pid"):
        return
    (folder / "ready").unlink(missing_ok=True)
    launch(
        ["-m", "lab.dns", address, str(folder)], namespace=namespace(lab, "eng"), pid_file=folder / "pid",
        log=folder / "log", ready=folder / "ready",
    )  # fmt: skip


def end(lab: int) -> None:
    file = _folder(lab) / "pid"
    if pid := process.recall(file):
        process.stop(pid)
    file.unlink(missing_ok=True)


def _folder(lab: int) -> Path:
    return state.run_folder(lab) / "dns"


def main(address: str, folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as served:
        served.bind((address, 53))
        (folder / "ready").touch()
        while True:
            question, asker = served.recvfrom(2048)
            if len(question) >= 12:
                served.sendto(answer(question), asker)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
