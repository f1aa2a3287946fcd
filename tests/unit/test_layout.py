"""Dependencies point one way; a part that stands alone can be read, tested and copied alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = {"clinic", "clinicpbx", "softphone", "lab", "tasks", "services", "deploy", "tests"}
# What each part may import of the repository.
ALLOWED = {
    "clinic": {"clinic"},
    "softphone": {"softphone"},
    "services": {"services"},
    "tasks": {"tasks", "clinic", "clinicpbx"},
    "lab": {"lab", "clinic", "clinicpbx", "softphone"},
    "clinicpbx": {"clinicpbx", "clinic", "softphone", "lab", "tasks"},
}
# Libraries that would bring I/O or a deploy into the pure part.
IMPURE = {"pyinfra", "paramiko", "requests", "proxmoxer", "subprocess", "socket", "typer", "rich", "os", "shutil"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def sources(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


@pytest.mark.parametrize("part", ALLOWED)
def test_part_imports_only_what_lies_below_it(part: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(part)
        for name in imports(path)
        if name in PARTS - ALLOWED[part]
    }
    assert not wrong


def test_the_pure_part_touches_nothing_outside() -> None:
    assert sources("clinic")
    wrong = {f"{p.relative_to(ROOT)}: {n}" for p in sources("clinic") for n in imports(p) if n in IMPURE}
    assert not wrong


def test_a_wrong_import_would_be_seen(tmp_path: Path) -> None:
    """The control: the reader of imports sees each form of import."""
    file = tmp_path / "x.py"
    file.write_text("import tasks.vm\nfrom lab import up\ndef f():\n    import pyinfra as p\n", encoding="utf-8")
    assert set(imports(file)) == {"tasks", "lab", "pyinfra"}
