"""What calls out may cost: nothing is open that has no price and no cap."""

from __future__ import annotations

from collections.abc import Iterator

from clinic.abroad import patterns
from clinic.mistakes import Finding
from clinic.model import Clinic
from clinic.rules.common import repeated, unknown
from clinic.toll import DOMESTIC


def countries(clinic: Clinic) -> Iterator[Finding]:
    yield from repeated(
        ((("toll", "countries", i), code, "the list") for i, code in enumerate(clinic.toll.countries)),
        "the country already stands in {owner}",
        "Remove one of the two",
    )
    for i, code in enumerate(clinic.toll.countries):
        if code == clinic.numbering.country:
            yield Finding(
                ("toll", "countries", i), code, "the clinic's own country is not abroad", "Remove it from the list"
            )
        elif not patterns(code):
            yield Finding(
                ("toll", "countries", i), code, "it has no numbers that can be told from its neighbours'",
                "List the country whose calling code it shares",
            )  # fmt: skip


def abroad_is_capped(clinic: Clinic) -> Iterator[Finding]:
    """An open country without a cap is an open purse."""
    if not clinic.toll.countries:
        return
    for scope in ("person", "clinic"):
        caps = getattr(clinic.toll, scope)
        for what in ("calls", "minutes", "money"):
            if getattr(caps, what) is None:
                yield Finding(
                    ("toll", scope), scope, f"calls abroad have a cap, and {scope}.{what} is missing",
                    f"Write `{what}:` there",
                )  # fmt: skip


def priced(clinic: Clinic) -> Iterator[Finding]:
    """What has a cap in money has a price with every provider."""
    caps = (clinic.toll.person, clinic.toll.trunk, clinic.toll.clinic)
    if all(c.money is None for c in caps) and not clinic.toll.countries:
        return
    abroad = [c for c in clinic.toll.countries if c != clinic.numbering.country]
    wanted = ("mobile", "national", *abroad)
    for i, trunk in enumerate(clinic.trunks):
        for zone in wanted:
            if zone not in trunk.tariffs:
                yield Finding(
                    ("trunks", i), trunk.name, f"money is capped, and this trunk has no price for {zone}",
                    f"Write `{zone}:` under its `tariffs`, from the contract",
                )  # fmt: skip
        for zone in trunk.tariffs:
            if zone not in DOMESTIC and zone not in clinic.toll.countries:
                yield Finding(
                    ("trunks", i, "tariffs", zone), zone, "a price for a country that is closed",
                    f"Add {zone} to `toll.countries`, or remove the price",
                )  # fmt: skip


def known_hours(clinic: Clinic) -> Iterator[Finding]:
    if clinic.toll.hours and clinic.toll.hours not in clinic.hours:
        yield unknown(("toll", "hours"), clinic.toll.hours, "hours", clinic.hours, "opening hours")


def alerts_once(clinic: Clinic) -> Iterator[Finding]:
    yield from repeated(
        ((("alerts", i), name, name) for i, name in enumerate(clinic.alerts)),
        "the name already stands in the list", "Name each differently",
    )  # fmt: skip


def alerts_find_their_way(clinic: Clinic) -> Iterator[Finding]:
    if clinic.alerts and not clinic.resolvers:
        yield Finding(
            ("alerts",), ", ".join(clinic.alerts), "alerts go to servers by name, and nobody resolves names",
            "Add `resolvers:` with the addresses of the clinic's DNS servers",
        )  # fmt: skip


RULES = (countries, abroad_is_capped, priced, known_hours, alerts_once, alerts_find_their_way)
