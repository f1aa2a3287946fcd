"""What must not suffer under an attack, and what shows that it does not: calls in progress, new calls, the process.

`watching` holds calls and listens to both sides of each all the time; it has its own threads, so the attack may block.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from clinic.model import Clinic
from clinic.types import ServiceClass
from clinicpbx.errors import ClinicError
from clinicpbx.verify.pbx import Pbx, wait_until
from softphone.client import Call, Pool, PoolError

NEAR, FAR = 440, 620  # Hz, of who calls and who is called
UNREACHABLE = ("Unavail", "Removed")
SILENT = 0.05


@dataclass(frozen=True)
class Process:
    """Asterisk at one moment: main process, restarts, resident KiB, descriptors, and CPU seconds (whole machine's)."""

    pid: int
    restarts: int
    rss: int
    files: int
    cpu: float

    @classmethod
    def parse(cls, text: str) -> Process:
        """Of `key=value` lines. Pure; raises KeyError when Asterisk does not run."""
        known = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        pid, restarts, rss, files, cpu = (
            int(known[key] or 0) for key in ("MainPID", "NRestarts", "rss", "files", "cpu")
        )
        return cls(pid, restarts, rss, files, cpu / 1e6)

    @classmethod
    def of(cls, pbx: Pbx) -> Process:
        return cls.parse(
            pbx.run(
                "systemctl show -p MainPID -p NRestarts asterisk; p=$(systemctl show -p MainPID --value asterisk); "
                "echo rss=$(awk '/VmRSS/{print $2}' /proc/$p/status); echo files=$(ls /proc/$p/fd | wc -l); "
                "echo cpu=$(awk '/usage_usec/{print $2}' /sys/fs/cgroup/cpu.stat)"
            )
        )


def settled(before: Process, now: Process, share: float = 0.15, more: int = 20 * 1024) -> bool:
    """Whether memory and descriptors are back: RSS within 15 % and 20 MiB of before, descriptors within 4. Pure."""
    return now.rss <= before.rss * (1 + share) + more and now.files <= before.files + 4


def reachable(clinic: Clinic, pbx: Pbx) -> set[str]:
    """Extensions with a contact that the PBX would call."""
    return {e for e, c in pbx.contacts().items() if e in clinic.by_ext and not c.endswith(UNREACHABLE)}


def registered(phones: Pool) -> set[str]:
    """Telephones that hold themselves registered."""
    return {n for n, found in phones.registrations().items() if found["state"] == "registered"}


def plug_in(phones: Pool) -> None:
    """Telephones that are off register, as they would before any working day."""
    off = [n for n, found in phones.registrations().items() if found["state"] != "registered"]
    if off:
        phones.register(off, timeout=5)
    if missing := set(phones.registrations()) - registered(phones):
        raise ClinicError(
            f"telephones are not registered: {', '.join(sorted(missing)[:5])}", remedy="clinicpbx lab phones"
        )


@dataclass
class Sound:
    """One side of a call: windows of 200 ms heard, those without the other's tone, and packets lost on the way."""

    name: str
    call: Call
    tone: int
    windows: int = 0
    silent: int = 0
    lost: int = 0
    ended: bool = False

    @property
    def dropped(self) -> bool:
        """Over, never heard, or silent for more than SILENT of the time: the call may stand and nobody can talk."""
        return self.ended or not self.windows or self.silent > max(3, SILENT * self.windows)

    def listen(self) -> None:
        """For a second."""
        try:
            heard = self.call.listen(1.0)
            self.ended = self.ended or self.call.refresh()["state"] != "answered"
            self.lost = int((self.call.info.get("rtp") or {}).get("lost", 0) or 0)
        except PoolError:
            self.ended = True
            return
        share = float(heard["heard"].get(str(self.tone), 0))
        self.windows += max(1, heard["windows"])
        self.silent += round(max(1, heard["windows"]) * (1 - share))


@dataclass
class Witness:
    """What was seen. `connect`: seconds that new calls took; `failed`: new calls that did not connect."""

    sounds: list[Sound] = field(default_factory=list)
    connect: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    fewest: set[str] | None = None
    troubles: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        dropped = {s.name.rpartition(" ")[0] for s in self.sounds if s.dropped}
        return {
            "calls_dropped": len(dropped),
            "calls": {s.name: {"windows": s.windows, "silent": s.silent, "lost": s.lost} for s in self.sounds},
            "silent_windows": sum(s.silent for s in self.sounds),
            "new_calls": len(self.connect) + len(self.failed),
            "new_calls_failed": self.failed,
            "new_call_worst_ms": round(max(self.connect) * 1000) if self.connect else None,
            "rss_peak_kib": max((p.rss for p in self.processes), default=0),
            "troubles": self.troubles[:5],
        }


def pair(phones: Pool, caller: str, called: str) -> list[Sound]:
    """A call between two telephones, with tones both ways."""
    near = phones.call(caller, called, tone=NEAR)
    far = phones.wait_incoming(called, 5, caller=caller).answer(tone=FAR)
    near.wait_answered(5)
    name = f"{caller}-{called}"
    return [Sound(f"{name} caller", near, FAR), Sound(f"{name} called", far, NEAR)]


def outward(phones: Pool, pstn: Pool, caller: str, number: str) -> list[Sound]:
    """A call to a subscriber of the public network, who answers by itself."""
    near = phones.call(caller, number, tone=NEAR).wait_answered(8)
    far = [c for c in pstn.calls(active=True) if c.info["state"] == "answered"]
    name = f"{caller}-{number}"
    return [Sound(f"{name} caller", near, FAR), *(Sound(f"{name} called", c, NEAR) for c in far[-1:])]


@contextlib.contextmanager
def watching(
    clinic: Clinic, pbx: Pbx, phones: Pool, sounds: list[Sound], probe: tuple[str, str], every: float = 2.0
) -> Iterator[Witness]:
    """Within the block everything is listened to; a new call between the two of `probe` every so many seconds."""
    seen, stop = Witness(sounds), threading.Event()

    def listen(sound: Sound) -> None:
        while not stop.is_set() and not sound.ended:
            sound.listen()

    def call() -> None:
        while not stop.wait(every):
            began = time.monotonic()
            new = phones.call(*probe)
            try:
                new.wait_answered(5)
                seen.connect.append(time.monotonic() - began)
            except PoolError as error:
                seen.failed.append(str(error)[:120])
            with contextlib.suppress(PoolError):
                new.hangup()

    def look() -> None:
        while not stop.wait(1.5):
            seen.processes.append(Process.of(pbx))
            here = reachable(clinic, pbx)
            seen.fewest = here if seen.fewest is None else seen.fewest & here

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def inner() -> None:
            try:
                work()
            except Exception as error:
                seen.troubles.append(f"{type(error).__name__}: {error}")

        return inner

    work: list[Callable[[], None]] = [call, look, *((lambda s=s: listen(s)) for s in sounds)]
    threads = [threading.Thread(target=guarded(w), daemon=True) for w in work]
    phones.set_behaviour(probe[1], "answer", after=0.0, tone=FAR)
    try:
        for thread in threads:
            thread.start()
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join(15)
        phones.set_behaviour(probe[1], "ring")
        for sound in sounds:
            with contextlib.suppress(PoolError):
                sound.call.hangup()


def control(sounds: list[Sound]) -> str:
    """Both sides hear each other before the attack, and a tone that nobody sends counts as silence."""
    for sound in sounds:
        sound.call.wait_tone(sound.tone, 5)
    other = Sound("control", sounds[0].call, 1500)
    other.listen()
    if not other.silent:
        raise ClinicError("The drill cannot hear silence.", remedy="clinicpbx lab call shows what telephones hear")
    return f"{len(sounds)} sides hear their tone; 1500 Hz, which nobody sends, was missed in {other.silent} windows"


def quiet(pbx: Pbx, channels: int, seconds: float) -> int:
    """Channels left, once there are no more than before or the time is over."""
    wait_until(lambda: len(pbx.channels()) <= channels, seconds, every=1.0)
    return len(pbx.channels())


def errors(pbx: Pbx, since: int) -> dict[str, int]:
    """ERROR lines of messages.log after line `since`, by source file and line."""
    text = pbx.run(f"tail -n +{since + 1} /var/log/asterisk/messages.log | grep -a ERROR", check=False)
    found: dict[str, int] = {}
    for line in text.splitlines():
        where = re.search(r"\b(\w+\.c(?::\d+)?)", line)
        found[where[1] if where else "?"] = found.get(where[1] if where else "?", 0) + 1
    return found


def lines(pbx: Pbx) -> int:
    return int(pbx.run("wc -l < /var/log/asterisk/messages.log"))


def who_dials_out(clinic: Clinic, busy: set[str]) -> str:
    """Somebody else who may call the town."""
    found = [p for p in clinic.people if clinic.class_of(p) is ServiceClass.LOCAL and p.ext not in busy]
    if not found:
        raise ClinicError("nobody may dial a local number", remedy="use the case's clinic")
    return found[-1].ext


def ordinary(clinic: Clinic, count: int) -> list[str]:
    """Extensions whose telephones speak plain SIP, from the end of the list, where nobody answers for a queue."""
    found = [p.ext for p in reversed(clinic.people) if not clinic.encrypts(p)]
    if len(found) < count:
        raise ClinicError(f"the drill needs {count} telephones without encryption", remedy="use the case's clinic")
    return found[:count]
