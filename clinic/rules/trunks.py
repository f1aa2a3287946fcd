"""External lines: providers and public numbers."""

from __future__ import annotations

from collections.abc import Iterator

from clinic.mistakes import Finding, Path
from clinic.model import Clinic
from clinic.rules.common import group_numbers, repeated, unknown


def trunk_names(clinic: Clinic) -> Iterator[Finding]:
    yield from repeated(
        ((("trunks", i, "name"), t.name, t.provider) for i, t in enumerate(clinic.trunks)),
        "the name already belongs to the trunk of {owner}",
        "Name each trunk differently",
    )


def leg_names(clinic: Clinic) -> Iterator[Finding]:
    """A way out is called trunk-uplink; a-b with c and a with b-c would be the same."""
    seen: dict[str, tuple[str, str]] = {}
    for i, trunk in enumerate(clinic.trunks):
        for uplink in clinic.uplinks:
            leg, pair = f"{trunk.name}-{uplink.name}", (trunk.name, uplink.name)
            if seen.setdefault(leg, pair) != pair:
                yield Finding(
                    ("trunks", i, "name"),
                    trunk.name,
                    f"with uplink {uplink.name} it is called {leg}, as {seen[leg][0]} with {seen[leg][1]}",
                    "Rename the trunk",
                )


def servers_once(clinic: Clinic) -> Iterator[Finding]:
    """A call's provider is known by the address it comes from."""
    yield from repeated(
        ((("trunks", i, "server"), str(t.server), t.name) for i, t in enumerate(clinic.trunks)),
        "the server already belongs to trunk {owner}",
        "Ask the provider for an address of its own, or make it one trunk",
    )


def servers_outside(clinic: Clinic) -> Iterator[Finding]:
    inside = [clinic.networks.voice.cidr, clinic.networks.management.cidr]
    for i, trunk in enumerate(clinic.trunks):
        for network in inside:
            if trunk.server in network:
                yield Finding(
                    ("trunks", i, "server"),
                    str(trunk.server),
                    f"a provider is outside {network}",
                    "Write the address of the provider's SBC",
                )


def one_enabled(clinic: Clinic) -> Iterator[Finding]:
    if not any(trunk.enabled for trunk in clinic.trunks):
        yield Finding(
            ("trunks",),
            "0 enabled",
            "at least one trunk is enabled, if only for emergency calls",
            "Remove `enabled: false` from one",
            "trunks",
        )


def registrations_named(clinic: Clinic) -> Iterator[Finding]:
    for i, trunk in enumerate(clinic.trunks):
        if trunk.auth == "registration" and not trunk.username:
            yield Finding(
                ("trunks", i, "auth"),
                trunk.auth,
                "a registration has a user name",
                "Add `username` from the contract; the password is asked for by `clinicpbx secrets`",
            )


def caller_ids_own(clinic: Clinic) -> Iterator[Finding]:
    for i, trunk in enumerate(clinic.trunks):
        if trunk.caller_id not in {did.number for did in trunk.dids}:
            yield Finding(
                ("trunks", i, "caller_id"),
                trunk.caller_id,
                "a provider lets us show only numbers it gave us",
                f"Use one of its DIDs: {', '.join(d.number for d in trunk.dids)}",
                "trunks",
            )


def numbers_once(clinic: Clinic) -> Iterator[Finding]:
    yield from repeated(
        (
            (("trunks", i, "dids", j, "number"), did.number, trunk.name)
            for i, trunk in enumerate(clinic.trunks)
            for j, did in enumerate(trunk.dids)
        ),
        "the number already comes by trunk {owner}",
        "A public number belongs to one provider; remove the other",
    )


def numbers_lead_somewhere(clinic: Clinic) -> Iterator[Finding]:
    groups = group_numbers(clinic)
    for i, trunk in enumerate(clinic.trunks):
        for j, did in enumerate(trunk.dids):
            path: Path = ("trunks", i, "dids", j)
            if did.flow and did.to:
                yield Finding(
                    path,
                    did.number,
                    "a public number leads to a flow or to a number, not both",
                    "Remove `flow` or `to`",
                )
            elif not did.flow and not did.to:
                yield Finding(
                    path,
                    did.number,
                    "a public number leads somewhere",
                    "Add `flow: NAME`, or `to:` with an extension or group",
                )
            if did.flow and did.flow not in clinic.flows:
                yield unknown((*path, "flow"), did.flow, "flows", clinic.flows, "flow")
            if did.to == clinic.call_centre.number:
                yield Finding(
                    (*path, "to"),
                    did.to,
                    "calls reach the operators' queue by a flow only",
                    "Write `flow:` instead, so that hours and announcements apply",
                )
            elif did.to and did.to not in clinic.by_ext and did.to not in groups:
                absent = "groups" if did.to in clinic.numbering.groups else "people"
                yield Finding(
                    (*path, "to"),
                    did.to,
                    "nobody and no group has this number",
                    "Write an existing extension or group",
                    absent,
                )


RULES = (
    trunk_names,
    leg_names,
    servers_once,
    servers_outside,
    one_enabled,
    registrations_named,
    caller_ids_own,
    numbers_once,
    numbers_lead_somewhere,
)
