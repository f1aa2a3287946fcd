"""Where a deploy goes: the rehearsal (the default) or the clinic. The only module that knows the difference.

`Site.at("lab")` enters the lab's workstation namespace and trusts its certificate authority; `Site.at("clinic")` uses
the description's own hypervisor with the clinic's certificate and token. After `enter()` nothing can tell which it is.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clinic import secrets as names
from clinic.model import Clinic
from clinicpbx.errors import ClinicError

_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Site:
    """A target. `lab` is the rehearsal's number, None at the clinic."""

    lab: int | None
    clinic_dir: Path

    @classmethod
    def at(cls, name: str, clinic_dir: Path) -> Site:
        """`lab`, `lab3` or `clinic`; empty takes CLINICPBX_AT, then `lab`."""
        name = name or os.environ.get("CLINICPBX_AT", "") or "lab"
        if name == "clinic":
            return cls(None, clinic_dir)
        found = re.fullmatch(r"lab(\d{0,2})", name)
        if not found:
            raise ClinicError(f"There is no site `{name}`.", remedy="write lab, lab1 to lab99, or clinic")
        return cls(int(found[1] or 0), clinic_dir)

    @property
    def name(self) -> str:
        return "clinic" if self.lab is None else f"lab{self.lab or ''}"

    @property
    def is_lab(self) -> bool:
        return self.lab is not None

    def must_stand(self) -> None:
        """ClinicError when this is a lab that is not up: known before anything is made for it."""
        if self.lab is not None:
            from lab.state import load

            load(self.lab)

    def enter(self) -> None:
        """Join the network from which the site is reached. Threads started later are in it too."""
        if self.lab is None:
            return
        from lab.state import load

        namespace = load(self.lab)["namespaces"]["eng"]
        try:
            with Path(f"/run/netns/{namespace}").open() as handle:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(handle.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        except OSError as error:
            raise ClinicError(
                f"The lab's network {namespace} cannot be entered: {error.strerror}.",
                remedy="run it as root; if the lab is gone, scripts/clean and `clinicpbx lab up` again",
            ) from None

    def secrets(self, stored: Mapping[str, str], alerts: Sequence[str] = ()) -> dict[str, str]:
        """The secrets that this site's machines get. A rehearsal alerts the lab, under the names of `alerts`."""
        if self.lab is None:
            return dict(stored)
        if not alerts:
            return names.for_rehearsal(stored)
        from lab.alerts import url
        from lab.state import load

        engineer = load(self.lab)["engineer"]
        return names.for_rehearsal(stored, {name: url(engineer, name) for name in alerts})

    def api(self, clinic: Clinic, stored: Mapping[str, str]) -> ApiAccess:
        """How to reach the hypervisor. ClinicError names what is missing."""
        hypervisor = clinic.hypervisor
        if self.lab is not None:
            from lab.state import load

            api = load(self.lab)["api"]
            return ApiAccess(api["host"], api["port"], Path(api["ca"]), api["token_id"], api["token_secret"])
        ca = self.clinic_dir / "hypervisor-ca.pem"
        if not ca.exists():
            raise ClinicError(
                f"{ca} is missing: the hypervisor's certificate authority is pinned, never skipped.",
                remedy=f"copy /etc/pve/pve-root-ca.pem of the hypervisor to {ca}",
            )
        token = stored.get("hypervisor/token")
        if not token:
            raise ClinicError(
                "The hypervisor's API token is not known.", remedy="clinicpbx secrets enter CLINIC hypervisor/token"
            )
        return ApiAccess(str(hypervisor.api), hypervisor.port, ca, hypervisor.token, token)

    @property
    def known_hosts(self) -> Path:
        """Where the PBX's SSH host key is pinned."""
        if self.lab is None:
            return self.clinic_dir / "known_hosts"
        return Path(f"/run/clinicpbx/lab{self.lab}/known_hosts")


@dataclass(frozen=True, repr=False)
class ApiAccess:
    """Address, pinned authority and token of a hypervisor. Not printable: it holds the token."""

    host: str
    port: int
    ca: Path
    token_id: str
    token_secret: str
