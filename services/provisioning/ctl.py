"""clinic-phones: which telephone has fetched and applied what, and its first door.

clinic-phones status [--json]          every telephone's configuration and refusals, and strangers
clinic-phones open MAC [MINUTES]       the first door again, after a reset to the factory's settings; default 60
clinic-phones close MAC                the first door shut
clinic-phones wait VERSIONS SECONDS    as status, as soon as all of {"<mac>": "<version>"} are applied, or
                                       at the time-out; VERSIONS `-`: from standard input
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from .control import LONGEST_WAIT, PATH


def ask(*words: str) -> dict[str, Any]:
    """The service's answer. Raises OSError when it does not run."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as to:
        to.settimeout(LONGEST_WAIT + 10)
        to.connect(str(PATH))
        to.sendall(json.dumps(words).encode() + b"\n")
        return dict(json.loads(to.makefile().readline()))


def shown(now: dict[str, Any]) -> str:
    lines = []
    for mac, phone in sorted(now["phones"].items(), key=lambda item: item[1]["ext"]):
        applied = phone["applied"] or {}
        if applied.get("version") == phone["wanted"]:
            state = f"current since {_at(applied['at'])}"
        elif phone["fetched"]:
            state = f"fetched {phone['fetched']['version']} {_at(phone['fetched']['at'])}, not applied"
        else:
            state = "never fetched"
        refused = f"  {len(phone['refused'])} refused, last: {phone['refused'][-1]['what']}" if phone["refused"] else ""
        lines.append(f"{phone['ext']:6} {mac} {phone['address']:15} door {phone['first']:6} {state}{refused}")
    lines += [f"stranger {s['address']:15} {s['count']} refused, last: {s['what']}" for s in now["strangers"]]
    return "\n".join(lines)


def _at(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def main(arguments: Sequence[str]) -> int:
    plain = [word for word in arguments if word != "--json"]
    if plain[:1] in (["-h"], ["--help"], ["help"]):
        print(__doc__)
        return 0
    if plain[:2] == ["wait", "-"]:
        plain[1] = sys.stdin.read()
    try:
        now = ask(*plain) if plain else ask("status")
    except (OSError, ValueError) as error:
        print(f"the service does not answer ({error}): systemctl status clinic-provisioning", file=sys.stderr)
        return 1
    if "error" in now:
        print(now["error"], file=sys.stderr)
        return 2
    as_json = "--json" in arguments or plain[:1] == ["wait"]
    print(json.dumps(now, ensure_ascii=False, indent=1) if as_json else shown(now))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
