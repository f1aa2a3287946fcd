"""Ctrl-C while greenlets stand for threads: it ends the command, wherever it happens to arrive."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, os, signal, threading, time
from clinicpbx import deployment  # greenlets stand for threads from here on

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell handed down
answered = threading.Event()

def reads():
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)  # arrives here, as it does in paramiko's reader
    for _ in range(1000): pass
    print("read on", flush=True)

with {context}:
    threading.Thread(target=reads, daemon=True).start()
    try:
        {wait}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
print("default" if signal.getsignal(signal.SIGINT) is signal.default_int_handler else "ours")
"""


def outcome(context: str, wait: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(context=context, wait=wait)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("wait", ["answered.wait()", "answered.wait(20)", "time.sleep(20)"])
def test_interruption_ends_the_wait_and_no_other_greenlet(wait: str) -> None:
    done = outcome("deployment.interruptible()", wait)
    assert sorted(done.stdout.split("\n")[:2]) == ["interrupted", "read on"], done.stdout + done.stderr
    assert (done.returncode, done.stdout.split()[-1]) == (0, "default")


def test_control_without_it_the_greenlet_swallows_the_interruption() -> None:
    done = outcome("contextlib.nullcontext()", "answered.wait()")
    assert "interrupted" not in done.stdout and "LoopExit" in done.stderr
