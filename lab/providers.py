"""The lab's providers: one real Asterisk each, in its own namespace, as the clinic's trunks will meet it.

Their programs come from the tools root (`clinicpbx.image.tools`); each has its own private mount of a state directory
at /mnt there, so nothing is left mounted when it ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clinic.model import Clinic
from clinic.numbering import spellings, written_as
from clinic.rendering.asterisk import conf_text
from clinic.rendering.modules import MODULES
from clinic.trunks import Trunk
from clinicpbx.errors import ClinicError
from lab import process
from lab.topology import PSTN, namespace

TEMPLATES = Path(__file__).resolve().parent.parent / "templates" / "provider"
BOOT_SECONDS = 20
NOT_AT_A_PROVIDER = ("res_cdrel_custom", "cdr_custom", "cel_custom", "res_parking", "app_queue")


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
        for part in ("etc", "lib", "spool", "run", "log"):
            (self.home / part).mkdir(parents=True, exist_ok=True)
        for template in TEMPLATES.glob("*.j2"):
            target = self.home / "etc" / template.stem
            target.touch(mode=0o600)
            target.write_text(environment.get_template(template.name).render(values))
        for empty in ("features.conf", "indications.conf", "http.conf"):
            (self.home / "etc" / empty).write_text("[general]\n")
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


def start(lab: int, clinic: Clinic, secrets: Mapping[str, str], state: Path, tools: Path) -> dict[str, Provider]:
    """All providers of the clinic's trunks, running. `secrets` has `trunk/<name>`."""
    providers = {}
    for trunk in (t for t in clinic.trunks if t.enabled):
        provider = Provider(lab, trunk.name, state / "providers" / trunk.name, tools)
        if not provider.running():
            shutil.rmtree(provider.home, ignore_errors=True)
            provider.render(clinic, trunk, secrets.get(f"trunk/{trunk.name}", ""))
        provider.start()
        providers[trunk.name] = provider
    return providers
