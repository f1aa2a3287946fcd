"""Two uplinks at once: what is sent from an uplink's address leaves by that uplink, whatever the default route is."""

from __future__ import annotations

from pyinfra.api import deploy

from clinic.model import Clinic
from clinic.rendering.network import networkd
from tasks.trees import File, tree


@deploy("Routing")
def network(clinic: Clinic) -> None:
    """networkd's own units: it removes rules that others make."""
    units = {f"/etc/systemd/network/{name}": File(text.encode()) for name, text in networkd(clinic).items()}
    tree(name="Each uplink has its own routes", wanted=units, then=("networkctl reload",))
