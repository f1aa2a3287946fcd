"""The rehearsal: a twin of the clinic's network, hypervisor, providers and phones on one Linux machine."""
