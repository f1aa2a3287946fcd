"""The guard: tells people what the PBX's own walls have seen."""
