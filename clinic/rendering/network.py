"""systemd-networkd units for the uplinks: address, default route by preference, and routing by source address.

Source: systemd.network(5). A file that sorts before cloud-init's wins for its card.
"""

from __future__ import annotations

from clinic.model import Clinic

FIRST_TABLE = 101


def networkd(clinic: Clinic) -> dict[str, str]:
    """File name to text, one for each uplink. The first uplink has the best default route."""
    out = {}
    for number, uplink in enumerate(clinic.uplinks):
        table = FIRST_TABLE + number
        out[f"05-clinic-{uplink.name}.network"] = f"""\
# {uplink.name}: what leaves from this address leaves by this uplink.
[Match]
MACAddress={clinic.hypervisor.vm.macs[2 + number]}

[Network]
DHCP=no
IPv6AcceptRA=no
# A cable that is out takes neither the address nor the routes: calls in progress are carried on with them.
ConfigureWithoutCarrier=yes
Address={uplink.address}

[Route]
Gateway={uplink.gateway}
Metric={100 * (number + 1)}

[Route]
Gateway={uplink.gateway}
Table={table}

[RoutingPolicyRule]
From={uplink.address.ip}
Table={table}
Priority={1000 + number}
"""
    return out
