"""The fleet's commands from end to end: description, deploy, telephones. Thin; what is decided lies beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from clinicpbx import deployment  # first: it lets gevent take over sockets before anything opens one

from clinic.leases import addresses, mac12  # isort: skip
from clinic.model import Clinic
from clinicpbx import inventory
from clinicpbx.errors import ClinicError
from clinicpbx.login import login
from clinicpbx.phones import change, state
from clinicpbx.phones.pbx import Fleet
from clinicpbx.phones.push import Job, Patience, Teller, stale, summary
from clinicpbx.phones.push import push as told
from clinicpbx.phones.state import Look

ACCOUNTS = Path(__file__).with_name("deploy.py")
EVERYWHERE = ("Asterisk", "Provisioning", "Guard")
"""The phases that know which telephone is whose, and where."""


class Shows(Teller, Protocol):
    def begin(self, total: int) -> None: ...


def push(
    clinic: str, at: str, described: Clinic, departments: Collection[str], extensions: Collection[str], *,
    changed: bool, dry: bool, calls: float, tell: Shows,
) -> dict[str, Any]:  # fmt: skip
    """`clinicpbx phones push`. -> confirmed {ext: seconds}, failed [rows], waited, waves, left, stale..."""
    began = time.monotonic()
    people = state.chosen(described, departments, extensions)
    report: dict[str, Any] = {"clinic": described.name, "confirmed": {}, "failed": [], "waited": [], "waves": []}
    first: list[Look] = []

    def before(client: Any) -> None:
        if changed or dry:
            first.append(Fleet(client).look())

    def after(client: Any) -> None:
        fleet = Fleet(client)
        found = first[0] if dry else fleet.look()
        jobs = would_be(found, described, _rendered()) if dry else stale(found, described.people)
        if changed:
            jobs = [job for job in jobs if job.version != first[0].wanted(job.mac)]
        mine = {p.ext for p in people}
        chosen = [job for job in jobs if job.ext in mine]
        report["stale"], report["left"] = [j.ext for j in chosen], [j.ext for j in jobs if j.ext not in mine]
        report["unchanged"] = len(people) - len(chosen)
        if chosen and not dry:
            tell.begin(len(chosen))
            done = told(described, fleet, chosen, found, tell, Patience(calls=calls))
            report.update(confirmed=done.done, failed=summary(described, done), waited=done.waited, waves=done.waves)

    result = deployment.run(
        clinic, at, dry=dry, say=tell.say, make=False, file=ACCOUNTS, before=before, after=after
    )  # fmt: skip
    if result["failed"]:
        raise ClinicError(
            f"The deploy failed at: {result['failed'][0]}. No telephone was told anything.",
            remedy="mend it and run the same command again; what is done stays",
        )
    uploaded = sum(phase["changed"] for phase in result["phases"].values())
    report |= {"site": result["site"], "dry": dry, "diff": result["diff"], "uploaded": uploaded}
    report["seconds"] = round(time.monotonic() - began, 2)
    return report


def would_be(found: Look, described: Clinic, versions: Mapping[str, str]) -> list[Job]:
    """Those whose applied version is not what a push would bring."""
    jobs = [Job(person, versions[mac12(person.phone.mac)]) for person in described.people]
    return [job for job in jobs if job.version != found.applied(job.mac)]


def _rendered() -> dict[str, str]:
    """MAC to the version that a push would bring."""
    from clinic.rendering.phones import phones

    night = inventory.tonight()
    return {mac: phone.version for mac, phone in phones(night.clinic, night.secrets).items()}


def deployed(clinic: str, at: str, edit: change.Edit, ext: str, say: Callable[[str], None]) -> dict[str, Any]:
    """`phones moved`: the description is written, and what names the socket learns it."""
    with closing(login(clinic, at)):
        pass  # a PBX that is not there is known before anything is written
    if edit.changes:
        edit.write()
    inventory.night.cache_clear()
    result = deployment.run(clinic, at, dry=False, say=say, only=EVERYWHERE, make=False)
    if result["failed"]:
        raise ClinicError(
            f"The description is changed, but the deploy failed at: {result['failed'][0]}",
            remedy="mend it and run the same command again; what is done stays",
        )
    phone = edit.clinic.by_ext[ext].phone
    return {
        "deployed": {name: facts["changed"] for name, facts in result["phases"].items()},
        "next": [f"{ext} is at socket {phone.socket}, {phone.switch} port {phone.port}."],
    }


def replaced(clinic: str, at: str, edit: change.Edit, ext: str, say: Callable[[str], None]) -> dict[str, Any]:
    """`phones replace`: new secrets, the description, the deploy, and what the engineer does now."""
    night = inventory.night(clinic, at)
    renewed: list[str] = []
    with closing(login(clinic, at)):
        pass
    if edit.changes:
        renewed = change.renew(night.site.clinic_dir, night.clinic, edit.clinic, ext)
    report = deployed(clinic, at, edit, ext, say)
    person = edit.clinic.by_ext[ext]
    phone, address = person.phone, addresses(edit.clinic)[ext]
    report["renewed"] = renewed
    report["next"] = [
        f"{ext} {person.name} has the telephone {phone.mac} ({phone.model}) from now on.",
        *([f"  renewed: {', '.join(renewed)}; the old telephone's passwords open nothing"] if renewed else []),
        f"  Plug it in: socket {phone.socket}, {phone.switch} port {phone.port}. It gets {address}, fetches its"
        " configuration by its first door, which closes behind it, and registers: about a minute.",
        f"  Then: clinicpbx phones status {clinic} --ext {ext}",
    ]
    return report
