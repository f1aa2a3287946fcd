"""What checks of the provisioning ask with: a telephone's login and file, HTTPS from anywhere, plain TCP."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from clinic.leases import mac12
from clinic.model import Clinic
from clinic.people import Person
from clinic.secrets import TLS_CA, certificate_of
from clinicpbx.provisioning import Provisioning
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.place import Place
from clinicpbx.verify.web import PORT, Web
from lab import netns


def in_a_lab(place: Place) -> Mapping[str, str]:
    """The lab's namespaces; skips elsewhere."""
    if place.lab is None or place.borrows:
        pytest.skip("other telephones' credentials are tried in a lab only, never at a working clinic")
    return dict(place.state["namespaces"])


def web(place: Place, clinic: Clinic, secrets: Mapping[str, str], space: str, address: str = "") -> Web:
    """HTTPS to the PBX's voice address from an address of this namespace of the lab."""
    authority = certificate_of(secrets[TLS_CA])
    return Web(str(clinic.networks.voice.pbx), authority, place.state["namespaces"][space], address)


def login(person: Person, secrets: Mapping[str, str]) -> tuple[str, str]:
    return mac12(person.phone.mac), secrets[f"provisioning/{person.ext}"]


def own_file(mac: str, rendered: Provisioning) -> str:
    """The path of a telephone's own file below the folder of all: `<mac>/<name>`."""
    return next(path for path in rendered.files if path.startswith(f"{mac}/"))


def address_of(space: str, device: str) -> str:
    """The first address of a network card in this namespace."""
    shown = netns.run(["ip", "-4", "-o", "addr", "show", "dev", device, "primary"], namespace=space)
    return str(re.findall(r"inet ([0-9.]+)/", shown)[0])


def takes(space: str, source: str, server: str, port: int, timeout: float = 0.7) -> bool:
    """Whether this port takes a TCP connection from this address."""
    with netns.entered(space), socket.socket() as asks:
        asks.settimeout(timeout)
        asks.bind((source, 0))
        try:
            asks.connect((server, port))
        except OSError:
            return False
        return True


def held(at: Web, number: int) -> int:
    """How many of so many connections are taken, all held open at once."""
    with netns.entered(at.namespace):
        asking = [socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(number)]
    for one in asking:
        one.bind((at.address, 0))
        one.connect_ex((at.server, PORT))
    time.sleep(0.5)
    taken = select.select([], asking, [], 0.5)[1]
    found = sum(not one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for one in taken)
    for one in asking:
        one.close()
    return found


def burst(at: Web, paths: Iterable[str]) -> Counter[int]:
    """How often each status came when all these paths are asked for at once, over one connection."""
    asked = "\r\n".join(f"GET {path} HTTP/1.1\r\nHost: {at.server}\r\nUser-Agent: verify\r\n" for path in paths)
    reply = at.send(f"{asked}Connection: close\r\n\r\n".encode())
    answers = f"{reply.headers}\n{reply.body.decode(errors='replace')}"
    return Counter(map(int, re.findall(r"^HTTP/1\.1 (\d{3}) ", answers, re.M)))


def secret_in(body: bytes, secrets: Mapping[str, str]) -> bool:
    """Whether any password or token of the clinic stands in what came."""
    return any(
        value.encode() in body for name, value in secrets.items() if not name.startswith("tls/") and len(value) > 7
    )


def status(pbx: Pbx) -> dict[str, Any]:
    """What the service knows of each telephone, by its MAC address."""
    return dict(json.loads(pbx.run("clinic-phones status --json"))["phones"])
