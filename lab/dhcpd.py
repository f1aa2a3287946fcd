"""The clinic's own DHCP server, where the description says that the PBX is none (`provisioning.dhcp: false`).

It answers by the very notes that `clinicpbx phones dhcp-notes` prints, so that these are rehearsed too.

python3 -m lab.dhcpd NOTES ADDRESS CARD FOLDER     writes FOLDER/ready when it listens
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from clinicpbx.errors import ClinicError
from lab import process, state
from lab.components import Context, launch
from lab.handset import packet
from lab.handset.packet import Packet, PacketError
from lab.topology import namespace

SECONDS = 600
ADDRESSES = ("42",)  # options whose value is no text


class DhcpComponent:
    """On the engineer's voice card: to the telephones it is one more host of their network."""

    name = "dhcp"

    def start(self, context: Context) -> dict[str, Any]:
        if context.clinic is None or context.clinic.provisioning.dhcp or not context.secrets:
            return {}
        from clinicpbx.phones.dhcp import notes  # here, so that cleaning up needs no third-party library

        cable = next(c for c in context.topology.cables if (c.one.space, c.one.name) == ("eng", "voice"))
        if not cable.one.addresses:
            raise ClinicError("the voice network has no address left for a DHCP server", remedy="widen networks.voice")
        folder, file = _folder(context.lab), _folder(context.lab) / "notes.json"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = json.dumps(notes(context.clinic, context.secrets))
        if process.recall(folder / "pid") and file.exists() and file.read_text() == wanted:
            return {}
        self.stop(context.lab)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(wanted)  # the notes hold the first doors' tokens
        (folder / "ready").unlink(missing_ok=True)
        launch(
            ["-m", "lab.dhcpd", str(file), str(cable.one.addresses[0].ip), "voice", str(folder)],
            namespace=namespace(context.lab, "eng"), pid_file=folder / "pid", log=folder / "log",
            ready=folder / "ready",
        )  # fmt: skip
        return {}

    def stop(self, lab: int) -> None:
        file = _folder(lab) / "pid"
        if pid := process.recall(file):
            process.stop(pid)
        file.unlink(missing_ok=True)

    def status(self, lab: int) -> str:
        return "running" if process.recall(_folder(lab) / "pid") else "not needed"


def _folder(lab: int) -> Path:
    return state.run_folder(lab) / "dhcp"


def answer(asked: Packet, notes: Mapping[str, Any], server: IPv4Address) -> Packet | None:
    """OFFER, ACK or NAK to a telephone that is in the notes; nothing to anybody else. Pure."""
    mac = asked.mac.hex(":")
    phone = next((p for p in notes["phones"] if p["mac"].lower() == mac), None)
    if phone is None or asked.op != 1 or asked.kind not in (packet.DISCOVER, packet.REQUEST):
        return None
    if asked.address(packet.SERVER) not in (None, server):
        return None  # it took another server's offer
    address = IPv4Address(phone["address"])
    wanted = asked.address(packet.REQUESTED) or (asked.client if int(asked.client) else address)
    if asked.kind == packet.REQUEST and wanted != address:
        refusal = {packet.KIND: bytes((packet.NAK,)), packet.SERVER: server.packed}
        return Packet(2, asked.xid, asked.mac, refusal)
    kind = packet.OFFER if asked.kind == packet.DISCOVER else packet.ACK
    options = {
        packet.KIND: bytes((kind,)), packet.SERVER: server.packed, packet.LEASE_SECONDS: SECONDS.to_bytes(4),
        packet.MASK: IPv4Network(notes["network"]).netmask.packed,
    }  # fmt: skip
    for code, value in phone["options"].items():
        options[int(code)] = IPv4Address(value).packed if code in ADDRESSES else value.encode()
    return Packet(2, asked.xid, asked.mac, options, asked.client, address, asked.broadcast)


def main(notes: Path, server: str, card: str, folder: Path) -> None:
    known = json.loads(notes.read_text())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as served:
        served.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        served.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.encode())
        served.bind(("", 67))
        (folder / "ready").touch()
        while True:
            data, asker = served.recvfrom(2048)
            with contextlib.suppress(PacketError):
                found = answer(packet.parse(data), known, IPv4Address(server))
                if found:
                    renewal = int(found.client) and found.kind == packet.ACK
                    served.sendto(packet.build(found), asker if renewal else ("255.255.255.255", 68))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
