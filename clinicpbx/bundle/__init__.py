"""The bundle: everything a clinic's PBX installs, pinned by version and SHA-256, as one signed local repository.

    bundle = ensure(Path("bundle.lock"), production=True, progress=print)

See docs/decisions/0002-bundle.md for why, and packages.yml for what.
"""

from __future__ import annotations

from clinicpbx.bundle.build import Bundle, ensure, pbx_files, update
from clinicpbx.bundle.lock import Pinned

__all__ = ["Bundle", "Pinned", "ensure", "pbx_files", "update"]
