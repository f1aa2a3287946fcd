"""Refusals of the API: HTTP status, reason phrase and, for bad parameters, a message per parameter."""

from __future__ import annotations

from collections.abc import Mapping


class ApiError(Exception):
    """Answered at once, before any task."""

    def __init__(self, status: int, reason: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.errors = status, reason, dict(errors or {})


class TaskError(Exception):
    """Ends a task: its text becomes the exit status."""


def bad(**errors: str) -> ApiError:
    """400 for wrong parameters; `_` in a name stands for `-`."""
    return ApiError(400, "Parameter verification failed.", {k.replace("_", "-"): v for k, v in errors.items()})


def failed(reason: str) -> ApiError:
    """500: how Proxmox reports everything that `die`s, a missing VM included."""
    return ApiError(500, reason)
