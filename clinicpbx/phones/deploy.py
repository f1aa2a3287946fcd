"""What a telephone and the PBX must agree on, as `phones push` deploys it: a new SIP password goes to both, to the PBX
first. Nothing else is compared, so that one changed key is on its telephone in seconds."""
# mypy: disable-error-code="call-arg,arg-type"

from clinicpbx.inventory import tonight
from tasks import asterisk, provisioning

night = tonight()

asterisk.configuration(night.generation)
provisioning.telephones(night.telephones)
