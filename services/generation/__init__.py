"""Generations: complete Asterisk configurations, checked before they are switched in and kept for the way back."""
