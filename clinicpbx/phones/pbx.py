"""The PBX as the fleet's commands see it: one SSH connection, and one command on it for each look."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Collection, Mapping
from typing import Any

import paramiko

from clinicpbx.connection import stream
from clinicpbx.errors import ClinicError
from clinicpbx.phones.state import Look, look

PROGRAM, GUARD = "/usr/local/sbin/clinic-phones", "/usr/local/sbin/clinic-guard"
ASTERISK = "asterisk -C /var/lib/clinicpbx/generations/current/asterisk.conf -rx"
_CLI = ("database show registrar", "pjsip show contacts", "core show channels concise")
_MARK = "--8<--"
WORDS = 50
"""Extensions in one command: Asterisk's CLI takes 64 words (AST_MAX_ARGS) and drops the rest without a word."""


def notifies(phones: Mapping[str, Collection[str]]) -> list[str]:
    """The CLI's commands for these extensions, by vendor."""
    found = []
    for vendor, extensions in phones.items():
        them = list(extensions)
        for first in range(0, len(them), WORDS):
            found.append(f"pjsip send notify {vendor} endpoint {' '.join(them[first : first + WORDS])}")
    return found


class Fleet:
    """`client` is connected; nothing here opens another connection."""

    def __init__(self, client: paramiko.SSHClient) -> None:
        self.client = client

    def look(self, until: Mapping[str, str] | None = None, seconds: float = 0.0, *, guard: bool = False) -> Look:
        """The fleet now; with `until`, as soon as all these {MAC: version} are applied, or after so many seconds.

        `guard`: ask the guard too, who knows when each telephone registered last.
        """
        if until:
            ask = f"{PROGRAM} wait {shlex.quote(json.dumps(dict(until)))} {seconds:.2f}"
        else:
            ask = f"{PROGRAM} status --json"
        steps = [ask, *(f"{ASTERISK} {shlex.quote(command)}" for command in _CLI)]
        steps += [f"{GUARD} phones"] if guard else []
        answer = self._run(f"; echo; echo '{_MARK}'; ".join(f"{step} 2>&1" for step in steps))
        return look(*answer.split(f"\n{_MARK}\n"))

    def notify(self, phones: Mapping[str, Collection[str]]) -> None:
        """Tell these extensions, by vendor, to fetch their configuration; Asterisk sends and repeats the NOTIFYs."""
        self._run("; ".join(f"{ASTERISK} {shlex.quote(command)}" for command in notifies(phones)))

    def door(self, mac: str, minutes: int | None) -> dict[str, Any]:
        """Open the first door of a telephone for so many minutes (None: close it). Its part of the status."""
        verb = f"open {mac} {minutes} --json" if minutes else f"close {mac} --json"
        answer = self._run(f"{PROGRAM} {verb}")
        try:
            return dict(json.loads(answer)["phones"][mac])
        except (ValueError, KeyError, TypeError):
            raise ClinicError(
                f"The PBX does not open the door of {mac}: {answer.strip()[:200]}",
                remedy="is it deployed? clinicpbx deploy CLINIC",
            ) from None

    def _run(self, command: str) -> str:
        status, answer = stream(self.client, f"sudo -n sh -c {shlex.quote(command)}", io.BytesIO())
        if status and not answer.strip():
            raise ClinicError(f"The PBX ended a command with {status} and no word.", remedy="look at its journal")
        return answer
