"""`clinicpbx generations`: which digest an engineer means."""

from __future__ import annotations

from typing import Any

import pytest

from clinicpbx.cli.generations import resolve
from clinicpbx.errors import ClinicError

KNOWN: dict[str, Any] = {
    "current": "bb22",
    "generations": [{"digest": "ab11"}, {"digest": "bb22"}, {"digest": "ab33"}],
}


@pytest.mark.parametrize(
    ("text", "digest"), [("live", "bb22"), ("previous", "ab11"), ("AB1", "ab11"), ("bb22", "bb22")]
)
def test_digest_is_found_by_word_or_beginning(text: str, digest: str) -> None:
    assert resolve(text, KNOWN) == digest


@pytest.mark.parametrize(
    ("text", "word"), [("ab", "several"), ("zz", "no generation"), ("../x", "no generation"), ("", "no")]
)
def test_an_unclear_digest_is_refused(text: str, word: str) -> None:
    with pytest.raises(ClinicError, match=word):
        resolve(text, KNOWN)


def test_there_is_no_previous_of_a_single_generation() -> None:
    with pytest.raises(ClinicError):
        resolve("previous", {"current": "a", "generations": [{"digest": "a"}]})
