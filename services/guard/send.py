"""Sends with Apprise. A URL is a secret: nothing of it, nor of what Apprise says about it, leaves this module."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .store import Store, Waiting

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds before a target that did not answer is tried again; twice as long each time."""


class _Said(logging.Handler):
    """Keeps the last complaint, to be told in our own words."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def targets(path: Path) -> dict[str, str]:
    """Name to URL; none when there is no file."""
    try:
        return {str(k): str(v) for k, v in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}


class Sender:
    """Every target has its own pause: one that is away keeps nobody waiting but itself."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self.urls = dict(urls)
        self.due = dict.fromkeys(urls, 0.0)
        self.pause = dict.fromkeys(urls, 0.0)
        self._said = _Said()
        log = logging.getLogger("apprise")
        log.handlers, log.propagate = [self._said], False
        logging.getLogger("urllib3").disabled = True

    def one(self, target: str, title: str, body: str) -> str:
        """Send now. -> `accepted`, or why not in words that hold no secret"""
        import apprise  # type: ignore[import-not-found,unused-ignore]  # 0.5 s: only when there is something to send

        self._said.text = ""
        remote: Any = apprise.Apprise()
        if not remote.add(self.urls[target]):
            return "its URL is none that Apprise knows"
        try:
            sent = remote.notify(body=body, title=title, notify_type=apprise.NotifyType.WARNING)
        except Exception as error:  # a plugin's defect must not stop the guard, and its text may quote the URL
            return f"failed ({type(error).__name__})"
        return "accepted" if sent else reason(self._said.text)

    def round(self, store: Store, now: float = 0.0) -> list[tuple[Waiting, str]]:
        """Try one message for each target that is due. -> what was tried and its outcome"""
        tried = []
        for target in self.urls:
            now = now or time.monotonic()
            if self.due[target] > now or not (message := store.first(target)):
                continue
            outcome = self.one(target, message.title, message.body)
            if outcome == "accepted":
                store.done(message)
                self.pause[target] = self.due[target] = 0.0
            else:
                self.pause[target] = min(max(self.pause[target] * 2, FIRST_PAUSE), LONGEST_PAUSE)
                self.due[target] = time.monotonic() + self.pause[target]
            tried.append((message, outcome))
        return tried


def reason(said: str) -> str:
    """Apprise's complaint without its free text, which may quote the URL."""
    if code := re.search(r"error=(\d{3})\b", said):
        return f"refused with {code[1]}"
    if re.search(r"[Cc]onnection|[Ss]ocket|[Tt]imeout|SMTP", said):
        return "not reached"
    return "not sent"
