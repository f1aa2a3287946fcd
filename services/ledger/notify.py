"""sd_notify(3) in a few lines: tells systemd that we are ready, alive, and doing what."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(**state: str) -> None:
    """`notify(READY="1", STATUS="...")`. Does nothing outside systemd; a full socket is no reason to fail."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    message = "\n".join(f"{key}={value}" for key, value in state.items()).encode()
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
        to.settimeout(1)
        to.sendto(message, "\0" + address[1:] if address[0] == "@" else address)
