"""The report: verify.json, report.html, junit.xml, in reports/<clinic>/<UTC stamp>/, and links to the latest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clinicpbx.verify.results import Verification

TEMPLATES = Path(__file__).resolve().parent.parent.parent / "templates" / "report"
CLINIC = "clinic"  # the site that is no rehearsal
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(run: Verification, name: str, folder: Path) -> Path:
    """Write all three below `folder` (the clinic's reports) and return the run's own folder.

    `latest` names the last run of every check at whatever site, `latest-clinic` the last one at the clinic itself: no
    rehearsal after the night replaces its verdict. A run of chosen checks is `latest-partial`.
    """
    stamp = run.started.replace("-", "").replace(":", "")
    target, number = folder / stamp, 1
    while target.exists():
        number += 1
        target = folder / f"{stamp}-{number}"
    target.mkdir(parents=True)
    (target / "verify.json").write_text(json.dumps(run.as_json(), ensure_ascii=False, indent=1) + "\n")
    (target / "report.html").write_text(html(run, name))
    (target / "junit.xml").write_bytes(junit(run))
    links = ["latest-partial"] if run.only else ["latest", "latest-clinic"] if run.at == CLINIC else ["latest"]
    for link in links:
        point(folder / link, target.name)
    return target


def point(link: Path, target: str) -> None:
    """Replace a symbolic link in one step."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def html(run: Verification, name: str) -> str:
    """One page without outside parts. `name`: the clinic's name as people read it."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("verify.html.j2").render(run=run, name=name)


def junit(run: Verification) -> bytes:
    """For build servers: a skipped test is a check that was not tried."""
    suite = ET.Element(
        "testsuite", name=f"clinicpbx verify {run.clinic} at {run.at}", timestamp=run.started.rstrip("Z"),
        time=f"{run.seconds:.1f}", tests=str(len(run.results)), failures=str(run.count("failed")), errors="0",
        skipped=str(run.count("not-tried")),
    )  # fmt: skip
    for result in run.results:
        check = result.check
        case = ET.SubElement(suite, "testcase", classname=check.lane or "verify", name=check.id)
        case.set("time", f"{result.seconds:.2f}")
        if result.status == "failed":
            ET.SubElement(case, "failure", message=_clean(result.failure[:200])).text = _clean(result.failure)
        elif result.status == "not-tried":
            ET.SubElement(case, "skipped", message=_clean(result.failure))
        lines = [check.title, f"proves: {check.proves}", *result.evidence]
        lines += [f"control: {text}" for text in result.controls]
        ET.SubElement(case, "system-out").text = _clean("\n".join(lines))
    suites = ET.Element("testsuites")
    suites.append(suite)
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True))


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", text)
