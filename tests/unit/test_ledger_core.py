"""The ledger's reading of Asterisk's record files: what is a row, what is a reject, and what waits."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from services.ledger.core import COLUMNS, LONGEST, Batch, MalformedError, moment, parse

START = "1795387477.009516"
CDR = {
    "start": START, "answer": "0.000000", "end": "1795387478.233278", "clid": '"Лебедева Анна" <2001>', "src": "2001",
    "dst": "112", "duration": "1", "billsec": "0", "disposition": "NO ANSWER", "uniqueid": "pbx-1795387477.1",
    "linkedid": "pbx-1795387477.1", "sequence": "30",
}  # fmt: skip
CEL = {"eventtype": "CHAN_START", "eventtime": START, "cidname": "Лебедева", "uniqueid": "1.1", "linkedid": "1.1"}


def csv(table: str, fields: dict[str, str], **changed: str) -> bytes:
    """A line exactly as Asterisk's cdrel writes it."""
    values = [(fields | changed).get(column, "") for column in COLUMNS[table]]
    return (",".join('"' + v.replace('"', '""') + '"' for v in values) + "\n").encode()


def cdr(**changed: str) -> bytes:
    return csv("cdr", CDR, **changed)


def cel(**changed: str) -> bytes:
    return csv("cel", CEL, **changed)


def column(batch: Batch, name: str, row: int = 0) -> object:
    found = batch.rows[row]
    return found.values[COLUMNS[found.table].index(name)]


def test_a_line_that_asterisk_22_wrote_is_read() -> None:
    line = (
        '"1795387482.235028","1795387482.745559","1795387483.360211","""Лебедева Анна Сергеевна"" <2001>","2001",'
        '"89161234567","phones-national","PJSIP/2001-0000001c","PJSIP/south-wan-a-0000001d","Dial","PJSIP/89161234567@'
        'south-wan-a,120^2.5,f(84957650001)ib(leg-channel^s^1(south))U","1","0","ANSWERED","DOCUMENTATION","",'
        '"pbx-1795387482.49","pbx-1795387482.49","32","","out","","south-wan-a","","2026/11/23/1795387482.49.wav"\n'
    )
    batch = parse("cdr", line.encode())
    assert not batch.rejects and batch.consumed == len(line.encode())
    assert column(batch, "start") == datetime(2026, 11, 22, 22, 44, 42, 235028, tzinfo=UTC)
    assert column(batch, "clid") == '"Лебедева Анна Сергеевна" <2001>'
    assert column(batch, "recording") == "2026/11/23/1795387482.49.wav"


def test_what_only_watches_a_provider_is_no_event_of_a_call() -> None:
    batch = parse("cel", cel(channame="Local/s@silence-0000001a;1") + cel(channame="PJSIP/2001-00000001"))
    assert [column(batch, "channame")] == ["PJSIP/2001-00000001"] and not batch.rejects


def test_an_unanswered_call_has_no_answer_time() -> None:
    assert column(parse("cdr", cdr()), "answer") is None


@pytest.mark.parametrize(
    "name",
    [
        "Ёлкина Юлия",
        '"Кавычки" и ""пары""',
        "a,b|c;d",
        "строка\nвторая\r\nтретья",
        "'); DROP TABLE cdr; --",
        "$1 %s %(x)s \\N \\. \x07",
        "\n" + cel().decode(),
        '"\n","' * 9,
        "\n" + '"","' * 30 + "\n",
    ],
)
def test_whatever_a_caller_is_called_stays_one_value(name: str) -> None:
    data = cdr() + cdr(clid=name) + cdr(src="last")
    batch = parse("cdr", data)
    assert not batch.rejects and batch.consumed == len(data)
    assert [column(batch, "clid", 1), column(batch, "src", 2)] == [name, "last"]
    events = parse("cel", cel(cidname=name) + cel())
    assert not events.rejects and column(events, "cidname") == name and len(events.rows) == 2


def test_a_letter_cut_in_two_by_asterisks_buffer_is_marked_not_refused() -> None:
    line = cdr(lastdata="Ж").replace("Ж".encode(), "Ж".encode()[:1])
    assert column(parse("cdr", line), "lastdata") == "\ufffd"


def test_a_record_still_being_written_waits() -> None:
    data = cdr() + cdr(clid="строка\nвторая")
    for length in range(len(cdr()), len(data)):
        batch = parse("cdr", data[:length])
        assert (len(batch.rows), len(batch.rejects), batch.consumed) == (1, 0, len(cdr()))
    assert len(parse("cdr", data).rows) == 2


def test_a_torn_record_is_kept_and_stops_nothing() -> None:
    """A crash left half a line, with or without a line end; Asterisk wrote on after it."""
    for length in range(1, len(cdr()) - 1):
        torn = cdr()[:length]
        separate = parse("cdr", cdr() + torn + b"\n" + cdr() + cdr(src="last"))
        assert [len(separate.rows), len(separate.rejects)] == [3, 1], torn
        assert (separate.rejects[0].offset, separate.rejects[0].line) == (len(cdr()), torn)
        joined = parse("cdr", cdr() + torn + cdr() + cdr(src="last"))
        assert column(joined, "src", -1) == "last" and joined.consumed == len(cdr() * 2 + torn + cdr(src="last")), torn
        assert len(joined.rows) + len(joined.rejects) == 3


def test_the_end_of_a_file_nobody_writes_any_more_is_not_waited_for() -> None:
    batch = parse("cdr", cdr() + cdr()[:40], base=1000, final=True)
    assert (len(batch.rows), batch.rejects[0].offset, batch.consumed) == (1, 1000 + len(cdr()), len(cdr()) + 40)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\n", "quoted"),
        (b"garbage\n", "quoted"),
        (b"\xff\xfe\x00\n", "quoted"),
        (cdr().replace(b'","', b'","x","', 1), "26 fields"),
        (cdr(start=""), "start: empty"),
        (cdr(start="2026-11-22 10:00:00"), "start: not an epoch time"),
        (cdr(duration="many"), "duration: not a number"),
        (cdr(duration="99999999999"), "duration: not a number"),
        (cdr(sequence="١"), "sequence: not a number"),
        (cdr(linkedid=""), "linkedid: empty"),
    ],
)
def test_a_line_that_is_no_record_is_rejected_with_its_reason(line: bytes, reason: str) -> None:
    batch = parse("cdr", cdr() + line + cdr())
    assert len(batch.rows) == 2 and reason in batch.rejects[0].reason
    assert batch.rejects[0].line == line.removesuffix(b"\n")


def test_an_endless_line_does_not_fill_the_memory() -> None:
    batch = parse("cel", b'"' + b"x" * (LONGEST + 10))
    assert batch.consumed >= LONGEST and not batch.rows


def test_nul_bytes_never_reach_the_database() -> None:
    batch = parse("cel", cel(cidname="a\0b", cidnum="\0"))
    assert (column(batch, "cidname"), column(batch, "cidnum")) == ("a\ufffdb", "\ufffd")


def told(text: str) -> bytes:
    """A MISSED event as CELGenUserEvent writes it: eventtype is the user's own name, the text is wrapped in JSON."""
    return cel(eventtype="MISSED", userdeftype="MISSED", eventextra=json.dumps({"extra": text}, ensure_ascii=False))


def test_a_missed_call_is_an_event_and_a_missed_call() -> None:
    batch = parse("cel", told("did=+74951230001|caller=+79161234567|flow=children|stage=receptions|wait=47"))
    assert [row.table for row in batch.rows] == ["cel", "missed_calls"]
    assert column(batch, "eventtype") == "USER_DEFINED"
    assert batch.rows[1].values[0] == "1.1"
    assert batch.rows[1].values[2:] == ("+79161234567", "+74951230001", "children", "receptions", 47)


@pytest.mark.parametrize("text", ["", "did", "wait=soon", "did=1|wait=", "wait=999999999999", "\0|\ud800"])
def test_a_missed_call_told_badly_is_missed_all_the_same(text: str) -> None:
    batch = parse("cel", told(text.encode("utf-8", "replace").decode()))
    assert batch.rows[1].table == "missed_calls" and batch.rows[1].values[6] is None


@pytest.mark.parametrize("extra", ["did=7|caller=8|wait=1", "[" * 5000, "{", "[1]", "null"])
def test_an_extra_that_is_no_object_is_taken_as_text(extra: str) -> None:
    batch = parse("cel", cel(userdeftype="MISSED", eventextra=extra))
    assert len(batch.rows) == 2 and (batch.rows[1].values[3] == "7") == extra.startswith("did")


def test_other_events_of_ours_are_not_missed_calls() -> None:
    """The control."""
    assert [r.table for r in parse("cel", cel(userdeftype="MISSED2", eventextra="did=1")).rows] == ["cel"]
    assert [r.table for r in parse("cel", cel(eventextra="MISSED")).rows] == ["cel"]


def test_queue_log_lines_have_up_to_five_data_fields() -> None:
    batch = parse(
        "queue_log",
        b"1795387396|NONE|NONE|NONE|QUEUESTART|\n"
        b"1795387400|1.1|operators|PJSIP/2001|COMPLETECALLER|3|40|1\n"
        b"1795387401|1.2|operators|NONE|X|a|b|c|d|e|f|g\n",
    )
    assert not batch.rejects
    assert batch.rows[0].values[1:] == ("NONE", "NONE", "NONE", "QUEUESTART", "", "", "", "", "")
    assert batch.rows[1].values[5:] == ("3", "40", "1", "", "")
    assert batch.rows[2].values[9] == "e|f|g"


def test_a_quote_in_the_queue_log_is_a_letter() -> None:
    batch = parse("queue_log", '1|1.1|q|"Ёж|ENTERQUEUE||+7916\nnonsense\n2|1.1|q|a|X|'.encode())
    assert (len(batch.rows), batch.rows[0].values[3]) == (1, '"Ёж')
    assert batch.rejects[0].reason == "1 fields, at least 5 expected"


def test_moments_keep_their_microseconds() -> None:
    assert moment("1795387477.009516") == datetime(2026, 11, 22, 22, 44, 37, 9516, tzinfo=UTC)
    assert moment("1795387477.5") == datetime(2026, 11, 22, 22, 44, 37, 500000, tzinfo=UTC)
    assert moment("0.000000") is None is moment("")
    for wrong in ("-1", "1e9", "2026-11-22", "1.", "١٢٣", "999999999999"):
        with pytest.raises(MalformedError):
            moment(wrong)
