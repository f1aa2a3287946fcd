"""Lynis on the PBX, begun early and asked late: it takes half a minute of one core, at the lowest priority."""

from __future__ import annotations

from clinicpbx.verify.pbx import Pbx, expect, wait_until

HOME = "/run/clinicpbx-lynis"
# Idle class: whatever else runs on the PBX, calls above all, comes first.
_BEGIN = (
    f"rm -rf {HOME} && mkdir -m 700 {HOME} && cd {HOME} && "
    "setsid chrt --idle 0 ionice -c 3 lynis audit system --quick --quiet --no-colors"
    f" --logfile {HOME}/log --report-file {HOME}/report >/dev/null 2>&1 </dev/null & echo $! > pid"
)


class Audit:
    """One audit of the machine, under way from the beginning."""

    def __init__(self, pbx: Pbx) -> None:
        self.pbx = pbx
        pbx.run(_BEGIN)

    def report(self, timeout: float = 150) -> dict[str, list[str]]:
        """Keys of Lynis's report file, each with its values in order. AssertionError when it does not end in time."""
        ended = f"grep -q '^finish=true' {HOME}/report && cat {HOME}/report"
        text = ""

        def done() -> bool:
            nonlocal text
            text = self.pbx.run(ended, check=False)
            return bool(text)

        expect(wait_until(done, timeout, every=1.0), f"Lynis did not end within {timeout:.0f} s")
        found: dict[str, list[str]] = {}
        for line in text.splitlines():
            key, separator, value = line.partition("=")
            if separator and not line.startswith("#"):
                found.setdefault(key, []).append(value)
        return found

    def tidy(self) -> None:
        """End it, should it still run, and leave nothing behind."""
        self.pbx.run(f"kill -- -$(cat {HOME}/pid); rm -rf {HOME}", check=False)
