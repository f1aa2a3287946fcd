"""A stand-in for Proxmox VE's API that boots systemd-nspawn machines, for rehearsals.

It answers the part of the published API that a deploy needs, with Proxmox's own error texts and status
codes, and holds its state in files so that the daemon can be started again over running machines.
"""
