"""What engineers ask the running watchdog, by a socket that root alone may open: one line in, one line of JSON out."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .main import Watchdog

PATH = Path("/run/clinic-wan/control")
LONGEST_TEST = 60.0


class Control:
    def __init__(self, watchdog: Watchdog) -> None:
        self.watchdog = watchdog
        PATH.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(PATH))
        self.socket.listen(4)

    def serve(self, now: float) -> None:
        """Whoever asks slowly is not waited for: the probes go on."""
        with contextlib.suppress(OSError, ValueError), self.socket.accept()[0] as asker:
            asker.settimeout(0.1)
            words = asker.recv(256).decode().split()
            asker.sendall(json.dumps(self.answer(words), ensure_ascii=False).encode() + b"\n")

    def answer(self, words: list[str]) -> dict[str, Any]:
        watchdog = self.watchdog
        command, name = (*words, "", "")[:2]
        if command in ("hold", "test") and name not in watchdog.uplinks:
            return {"error": f"no uplink is called {name!r}: {', '.join(watchdog.uplinks)}"}
        if command == "test" and len(words) > 2 and not words[2].isdigit():
            return {"error": f"{words[2]!r} is no whole number of seconds, {LONGEST_TEST:.0f} at most"}
        if command == "hold":
            watchdog.hold(name)
        elif command == "release":
            watchdog.hold("")
        elif command == "return":
            if not watchdog.back():
                return {"error": "no uplink is without a fault"}
        elif command == "test":
            seconds = float(words[2]) if len(words) > 2 else 10.0
            watchdog.tests[name] = time.monotonic() + min(seconds, LONGEST_TEST)
        elif command != "status":
            return {"error": "status, hold NAME, release, return or test NAME [SECONDS]"}
        return watchdog.status()
