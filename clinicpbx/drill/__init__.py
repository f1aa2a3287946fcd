"""Attacks on the rehearsal, with figures: `clinicpbx lab drill security`. One module for each kind of attack."""
