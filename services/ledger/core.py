"""Bytes of Asterisk's record files -> typed rows. Pure: no files, no database.

CDR and CEL are csv as Asterisk's cdrel writes it: every field quoted, quotes doubled, so a caller's name may hold
commas, quotes and line ends. The queue log is `epoch|callid|queue|agent|event|data...`. What cannot be read becomes a
`Reject` with its place in the file; it never stops what follows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

COLUMNS = {
    "cdr": (
        "start", "answer", "end", "clid", "src", "dst", "dcontext", "channel", "dstchannel", "lastapp", "lastdata",
        "duration", "billsec", "disposition", "amaflags", "accountcode", "uniqueid", "linkedid", "sequence",
        "userfield", "direction", "did", "trunk", "stage", "recording",
    ),
    "cel": (
        "eventtype", "eventtime", "cidname", "cidnum", "exten", "context", "channame", "appname", "appdata",
        "amaflags", "accountcode", "uniqueid", "linkedid", "bridgepeer", "userfield", "userdeftype", "eventextra",
    ),
    "queue_log": (
        "time", "callid", "queuename", "agent", "event", "data1", "data2", "data3", "data4", "data5",
    ),
    "missed_calls": ("linkedid", "at", "caller", "did", "flow", "stage", "wait_seconds"),
}  # fmt: skip
"""Table -> its columns, in the order of the file and of `Row.values`."""
STREAMS = ("cdr", "cel", "queue_log")

WATCHERS = ("Local/s@silence-", "Local/s@meter-")
"""Channels that watch whether a provider responds, or pay for a call: no calls, so no events of calls."""
_CHANNEL = COLUMNS["cel"].index("channame")

LONGEST = 1 << 16
"""Bytes. Asterisk's own buffers end far below; what is longer is not a record."""

Value = str | int | datetime | None
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = {"start", "answer", "end", "eventtime", "time"}
_MAY_BE_UNSET = {"answer", "end"}
_NUMBERS = {"duration", "billsec", "sequence"}
_FIELD = re.compile(r'"([^"]*(?:""[^"]*)*)"(,|\Z)')
_MOMENT = re.compile(r"(\d{1,11})(?:\.(\d{1,6}))?", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,9}", re.ASCII)


class MalformedError(ValueError):
    """Why a line is not a record; says the column, never the value."""


@dataclass(frozen=True)
class Row:
    """One row of `table`; `line` are the bytes it came from and `offset` their place in the file."""

    table: str
    values: tuple[Value, ...]
    offset: int
    line: bytes


@dataclass(frozen=True)
class Reject:
    """A line that is kept as it is."""

    offset: int
    reason: str
    line: bytes


@dataclass(frozen=True)
class Batch:
    """What `consumed` bytes hold. The bytes after them are the beginning of a record still being written."""

    rows: tuple[Row, ...]
    rejects: tuple[Reject, ...]
    consumed: int


def parse(stream: str, data: bytes, base: int = 0, final: bool = False) -> Batch:
    """All complete records in `data`, which begins at byte `base` of the file, at a record's beginning.

    `final`: nothing will be written after it any more, so an unfinished record is a reject.
    """
    rows: list[Row] = []
    rejects: list[Reject] = []
    at = 0
    for start, end, reason in _records(stream, data, final):
        line = data[start:end].removesuffix(b"\n")
        try:
            if reason:
                raise MalformedError(reason)
            values = _values(stream, line)
            at = end
            if stream == "cel" and str(values[_CHANNEL]).startswith(WATCHERS):
                continue
            rows.append(Row(stream, values, base + start, line))
            if stream == "cel" and (call := missed(values)):
                rows.append(Row("missed_calls", call, base + start, line))
        except MalformedError as error:
            rejects.append(Reject(base + start, str(error), line))
        at = end
    return Batch(tuple(rows), tuple(rejects), at)


def missed(event: tuple[Value, ...]) -> tuple[Value, ...] | None:
    """The missed call that a CEL event tells of: userdeftype MISSED, `did=...|caller=...|flow=...|stage=...|wait=N`.

    CELGenUserEvent wraps its text as {"extra": "..."}. What is not there stays empty; the call is missed all the same.
    """
    cel = dict(zip(COLUMNS["cel"], event, strict=True))
    if cel["userdeftype"] != "MISSED":
        return None
    text = str(cel["eventextra"])
    try:
        wrapped = json.loads(text)
        text = str(wrapped.get("extra", "")) if isinstance(wrapped, dict) else text
    except (ValueError, RecursionError):
        pass
    told = dict(part.partition("=")[::2] for part in _clean(text).split("|"))
    wait = told.get("wait", "")
    return (
        cel["linkedid"], cel["eventtime"], told.get("caller", ""), told.get("did", ""), told.get("flow", ""),
        told.get("stage", ""), max(int(wait), 0) if _NUMBER.fullmatch(wait) else None,
    )  # fmt: skip


def moment(text: str) -> datetime | None:
    """`seconds[.microseconds]` since 1970 -> UTC, None for zero or nothing. MalformedError when it is no such thing."""
    if not text:
        return None
    found = _MOMENT.fullmatch(text)
    if not found:
        raise MalformedError("not an epoch time")
    seconds, fraction = int(found[1]), int((found[2] or "").ljust(6, "0"))
    return _EPOCH + timedelta(seconds=seconds, microseconds=fraction) if seconds else None


def _records(stream: str, data: bytes, final: bool) -> Iterator[tuple[int, int, str]]:
    """(start, end, reason it is broken or empty) of each complete record."""
    start = 0
    while start < len(data):
        end, reason = _end(stream, data, start)
        if end is None:
            if len(data) - start >= LONGEST:
                end, reason = _cut(data, start), "no record is so long"
            elif final:
                end, reason = _cut(data, start), "torn: the file ends within it"
            else:
                return
        yield start, end, reason
        start = end


def _cut(data: bytes, start: int) -> int:
    """The end of the physical line at `start`: what is given up at once is as little as possible."""
    return min(data.find(b"\n", start) + 1 or len(data), start + LONGEST)


def _end(stream: str, data: bytes, start: int) -> tuple[int | None, str]:
    """Where the record at `start` ends and why it is broken; None while it is still being written.

    A csv record ends at the first line end outside quotes. After a torn one the quotes would be read inside out, so a
    whole record on a line of its own ends the doubt. Text within a field cannot pass for one: its quotes come in pairs,
    so no field there can hold the time that every record has.
    """
    first = at = data.find(b"\n", start) + 1
    if not first:
        return None, ""
    if stream == "queue_log" or data.count(b'"', start, first) % 2 == 0:
        return first, ""
    odd = True
    while odd:
        following = data.find(b"\n", at) + 1
        if not following:
            return None, ""
        if following - start > LONGEST or _is_record(stream, data[at : following - 1]):
            return first, "torn: another record begins within it"
        odd ^= data.count(b'"', at, following) % 2 == 1
        at = following
    try:
        _values(stream, data[start : at - 1])
    except MalformedError as error:
        return first, str(error)
    return at, ""


def _is_record(stream: str, line: bytes) -> bool:
    try:
        return bool(_values(stream, line))
    except MalformedError:
        return False


def _values(stream: str, line: bytes) -> tuple[Value, ...]:
    text = _clean(line.decode("utf-8", "replace"))
    fields = _piped(text) if stream == "queue_log" else _quoted(text)
    columns = COLUMNS[stream]
    if len(fields) != len(columns):
        raise MalformedError(f"{len(fields)} fields, {len(columns)} expected")
    values = [_typed(column, field) for column, field in zip(columns, fields, strict=True)]
    if stream == "cel" and values[15]:
        values[0] = "USER_DEFINED"  # Asterisk's eventtype is the user's own name for these, its eventenum this
    return tuple(values)


def _quoted(text: str) -> list[str]:
    fields, at = [], 0
    while found := _FIELD.match(text, at):
        fields.append(found[1].replace('""', '"'))
        at = found.end()
        if not found[2]:
            if at == len(text):
                return fields
            break
    raise MalformedError(f"field {len(fields) + 1} is not quoted as csv")


def _piped(text: str) -> list[str]:
    fields = text.split("|", 9)
    if len(fields) < 5:
        raise MalformedError(f"{len(fields)} fields, at least 5 expected")
    return fields + [""] * (10 - len(fields))


def _typed(column: str, text: str) -> Value:
    if column in _TIMES:
        try:
            time = moment(text)
        except MalformedError as error:
            raise MalformedError(f"{column}: {error}") from None
        if time is None and column not in _MAY_BE_UNSET:
            raise MalformedError(f"{column}: empty")
        return time
    if column in _NUMBERS:
        if not _NUMBER.fullmatch(text):
            raise MalformedError(f"{column}: not a number")
        return int(text)
    if column == "linkedid" and not text:
        raise MalformedError("linkedid: empty")
    return text


def _clean(text: str) -> str:
    """PostgreSQL's text holds no NUL and no lone surrogate; Asterisk's fixed buffers may cut a letter in two."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
