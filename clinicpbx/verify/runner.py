"""Runs the checks with pytest in a process of its own, follows them, leaves the PBX as it was, and makes the verdict.

pytest has a session of its own, so Ctrl-C reaches this program alone: it stops the checks, then puts back what they
changed, then still writes the report.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from clinic.people import Role
from clinicpbx.errors import ClinicError
from clinicpbx.verify import report
from clinicpbx.verify.borrow import InUseError
from clinicpbx.verify.place import Before, Place
from clinicpbx.verify.results import Check, Result, Verification, complete
from clinicpbx.verify.table import Live

ROOT = Path(__file__).resolve().parent.parent.parent
CHECKS = ROOT / "tests" / "verify"
INI = Path(__file__).resolve().parent / "pytest.ini"
WORKERS = 7  # one for each lane; they wait for calls most of the time
ENOUGH = 12  # people who answer no patients' calls: with fewer, checks that run side by side would need the same ones
LIMIT = 420.0  # seconds for the whole run; a single wait is far below it
GRACE = 20.0
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WrongUse(ClinicError):  # noqa: N818 - a person's mistake
    """The command line asks for what does not exist: exit 2."""


@dataclass(frozen=True)
class Outcome:
    verification: Verification
    folder: Path

    @property
    def exit_code(self) -> int:
        return 1 if self.verification.verdict == "NO-GO" else 0


def catalogue(clinic: str, at: str) -> dict[str, Check]:
    """Every check of the clinic by pytest's name for it, in order. Collected in this process; nothing is contacted."""
    import pytest

    from clinicpbx.verify import plugin

    class Catalogue:
        checks: dict[str, Check] = {}  # noqa: RUF012 - one use
        errors: list[str] = []  # noqa: RUF012

        def pytest_collection_finish(self, session: pytest.Session) -> None:
            self.checks |= {item.nodeid: item.stash[plugin.CHECK] for item in session.items}

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed:
                self.errors.append(str(report.longrepr))

    found = Catalogue()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # what else is installed has no say, and takes a second to load
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main([*_arguments(clinic, at), "--collect-only"], plugins=[found])
    if found.errors or code not in (0, 5):
        raise ClinicError(f"the checks cannot be read: {' '.join(found.errors) or said.getvalue()[-800:]}")
    return found.checks


def _arguments(clinic: str, at: str) -> list[str]:
    return [str(CHECKS), "-c", str(INI), f"--rootdir={ROOT}", f"--clinic={clinic}", f"--at={at}"]


def verify(
    clinic: str,
    at: str = "",
    *,
    only: tuple[str, ...] = (),
    console: Console | None = None,
    reports: Path | None = None,
    keep_going: bool = True,
    borrow: bool = False,
    despite_calls: bool = False,
) -> Outcome:
    """Verify a deployed clinic. Raises WrongUse for an unknown check, ClinicError when the clinic or site is not there,
    a run is going or the PBX is in use.

    `keep_going=False` stops at the first failed check; the rest is then not tried. `borrow` treats a lab as a real
    clinic: softphones of this machine stand in for the telephones, and nothing outside the PBX is touched.
    """
    console = console or Console(stderr=True, emoji=False)
    place = Place.of(clinic, at, borrow=borrow)
    _ = place.secrets  # without them nobody can log in: a mistake of this machine, not a verdict on the PBX
    checks = catalogue(clinic, at)
    ids = {check.id for check in checks.values()}
    if unknown := [name for name in only if name not in ids]:
        raise WrongUse(f"no such check: {', '.join(unknown)}", remedy=f"one of: {', '.join(sorted(ids))}")
    chosen = {node: check for node, check in checks.items() if not only or check.id in only}
    began, started = time.monotonic(), dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    notes: tuple[str, ...] = ()
    interrupted = True  # until the run says otherwise
    with _signals(), _alone(place), _folder() as folder, Live(console, len(chosen)).progress_of() as live:
        try:
            before = place.prepare(folder, despite_calls=despite_calls)
        except InUseError:
            raise
        except Exception as error:  # whatever it is, the PBX cannot be verified: that is a NO-GO, with a report
            reason = f"the PBX of {place.name} cannot be verified: {error}"
            results: tuple[Result, ...] = complete(chosen.values(), (), reason)
            interrupted = False
        else:
            for line in before.recovered:
                live.progress.console.print(f"a run that was killed had left it undone: {line}", markup=False)
            run = _Run(place, clinic, at, chosen, live, folder, only=only, keep_going=keep_going)
            try:
                results, interrupted = run.results()
            finally:
                notes = _put_back(place, before, killed=interrupted)
    done = Verification(
        place.clinic_name, place.name, started, time.monotonic() - began, results, only, interrupted,
        lab=not place.borrows, notes=notes,
    )  # fmt: skip
    return Outcome(done, report.write(done, place.clinic.name, (reports or ROOT / "reports") / place.clinic_name))


def _put_back(place: Place, before: Before, *, killed: bool) -> tuple[str, ...]:
    """What could not be put back, for the report. Changes that checks left behind are undone silently.

    From here to the report nothing interrupts: somebody who presses Ctrl-C again wants it to end, not to end badly.
    """
    _ignore()
    try:
        place.put_back(before, killed=killed)
    except Exception as error:
        return (f"the PBX could not be left as it was found: {error}",)
    return ()


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """A closed terminal, a lost login and an ended session stop a run as Ctrl-C does: the PBX is put back."""
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore() -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """The run's own folder: locks, pytest's log, sockets. Kept only when the checks could not be run."""
    folder = Path(tempfile.mkdtemp(prefix="clinicpbx-verify-"))
    try:
        yield folder
    finally:
        if not (folder / "keep").exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _alone(place: Place) -> Iterator[None]:
    """One verification of a site at a time: two would disturb each other's calls."""
    path = Path(tempfile.gettempdir()) / f"clinicpbx-verify-{os.getuid()}-{place.name}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ClinicError(f"{place.name} is being verified already", remedy="wait until that run has ended") from None
    try:
        yield
    finally:
        os.close(handle)


def _workers(place: Place) -> int:
    plain = [p for p in place.clinic.people if p.role in (Role.DOCTOR, Role.STAFF)]
    return WORKERS if len(plain) >= ENOUGH else 1


class _Run:
    """One pytest process and what it tells."""

    def __init__(
        self, place: Place, clinic: str, at: str, checks: dict[str, Check], live: Live, folder: Path, *,
        only: tuple[str, ...], keep_going: bool,
    ) -> None:  # fmt: skip
        self.place, self.checks, self.live, self.folder = place, checks, live, folder
        self.log = self.folder / "pytest.log"
        self.found: dict[str, Result] = {}
        self.errors: list[str] = []
        self.arguments = [
            *_arguments(clinic, at), "-p", "xdist.plugin", f"--run-folder={self.folder}", f"--only={','.join(only)}",
            *([f"--borrowed={self.folder / 'borrowed.json'}"] if place.borrows else []),
            "-n", str(min(_workers(place), max(1, len({c.lane or c.id for c in checks.values()})))),
            "--dist=loadscope", "--no-loadscope-reorder", "--max-worker-restart=0", *([] if keep_going else ["-x"]),
        ]  # fmt: skip

    def results(self) -> tuple[tuple[Result, ...], bool]:
        """-> (a result for every check, whether it was stopped before its end)"""
        read, write = os.pipe()
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *self.arguments, f"--events={write}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(write,), start_new_session=True, cwd=ROOT,
                env=environment,
            )  # fmt: skip
        os.close(write)
        interrupted, late = False, False
        stop: Callable[[int, Any], None] = lambda *_: os.killpg(process.pid, signal.SIGINT)  # noqa: E731

        def too_long(*_: Any) -> None:
            """First a chance to tidy up, then the end."""
            stop(0, None)
            signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, GRACE)

        signal.signal(signal.SIGALRM, too_long)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        began = time.monotonic()
        try:
            self._follow(read)
        except KeyboardInterrupt:
            interrupted = True
            _ignore()
            self.live.progress.console.print("[yellow]stopping; the PBX is put back as it was[/]")
            stop(0, None)
            signal.setitimer(signal.ITIMER_REAL, GRACE)
            self._follow(read)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            late = time.monotonic() - began >= LIMIT
            self._end(process)
        reason = self._reason(interrupted, late, process.returncode)
        if self.errors:
            (self.folder / "keep").touch()
        return complete(self.checks.values(), self.found.values(), reason), interrupted or late

    def _follow(self, descriptor: int) -> None:
        with os.fdopen(os.dup(descriptor), encoding="utf-8") as lines:
            for line in lines:
                event = json.loads(line)
                node = str(event.get("node", ""))
                if event["event"] == "error":
                    self.errors.append(event["text"])
                elif node not in self.checks:
                    continue
                elif event["event"] == "start":
                    self.live.started(self.checks[node])
                else:
                    check = self.checks[node]
                    result = Result(
                        check, event["status"], event["seconds"], tuple(event["evidence"]), tuple(event["controls"]),
                        event["failure"] or "",
                    )  # fmt: skip
                    self.found[check.id] = result
                    self.live.finished(result)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)

    def _reason(self, interrupted: bool, late: bool, code: int) -> str:
        if interrupted:
            return "the verification was interrupted"
        if late:
            return f"the verification took longer than {LIMIT:.0f} s and was stopped"
        if code not in (0, 1):
            self.errors.append(f"pytest ended with {code}")
            return f"the checks could not be run (pytest ended with {code}; {self.log}): {self._tail()}"
        return "the verification stopped at the first failure"

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " / ".join(line.strip() for line in lines[-6:] if line.strip())[-600:]
