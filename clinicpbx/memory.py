"""What the machine answered about itself, remembered until something is done to it.

pyinfra gathers every fact twice: once to plan, once to run. While no command has been run that is not a fact, no file
sent and no stream opened, the second answer is the first one: a deploy that changes nothing asks half as often.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pyinfra.api import Host
from pyinfra.connectors.ssh import SSHConnector

SECONDS = 30
_answers: dict[tuple[str, ...], tuple[float, Any]] = {}
_asking: set[str] = set()


def forget() -> None:
    """Something is about to change: every answer is asked for anew."""
    _answers.clear()


def install() -> None:
    """Wrap pyinfra's host and SSH connector; safe to call twice."""
    if getattr(Host.get_fact, "of_clinic", False):
        return
    Host.get_fact = _marked(Host.get_fact)  # type: ignore[method-assign]
    SSHConnector.run_shell_command = _remembered(SSHConnector.run_shell_command)  # type: ignore[method-assign]
    for name in ("put_file", "rsync"):
        setattr(SSHConnector, name, _forgetting(getattr(SSHConnector, name)))


def _marked(original: Callable[..., Any]) -> Callable[..., Any]:
    def get_fact(self: Host, *given: Any, **named: Any) -> Any:
        outermost = self.name not in _asking
        _asking.add(self.name)
        try:
            return original(self, *given, **named)
        finally:
            if outermost:
                _asking.discard(self.name)

    get_fact.of_clinic = True  # type: ignore[attr-defined]
    return get_fact


def _remembered(original: Callable[..., Any]) -> Callable[..., Any]:
    def run_shell_command(self: SSHConnector, command: Any, *given: Any, **named: Any) -> Any:
        if self.host.name not in _asking:
            forget()
            return original(self, command, *given, **named)
        how = sorted((key, str(value)) for key, value in named.items() if not key.startswith("print_"))
        key = (self.host.name, command.get_raw_value() if hasattr(command, "get_raw_value") else str(command), str(how))
        then, answer = _answers.get(key, (0.0, None))
        if answer is None or time.monotonic() - then > SECONDS:
            answer = original(self, command, *given, **named)
            if answer[0]:
                _answers[key] = (time.monotonic(), answer)
        return answer

    return run_shell_command


def _forgetting(original: Callable[..., Any]) -> Callable[..., Any]:
    def changed(self: SSHConnector, *given: Any, **named: Any) -> Any:
        forget()
        return original(self, *given, **named)

    return changed
