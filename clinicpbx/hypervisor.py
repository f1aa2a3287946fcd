"""The hypervisor through proxmoxer: tasks waited for, locks waited out, and every failure a sentence with a remedy.

Errors are told apart as Proxmox VE gives them: 401 without a body, 403 with the permission's name, 500 with its text in
the reason phrase (a missing machine is a 500). A task that ends in anything but OK or WARNINGS is a failure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests
from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException

from clinic import vm
from clinic.model import Clinic
from clinicpbx import disk_image
from clinicpbx.errors import ClinicError
from clinicpbx.site import ApiAccess

T = TypeVar("T")
TASK_SECONDS = 900
UPLOAD_SECONDS = 900  # the hypervisor answers only when it has put the whole file aside
PATIENCE_SECONDS = 60
logging.getLogger("proxmoxer").setLevel(logging.WARNING)


class Hypervisor:
    """One node of a Proxmox VE host."""

    def __init__(self, access: ApiAccess, node: str) -> None:
        self._where = f"{access.host}:{access.port}"
        user, _, token = access.token_id.partition("!")

        def patient(seconds: int) -> ProxmoxAPI:
            return ProxmoxAPI(
                access.host, port=access.port, user=user, token_name=token, token_value=access.token_secret,
                verify_ssl=str(access.ca), timeout=seconds,
            )  # fmt: skip

        self._api = patient(30)
        self._node = self._api.nodes(node)
        self._uploads = patient(UPLOAD_SECONDS).nodes(node)
        self._name = node

    def machine(self, vmid: int) -> dict[str, Any] | None:
        """Its configuration with `status`, or None when there is no such machine."""
        listed = {int(m["vmid"]): m for m in self._call(self._node.qemu.get)}
        if vmid not in listed:
            return None
        return {**self._call(self._node.qemu(vmid).config.get), "status": listed[vmid]["status"]}

    def create(
        self, clinic: Clinic, image: str, ssh_key: str, *, say: Callable[[str], None], image_file: Path | None = None
    ) -> bool:
        """Make and start the clinic's machine; whether it is new. Interrupted anywhere, the next call goes on.

        `image` is the import volume's file name; where it is missing, `image_file` is uploaded as it.
        A machine of somebody else with the same id is neither started nor changed.
        """
        wanted = clinic.hypervisor.vm
        found = self.machine(wanted.id)
        if found is not None and not vm.is_ours(clinic, found):
            raise ClinicError(
                f"VM {wanted.id} on the hypervisor is `{found.get('name', '')}`, with other network cards than the"
                " clinic's. It was left as it is.",
                remedy="choose a free number for hypervisor.vm.id in clinic.yml",
            )
        if found is None:
            self._need_image(clinic, image, image_file, say)
            say(f"creating VM {wanted.id} {wanted.name}")
            self._task(lambda: self._node.qemu.post(**vm.creation(clinic, image, ssh_key)))
        fresh = found is None or vm.is_unfinished(found)
        if fresh:
            machine = self._node.qemu(wanted.id)
            has = vm.disk_gib(self._call(machine.config.get), vm.SYSTEM_DISK)
            if has is None or has < wanted.disk_gib:  # shrinking fails
                self._task(lambda: machine.resize.put(disk=vm.SYSTEM_DISK, size=f"{wanted.disk_gib}G"))
            self._call(lambda: machine.config.put(**vm.later(clinic)))
        if found is None or found["status"] != "running":
            say(f"starting VM {wanted.id}")
            self._start(wanted.id)
        return fresh

    def _start(self, vmid: int) -> None:
        """Starting a running machine is a failed task, so one that another session started meanwhile is looked for."""
        try:
            self._task(self._node.qemu(vmid).status.start.post)
        except ClinicError:
            if self._call(self._node.qemu(vmid).status.current.get)["status"] != "running":
                raise

    def _need_image(self, clinic: Clinic, image: str, file: Path | None, say: Callable[[str], None]) -> None:
        name = clinic.hypervisor.image_storage
        volumes = [v["volid"] for v in self._call(lambda: self._node.storage(name).content.get(content="import"))]
        if f"{name}:import/{image}" in volumes:
            return
        if file is None or not file.exists():
            raise ClinicError(
                f"The hypervisor's storage `{name}` does not hold {name}:import/{image}.",
                remedy="a lab takes it when it is made anew: lab down, lab up" if file is None
                else "`clinicpbx bundle image` makes it; the next deploy uploads it",
            )  # fmt: skip
        checked = {"checksum": disk_image.checksum(file), "checksum-algorithm": "sha256"}

        def send() -> Any:
            with file.open("rb") as stream:  # anew at each attempt, from its beginning
                return self._uploads.storage(name).upload.post(content="import", filename=stream, **checked)

        say(f"uploading {image} ({file.stat().st_size / 1e6:.0f} MB) to the hypervisor's storage {name}")
        self._task(send)

    def _task(self, start: Callable[[], Any]) -> None:
        upid = self._call(start)
        if not isinstance(upid, str) or not upid.startswith("UPID:"):
            return
        status = self._api.nodes(upid.split(":")[1]).tasks(upid).status
        end, pause = time.monotonic() + TASK_SECONDS, 0.02
        while time.monotonic() < end:
            answer = self._call(status.get)
            if answer["status"] == "stopped":
                outcome = str(answer.get("exitstatus", ""))
                if outcome != "OK" and not outcome.startswith("WARNINGS"):
                    raise ClinicError(
                        f"A task of the hypervisor failed: {outcome}.", remedy=f"look at {upid} on node {self._name}"
                    )
                return
            time.sleep(pause)
            pause = min(pause * 1.5, 2)
        raise ClinicError(f"A task of the hypervisor did not end in {TASK_SECONDS} s.", remedy=f"look at {upid}")

    def _call(self, function: Callable[[], T]) -> T:
        """One request; a locked machine or a `got timeout` is tried again with growing pauses for a minute."""
        end, pause = time.monotonic() + PATIENCE_SECONDS, 0.25
        while True:
            try:
                return function()
            except ResourceException as error:
                text = f"{error.status_message} {error.content}".strip()
                if ("is locked" in text or "got timeout" in text) and time.monotonic() < end:
                    time.sleep(pause)
                    pause = min(pause * 2, 5)
                    continue
                raise self._explained(error, text) from None
            except requests.exceptions.SSLError:
                raise ClinicError(
                    f"{self._where} shows a certificate that the pinned authority did not sign.",
                    remedy="if the hypervisor was reinstalled, copy its pve-root-ca.pem again; if not, stop here",
                ) from None
            except requests.exceptions.RequestException as error:
                raise ClinicError(
                    f"The hypervisor does not answer at {self._where} ({type(error).__name__}).",
                    remedy="check hypervisor.api and hypervisor.port in clinic.yml, and the network to it",
                ) from None

    def _explained(self, error: ResourceException, text: str) -> ClinicError:
        match error.status_code:
            case 401:
                return ClinicError(
                    f"The hypervisor at {self._where} refuses the API token.",
                    remedy="check hypervisor.token in clinic.yml and enter its secret again",
                )
            case 403:
                return ClinicError(
                    f"The API token lacks a permission: {text}", remedy="give the token the role of docs/operations.md"
                )
            case 400:
                wrong = "; ".join(f"{k}: {v}" for k, v in (error.errors or {}).items()) or text
                return ClinicError(f"The hypervisor refuses a parameter: {wrong}", remedy="correct clinic.yml")
            case _:
                return ClinicError(f"The hypervisor answers {error.status_code}: {text}", remedy="look at its log")
