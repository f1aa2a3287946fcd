"""The public network as one agent: it answers for any number, may claim to be any number, and keeps what it saw.

exchange = Exchange("198.18.100.10", name="pstn"); await exchange.open()
exchange.set_rule("7916*", Behaviour("answer", tone=620)); exchange.call("sip:74951234567@198.51.100.10", ...)
"""

from typing import Any

from softphone.agent import Agent
from softphone.behaviour import Behaviour, Rule
from softphone.events import Json


class Exchange(Agent):
    """Numbers without a rule get 404. It never registers; its providers know it by its address."""

    def __init__(self, bind_ip: str, port: int = 5060, *, name: str = "pstn", **options: Any) -> None:
        options.setdefault("user", name)
        options.setdefault("behaviour", Behaviour("reject", code=404, q850=1))
        super().__init__(bind_ip, port, name=name, **options)

    def set_rule(self, pattern: str, behaviour: Behaviour) -> None:
        """New rules win over old ones; the same pattern again replaces its rule."""
        self.rules = [Rule(pattern, behaviour), *(rule for rule in self.rules if rule.pattern != pattern)]

    def drop_rule(self, pattern: str) -> None:
        self.rules = [rule for rule in self.rules if rule.pattern != pattern]


def select(
    invites: list[Json], number: str = "", caller: str = "", source_ip: str = "", since: float = 0.0
) -> list[Json]:
    """INVITEs whose dialled and caller numbers contain the texts given, from that address, after monotonic `since`."""
    return [
        item
        for item in invites
        if number in item["number"]
        and (caller in (item["caller"]["number"] or "") or caller in item["caller"]["from_number"])
        and source_ip in ("", item["source_ip"])
        and item["t"] >= since
    ]
