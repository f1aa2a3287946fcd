"""For real clinics only: values that exist in examples and rehearsals, and nowhere else.

Not among RULES, because the lab deploys such clinics every day; a deploy to a real site asks for these too.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from clinic.mistakes import Finding, Path
from clinic.model import Clinic

# RFC 5737 (documentation) and RFC 2544 (benchmarks).
EXAMPLES = tuple(IPv4Network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15"))


def examples(clinic: Clinic) -> Iterator[Finding]:
    """Addresses that no provider can have."""
    entries: list[tuple[Path, IPv4Address]] = [(("trunks", i, "server"), t.server) for i, t in enumerate(clinic.trunks)]
    entries += [(("uplinks", i, "external_address"), u.external_address) for i, u in enumerate(clinic.uplinks)]
    for path, address in entries:
        if any(address in network for network in EXAMPLES):
            yield Finding(
                path,
                str(address),
                "the address is reserved for examples and tests",
                "Write the real one from the contract",
            )
