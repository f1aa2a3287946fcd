"""The machine under the PBX: time, names, log limits, kernel settings, engineers."""

from __future__ import annotations

from pathlib import Path

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.facts.files import Link
from pyinfra.operations import server

from clinic.model import Clinic
from tasks.trees import File, tree

FILES = Path(__file__).resolve().parent.parent / "files/base"


@deploy("Base system")
def base(clinic: Clinic) -> None:
    """Everything here is true of every machine this project makes, whatever runs on it."""
    name = clinic.hypervisor.vm.name
    zone = f"/usr/share/zoneinfo/{clinic.timezone}"
    tree(
        name="Log limits, kernel settings, names and locale are the project's",
        wanted={
            "/etc/systemd/journald.conf.d/clinic.conf": File((FILES / "journald.conf").read_bytes()),
            "/etc/sysctl.d/60-clinic.conf": File((FILES / "sysctl.conf").read_bytes()),
            "/etc/default/locale": File(b"LANG=en_US.UTF-8\n"),
            "/etc/hostname": File(f"{name}\n".encode()),
            "/etc/hosts": File(f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost\n".encode()),
            "/etc/resolv.conf": File("".join(f"nameserver {r}\n" for r in clinic.resolvers).encode()),
            "/etc/cloud/cloud.cfg.d/99-clinic.cfg": File(b"preserve_hostname: true\nmanage_etc_hosts: false\n"),
            "/etc/sudoers.d/clinicpbx": File((FILES / "sudoers").read_bytes(), "440"),
            "/usr/sbin/policy-rc.d": File((FILES / "policy-rc.d").read_bytes(), "755"),
        },
        then=(f"hostname {name}", "sysctl --quiet --system || true", "systemctl try-restart systemd-journald"),
    )
    link = host.get_fact(Link, path="/etc/localtime")
    if not link or link["link_target"] != zone:
        server.shell(name=f"The time zone is {clinic.timezone}", commands=[f"ln -sfn {zone} /etc/localtime"])
    for engineer in clinic.engineers:
        server.user(  # noqa: S604 - `shell` is a login shell here
            name=f"{engineer.name} may log in", user=engineer.name, shell="/bin/bash", groups=["sudo"],
            public_keys=[engineer.ssh_key], ensure_home=True,
        )  # fmt: skip
