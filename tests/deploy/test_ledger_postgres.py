"""The ledger as a process against a real PostgreSQL: every row once, whatever is stopped, killed or hostile.

The file is over the usual size because one database serves it all, and starting another costs seconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3"  # Debian's, with Debian's psycopg, as on the PBX
# The control: the position is not written with the rows, and nothing tells a row that is there already.
FORGETFUL = """
from services.ledger import main, store
store.Store._move = lambda *a: None
store._INSERT = {{table: text.partition(" ON CONFLICT")[0] for table, text in store._INSERT.items()}}
main.main({})
"""
WITHOUT_KEYS = "ALTER TABLE cdr DROP CONSTRAINT cdr_place, DROP CONSTRAINT cdr_record"


class Postgres:
    """A cluster of its own in a temporary folder, on a Unix socket only, as user postgres."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
        assert found, "no PostgreSQL server here: apt-get install postgresql (scripts/packages.txt)"
        self.bin, self.folder, self.data = found[-1].parent, folder, folder / "data"
        shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(self.data), "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c shared_buffers=16MB -c max_connections=20"
        self._run(
            "pg_ctl", "-D", str(self.data), "-l", str(self.folder / "log"), "-w", "-t", "30", "-o", options, "start"
        )

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.data), "-w", "-t", "30", "-m", mode, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = ["runuser", "-u", "postgres", "--", str(self.bin / program), *arguments]
        # Never a pipe: the server would inherit it and hold it open.
        with (self.folder / "commands.log").open("a") as log:
            subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", timeout=60, check=True)

    def sql(self, text: str, role: str = "postgres", database: str = "clinicpbx", check: bool = True) -> str:
        """Lines of `a|b|c`."""
        done = subprocess.run(
            ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-U", role, database],
            input=text, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(done.stderr)
        return (done.stdout + done.stderr).strip()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="ledger-", dir="/tmp") as folder:  # a socket's path is short
        server = Postgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


@pytest.fixture
def database(postgres: Postgres) -> Postgres:
    """Roles and tables made as tasks/database.py makes them."""
    postgres.sql("DROP DATABASE IF EXISTS clinicpbx WITH (FORCE)", database="postgres")
    here = ROOT / "files/database"
    postgres.sql((here / "roles.sql").read_text().replace(":VERIFIER", "unused"), database="postgres")
    for _ in range(2):  # it may be applied again
        assert postgres.sql("SET ROLE clinicpbx;\n" + (here / "schema.sql").read_text()) == ""
    return postgres


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for folder in ("cdr-custom", "cel-custom"):
        (tmp_path / folder).mkdir()
    return tmp_path


@contextmanager
def running(
    database: Postgres, logs: Path, code: str = "", extra: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """The ledger's process. `code`: run this instead of its program, with the arguments filled in."""
    arguments = [
        "--database", f"host={database.folder} dbname=clinicpbx user=clinic-ledger", "--logs", str(logs),
        "--chunk", "1", *extra,
    ]  # fmt: skip
    program = ["-c", code.format(arguments)] if code else ["-m", "services.ledger.main", *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with (logs / "ledger.log").open("a") as log:
        process = subprocess.Popen(
            [PYTHON, *program], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(15)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def eventually(what: Callable[[], object], wanted: object, timeout: float = 30) -> None:
    until = time.monotonic() + timeout
    while (found := what()) != wanted:
        assert time.monotonic() < until, f"{found!r}, {wanted!r} expected"
        time.sleep(0.05)


def quoted(*values: str) -> str:
    return ",".join('"' + v.replace('"', '""') + '"' for v in values) + "\n"


def cdr(call: int, clid: str = "Ёлкина Юлия", src: str = "2001", recording: str = "") -> str:
    return quoted(
        f"{1795387477 + call}.000001", "0.000000", f"{1795387479 + call}.5", clid, src, "112", "phones", "PJSIP/2001-1",
        "", "Dial", "x", "2", "0", "NO ANSWER", "DOCUMENTATION", "", f"pbx-{call}.1", f"pbx-{call}.1", str(call), "",
        "out", "", "north", "", recording,
    )  # fmt: skip


def cel(call: int, kind: str = "", extra: str = "") -> str:
    return quoted(
        kind or "HANGUP", f"{1795387477 + call}.25", "Ёлкина", "2001", "s", "phones", "PJSIP/2001-1", "", "", "3", "",
        f"pbx-{call}.1", f"pbx-{call}.1", "", "", kind, extra,
    )  # fmt: skip


def append(path: Path, text: str) -> None:
    """As Asterisk does: opened for each record."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def counted(database: Postgres, table: str = "cdr", column: str = "uniqueid") -> Callable[[], str]:
    """`rows|different rows` of a table."""
    return lambda: database.sql(f"SELECT count(*), count(DISTINCT {column}) FROM {table}")  # noqa: S608


def test_rows_of_all_three_files_arrive_within_half_a_second(database: Postgres, logs: Path) -> None:
    with running(database, logs):
        append(logs / "cdr-custom/cdr.csv", cdr(1))
        eventually(counted(database), "1|1")
        append(logs / "cdr-custom/cdr.csv", cdr(2))
        append(logs / "cel-custom/cel.csv", cel(2))
        append(logs / "queue_log", "1795387396|pbx-2.1|operators|NONE|ENTERQUEUE||+79161234567|1\n")
        began = time.monotonic()
        eventually(counted(database), "2|2", 5)
        eventually(counted(database, "cel"), "1|1", 5)
        eventually(counted(database, "queue_log", "callid"), "1|1", 5)
        assert time.monotonic() - began < 0.5 + 3 * 0.1, "psql's own start is about 0.05 s each"
    assert database.sql("SELECT clid, answer IS NULL, start AT TIME ZONE 'UTC' FROM cdr ORDER BY position LIMIT 1") == (
        "Ёлкина Юлия|t|2026-11-22 22:44:38.000001"
    )
    assert database.sql("SELECT event, data2, data3 FROM queue_log") == "ENTERQUEUE|+79161234567|1"


def test_a_missed_call_is_one_row_however_often_it_is_told(database: Postgres, logs: Path) -> None:
    told = '{"extra":"did=+74951230001|caller=+79161234567|flow=children|stage=receptions|wait=47"}'
    append(logs / "cel-custom/cel.csv", cel(1, "MISSED", told) + cel(1, "MISSED", told) + cel(2, "OTHER", told))
    with running(database, logs):
        eventually(counted(database, "cel", "uniqueid"), "3|2")
    assert database.sql("SELECT linkedid, caller, did, flow, stage, wait_seconds FROM missed_calls") == (
        "pbx-1.1|+79161234567|+74951230001|children|receptions|47"
    )
    assert database.sql("SELECT DISTINCT eventtype FROM cel") == "USER_DEFINED"


def test_rows_written_while_the_database_is_stopped_arrive_after_it_once(database: Postgres, logs: Path) -> None:
    path = logs / "cdr-custom/cdr.csv"
    with running(database, logs) as process:
        append(path, "".join(map(cdr, range(50))))
        eventually(counted(database), "50|50")
        database.stop("immediate")  # as a crash
        try:
            for call in range(50, 120):
                append(path, cdr(call))
            time.sleep(1.5)
            assert process.poll() is None
        finally:
            database.start()
        for call in range(120, 130):
            append(path, cdr(call))
        eventually(counted(database), "130|130")
        time.sleep(0.5)
        assert counted(database)() == "130|130"
    assert process.returncode == 0, "SIGTERM ends it cleanly"
    assert "the database is away" in (logs / "ledger.log").read_text()


def test_a_ledger_started_before_its_database_waits_for_it(database: Postgres, logs: Path) -> None:
    append(logs / "cdr-custom/cdr.csv", cdr(1))
    database.stop()
    try:
        with running(database, logs) as process:
            time.sleep(0.8)
            assert process.poll() is None
            database.start()
            eventually(counted(database), "1|1")
    finally:
        if not (database.data / "postmaster.pid").exists():
            database.start()


CALLS = 12_000


def killed_midway(database: Postgres, logs: Path, code: str = "") -> int:
    """Kill -9 three times while rows arrive. -> rows in the table after the first kill"""
    append(logs / "cdr-custom/cdr.csv", "".join(map(cdr, range(CALLS))))
    after = 0
    for _ in range(3):
        with running(database, logs, code) as process:
            before = int(database.sql("SELECT count(*) FROM cdr"))
            until = time.monotonic() + 20
            while int(database.sql("SELECT count(*) FROM cdr")) == before and time.monotonic() < until:
                pass
            kill(process)
        after = after or int(database.sql("SELECT count(*) FROM cdr"))
    return after


def test_killed_midway_every_row_is_there_once(database: Postgres, logs: Path) -> None:
    after = killed_midway(database, logs)
    assert 0 < after < CALLS, "the kill was midway"
    with running(database, logs):
        eventually(counted(database), f"{CALLS}|{CALLS}")


def test_control_without_the_position_in_the_transaction_rows_come_twice(database: Postgres, logs: Path) -> None:
    database.sql(WITHOUT_KEYS)
    killed_midway(database, logs, FORGETFUL)
    with running(database, logs, FORGETFUL):
        eventually(lambda: database.sql("SELECT count(DISTINCT uniqueid) FROM cdr"), str(CALLS))
    assert int(database.sql("SELECT count(*) FROM cdr")) > CALLS


def test_two_ledgers_at_once_write_each_row_once(database: Postgres, logs: Path) -> None:
    """As when a new one starts before the old one's last transaction has ended."""
    path = logs / "cdr-custom/cdr.csv"
    with running(database, logs), running(database, logs):
        for first in range(0, 3000, 100):
            append(path, "".join(map(cdr, range(first, first + 100))))
            time.sleep(0.02)
        eventually(counted(database), "3000|3000")
        time.sleep(0.6)
    assert counted(database)() == "3000|3000"


def catch_up(database: Postgres, logs: Path) -> int:
    """The ledger with --once. -> its exit code"""
    with running(database, logs, extra=["--once"]) as process:
        return process.wait(30)


def test_with_positions_lost_every_line_is_still_stored_once(database: Postgres, logs: Path) -> None:
    """As when ledger_offsets is restored from an old backup: the keys of the tables stand in."""
    queue = "".join(f"{1795387396 + i // 2}|NONE|NONE|NONE|CONFIGRELOAD|\n" for i in range(10))  # alike, yet two events
    append(logs / "cdr-custom/cdr.csv", "".join(map(cdr, range(40))) + "garbage\n")
    append(logs / "cel-custom/cel.csv", "".join(map(cel, range(40))))
    append(logs / "queue_log", queue)
    stored = "SELECT (SELECT count(*) FROM cdr), (SELECT count(*) FROM cel), (SELECT count(*) FROM queue_log), (SELECT"
    stored += " count(*) FROM ledger_rejects)"
    assert catch_up(database, logs) == 0
    assert database.sql(stored) == "40|40|10|1"
    database.sql("DELETE FROM ledger_offsets")
    append(logs / "cdr-custom/cdr.csv", cdr(40))
    assert catch_up(database, logs) == 0
    assert database.sql(stored) == "41|40|10|1"
    assert database.sql("SELECT count(*) FROM ledger_offsets") == "3"


def test_a_cdr_told_again_in_another_file_is_refused_and_seen(database: Postgres, logs: Path) -> None:
    append(logs / "cdr-custom/cdr.csv", cdr(1) + cdr(2) + cdr(1))
    assert catch_up(database, logs) == 0
    assert counted(database)() == "2|2"
    assert database.sql("SELECT reason FROM ledger_rejects") == "cdr: the table refuses it (23505)"


def test_catching_up_without_a_database_says_so(postgres: Postgres, logs: Path, tmp_path: Path) -> None:
    with running(postgres, logs, extra=["--once", "--database", f"host={tmp_path} dbname=clinicpbx"]) as process:
        assert process.wait(20) == 1


def test_a_file_renamed_by_rotation_is_read_to_its_end(database: Postgres, logs: Path) -> None:
    path, queue = logs / "cdr-custom/cdr.csv", logs / "queue_log"
    with running(database, logs):
        append(path, "".join(map(cdr, range(10))))
        with queue.open("a") as held:  # Asterisk keeps this one open until it is told
            held.write("1795387396|c0|operators|a|X|\n")
            held.flush()
            eventually(counted(database), "10|10")
            append(path, cdr(10))
            path.rename(path.with_name("cdr.csv.1"))
            queue.rename(queue.with_name("queue_log.1"))
            append(path, cdr(11))
            held.write("1795387397|c1|operators|a|X|\n")
        append(queue, "1795387398|c2|operators|a|X|\n")
        eventually(counted(database), "12|12")
        eventually(counted(database, "queue_log", "callid"), "3|3")


def test_rotations_while_the_ledger_was_stopped_lose_and_repeat_nothing(database: Postgres, logs: Path) -> None:
    path = logs / "cdr-custom/cdr.csv"
    append(path, cdr(0) + cdr(1))
    with running(database, logs):
        eventually(counted(database), "2|2")
    append(path, cdr(2))
    path.rename(path.with_name("cdr.csv.2"))
    append(path, cdr(3) + cdr(4)[:50])  # a crash tore the last one
    path.rename(path.with_name("cdr.csv.1"))
    os.utime(path.with_name("cdr.csv.1"), (0, 0))
    append(path, cdr(5))
    path.with_name("cdr.csv.9.gz").write_bytes(b"not ours")
    with running(database, logs):
        eventually(counted(database), "5|5")
        eventually(counted(database, "ledger_rejects", "position"), "1|1")
    reason = database.sql("SELECT stream, position, reason, line FROM ledger_rejects")
    assert reason == f"cdr|{len(cdr(3).encode())}|torn: the file ends within it|{cdr(4)[:50]}"
    # A backup restored under another inode is the same file.
    shutil.copy(path, path.with_name("restored"))
    path.with_name("restored").replace(path)
    append(path, cdr(6))
    with running(database, logs):
        eventually(counted(database), "6|6")
        time.sleep(0.5)
        assert counted(database)() == "6|6"


def test_hostile_text_stays_data_and_a_refused_row_stops_nothing(database: Postgres, logs: Path) -> None:
    hostile = '\'); DROP TABLE cdr; --\n"x","y" \\N %s $1'
    long = "".join(chr(0x4E00 + (i * 7919) % 20000) for i in range(6000))  # no index can hold it
    refused = cdr(2).replace('"pbx-2.1","pbx-2.1"', f'"pbx-2.1","{long}"')
    append(logs / "cdr-custom/cdr.csv", cdr(1, hostile) + "garbage\n" + refused + cdr(3, recording="last"))
    with running(database, logs):
        eventually(counted(database), "2|2")
        eventually(counted(database, "ledger_rejects", "position"), "2|2")
    assert database.sql("SELECT clid FROM cdr ORDER BY position LIMIT 1") == hostile
    assert database.sql("SELECT recording FROM cdr ORDER BY position DESC LIMIT 1") == "last"
    assert database.sql("SELECT reason FROM ledger_rejects ORDER BY position").splitlines() == [
        "field 1 is not quoted as csv",
        "cdr: the table refuses it (54000)",
    ]
    assert "DROP" not in (logs / "ledger.log").read_text(), "what callers are called does not go to the journal"


def test_roles_can_do_their_work_and_no_more(database: Postgres) -> None:
    database.sql("SELECT count(*) FROM cdr; SELECT * FROM missed_calls", "reports")
    for role, statement in (
        ("reports", "DELETE FROM cdr"),
        ("reports", "INSERT INTO missed_calls VALUES ('x', now(), '', '', '', '', 1)"),
        ("reports", "CREATE TABLE mine (a int)"),
        ("reports", "UPDATE ledger_offsets SET position = 0"),
        ("clinic-ledger", "SELECT src FROM cdr"),
        ("clinic-ledger", "UPDATE cdr SET src = ''"),
        ("clinic-ledger", "DELETE FROM cel"),
        ("clinic-ledger", "UPDATE queue_log SET agent = ''"),
        ("clinic-ledger", "DELETE FROM ledger_offsets"),
        ("clinic-ledger", "CREATE TABLE mine (a int)"),
        ("clinic-ledger", "DROP TABLE cdr"),
    ):
        assert "permission denied" in (answer := database.sql(statement, role, check=False)) or "owner" in answer


def test_an_idle_ledger_costs_next_to_nothing(database: Postgres, logs: Path) -> None:
    append(logs / "cdr-custom/cdr.csv", cdr(1))
    with running(database, logs) as process:
        eventually(counted(database), "1|1")
        before, began = _processor_seconds(process.pid), time.monotonic()
        time.sleep(4)
        share = (_processor_seconds(process.pid) - before) / (time.monotonic() - began)
    assert share < 0.01


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_ledger_needs_nothing_but_debians_python() -> None:
    """Any import of the repository's other parts would fail on the PBX."""
    done = subprocess.run(
        [PYTHON, "-I", "-c", f"import sys; sys.path.append({str(ROOT)!r}); import services.ledger.main as m;"
         "print([n for n in sys.modules if n.split('.')[0] in ('clinic', 'clinicpbx', 'lab', 'tasks', 'pyinfra')])"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "[]", f"{done.stderr} (python3-psycopg is in scripts/packages.txt; {sys.version})"
