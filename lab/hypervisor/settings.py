"""What one hypervisor daemon is told at its start, kept beside its state as JSON (0600: it holds tokens)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Storage:
    """A storage and the content types that it allows, as Proxmox lists them."""

    name: str
    type: str
    content: tuple[str, ...]


@dataclass(frozen=True)
class Token:
    """An API token. Role `deploy` may do everything here, `auditor` may only look."""

    id: str
    secret: str = field(repr=False)
    role: str = "deploy"


@dataclass(frozen=True)
class Settings:
    lab: int
    node: str
    address: str
    port: int
    state: str
    machines: str
    storages: tuple[Storage, ...]
    bridges: tuple[tuple[str, int, str, bool], ...]
    """(bridge, VLAN, Linux bridge, whether untagged frames on this Proxmox bridge are this network)"""
    tokens: tuple[Token, ...]
    images: tuple[tuple[str, str], ...]
    """(file name offered as an import volume, directory with the root it stands for)"""
    image_storage: str
    journal: str | None = None

    @property
    def folder(self) -> Path:
        return Path(self.state)

    def save(self, file: Path) -> None:
        file.touch(0o600)
        file.chmod(0o600)
        file.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, file: Path) -> Settings:
        data = json.loads(file.read_text())
        data["storages"] = tuple(Storage(s["name"], s["type"], tuple(s["content"])) for s in data["storages"])
        data["tokens"] = tuple(Token(**t) for t in data["tokens"])
        data["bridges"] = tuple((b[0], b[1], b[2], b[3]) for b in data["bridges"])
        data["images"] = tuple((i[0], i[1]) for i in data["images"])
        return cls(**data)
