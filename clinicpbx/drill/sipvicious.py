"""The attackers' own programs (sipvicious), what their words mean, and where they had to be mended to bite.

As Debian has it svcrack names sip:123@1.1.1.1 as its contact, which the PBX's contact ACL refuses before it looks at a
password, and svwar ends at the first 401, the PBX's answer to everybody. That they "found nothing" shows nothing.
So svcrack is tried as it is and with a contact of its own; answers to existing and absent extensions are compared here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from clinic.model import Clinic
from clinicpbx.verify.stranger import Stranger
from lab.attackers import Attacker

WORDS = ("1234", "12345", "123456", "password", "admin", "asterisk", "qwerty", "0000", "1111", "secret", "clinic")
METHODS = ("REGISTER", "INVITE")
SILENCES = 3
ELSEWHERE = "1.1.1.1"  # svcrack's contact
_MENDED = """
import functools, sys
sys.path.insert(0, "/usr/share/sipvicious")
from sipvicious import svcrack
svcrack.makeRequest = functools.partial(svcrack.makeRequest, contact=sys.argv.pop(1))
svcrack.main()
"""


def svmap(host: Attacker, tools: Path, seconds: float) -> str:
    return host.run(tools, ["svmap", host.target], seconds)


def svwar(host: Attacker, tools: Path, extensions: Sequence[str], method: str, seconds: float) -> str:
    return host.run(tools, ["svwar", "--force", "-e", ",".join(extensions), "-m", method, host.target], seconds)


def svcrack(
    host: Attacker, tools: Path, ext: str, words: Sequence[str], seconds: float, *, mended: bool = False
) -> str:
    """The list goes in by stdin: a password in it is in no file and no command line."""
    program = ["python3", "-c", _MENDED, f"sip:{ext}@{host.address}:5060"] if mended else ["svcrack"]
    text = "".join(f"{word}\n" for word in words)
    return host.run(tools, [*program, "-u", ext, "-d", "-", host.target], seconds, text=text)


def guesses(ext: str, secret: str) -> list[str]:
    """Obvious passwords for an extension, the right one never among them. Pure."""
    return [word for word in (*WORDS, ext, *map(str, range(1000, 10000))) if word != secret]


def told_apart(text: str, real: set[str], method: str) -> list[str]:
    """Extensions that svwar lists and that differ from what it lists for absent ones. Pure."""
    rows = dict(re.findall(r"^\|\s*(\d+)\s*\|\s*(\S+)\s*\|", text, re.M))
    absent = {answer for ext, answer in rows.items() if ext not in real}
    return [f"{method} {ext} {answer}" for ext, answer in rows.items() if ext in real and answer not in absent]


def cracked(text: str) -> list[str]:
    """Accounts whose password svcrack found; the password itself is not repeated. Pure."""
    return [f"password of {ext}" for ext in re.findall(r"^\|\s*(\d+)\s*\|\s*\S+\s*\|", text, re.M)]


def bare(answer: str, ext: str) -> str:
    """An answer without what differs each time or what the asker chose himself. Pure."""
    answer = re.sub(r'\b(nonce|opaque|branch|tag|rport|received)="?[^",;>\s]*"?', r"\1=", answer)
    answer = re.sub(r"^(Call-ID|CSeq|Via):.*$", r"\1:", answer, flags=re.M)
    return re.sub(rf"\bsip:{ext}@", "sip:EXT@", answer)


def differing(answers: dict[str, str], real: set[str]) -> list[str]:
    """Existing extensions with an answer that no absent one got. Silence is an answer. Pure."""
    absent = {bare(answer, ext) for ext, answer in answers.items() if ext not in real}
    return [ext for ext, answer in answers.items() if ext in real and bare(answer, ext) not in absent]


def compare(clinic: Clinic, host: Attacker, extensions: Sequence[str], real: set[str]) -> tuple[bool, list[str]]:
    """(whether all was asked, what told extensions apart): both methods and contacts, with and without a password.

    It ends after SILENCES unanswered requests in a row, as an attacker would who has been banned.
    """
    found: list[str] = []
    silences = 0
    with Stranger(clinic, host.address, host.space) as stranger:
        for method in METHODS:
            for contact in (host.address, ELSEWHERE):
                for password in ("none", "wrong"):
                    answers = {}
                    for ext in extensions:
                        header = stranger.wrong(ext, "guess") if password == "wrong" else ""  # noqa: S105
                        request = stranger.register(ext, header, method).decode()
                        request = re.sub(r"Contact: [^\r]*", f"Contact: <sip:{ext}@{contact}>", request)
                        answers[ext] = stranger.ask(request.encode(), 0.5)
                        silences = 0 if answers[ext] else silences + 1
                        if silences == SILENCES:
                            return False, found
                    how = f"{method}, contact {contact}, password {password}"
                    found += [f"{how}: {ext} differs" for ext in differing(answers, real)]
    return True, found
