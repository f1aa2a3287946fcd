"""One night's run, in order. Rehearse it with `clinicpbx deploy case`, or `pyinfra inventory/case.py deploy.py`."""

from clinicpbx.inventory import tonight
from tasks import (
    asterisk,
    base,
    bundle,
    database,
    fail2ban,
    firewall,
    guard,
    hardening,
    ledger,
    network,
    provisioning,
    recordings,
    vm,
    wan,
)

night = tonight()

vm.vm(night)
base.base(night.clinic)
bundle.bundle(night.bundle, updates=bool(night.clinic.updates.mirror))
hardening.hardening(night.clinic)
network.network(night.clinic)
firewall.firewall(night.clinic)
database.database(night.secrets["db/reports"])
recordings.recordings(night.clinic)
asterisk.asterisk(night.generation)
fail2ban.fail2ban(night.clinic)
ledger.ledger()
provisioning.provisioning(night.telephones)
wan.wan(night.clinic, night.secrets)
guard.guard(night.clinic, night.secrets)
hardening.effective()
asterisk.listening(night.restart_asterisk)
