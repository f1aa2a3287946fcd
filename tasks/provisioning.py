"""Telephones' provisioning: their files, the service that gives them out, nginx in front of it, and Kea.

What it all says comes from clinic/rendering (phones, provisioning, nginx, dhcp); configurations are tried by the
programs themselves before they replace the running ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api import FactBase, OperationError, deploy
from pyinfra.operations import systemd

from clinic.rendering.nginx import CERTIFICATE, KEY
from clinic.rendering.provisioning import HOME
from clinicpbx.provisioning import Provisioning
from tasks.hardening import Step, steps
from tasks.trees import File, Tree, folder, tree

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "files/provisioning"
LIBRARY = "/usr/lib/clinicpbx/services"
SERVICE, KEA, NGINX = "clinic-provisioning", "kea-dhcp4-server", "nginx"
# Tried with the certificate that comes with it, and with nothing of the running one's.
TRY_NGINX = (
    'sed "s|/etc/nginx/clinic|$NEW/etc/nginx/clinic|; s|^pid .*|pid $NEW/pid;|; s|/run/nginx/|$NEW/|; '
    's|/var/log/nginx/|$NEW/|" '
    '"$([ -e "$NEW/etc/nginx/nginx.conf" ] && echo "$NEW")/etc/nginx/nginx.conf" >"$NEW/nginx.conf" && '
    f"for f in {CERTIFICATE} {KEY}; do"
    ' [ -e "$NEW$f" ] || install -D -m 600 "$f" "$NEW$f"; done && nginx -q -t -c "$NEW/nginx.conf"'
)
FREE = "PYTHONPATH=/usr/lib/clinicpbx PYTHONDONTWRITEBYTECODE=1 python3 -m services.provisioning.leases"
TRY_KEA = 'kea-dhcp4 -t "$NEW/etc/kea/kea-dhcp4.conf" >"$NEW/said" 2>&1 || { grep -v "^INFO" "$NEW/said"; exit 1; }'


class Card(FactBase[str]):
    """The network card that has this address; empty when none has."""

    default = str

    def command(self, address: str) -> str:
        return f"ip -j -4 address show to {address}"

    def process(self, output: list[str]) -> str:
        cards = [found["ifname"] for found in json.loads("\n".join(output) or "[]") if found.get("ifname")]
        return str(cards[0]) if cards else ""


@deploy("Provisioning")
def provisioning(wanted: Provisioning) -> None:
    """After the ledger, whose notify() it shares, and fail2ban, whose jail follows nginx's log."""
    tree(
        name="The service has a user and a log of its own, and nothing that runs as it reads nginx's",
        wanted={
            f"/etc/sysusers.d/{SERVICE}.conf": _file("sysusers"),
            f"/etc/tmpfiles.d/{SERVICE}.conf": _file("tmpfiles"),
            f"/etc/logrotate.d/{SERVICE}": _file("logrotate"),
            "/etc/logrotate.d/nginx": _file("logrotate-nginx"),
        },
        then=(
            f"systemd-sysusers /etc/sysusers.d/{SERVICE}.conf",
            f"systemd-tmpfiles --create /etc/tmpfiles.d/{SERVICE}.conf",
        ),
    )
    _files(wanted)
    tree(
        name="The service's program and units are the deploy's own",
        wanted=_program(),
        then=("systemctl daemon-reload", f"systemctl try-restart {SERVICE}.service"),
    )
    _running(SERVICE, "Telephones' files are given out", units=(f"{SERVICE}.socket", f"{SERVICE}.service"))
    tree(
        name="nginx and Kea run in sandboxes, nginx as nobody's root",
        wanted={
            f"/etc/systemd/system/{NGINX}.service.d/clinic.conf": _file("nginx.conf"),
            f"/etc/systemd/system/{KEA}.service.d/clinic.conf": _file("kea.conf"),
        },
        then=("systemctl daemon-reload", f"systemctl try-restart {NGINX} {KEA}"),
    )
    tree(
        name="nginx's configuration and certificate are the clinic's, tried before they replace the running ones",
        wanted={
            "/etc/nginx/nginx.conf": File(wanted.nginx.encode()),
            CERTIFICATE: File(wanted.certificate.encode(), "640", "root:www-data"),
            KEY: File(wanted.key.encode(), "640", "root:www-data", hidden=True),
        },
        check=TRY_NGINX,
        then=(f"! systemctl -q is-active {NGINX} || systemctl reload {NGINX}",),
    )
    _running(NGINX, "nginx runs and starts with the machine")
    if wanted.clinic.provisioning.dhcp:
        _dhcp(wanted)
    else:
        steps(
            name="The clinic has its own DHCP: ours does not run",
            wanted=[
                Step(
                    f"! systemctl -q is-enabled {KEA} && ! systemctl -q is-active {KEA}",
                    f"systemctl disable --quiet --now {KEA}",
                )
            ],
        )


@deploy("Provisioning")
def telephones(wanted: Provisioning) -> None:
    """What a change of people and telephones changes, on a PBX that has all the rest: for `phones push`."""
    _files(wanted)
    if wanted.clinic.provisioning.dhcp:
        _dhcp(wanted)


def _files(wanted: Provisioning) -> None:
    folder(
        name="Every telephone's files are as described", path=HOME, wanted=wanted.files, owner=f"root:{SERVICE}",
    )  # fmt: skip
    tree(
        name="The service knows every telephone, by hashes of its credentials",
        wanted={"/etc/clinicpbx/provisioning.json": File(wanted.index.encode(), "640", f"root:{SERVICE}", hidden=True)},
    )


def _dhcp(wanted: Provisioning) -> None:
    address = str(wanted.clinic.networks.voice.pbx)
    card = host.get_fact(Card, address)
    if not card:
        raise OperationError(
            f"no network card of the PBX has {address} (networks.voice.pbx): correct it, or the VM's cards"
        )
    tree(
        name="Every telephone has its address and finds its files, tried before it replaces what runs",
        wanted={"/etc/kea/kea-dhcp4.conf": File(wanted.dhcp(card).encode(), "640", "root:_kea", hidden=True)},
        check=TRY_KEA,
        then=(
            FREE,
            f"! systemctl -q is-active {KEA} || systemctl reload {KEA}",
        ),
    )
    _running(KEA, "DHCP runs and starts with the machine")


def _running(service: str, name: str, units: Sequence[str] = ()) -> None:
    for unit in units or (f"{service}.service",):
        systemd.service(name=f"{name} ({unit})" if units else name, service=unit, running=True, enabled=True)


def _program() -> Tree:
    wanted = {
        f"/etc/systemd/system/{SERVICE}.service": _file(f"{SERVICE}.service"),
        f"/etc/systemd/system/{SERVICE}.socket": _file(f"{SERVICE}.socket"),
        "/usr/local/sbin/clinic-phones": File((HERE / "clinic-phones").read_bytes(), "755"),
    }
    for path in sorted((ROOT / "services/provisioning").glob("*.py")):
        wanted[f"{LIBRARY}/provisioning/{path.name}"] = File(path.read_bytes())
    return wanted


def _file(name: str) -> File:
    return File((HERE / name).read_bytes())
