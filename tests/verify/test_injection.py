"""What callers write about themselves is filtered once, and never a command, a file name or an expression."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

import pytest

from clinic.callflow import Did
from clinic.model import Clinic
from clinic.rendering.asterisk import all_groups
from clinic.trunks import Trunk
from clinicpbx.verify.desk import Phones, enabled
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.place import Place
from clinicpbx.verify.plugin import Control, Evidence

pytestmark = pytest.mark.lane("walls")
Lock = Callable[..., contextlib.AbstractContextManager[None]]
CANARY = "/tmp/clinic-canary"  # noqa: S108 - it must never exist
HOSTILE = (
    ("${SYSTEM(touch " + CANARY + ")}", "7999${SHELL(id)}"),
    ("$(touch " + CANARY + ")", "7999%24%7BEVAL(1)%7D"),
    ("`touch " + CANARY + "`", "7999;touch " + CANARY),
    ("'; drop table cdr; --", "7999'%20or%20'1'='1"),
    ("../../../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"),
    ("a,b|c&d^e", "7999,1,Hangup"),
    ("x" * 1500, "9" * 400),
    ("\u202e\u0000Иванов\u0007", "+7999\u00a0123"),
)
"""(display name, user part of the URI) of From and of P-Asserted-Identity."""


def invite(name: str, user: str, did: str, own: str, tag: str) -> bytes:
    """An INVITE as a provider's equipment could be made to send it."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    body = (
        f"v=0\r\no=- 1 1 IN IP4 {own.partition(':')[0]}\r\ns=-\r\nc=IN IP4 {own.partition(':')[0]}\r\nt=0 0\r\n"
        "m=audio 20998 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )
    lines = (
        f"INVITE sip:{did}@clinic SIP/2.0", f"Via: SIP/2.0/UDP {own};branch=z9hG4bK{tag};rport", "Max-Forwards: 70",
        f'From: "{quoted}" <sip:{user}@{own}>;tag={tag}', f"To: <sip:{did}@clinic>", f"Call-ID: {tag}@{own}",
        "CSeq: 1 INVITE", f"Contact: <sip:provider@{own}>", f'P-Asserted-Identity: "{quoted}" <sip:{user}@{own}>',
        f'Diversion: "{quoted}" <sip:{user}@{own}>', "Content-Type: application/sdp",
        f"Content-Length: {len(body.encode())}", "", body,
    )  # fmt: skip
    return "\r\n".join(lines).encode(errors="replace")


NAMES = ("", "Номер скрыт", "Number withheld")  # what the PBX itself shows for a caller without a number


class Provider:
    """Raw SIP from the provider's own address, as nothing well-behaved would send it."""

    def __init__(self, place: Place, trunk: Trunk, clinic: Clinic) -> None:
        from lab import netns

        self.to = (str(clinic.uplinks[0].external_address), 5060)
        with netns.entered(place.state["namespaces"][f"prov-{trunk.name}"]):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((str(trunk.server), 0))
        self.socket.settimeout(1)
        self.own = "{}:{}".format(*self.socket.getsockname())

    def ring(self, name: str, user: str, did: str) -> str:
        """Until a response above 100, which is returned; a call that rings is given up. Empty for silence."""
        tag = f"{time.time_ns():x}"
        sent = invite(name, user, did, self.own, tag)
        self.socket.sendto(sent, self.to)
        status, _ = self.response(tag, ("100",))
        if status.startswith("1"):
            self.again(sent, "CANCEL")
            _, answer = self.response(tag, ("100", "180", "183"))
            self.again(sent, "ACK", next((line for line in answer.split("\r\n") if line.startswith("To:")), ""))
        return status

    def response(self, tag: str, besides: tuple[str, ...]) -> tuple[str, str]:
        """(status, whole text) of the next response to that INVITE; empty for silence."""
        with contextlib.suppress(OSError):
            while True:
                text = self.socket.recv(16384).decode(errors="replace")
                status = text.split(" ", 2)[1]
                if tag in text and "CSeq: 1 INVITE" in text and status not in besides:
                    return status, text
        return "", ""

    def again(self, sent: bytes, method: str, to: str = "") -> None:
        head = sent.decode(errors="replace").split("\r\n")
        lines = [head[0].replace("INVITE", method, 1), *head[1:4], to or head[4], head[5], f"CSeq: 1 {method}"]
        self.socket.sendto("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode(), self.to)


def wild(number: str | None) -> bool:
    """Whether it is more than a telephone number. A caller without one is `anonymous`."""
    return number != "anonymous" and (bool((number or "").strip("+0123456789")) or len(number or "") > 16)


def direct(clinic: Clinic) -> tuple[Trunk, Did] | None:
    """A provider that is known by its address, and a number of its that rings one person or group."""
    return next(((t, d) for t in enabled(clinic) for d in t.dids if t.auth == "address" and d.to), None)


@pytest.mark.check(
    id="injection", title="Hostile names and numbers of callers are text everywhere: telephone, records, files, shell",
    proves="case: 2", lab_only=True,
)  # fmt: skip
def test_callers_inject_nothing(
    place: Place, phones: Phones, clinic: Clinic, pbx: Pbx, calling_in: Lock, evidence: Evidence, control: Control
) -> None:
    """Ensure that what a caller says about itself is digits by the time anything uses it."""
    if place.borrows or not (found := direct(clinic)):
        pytest.skip("no provider of this site can be made to send hostile SIP to one person's number")
    trunk, did = found
    began = int(float(pbx.run("date +%s")))
    lines = int(pbx.run("wc -l < /var/log/asterisk/messages.log"))
    group = next((g.members for g in all_groups(clinic) if g.number == did.to), (did.to or "",))
    everybody = [ext for ext in group if ext in clinic.by_ext]  # whom this number rings, and nobody else
    provider = Provider(place, trunk, clinic)
    with calling_in(trunk.name):
        since = phones.pool.stats()["now"]
        said = [provider.ring(name, user, did.number.lstrip("+")) for name, user in HOSTILE]
        time.sleep(0.5)
        rung = [i["caller"] for ext in everybody for i in phones.pool.invites(ext, since=since)]
        known = {(p.ext, p.name) for p in clinic.people}  # the other lanes' colleagues, and their patients
        ours = [c for c in rung if (c["number"], c["display"]) not in known and not c["number"].startswith("+79997")]
        strange = [
            c
            for c in ours
            if wild(c["from_number"]) or wild(c["pai_number"]) or c["from_display"] not in NAMES or c["diversion"]
        ]
        assert not strange, f"a telephone was shown {strange}"
        with control("a plain caller's number is not kept from the telephone"):
            provider.ring("Patient", "74955550199", did.number.lstrip("+"))
            time.sleep(0.5)
            new = [i["caller"]["number"] for ext in everybody for i in phones.pool.invites(ext, since=since)]
            assert "+74955550199" not in new
    assert pbx.run(f"ls {CANARY}", check=False).strip() == "", f"{CANARY} was made"
    rows: list[list[str]] = []

    def recorded() -> bool:
        nonlocal rows
        rows = pbx.sql(
            "select src, clid, userfield, recording from cdr where did = "  # noqa: S608 - the description's number
            f"'{did.number}' and start >= to_timestamp({began})"
        )
        return any("74955550199" in row[0] for row in rows)

    assert wait_until(recorded, 10, every=0.4), f"no row of the plain caller: {rows}"
    odd = [row for row in rows if wild(row[0]) or row[1].partition('"')[2].partition('"')[0] not in NAMES]
    assert not odd, f"the CDR holds {odd}"
    text = pbx.run(f"tail -n +{lines + 1} /var/log/asterisk/messages.log")
    forged = [line for line in text.splitlines() if line and not line.startswith("[20")]
    assert not forged, f"lines forged in the log: {forged[:3]}"
    evidence(f"{len(HOSTILE)} hostile callers by {trunk.name} to {did.number}: answered {sorted(set(said))}")
    evidence(f"{len(ours)} INVITEs showed digits or `anonymous`; {len(rows)} CDR rows hold digits only")
