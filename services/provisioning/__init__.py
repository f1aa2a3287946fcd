"""Provisioning: gives each telephone its own configuration, and nobody else anything that is a secret."""
