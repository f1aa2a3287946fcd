"""The WAN watchdog: finds the uplink that fails, moves calls to the one that lives, and brings them back."""
