"""Defaults every clinic shares. Values that differ between clinics belong in clinic.yml, where they are typed."""

_sudo = True
