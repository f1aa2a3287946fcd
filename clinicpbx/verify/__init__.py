"""`clinicpbx verify`: real calls against a deployed clinic, ending in a dated GO / NO-GO report."""
