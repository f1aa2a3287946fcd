"""What the PBX wrote down of a call: CDR, CEL, missed calls in PostgreSQL, and the recording's file."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from clinicpbx.verify.pbx import RECORDINGS, Pbx, expect
from softphone.wav import Tones, find_tones

_FIELDS = ("src", "did", "trunk", "stage", "direction", "disposition", "lastapp", "lastdata", "recording", "linkedid")


@dataclass(frozen=True)
class Cdr:
    """One row of table cdr; times are not needed, so they are not read."""

    src: str
    did: str
    trunk: str
    stage: str
    direction: str
    disposition: str
    lastapp: str
    lastdata: str
    recording: str
    linkedid: str


@dataclass(frozen=True)
class Missed:
    """One row of table missed_calls; `wait` in seconds."""

    caller: str
    did: str
    stage: str
    wait: int


def cdrs(pbx: Pbx, caller: str, at_least: int = 1, timeout: float = 10) -> list[Cdr]:
    """The CDR rows of a caller (as the PBX writes the number: +7...), waiting for them."""
    columns = ", ".join(f"coalesce({name}::text, '')" for name in _FIELDS)
    query = f"select {columns} from cdr where src = '{caller}' order by uniqueid, sequence"  # noqa: S608 - our number
    return [Cdr(*row) for row in pbx.rows(query, at_least, timeout)]


def missed(pbx: Pbx, caller: str, at_least: int = 1, timeout: float = 10) -> list[Missed]:
    query = f"select caller, did, stage, wait_seconds from missed_calls where caller = '{caller}'"  # noqa: S608 - our number
    rows = pbx.rows(query, at_least, timeout) if at_least else pbx.sql(query)
    return [Missed(row[0], row[1], row[2], int(row[3])) for row in rows]


def exactly_one_missed(pbx: Pbx, caller: str) -> Missed:
    """One row now, and still one after the ledger had time for a second."""
    found = missed(pbx, caller)
    time.sleep(0.7)
    again = missed(pbx, caller)
    expect(len(found) == len(again) == 1, f"{len(again)} missed rows for {caller}, 1 expected")
    return found[0]


def recording(pbx: Pbx, path: str, tones: tuple[int, ...]) -> Tones:
    """The tones in a recording, fetched over SSH; `path` as in cdr.recording."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        Path(file.name).write_bytes(pbx.fetch(f"{RECORDINGS}/{path}"))
        return find_tones(file.name, tones)
