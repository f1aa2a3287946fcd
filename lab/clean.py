"""Remove a lab whatever state it is in: `python -m lab.clean [N...]`, all labs without a number.

Finds what to end by pid files and by the lab's namespaces, never by a program's name. Safe to repeat.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from lab import netns, network, process, state
from lab.components import machines
from lab.topology import PREFIX

GRACE = 2.0


def lab(number: int) -> None:
    """End every process of the lab, unmount what is mounted under its folders, delete namespaces and files."""
    run, disks = state.run_folder(number), state.disk_folder(number)
    files = [*run.rglob("*.pid"), *run.rglob("pid")] if run.is_dir() else []
    known = [process.recall(file) for file in files if not re.fullmatch(r"vm\d+\.pid", file.name)]
    _end([pid for pid in known if pid])
    for machine in machines(number):
        machine.destroy()
    for namespace in netns.listed(f"{PREFIX}{number}-"):
        _end(netns.pids(namespace))
    _unmount(run)
    _unmount(disks)
    network.remove(number)
    for folder in (run, disks):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        next(iter(Path("/sys/fs/cgroup").glob("**/clinicpbx")), Path("/nonexistent")).rmdir()


def labs() -> list[int]:
    """Numbers of the labs of which anything is left: a namespace, a run folder or disks."""
    names = netns.listed(PREFIX)
    for parent in (state.run_folder(0).parent, state.disk_folder(0).parent):
        names += [f"{PREFIX}{folder.name[3:]}-" for folder in parent.glob("lab*")]
    return sorted({int(match[1]) for name in names if (match := re.match(rf"{PREFIX}(\d+)-", name))})


def _end(pids: list[int]) -> None:
    """Ask all at once, give them a moment together, then kill those that stay."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    process.wait_for(lambda: not any(process.started_at(pid) for pid in pids), GRACE)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            process.stop(pid, timeout=0, sign=signal.SIGKILL)


def _unmount(folder: Path) -> None:
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in reversed([p for p in mounted if Path(p).is_relative_to(folder)]):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False, timeout=20)


def main() -> None:
    wanted = [int(word) for word in sys.argv[1:]] or labs()
    for number in wanted:
        lab(number)
        print(f"lab {number}: removed")
    if not wanted:
        print("no lab is left")


if __name__ == "__main__":
    main()
