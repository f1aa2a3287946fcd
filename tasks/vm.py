"""The virtual machine: made before the first connection (clinicpbx.inventory), compared here on every deploy."""

from __future__ import annotations

from pyinfra import logger
from pyinfra.api import DeployError, deploy

from clinicpbx.inventory import Night


@deploy("Virtual machine")
def vm(night: Night) -> None:
    """Report every difference between the hypervisor's machine and the description. It is never rebuilt silently."""
    differences = night.machine_differences()
    if differences:
        for line in differences:
            logger.error(f"    VM {night.clinic.hypervisor.vm.id}: {line}")
        raise DeployError(
            f"the VM differs from the description in {len(differences)} settings; "
            "correct clinic.yml, or change the VM on the hypervisor by hand"
        )
