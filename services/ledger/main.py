"""clinic-ledger: follows CDR, CEL and queue log, and writes every row to PostgreSQL exactly once.

    python3 -m services.ledger.main [--database CONNINFO] [--logs DIR] [--chunk BYTES] [--once]

Runs until SIGTERM. While the database is away it waits, and reads on from where it was: calls never notice.
With --once it stores all complete records and ends: exit 0, or 1 when the database is away.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import psycopg  # type: ignore[import-not-found,unused-ignore]

from . import core
from .files import Read, Stream
from .notify import notify
from .store import MovedError, Store

PLACES = {"cdr": "cdr-custom/cdr.csv", "cel": "cel-custom/cel.csv", "queue_log": "queue_log"}
PAUSE = 0.2
"""Seconds between two looks; a few stat() calls each."""
LONGEST_PAUSE = 5.0
"""Seconds between two attempts to reach the database, at most."""

TOLD = 5.0
"""Seconds between two signs of life; the unit's WatchdogSec is several times that."""


class Ledger:
    """The streams, the connection, and what systemd is told."""

    def __init__(self, database: str, logs: Path, chunk: int) -> None:
        self.database, self.chunk = database, chunk
        self.streams = [Stream(name, logs / PLACES[name]) for name in core.STREAMS]
        self.store: Store | None = None
        self.stopping = self.behind = False
        self.rows = self.rejects = 0
        self._backoff = 0.0
        self._said = ""
        self._told = ("", 0.0)

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def run(self) -> None:
        notify(READY="1", STATUS="starting")
        while not self.stopping:
            pause = self.round()
            self._tell()
            until = time.monotonic() + pause
            while not self.stopping and (left := until - time.monotonic()) > 0:
                time.sleep(min(left, PAUSE))
        notify(STOPPING="1")
        if self.store:
            self.store.close()

    def once(self) -> bool:
        """Whether everything that is complete is in the database."""
        while not self.stopping:
            self.round()
            if not self.behind:
                return self.store is not None
        return False

    def round(self) -> float:
        """One look at everything. -> seconds to wait before the next."""
        try:
            if self.store is None:
                self.store = Store(self.database)
                self._say("the database answers")
                self._backoff = 0.0
            reads = [read for stream in self.streams for read in self._poll(stream, self.store.positions)]
            self.behind = bool(reads)
            if not reads:
                return PAUSE
            self.store.commit(reads)
        except MovedError:
            self._drop()
            return PAUSE
        except psycopg.Error as error:
            # Only the class of error: a server's message may quote a row, and rows hold people's numbers.
            self._say(f"the database is away ({error.sqlstate or type(error).__name__}); rows wait in the files", 4)
            self._drop()
            self.behind = False
            self._backoff = min(max(self._backoff * 2, 0.5), LONGEST_PAUSE)
            return self._backoff
        refused = sum(len(read.batch.rejects) for read in reads)
        self.rows += sum(len(read.batch.rows) for read in reads)
        self.rejects += refused
        if refused:
            self._say(f"{refused} lines could not be read; they are in table ledger_rejects", 4, again=True)
        return 0 if any(read.batch.consumed >= self.chunk // 2 for read in reads) else PAUSE

    def _poll(self, stream: Stream, positions: Mapping[tuple[str, str], int]) -> list[Read]:
        try:
            return stream.poll(positions, self.chunk)
        except OSError as error:  # one file that cannot be read does not hold up the others
            self._say(f"{stream.name} cannot be read: {error}", 3)
            return []

    def _drop(self) -> None:
        if self.store:
            self.store.close()
        self.store = None
        for stream in self.streams:
            stream.forget()

    def _tell(self) -> None:
        """systemd hears that we are alive when there is news, once a second at most, and every TOLD seconds."""
        status, now = self._status(), time.monotonic()
        if now - self._told[1] >= (1 if status != self._told[0] else TOLD):
            notify(WATCHDOG="1", STATUS=status)
            self._told = (status, now)

    def _status(self) -> str:
        away = "" if self.store else "; the database is away, rows wait in the files"
        return f"{self.rows} rows written, {self.rejects} lines rejected{away}"

    def _say(self, text: str, level: int = 6, again: bool = False) -> None:
        """To the journal, with the level as sd-daemon(3) has it; the same thing once."""
        if again or text != self._said:
            print(f"<{level}>{text}", file=sys.stderr, flush=True)
        self._said = text


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="clinic-ledger")
    parser.add_argument("--database", default="host=/run/postgresql dbname=clinicpbx user=clinic-ledger")
    parser.add_argument("--logs", type=Path, default=Path("/var/log/asterisk"))
    parser.add_argument(
        "--chunk", type=int, default=1 << 20, help="bytes of a file in one transaction, at least 128 KiB"
    )
    parser.add_argument("--once", action="store_true", help="catch up and exit")
    given = parser.parse_args(arguments)
    ledger = Ledger(given.database, given.logs, max(given.chunk, 2 * core.LONGEST))
    signal.signal(signal.SIGTERM, ledger.stop)
    signal.signal(signal.SIGINT, ledger.stop)
    if given.once:
        return 0 if ledger.once() else 1
    ledger.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
