"""wanctl: what the watchdog sees and does, and an engineer's wishes.

wanctl status [--json]          which uplink carries the calls, and what is the matter with the others
wanctl hold wan-b | release     keep calls on an uplink, unless it is dead; or let the watchdog decide again
wanctl return                   return to the preferred uplink now, if it is without a fault
wanctl history [N] [--json]     what happened last
wanctl test wan-a [SECONDS]     as if that uplink were dead, for at most 60 s; then return
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from .control import PATH
from .events import history


def ask(*words: str) -> dict[str, Any]:
    """The watchdog's answer. Raises OSError when it does not run."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as to:
        to.settimeout(5)
        to.connect(str(PATH))
        to.sendall((" ".join(words) + "\n").encode())
        return dict(json.loads(to.makefile().readline()))


def shown(now: dict[str, Any]) -> str:
    """The status as an engineer reads it at 3 a.m."""
    held = f", held by an engineer on {now['hold']}" if now["hold"] else ""
    lines = [f"calls by {now['current']}{held}; {now['moves']} moves in {now['seconds']} s"]
    for name, uplink in now["uplinks"].items():
        mark = "*" if name == now["current"] else " "
        text = (
            f"{mark} {name:10} {uplink['verdict']:12} loss {uplink['loss_percent']:5.1f} %  rtt {uplink['rtt_ms']} ms"
        )
        if uplink["evidence"]:
            text += f"  {uplink['evidence']}"
        elif name != now["current"] and uplink["clean_seconds"] is not None:
            text += f"  well for {uplink['clean_seconds']} s, calls may return after {uplink['returns_after']} s"
        if uplink["carried_calls"] is not None:
            text += f"  {uplink['carried_calls']} calls taken along"
        lines.append(text)
    for leg, about in now["legs"].items():
        state = "answers" if about["answers"] else f"{about['row']} requests unanswered"
        avoided = ", avoided" if leg in now["avoided"] else ""
        lines.append(f"  {leg:16} {state}, {about['registration'] or 'registers not'}{avoided}")
    if not now["asterisk"]:
        lines.append("  Asterisk does not answer: nothing can be told to it")
    silent = [address for address, alive in now["resolvers"].items() if not alive]
    if silent:
        lines.append(f"  DNS servers that do not answer: {', '.join(silent)}; calls need none")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    plain = [word for word in arguments if word != "--json"]
    command = plain[0] if plain else "status"
    if command in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if command == "history":
        events = history(int(plain[1]) if len(plain) > 1 and plain[1].isdigit() else 20)
        for event in events:
            at = datetime.fromtimestamp(event.pop("at")).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
            rest = " ".join(f"{key}={value}" for key, value in event.items() if key != "kind")
            print(json.dumps({"at": at, **event}, ensure_ascii=False) if "--json" in arguments
                  else f"{at} {event['kind']:14} {rest}")  # fmt: skip
        return 0
    try:
        now = ask(*plain) if plain else ask("status")
        if command == "test" and "error" not in now:
            now = tested(plain, now)
    except OSError as error:
        print(f"the watchdog does not answer ({error}): systemctl status clinic-wan", file=sys.stderr)
        return 1
    if "error" in now:
        print(now["error"], file=sys.stderr)
        return 2
    print(json.dumps(now, ensure_ascii=False, indent=1) if "--json" in arguments else shown(now))
    return 0


def tested(words: Sequence[str], now: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end of the test, show what it was like meanwhile, and return."""
    seconds = min(float(words[2]) if len(words) > 2 else 10.0, 60.0)
    time.sleep(min(1.0, seconds))
    print(shown(ask("status")), file=sys.stderr)
    time.sleep(max(0.0, seconds - 1.0) + 0.3)
    return ask("return")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
