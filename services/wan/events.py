"""What happened, as lines of JSON: people's history, and what the guard makes alerts of."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

LOG = Path("/var/log/clinic-wan/events.log")


class Events:
    """Appends to the log. A full disk loses the line here, never the decision: the journal still gets it."""

    def tell(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"at": round(time.time(), 3), "kind": kind, **fields}, ensure_ascii=False)
        print(f"<{4 if kind in ('left', 'no-line', 'rejected') else 5}>{line}", file=sys.stderr, flush=True)
        try:
            with LOG.open("a", encoding="utf-8") as log:
                log.write(line + "\n")
        except OSError as error:
            print(f"<3>{LOG}: {error}", file=sys.stderr, flush=True)


def history(last: int) -> list[dict[str, Any]]:
    """The last so many events, the oldest first."""
    try:
        lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-last:]
    except OSError:
        return []
    out = []
    for line in lines:
        try:
            out.append(dict(json.loads(line)))
        except ValueError:
            continue
    return out
