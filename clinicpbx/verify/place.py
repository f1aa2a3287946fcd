"""`Place`: the site under verification, and what checks need of it. The only part that knows lab from clinic."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import paramiko

from clinic.model import Clinic
from clinic.secrets import SSH_KEY
from clinic.vm import USER
from clinicpbx import descriptions
from clinicpbx.connection import no_delay
from clinicpbx.errors import ClinicError
from clinicpbx.secrets import Store
from clinicpbx.site import Site
from clinicpbx.verify import borrow, restore
from clinicpbx.verify.borrow import Borrowed
from clinicpbx.verify.pbx import Pbx
from softphone.client import Pool, PoolError


@dataclass(frozen=True)
class Place:
    """`lab` is the lab's number, None at the real clinic. `state` is the lab's state file, empty at the clinic.

    `borrows`: there are no test telephones and no test subscribers, as at every real clinic; a lab can be treated so
    too. `borrowed` is what stands in for the telephones then, once they are taken.
    """

    clinic_name: str
    clinic_path: Path
    clinic: Clinic
    site: Site
    state: Mapping[str, Any]
    borrows: bool = False
    borrowed: Borrowed | None = None

    @classmethod
    def of(cls, clinic: str, at: str, *, borrow: bool = False, borrowed: str = "") -> Place:
        """`borrowed`: the file of what was borrowed. Raises ClinicError for an unknown clinic or site, a lab not up."""
        path = descriptions.find(clinic)
        site = Site.at(at, path.parent)
        state: Mapping[str, Any] = {}
        if site.lab is not None:
            from lab import state as lab_state

            state = lab_state.load(site.lab)
        known = Borrowed.load(Path(borrowed)) if borrowed else None
        borrows = borrow or site.lab is None or known is not None
        return cls(path.parent.name, path, descriptions.read_or_explain(clinic), site, state, borrows, known)

    @property
    def name(self) -> str:
        return self.site.name

    @property
    def lab(self) -> int | None:
        return self.site.lab

    @cached_property
    def secrets(self) -> Mapping[str, str]:
        """Every secret by name, as the site has them."""
        return self.site.secrets(Store(self.clinic_path.parent).existing(), self.clinic.alerts)

    def connect(self) -> Pbx:
        """A new SSH connection to the PBX: its pinned host key, our own key, from the site's own network."""
        import testinfra

        client = paramiko.SSHClient()
        if self.site.known_hosts.exists():
            client.load_host_keys(str(self.site.known_hosts))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        key = paramiko.Ed25519Key.from_private_key(io.StringIO(self.secrets[SSH_KEY]))
        address = str(self.clinic.networks.management.pbx)
        with self.network():
            try:
                client.connect(
                    address, username=USER, pkey=key, look_for_keys=False, allow_agent=False, timeout=10
                )  # fmt: skip
            except (OSError, paramiko.SSHException) as error:
                raise ClinicError(
                    f"no SSH login as {USER} at {address}: {error}",
                    remedy=f"clinicpbx deploy {self.clinic_name} --at {self.name}",
                ) from error
        no_delay(client)
        host = testinfra.get_host("paramiko://pbx", sudo=True)
        host.backend.__dict__["client"] = client
        return Pbx(host, client)

    def network(self) -> contextlib.AbstractContextManager[None]:
        if self.lab is None:
            return contextlib.nullcontext()
        from lab import netns

        return netns.entered(self.state["namespaces"]["eng"])

    def phones(self) -> Pool | None:
        """The telephones that we may use, one agent per extension; None where there are none."""
        if self.borrows:
            return Pool(self.borrowed.socket, connect_timeout=5) if self.borrowed else None
        return self._pool("phones_socket") if self._settled else None

    @cached_property
    def _settled(self) -> bool:
        """Telephones of a lab find their accounts by themselves, some seconds after a deploy."""
        from lab.phones import settle

        if self.lab is not None:
            settle(self.lab)
        return True

    def pstn(self) -> Pool | None:
        """The public network's subscribers (exchange agent `pstn`); None where there is none."""
        return None if self.borrows else self._pool("pstn_socket")

    def _pool(self, key: str) -> Pool | None:
        path = self.state.get(key)
        return Pool(path, connect_timeout=5) if path else None

    @property
    def visitor(self) -> str:
        """An address on the voice network, reachable for the pool of telephones, that is no telephone's."""
        if self.borrowed:
            return self.borrowed.address
        from lab.phones import spare_addresses

        return spare_addresses(self.lab or 0)[0]

    def prepare(self, folder: Path, *, despite_calls: bool = False) -> Before:
        """Reach the PBX, note what must be put back, borrow the telephones or let those that are off register.

        Raises InUseError where telephones would have to be borrowed from people who use them.
        """
        pbx = self.connect()
        recovered = restore.recover(pbx)
        before = Before(restore.take(pbx), self._faults(), time.monotonic(), recovered)
        if self.borrows:
            if not despite_calls:
                borrow.refuse_if_in_use(pbx)
            restore.save(pbx, before.pbx)  # should this program die, the next run knows how the PBX was
            try:
                restore.stop_forwarding(pbx, before.pbx)
                with self.network():
                    before.borrowed = borrow.take(self.clinic, self.secrets, pbx, folder / "telephones")
                before.borrowed.save(folder / "borrowed.json")
            except BaseException:
                self.put_back(before)
                raise
        elif phones := self.phones():
            off = [name for name, found in phones.registrations().items() if found["state"] != "registered"]
            with contextlib.suppress(PoolError):
                if off:
                    phones.register(off, timeout=4)
        return before

    def put_back(self, before: Before, *, killed: bool = False) -> list[str]:
        """Undo what the checks left: faults, calls, AstDB keys, queue members. What was so before stays.

        `killed`: checks could not tidy up their telephones, so all of them ring again when they are called.
        """
        done: list[str] = []
        lost: list[str] = []
        try:
            lost = borrow.give_back(before.borrowed) if before.borrowed else []
        except (PoolError, OSError) as error:  # what people had set must come back all the same
            lost = [f"all: {error}"]
        for name, target in self._faults():
            if (name, target) not in before.faults:
                from lab import faults

                faults.clear(self.lab or 0, name, target)
                done.append(f"fault {name} {target}")
        for pool in (self.phones(), self.pstn()):
            with contextlib.suppress(PoolError):
                for call in pool.calls(active=True) if pool else ():
                    if call.info["times"]["start"] >= before.at:
                        call.hangup()
        if phones := self.phones():
            names = set(phones.registrations())
            if ours := sorted(name for name in names if name.startswith("verify-")):
                phones.remove(ours)
            unplugged = {target for name, target in before.faults if name == "phone-unplugged"}
            if killed:
                phones.set_behaviour(sorted(names - set(ours) - unplugged), "ring")
        pbx = self.connect()
        done += restore.put_back(pbx, before.pbx, gentle=self.borrows and not killed)
        if self.borrows:
            restore.forget(pbx)
        if lost:
            raise ClinicError(f"telephones are not registered again: {', '.join(lost[:8])}")
        return done

    def _faults(self) -> tuple[tuple[str, str], ...]:
        if self.lab is None:
            return ()
        from lab import faults

        return tuple((fault.name, fault.target) for fault in faults.active(self.lab))


@dataclass
class Before:
    """How the site was found, at monotonic second `at`, what a killed run had left, and what was borrowed then."""

    pbx: restore.Snapshot
    faults: tuple[tuple[str, str], ...]
    at: float
    recovered: list[str] = field(default_factory=list)
    borrowed: Borrowed | None = None
