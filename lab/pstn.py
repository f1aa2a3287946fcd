"""The public telephone network: one exchange agent that the providers, and nobody else, can reach.

Its numbers, in every spelling a provider may send (the last digits decide):
  ...000 99 11  busy          ...000 99 12  rings and is never answered     ...000 99 13  rejects with 603
  ...000 99 04  does not exist (404)
Emergency numbers and every other number answer after half a second with the subscribers' tone.
"""

from __future__ import annotations

from typing import Any

from clinic.model import Clinic
from lab.components import Context
from lab.pools import Daemon
from lab.topology import PSTN
from softphone.client import Pool

EXCHANGE = "pstn"
TONE = 620  # Hz, what a called subscriber says
EMERGENCY_TONE = 770  # Hz
ANSWER_AFTER = 0.5  # s: long enough to be seen ringing
BUSY, RINGING, REJECTING, INVALID = "0009911", "0009912", "0009913", "0009904"


def rules(clinic: Clinic) -> list[list[Any]]:
    """Patterns and behaviours, the first that matches wins; no rule at all is 404."""
    answer = {"action": "answer", "after": ANSWER_AFTER, "tone": TONE}
    return [
        *([n, answer | {"tone": EMERGENCY_TONE}] for n in clinic.emergency.numbers),
        [f"*{BUSY}", {"action": "busy", "q850": 17}],
        [f"*{RINGING}", {"action": "ring"}],
        [f"*{REJECTING}", {"action": "reject", "code": 603, "q850": 21}],
        [f"*{INVALID}", {"action": "reject", "code": 404, "q850": 1}],
        [r"re:\+?[0-9]{10,15}", answer],
    ]


class PstnComponent:
    """The pool `pstn` with its exchange."""

    name = "pstn"

    def start(self, context: Context) -> dict[str, Any]:
        """Start it and set the default rules; rules that a test added to a running exchange stay."""
        if context.clinic is None:
            return {}
        daemon, wanted = Daemon(context.lab, self.name), rules(context.clinic)
        daemon.start()
        if not daemon.is_loaded(wanted):
            with daemon.client() as pool:
                pool.remove()
                pool.add_exchange(str(PSTN.ip), name=EXCHANGE, rules=wanted)
            daemon.set_loaded(wanted)
        return {"pstn_socket": str(daemon.socket)}

    def stop(self, lab: int) -> None:
        Daemon(lab, self.name).stop()

    def status(self, lab: int) -> str:
        return Daemon(lab, self.name).status()


def pool(lab: int) -> Pool:
    """A client of the public network; use it in `with`. Raises ClinicError when it does not run."""
    return Daemon(lab, "pstn").client()
