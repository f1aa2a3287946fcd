"""One night's run, in order. Rehearse it with `clinicpbx deploy case`, or `pyinfra inventory/case.py deploy.py`."""

from clinicpbx.inventory import tonight
from tasks import asterisk, base, bundle, database, ledger, network, recordings, vm

night = tonight()

vm.vm(night)
base.base(night.clinic)
bundle.bundle(night.bundle)
network.network(night.clinic)
database.database(night.secrets["db/reports"])
recordings.recordings(night.clinic)
asterisk.asterisk(night.generation)
ledger.ledger()
asterisk.listening(night.restart_asterisk)
