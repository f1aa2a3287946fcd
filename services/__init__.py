"""Programs that run on the PBX, with Debian's own Python and nothing else."""
