"""What pyinfra needs to know of a clinic: one host, reached as the site says, with typed values instead of data.

`hosts("case")` is the whole of an inventory file, and `tonight()` gives deploy.py the values it hands to the tasks.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import paramiko

from clinic import secrets as names
from clinic import vm
from clinic.model import Clinic
from clinicpbx import connection, descriptions, disk_image, provisioning
from clinicpbx.bundle import Bundle
from clinicpbx.bundle import ensure as ensure_bundle
from clinicpbx.errors import ClinicError
from clinicpbx.generation import Generation, build
from clinicpbx.hypervisor import Hypervisor
from clinicpbx.provisioning import Provisioning
from clinicpbx.secrets import Store, public_key
from clinicpbx.site import Site

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, repr=False)
class Night:
    """Everything one deploy works with. Not printable: it holds the secrets."""

    clinic: Clinic
    site: Site
    secrets: dict[str, str]
    notes: list[str] = field(default_factory=list)
    restart_asterisk: bool = False  # only when the engineer asks for it by name

    @cached_property
    def bundle(self) -> Bundle:
        return ensure_bundle(ROOT / "bundle.lock", production=not self.site.is_lab, progress=self.notes.append)

    @cached_property
    def generation(self) -> Generation:
        return build(self.clinic, self.secrets, self.site.clinic_dir)

    @cached_property
    def hypervisor(self) -> Hypervisor:
        return Hypervisor(self.site.api(self.clinic, self.secrets), self.clinic.hypervisor.node)

    @cached_property
    def telephones(self) -> Provisioning:
        return provisioning.build(self.clinic, self.secrets, self.site.clinic_dir)

    @property
    def ssh_key(self) -> str:
        return public_key(self.secrets[names.SSH_KEY])

    @property
    def image(self) -> str:
        """File name of the base image on the hypervisor's image storage."""
        return image_name(self.bundle)

    def machine_differences(self) -> list[str] | None:
        """How the existing VM differs from the description; None when there is no VM."""
        found = self.hypervisor.machine(self.clinic.hypervisor.vm.id)
        return None if found is None else vm.differences(self.clinic, found, self.ssh_key)

    def make_machine(self) -> bool:
        """Create and start the VM where it is missing, and wait for SSH; whether it is new.

        A VM that differs is left as it is. A new one has a new host key: the pin of the one before it goes.
        """
        file = None if self.site.is_lab else disk_image.place(self.bundle)  # the lab's hypervisor brings its own
        fresh = self.hypervisor.create(self.clinic, self.image, self.ssh_key, say=self.notes.append, image_file=file)
        if fresh:
            self.site.known_hosts.write_text("")
        connection.wait_for_ssh(str(self.clinic.networks.management.pbx))
        return fresh

    def need_machine(self) -> bool:
        """For a dry run: there must be a machine to look at. Nothing is made."""
        vmid = self.clinic.hypervisor.vm.id
        found = self.hypervisor.machine(vmid)
        if found is None or found["status"] != "running":
            state = (
                "does not exist; a deploy would create it" if found is None else "does not run; a deploy would start it"
            )
            raise ClinicError(f"VM {vmid} {state}.", remedy="`clinicpbx deploy CLINIC --dry` lists what would be made")
        return False


def image_name(bundle: Bundle) -> str:
    return disk_image.name(bundle)


@cache
def night(clinic: str, at: str = "", *, deploying: bool = False, dry: bool = False, restart: bool = False) -> Night:
    """The night of one clinic at one site; enters the site's network. ClinicError for anything that is missing.

    Only `deploying`, and not `dry`, makes secrets that are missing. For a deploy the bundle is at hand before the
    network is entered: a lab's workstation reaches no mirror.
    """
    described = descriptions.read_or_explain(clinic)
    folder = descriptions.find(clinic).parent
    site = Site.at(at, folder)
    site.must_stand()
    store = Store(folder)
    if not site.is_lab:
        have = store.load() if deploying else store.existing()
        missing = [n for n in names.entered(described) if n not in have]
        if missing:
            raise ClinicError(
                f"The clinic's {', '.join(missing)} is not entered yet.",
                remedy=f"clinicpbx secrets enter {clinic} {missing[0]}",
            )
    stored = store.existing() if not deploying else store.preview(described) if dry else store.ensure(described)
    found = Night(described, site, site.secrets(stored, described.alerts), restart_asterisk=restart)
    if deploying:
        _ = found.bundle
    site.enter()
    return found


_current: list[Night] = []


def tonight() -> Night:
    """The night that the loaded inventory is about."""
    if not _current:
        raise ClinicError("No inventory of a clinic is loaded.", remedy="pyinfra inventory/<clinic>.py deploy.py")
    return _current[-1]


def hosts(
    clinic: str, *, dry: bool | None = None, at: str = "", restart: bool = False, make: bool = True
) -> list[tuple[str, dict[str, Any]]]:
    """pyinfra's hosts: the PBX. With `dry` (or pyinfra's own --dry), or without `make`, a missing VM is not made, and
    it cannot connect."""
    only_look = "--dry" in sys.argv if dry is None else dry
    plan = night(clinic, at, deploying=True, dry=only_look, restart=restart)
    _current.append(plan)
    connection.install()
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(plan.secrets[names.SSH_KEY]))
    known = plan.site.known_hosts
    known.parent.mkdir(parents=True, exist_ok=True)
    known.touch(mode=0o600, exist_ok=True)
    data: dict[str, Any] = {
        "ssh_hostname": str(plan.clinic.networks.management.pbx),
        "ssh_user": vm.USER,
        "ssh_known_hosts_file": str(known),
        "ssh_strict_host_key_checking": "accept-new",
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
        "ssh_paramiko_connect_kwargs": {"pkey": key},
        "_sudo": True,
    }
    data["prepare"] = plan.make_machine if make and not only_look else plan.need_machine
    return [(f"{plan.clinic.hypervisor.vm.name}.{clinic}", data)]
