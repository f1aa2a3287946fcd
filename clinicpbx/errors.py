"""The one exception an engineer sees as text: what is wrong, and what to do about it."""

from __future__ import annotations


class ClinicError(Exception):
    """A failure the engineer can act on.

    `message` names the value and the rule it broke, `remedy` the next command or edit. Neither ever holds a secret.
    The CLI prints both as one paragraph and exits with 1.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  Remedy: {self.remedy}" if self.remedy else self.message
