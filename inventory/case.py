"""The case's PBX. `pyinfra inventory/case.py deploy.py` rehearses; with CLINICPBX_AT=clinic it is the real night."""

from clinicpbx.inventory import hosts as clinic_hosts

hosts = clinic_hosts("case")
