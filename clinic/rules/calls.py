"""The path of an incoming call: flows, prompts, the operators' queue."""

from __future__ import annotations

from collections.abc import Iterator

from clinic.mistakes import Finding
from clinic.model import Clinic
from clinic.people import Role
from clinic.rules.common import repeated, unknown


def flows_lead_somewhere(clinic: Clinic) -> Iterator[Finding]:
    for slug, flow in clinic.flows.items():
        if flow.hours not in clinic.hours:
            yield unknown(("flows", slug, "hours"), flow.hours, "hours", clinic.hours, "opening hours")
        if flow.department not in clinic.departments:
            yield unknown(
                ("flows", slug, "department"), flow.department, "departments", clinic.departments, "department"
            )
        for stage in ("greeting", "closed", "holiday", "apology"):
            name = getattr(flow, stage)
            if name not in clinic.prompts:
                yield unknown(("flows", slug, stage), name, "prompts", clinic.prompts, "prompt")


def receptions_exist(clinic: Clinic) -> Iterator[Finding]:
    for slug, flow in clinic.flows.items():
        if flow.department in clinic.departments and not clinic.with_role(Role.RECEPTION, flow.department):
            yield Finding(
                ("flows", slug, "department"),
                flow.department,
                "calls that operators miss ring the department's receptions, and it has none",
                f"Give someone of {flow.department} `role: reception` and a phone",
                "people",
            )


def flows_are_reached(clinic: Clinic) -> Iterator[Finding]:
    used = {did.flow for trunk in clinic.trunks for did in trunk.dids}
    for slug in clinic.flows:
        if slug not in used:
            yield Finding(
                ("flows", slug),
                slug,
                "no public number leads to this flow",
                f"Write `flow: {slug}` at a DID, or remove the flow",
                "trunks",
            )


def prompts_are_whole(clinic: Clinic) -> Iterator[Finding]:
    for slug, prompt in clinic.prompts.items():
        if prompt.text and prompt.file:
            yield Finding(
                ("prompts", slug),
                slug,
                "a prompt is spoken from text or played from a file, not both",
                "Remove one of the two",
            )
        elif not prompt.text and not prompt.file:
            yield Finding(("prompts", slug), slug, "a prompt has a text or a file", "Write `text:` or `file:`")


def queue_makes_sense(clinic: Clinic) -> Iterator[Finding]:
    centre = clinic.call_centre
    if centre.max_wait_seconds < centre.ring_seconds:
        yield Finding(
            ("call_centre", "max_wait_seconds"),
            str(centre.max_wait_seconds),
            f"a caller waits at least one ring of {centre.ring_seconds} s",
            f"Write {centre.ring_seconds} or more, or ring shorter",
        )
    if not centre.pause_reasons:
        yield Finding(
            ("call_centre", "pause_reasons"),
            "none",
            "an operator who pauses says why",
            'Add at least one, as {"1": Перерыв}',
        )
    yield from repeated(
        ((("call_centre", "pause_reasons", d), name, d) for d, name in centre.pause_reasons.items()),
        "the reason is already dialled as {owner}",
        "Name each reason differently",
    )
    for digit, name in centre.pause_reasons.items():
        if not name:
            yield Finding(("call_centre", "pause_reasons", digit), digit, "a pause reason has a name", "Write it")


RULES = (flows_lead_somewhere, receptions_exist, flows_are_reached, prompts_are_whole, queue_makes_sense)
