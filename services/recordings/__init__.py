"""clinic-recordings: keeps the recordings within their retention and their disk from filling."""
