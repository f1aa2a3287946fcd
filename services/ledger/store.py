"""PostgreSQL: rows and the place they were read from, in one transaction, so that each arrives exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg  # type: ignore[import-not-found,unused-ignore]

from . import core
from .files import Read

_OURS = "the table refuses it"
# A line that is there already, from the same place of the same file, is not stored again, even if its position is lost.
_SKIP = dict.fromkeys(core.STREAMS, "(head, position)") | {"missed_calls": "(linkedid)"}
_PLACED = (*core.STREAMS, "ledger_rejects")


def _insert(table: str, columns: Sequence[str]) -> str:
    """Names are ours, values are parameters."""
    names = [f'"{column}"' for column in (*columns, *(("head", "position") if table in _PLACED else ()))]
    text = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"  # noqa: S608
    return f"{text} ON CONFLICT {_SKIP.get(table, '')} DO NOTHING"


_INSERT = {table: _insert(table, columns) for table, columns in core.COLUMNS.items()}
_REJECT = _insert("ledger_rejects", ("stream", "path", "reason", "line"))
# Data that a table refuses: wrong values, constraints, an index entry too long. Anything else is the database's trouble
_DATA = ("22", "23", "54")


class MovedError(Exception):
    """Somebody else moved a position meanwhile: nothing was written, positions must be read again."""


class Store:
    """One connection. Every method may raise psycopg.Error, after which the store is useless."""

    def __init__(self, conninfo: str) -> None:
        self._connection: psycopg.Connection[Any] = psycopg.connect(
            conninfo, autocommit=True, connect_timeout=5, application_name="clinic-ledger",
            options="-c statement_timeout=20s -c lock_timeout=10s -c timezone=UTC -c client_min_messages=error",
        )  # fmt: skip
        rows = self._connection.execute("SELECT stream, head, position FROM ledger_offsets").fetchall()
        self.positions: dict[tuple[str, str], int] = {(stream, head): position for stream, head, position in rows}

    def close(self) -> None:
        self._connection.close()

    def commit(self, reads: Sequence[Read]) -> None:
        """Write everything or nothing. A row that its table refuses becomes a reject, and the others arrive."""
        try:
            self._write(reads, careful=False)
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _DATA:
                raise
            self._write(reads, careful=True)
        for read in reads:
            read.tail.position = read.position + read.batch.consumed
            self.positions[read.stream, read.tail.head] = read.tail.position

    def _write(self, reads: Sequence[Read], careful: bool) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            for read in reads:
                self._move(cursor, read)
                self._rejects(cursor, read, read.batch.rejects)
                if careful:
                    self._rejects(cursor, read, [r for row in read.batch.rows if (r := self._one(cursor, read, row))])
                else:
                    for table, insert in _INSERT.items():
                        rows = [_values(read, row) for row in read.batch.rows if row.table == table]
                        if rows:
                            cursor.executemany(insert, rows)

    def _move(self, cursor: psycopg.Cursor[Any], read: Read) -> None:
        """Take the file's position forward, only from where we began; this also locks out a second ledger."""
        place = (read.position + read.batch.consumed, str(read.tail.path), read.tail.inode, read.stream, read.tail.head)
        if (read.stream, read.tail.head) in self.positions:
            cursor.execute(
                "UPDATE ledger_offsets SET position = %s, path = %s, inode = %s, updated = now()"
                " WHERE stream = %s AND head = %s AND position = %s",
                (*place, read.position),
            )
        else:
            cursor.execute(
                "INSERT INTO ledger_offsets (position, path, inode, stream, head) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                place,
            )
        if cursor.rowcount != 1:
            raise MovedError

    def _one(self, cursor: psycopg.Cursor[Any], read: Read, row: core.Row) -> core.Reject | None:
        try:
            with self._connection.transaction():
                cursor.execute(_INSERT[row.table], _values(read, row))
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _DATA:
                raise
            return core.Reject(row.offset, f"{row.table}: {_OURS} ({error.sqlstate})", row.line)
        return None

    @staticmethod
    def _rejects(cursor: psycopg.Cursor[Any], read: Read, rejects: Sequence[core.Reject]) -> None:
        for reject in rejects:
            text = reject.line.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
            place = (read.tail.head, reject.offset)
            cursor.execute(_REJECT, (read.stream, str(read.tail.path), reject.reason, text, *place))


def _values(read: Read, row: core.Row) -> tuple[core.Value, ...]:
    return (*row.values, read.tail.head, row.offset) if row.table in _PLACED else row.values
