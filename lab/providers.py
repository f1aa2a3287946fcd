"""The lab's providers: one real Asterisk each, in its own namespace, as the clinic's trunks will meet it.

Their programs come from the tools root (`clinicpbx.image.tools`); each has its own private mount of a state directory
at /mnt there, so nothing is left mounted when it ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clinic.model import Clinic
from clinic.numbering import spellings, written_as
from clinic.rendering.asterisk import conf_text
from clinic.rendering.modules import MODULES
from clinic.trunks import Trunk
from clinicpbx.errors import ClinicError
from lab import process, state
from lab.components import Context
from lab.topology import PSTN, namespace

TEMPLATES = Path(__file__).resolve().parent.parent / "templates" / "provider"
BOOT_SECONDS = 20
NOT_AT_A_PROVIDER = (
    "res_cdrel_custom", "cdr_custom", "cel_custom", "res_parking", "app_queue", "res_musiconhold", "res_pjsip_notify",
)  # fmt: skip
SMALL_FILES = {  # files that Asterisk's core complains about when they are absent
    "cdr.conf": "[general]\nenable = no\n",
    "cel.conf": "[general]\nenable = no\n",
    "manager.conf": "[general]\nenabled = no\n",
    "indications.conf": "[general]\ncountry = ru\n\n[ru]\ndescription = Russia\nringcadence = 1000,4000\n"
    "dial = 425\nbusy = 425/350,0/350\nring = 425/1000,0/4000\ncongestion = 425/175,0/175\n",
    "acl.conf": "; no lists\n",
    **dict.fromkeys(("ccss.conf", "features.conf", "http.conf", "pjproject.conf", "udptl.conf"), "[general]\n"),
}


class Provider:
    """One provider's SBC. `home` holds its configuration, log and database, `tools` the root it runs in."""

    def __init__(self, lab: int, name: str, home: Path, tools: Path) -> None:
        self.space, self.name, self.home, self.tools = namespace(lab, f"prov-{name}"), name, home, tools
        self.pid_file = home / "pid"

    def render(self, clinic: Clinic, trunk: Trunk, password: str) -> None:
        """Write its configuration, readable by its own user only."""
        environment = Environment(  # noqa: S701 - configuration files, not HTML
            loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters["conf"] = conf_text
        peers = [
            {"name": t.name, "server": t.server, "port": t.port,
             "numbers": [s for d in t.dids for s in spellings(d.number)]}
            for t in clinic.trunks if t.enabled and t.name != trunk.name
        ]  # fmt: skip
        values = {
            "trunk": trunk, "password": password, "pstn": PSTN.ip, "peers": peers, "uplinks": clinic.uplinks,
            "spellings": spellings, "written_as": written_as,
            "modules": [m for m in MODULES if m not in NOT_AT_A_PROVIDER] + ["func_pjsip_aor"],
        }  # fmt: skip
        for part in ("etc", "lib/keys", "spool", "run", "log"):
            (self.home / part).mkdir(parents=True, exist_ok=True)
        for template in TEMPLATES.glob("*.j2"):
            target = self.home / "etc" / template.stem
            target.touch(mode=0o600)
            target.write_text(environment.get_template(template.name).render(values))
        for name, text in SMALL_FILES.items():
            (self.home / "etc" / name).write_text(text)
        uid, gid = self._owner()
        for path in [self.home, *self.home.rglob("*")]:
            os.chown(path, uid, gid)

    def start(self) -> None:
        """Start it and wait until it answers. Nothing happens when it runs."""
        if process.recall(self.pid_file):
            return
        root = self.tools
        script = (
            f"mount --bind {self.home} {root}/mnt && mount --bind /dev {root}/dev && mount -t proc proc {root}/proc && "
            f"exec chroot {root} /usr/sbin/asterisk -f -U asterisk -G asterisk -C /mnt/etc/asterisk.conf"
        )
        started = subprocess.Popen(
            ["ip", "netns", "exec", self.space, "unshare", "--mount", "--", "sh", "-ec", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        process.remember(self.pid_file, started.pid)
        deadline = time.monotonic() + BOOT_SECONDS
        while "fully booted" not in self.cli("core waitfullybooted").lower():
            if started.poll() is not None or time.monotonic() > deadline:
                raise ClinicError(
                    f"the lab's provider {self.name} does not start", remedy=f"read {self.home}/log/messages.log"
                )
            time.sleep(0.05)
        process.detach(started)

    def stop(self) -> None:
        pid = process.recall(self.pid_file)
        if pid:
            process.stop(pid)
        self.pid_file.unlink(missing_ok=True)

    def running(self) -> bool:
        return process.recall(self.pid_file) is not None

    def cli(self, command: str) -> str:
        """The answer of its Asterisk CLI; empty when it does not run."""
        pid = process.recall(self.pid_file)
        if not pid:
            return ""
        return subprocess.run(
            ["nsenter", f"--target={pid}", "--mount", "chroot", str(self.tools),
             "/usr/sbin/asterisk", "-C", "/mnt/etc/asterisk.conf", "-rx", command],
            capture_output=True, text=True, timeout=20, check=False,
        ).stdout  # fmt: skip

    def _owner(self) -> tuple[int, int]:
        for line in (self.tools / "etc/passwd").read_text().splitlines():
            name, _, uid, gid, *_ = line.split(":")
            if name == "asterisk":
                return int(uid), int(gid)
        raise ClinicError(f"{self.tools} has no user asterisk", remedy="build the bundle again: clinicpbx bundle")


class ProvidersComponent:
    """All providers of the clinic's enabled trunks."""

    name = "providers"

    def start(self, context: Context) -> dict[str, Any]:
        """Start those that do not run; without a clinic or a tools root there are none."""
        if context.clinic is None or context.tools is None:
            return {}
        clinic, found = context.clinic, {}
        for trunk in (t for t in clinic.trunks if t.enabled):
            password = context.secrets.get(f"trunk/{trunk.name}", "")
            if trunk.auth == "registration" and not password:
                raise ClinicError(
                    f"no lab password for trunk {trunk.name}", remedy="clinicpbx check creates what is missing"
                )
            provider = of(context.lab, trunk.name, context.tools)
            if not provider.running():
                shutil.rmtree(provider.home, ignore_errors=True)
                provider.render(clinic, trunk, password)
            provider.start()
            found[trunk.name] = {
                "ns": provider.space, "home": str(provider.home), "tools": str(provider.tools),
                "server": str(trunk.server), "port": trunk.port,
            }  # fmt: skip
        return {"providers": found}

    def stop(self, lab: int) -> None:
        for provider in known(lab).values():
            provider.stop()

    def status(self, lab: int) -> str:
        found = known(lab)
        running = [name for name, provider in found.items() if provider.running()]
        down = [name for name in found if name not in running]
        if not found:
            return "none"
        return "running: " + (", ".join(running) or "none") + (f"; stopped: {', '.join(down)}" if down else "")


def of(lab: int, name: str, tools: Path) -> Provider:
    return Provider(lab, name, state.run_folder(lab) / "providers" / name, tools)


def known(lab: int) -> dict[str, Provider]:
    """The providers of a lab by trunk, running or not; empty when the lab is down."""
    found = state.load(lab).get("providers", {}) if state.exists(lab) else {}
    return {name: of(lab, name, Path(entry["tools"])) for name, entry in found.items()}
