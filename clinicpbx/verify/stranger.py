"""`Stranger`: a host that does not belong, with raw SIP: what a cracker's program sends, as fast as it is told to."""

from __future__ import annotations

import contextlib
import hashlib
import re
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from clinic.model import Clinic
from lab import netns

INTERFACE = "voice"  # the engineer's own card on the voice network


def outside_the_phones(clinic: Clinic, namespace: str, number: int = 1) -> str:
    """An address of the voice network that no telephone may get, nor the PBX, the gateway or the workstation has.

    Checks that run at once take different numbers, counted from the network's end.
    """
    voice = clinic.networks.voice
    own = re.findall(r"inet ([0-9.]+)/", netns.run(["ip", "-4", "-o", "addr", "show"], namespace=namespace))
    taken = {voice.pbx, voice.gateway, *map(IPv4Address, own)}
    free = [a for a in voice.cidr.hosts() if not voice.phones_from <= a <= voice.phones_to and a not in taken]
    return str(free[-number])


@contextlib.contextmanager
def lent(address: str, prefix: int, namespace: str) -> Iterator[None]:
    """Within the block the engineer's workstation has one more address on the voice network."""
    place = f"{address}/{prefix} dev {INTERFACE}".split()
    netns.run(["ip", "addr", "replace", *place], namespace=namespace)
    try:
        yield
    finally:
        with contextlib.suppress(netns.CommandError):
            netns.run(["ip", "addr", "del", *place], namespace=namespace)


@dataclass(frozen=True)
class Attack:
    """How far it came: attempts sent and answered, and seconds from the first packet to the last answer."""

    sent: int
    answered: int
    seconds: float


class Stranger:
    """One UDP socket at `address` in `namespace`, which talks to the PBX's voice address."""

    def __init__(self, clinic: Clinic, address: str, namespace: str) -> None:
        self.pbx = str(clinic.networks.voice.pbx)
        with netns.entered(namespace):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.own = "{}:{}".format(*self.socket.getsockname())
        self.count = 0

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def register(self, user: str, authorization: str = "", method: str = "REGISTER") -> bytes:
        """The request, with a new branch and call id each time."""
        self.count += 1
        tag = f"{time.time_ns()}-{self.count}"
        lines = [
            f"{method} sip:{self.pbx} SIP/2.0", f"Via: SIP/2.0/UDP {self.own};branch=z9hG4bK{tag};rport",
            "Max-Forwards: 70", f"From: <sip:{user}@{self.pbx}>;tag={tag}", f"To: <sip:{user}@{self.pbx}>",
            f"Call-ID: {tag}@{self.own}", f"CSeq: {self.count} {method}", f"Contact: <sip:{user}@{self.own}>",
        ]  # fmt: skip
        lines += [authorization] if authorization else []
        return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()

    def ask(self, request: bytes, timeout: float = 1.0) -> str:
        """The whole response, empty for silence."""
        self.socket.sendto(request, (self.pbx, 5060))
        ready, _, _ = select.select([self.socket], [], [], timeout)
        return self.socket.recv(4096).decode(errors="replace") if ready else ""

    def wrong(self, user: str, guess: str) -> str:
        """The Authorization header of a wrong password, for a fresh challenge; empty when there was none."""
        challenge = self.ask(self.register(user))
        parts = dict(re.findall(r'(realm|nonce|opaque)="([^"]*)"', challenge))
        if "nonce" not in parts:
            return ""
        uri = f"sip:{self.pbx}"
        one, two = _md5(f"{user}:{parts['realm']}:{guess}"), _md5(f"REGISTER:{uri}")
        answer = _md5(f"{one}:{parts['nonce']}:00000001:c:auth:{two}")
        opaque = f',opaque="{parts["opaque"]}"' if "opaque" in parts else ""
        return (
            f'Authorization: Digest username="{user}",realm="{parts["realm"]}",nonce="{parts["nonce"]}",uri="{uri}",'
            f'response="{answer}",algorithm=MD5,qop=auth,cnonce="c",nc=00000001{opaque}'
        )

    def crack(self, user: str, attempts: int, rate: float) -> Attack:
        """Wrong passwords at so many a second, answered or not."""
        header = self.wrong(user, "guess")
        began, answered, last = time.monotonic(), 0, 0.0
        for number in range(attempts):
            self.socket.sendto(self.register(user, header), (self.pbx, 5060))
            while (left := began + (number + 1) / rate - time.monotonic()) > 0:
                if select.select([self.socket], [], [], left)[0]:
                    self.socket.recv(4096)
                    answered, last = answered + 1, time.monotonic() - began
        return Attack(attempts, answered, last)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
