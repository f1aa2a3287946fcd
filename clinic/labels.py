"""Texts that fit a telephone's display, shortened as a person would: by initials, then by whole words. Pure."""

from __future__ import annotations

import re

# What the displays' fonts surely have: Latin, Cyrillic, digits, and the signs of an office.
_SHOWN = re.compile(r"[ -~А-яЁё№«»—–…·]*")
CUT = "…"


def strange(text: str) -> str:
    """The characters of `text` that a display cannot show, each once; empty when there are none."""
    return "".join(dict.fromkeys(c for c in text if not _SHOWN.fullmatch(c)))


def of_person(name: str, limit: int) -> str:
    """A full name in `limit` characters: Лебедева Анна Сергеевна becomes Лебедева А.С., Лебедева А. or Лебедева.

    A surname longer than the display is cut: the person must be found all the same.
    """
    words = _shown(name).split()
    if not words or limit < 1:
        return ""
    initials = [f"{word[0]}." for word in words[1:]]
    for text in (" ".join(words), f"{words[0]} {''.join(initials)}", f"{words[0]} {''.join(initials[:1])}", words[0]):
        if len(text.strip()) <= limit:
            return text.strip()
    return words[0][: limit - 1] + CUT


def of_namesake(name: str, number: str, limit: int) -> str:
    """As `of_person`, with the extension in the place of initials that somebody else has too: Лебедева 2001."""
    surname, room = (_shown(name).split() or [""])[0], limit - len(number) - 1
    if room < 1:
        return number[:limit]
    return f"{surname if len(surname) <= room else surname[: room - 1] + CUT} {number}"


def of_words(text: str, limit: int) -> str | None:
    """A label in `limit` characters, its later words as initials or left out; a number in it always stays.

    None when even its first word is longer than the display.
    """
    words = _shown(text).split()
    for index in range(len(words) - 1, 0, -1):
        if len(" ".join(words)) <= limit:
            break
        if not _keeps(words[index]):
            words[index] = f"{words[index][0]}."
    for index in range(len(words) - 1, 0, -1):
        if len(" ".join(words)) <= limit:
            break
        if not any(c.isdigit() for c in words[index]):
            del words[index]
    short = " ".join(words)
    return short if len(short) <= limit else None


def cut(text: str, limit: int) -> str:
    """As `of_words`, and cut where that finds nothing: for names that nobody wrote for a display."""
    fitting = of_words(text, limit)
    if fitting is not None:
        return fitting
    return _shown(text)[: max(0, limit - 1)].rstrip() + CUT if limit > 0 else ""


def _keeps(word: str) -> bool:
    """Words that have no shorter form: numbers, and those of one or two characters."""
    return len(word) < 3 or any(c.isdigit() for c in word)


def _shown(text: str) -> str:
    return "".join(c if _SHOWN.fullmatch(c) else " " for c in text)
