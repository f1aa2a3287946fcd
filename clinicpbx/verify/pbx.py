"""`Pbx`: the deployed machine as checks see it: testinfra's host, Asterisk's CLI, AstDB, PostgreSQL, files."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from typing import Any

ASTERISK = "asterisk -C /var/lib/clinicpbx/generations/current/asterisk.conf"
RECORDINGS = "/var/spool/asterisk/recordings"
CDR = "/var/log/asterisk/cdr-custom/cdr.csv"
QUEUE_LOG = "/var/log/asterisk/queue_log"
CEL = "/var/log/asterisk/cel-custom/cel.csv"
_MARK = "--8<--"


class CommandError(AssertionError):
    """A command on the PBX failed; the text has its name and complaint, never what was sent to its input."""


class DatabaseAwayError(Exception):
    """PostgreSQL does not answer. No AssertionError: a control must not take it for a refusal."""


class Pbx:
    """`host` is a testinfra host with sudo, `client` the paramiko client below it."""

    def __init__(self, host: Any, client: Any) -> None:
        self.host, self.client = host, client

    # -- commands ------------------------------------------------------------------------------------------------

    def raw(self, command: str, *, data: bytes = b"", timeout: float = 20) -> tuple[int, bytes, bytes]:
        """Run as root with `data` on its input. -> (exit status, output, complaint)"""
        stdin, stdout, stderr = self.client.exec_command(f"sudo -n sh -c {shlex.quote(command)}", timeout=timeout)
        if data:
            stdin.write(data)
        stdin.channel.shutdown_write()
        output, complaint = stdout.read(), stderr.read()
        return stdout.channel.recv_exit_status(), output, complaint

    def run(self, command: str, *, data: bytes = b"", timeout: float = 20, check: bool = True) -> str:
        """A command's output. CommandError unless it ends with 0 or `check` is off."""
        status, output, complaint = self.raw(command, data=data, timeout=timeout)
        if check and status:
            raise CommandError(f"`{command[:160]}` ended with {status}: {complaint.decode(errors='replace').strip()}")
        return output.decode(errors="replace")

    def fetch(self, path: str) -> bytes:
        """A file's bytes."""
        status, output, complaint = self.raw(f"cat {shlex.quote(path)}")
        if status:
            raise CommandError(f"{path} cannot be read: {complaint.decode(errors='replace').strip()}")
        return output

    # -- Asterisk ------------------------------------------------------------------------------------------------

    def asterisk(self, *commands: str) -> str:
        """The answers of Asterisk's CLI to these commands, in one round trip."""
        return self.run("; ".join(f"{ASTERISK} -rx {shlex.quote(command)}" for command in commands))

    def put(self, family: str, key: str, value: str) -> None:
        answer = self.asterisk(f'database put {family} {key} "{value}"')
        expect("successfully" in answer, f"AstDB {family}/{key} was not set: {answer.strip()}")

    def delete(self, family: str, key: str) -> None:
        self.asterisk(f"database del {family} {key}")

    def database(self, family: str = "") -> dict[str, str]:
        """The AstDB, or one family of it, as `family/key` to value."""
        lines = self.asterisk(f"database show {family}".strip()).splitlines()
        found = (re.match(r"/(\S.*?)\s*: (.*)$", line) for line in lines)
        return {m[1]: m[2].strip() for m in found if m}

    def channels(self) -> list[str]:
        """Live channels, one line each: name!context!exten!priority!state!application!data!caller!..."""
        return [line for line in self.asterisk("core show channels concise").splitlines() if "!" in line]

    def queue(self) -> dict[str, str]:
        """Members of the operators' queue: extension to the rest of its `queue show` line."""
        answer = self.asterisk("queue show operators")
        found = (re.search(r"PJSIP/(\d+)\D.*", line) for line in answer.splitlines())
        return {m[1]: m[0] for m in found if m}

    def contacts(self) -> dict[str, str]:
        """Registered extensions (and trunk legs) with their contact's URI and state."""
        found = re.finditer(r"Contact:\s+(\S+)/(sip:\S+)\s+\S+\s+(\S+)", self.asterisk("pjsip show contacts"))
        return {m[1]: f"{m[2]} {m[3]}" for m in found}

    # -- records -------------------------------------------------------------------------------------------------

    def ask(self, query: str) -> list[list[str]]:
        """Rows of a query on the clinic's database, every value as text; asked as its superuser, through the socket.

        DatabaseAwayError when PostgreSQL does not answer, CommandError when it refuses the query.
        """
        status, output, complaint = self.raw(
            "cd /; exec sudo -n -u postgres psql -X -q -A -t -F '\t' -v ON_ERROR_STOP=1 -d clinicpbx -f -",
            data=query.encode(),
        )
        if status == 2:  # psql: the connection went bad or could not be made
            raise DatabaseAwayError(complaint.decode(errors="replace").strip())
        expect(status == 0, f"`{query}`: {complaint.decode(errors='replace').strip()}")
        return [line.split("\t") for line in output.decode().splitlines() if line]

    def sql(self, query: str, timeout: float = 20) -> list[list[str]]:
        """As `ask`, with patience: another check stops PostgreSQL on purpose."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.ask(query)
            except DatabaseAwayError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def rows(self, query: str, at_least: int = 1, timeout: float = 10) -> list[list[str]]:
        """As `sql`, waiting for so many rows: the ledger follows the files by a second or two."""
        found: list[list[str]] = []

        def enough() -> bool:
            nonlocal found
            found = self.sql(query)
            return len(found) >= at_least

        if not wait_until(enough, timeout, every=0.3):
            raise AssertionError(f"only {len(found)} of {at_least} rows within {timeout:.0f} s for: {query}")
        return found


def wait_until(done: Callable[[], bool], timeout: float, *, every: float = 0.1) -> bool:
    """Whether `done` came true in time."""
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def expect(holds: object, otherwise: str) -> None:
    """An assertion of the checks' library: AssertionError with the text unless it holds."""
    if not holds:
        raise AssertionError(otherwise)
