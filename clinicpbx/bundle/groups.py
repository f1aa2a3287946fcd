"""The package groups of packages.yml, and the recipe of the rebuild, typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).with_name("packages.yml")


@dataclass(frozen=True)
class Rebuild:
    """The source package that is rebuilt: its version series, the suites it is taken from, what is kept of it."""

    source: str
    series: str
    suites: tuple[str, ...]
    suffix: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class Groups:
    """Names asked for: `image` boots, `pbx` is installed upon it, `tools` is the lab's own root.

    `disk` makes of the image a disk that boots by itself; only a real hypervisor needs it.
    """

    rebuild: Rebuild
    image: tuple[str, ...]
    pbx: tuple[str, ...]
    tools: tuple[str, ...]
    disk: tuple[str, ...]
    text: str

    def sets(self) -> tuple[tuple[str, ...], ...]:
        """The sets that are installed together, each resolved by itself."""
        return self.image, self.image + self.pbx, self.tools, self.image + self.disk


def load(path: Path = PATH) -> Groups:
    text = path.read_text()
    data: dict[str, Any] = yaml.safe_load(text)
    recipe = data["rebuild"]
    rebuild = Rebuild(
        recipe["source"], recipe["series"], tuple(recipe["suites"]), recipe["suffix"], tuple(recipe["packages"])
    )
    image, pbx, tools, disk = (tuple(data[name]) for name in ("image", "pbx", "tools", "disk"))
    return Groups(rebuild, image, pbx, tools, disk, text)
