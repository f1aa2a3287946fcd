"""A generation on the control machine: built from the description, compared with the PBX's, packed as one stream."""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from clinic.model import Clinic
from clinic.rendering import asterisk

ROOT = Path(__file__).resolve().parent.parent
RESTART_REMEDY = (
    "The new configuration is live, but Asterisk keeps these addresses until it restarts, which ends calls."
    " Remedy: clinicpbx deploy CLINIC --restart-asterisk, when no call is up"
)
NAMED_ONLY = (".wav", ".json", ".crt", ".key")  # never shown line by line
_SECRET = re.compile(r"^(\s*(?:password|secret)\s*=\s*|exten => \d+,1,Return\(\d:)(?=.).*$", re.M)


@dataclass(frozen=True)
class Generation:
    """A complete Asterisk configuration: `tree` maps relative paths to contents."""

    tree: Mapping[str, bytes]
    digest: str

    def packed(self) -> io.BytesIO:
        """An uncompressed tar of the tree, to be sent as one stream."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path, data in sorted(self.tree.items()):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(data), 0o640
                archive.addfile(entry, io.BytesIO(data))
        stream.seek(0)
        return stream

    def hashes(self) -> dict[str, str]:
        return {path: hashlib.sha256(data).hexdigest() for path, data in self.tree.items()}


@cache
def templates() -> Mapping[str, str]:
    """Every Asterisk template by its path under templates/."""
    base = ROOT / "templates"
    return {str(p.relative_to(base)): p.read_text() for p in sorted((base / "asterisk").rglob("*.j2"))}


def build(clinic: Clinic, secrets: Mapping[str, str], clinic_dir: Path) -> Generation:
    """Render the clinic, speak its prompts (the clinic's own recordings win), and name the result by its digest."""
    from clinicpbx import prompts  # the speech of the bundle's tools: not needed to compare or mask

    tree = dict(asterisk.render(clinic, secrets, templates()))
    spoken = {name: p.text for name, p in clinic.prompts.items() if not p.file}
    for name, data in prompts.synthesise(spoken, clinic.language).items():
        tree[f"prompts/{name}.wav"] = data
    for name, prompt in clinic.prompts.items():
        if prompt.file:
            tree[f"prompts/{name}.wav"] = (clinic_dir / "prompts" / prompt.file).read_bytes()
    return Generation(tree, asterisk.digest(tree))


def masked(text: str) -> str:
    """The same text with every password's value hidden."""
    return _SECRET.sub(r"\1********", text)


def diff(old: Mapping[str, str], new: Mapping[str, bytes], changed: list[str]) -> Iterator[str]:
    """Unified diff of the changed text files, passwords hidden. Recorded prompts and keys are only named."""
    for path in changed:
        if path.endswith(NAMED_ONLY):
            yield f"--- {path}: {'changed' if path in new else 'removed'}"
            continue
        before, after = old.get(path, ""), new.get(path, b"").decode()
        lines = list(
            difflib.unified_diff(
                masked(before).splitlines(), masked(after).splitlines(), f"live/{path}", f"new/{path}", lineterm=""
            )
        )
        yield from lines or [f"--- {path}: a password changed"]


def differing(live: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Paths whose contents differ between two trees of hashes, or that only one of them has."""
    return sorted(p for p in live.keys() | new.keys() if live.get(p) != new.get(p))


def refusal(answer: str) -> list[str]:
    """The problems in clinic-generation's answer; the raw text when it is no JSON."""
    try:
        return list(json.loads(answer).get("problems", []))
    except (json.JSONDecodeError, AttributeError):
        return [answer.strip() or "no answer from the PBX"]


def unmoved(needed: list[dict[str, str]]) -> list[str]:
    """A line for each transport that still listens at its old address."""
    return [f"transport {row['transport']}: wanted {row['wanted']}, actual {row['actual']}" for row in needed]
