"""What the WAN drill breaks: each fault as a deed and its undoing, and the rehearsal as a fault sees it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clinic.model import Clinic
from clinicpbx.drill.traffic import EVERY
from clinicpbx.errors import ClinicError
from clinicpbx.verify.pbx import Pbx, wait_until
from clinicpbx.verify.place import Place
from lab import faults
from softphone.client import Pool

Say = Callable[[str], None]
RUNS = 20
EVENTS = "/var/log/clinic-wan/events.log"
REBOOTING = 0.5
"""Seconds between calls while nobody answers at all: each holds one of the provider's lines until its time is over."""


@dataclass(frozen=True)
class Break:
    """A fault. `do` runs for as long as it lasts, `undo` always; `watch`: seconds that are looked at.

    `moves`: the most moves of calls that are right. `uplinks`: whether the other uplink takes over.
    """

    name: str
    meaning: str
    do: Callable[[Scene], None]
    undo: Callable[[Scene], None]
    watch: float = 4.0
    moves: int = 1
    inbound: str = "main"
    talks: bool = True
    most: int = RUNS
    every: float = EVERY
    quick: float = 0.0
    """Seconds that are looked at when there is no time."""


@dataclass
class Scene:
    """The rehearsal as a fault sees it: `main` and `spare` are the uplinks, `trunk` the first provider."""

    place: Place
    pbx: Pbx
    phones: Pool
    pstn: Pool
    main: str
    spare: str
    trunk: str
    say: Say
    seconds: float = 0.0

    @property
    def lab(self) -> int:
        return self.place.lab or 0

    @property
    def clinic(self) -> Clinic:
        return self.place.clinic

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.pbx.run("wanctl status --json")))

    def events(self, since: float) -> list[dict[str, Any]]:
        """The watchdog's events since an epoch second."""
        rows = [json.loads(line) for line in self.pbx.run(f"tail -n 200 {EVENTS}").splitlines()]
        return [row for row in rows if row["at"] >= since]


def _fault(name: str, value: str = "", target: str = "main") -> tuple[Callable[[Scene], None], Callable[[Scene], None]]:
    def aim(scene: Scene) -> str:
        return {"main": scene.main, "spare": scene.spare, "trunk": scene.trunk, "": ""}[target]

    return (
        lambda scene: _nothing(faults.apply(scene.lab, name, aim(scene), value)),
        lambda scene: faults.clear(scene.lab, name, aim(scene)),
    )


def _nothing(_: object) -> None:
    return None


def _flap(scene: Scene) -> None:
    """In and out every 3 s; the first break is the fault that is timed."""
    faults.apply(scene.lab, "uplink-cable", scene.main)

    def go_on() -> None:
        end = time.monotonic() + scene.seconds - 4
        out = True
        while time.monotonic() < end:
            time.sleep(3)
            out = not out
            with contextlib.suppress(ClinicError):
                (faults.apply if out else faults.clear)(scene.lab, "uplink-cable", scene.main)

    threading.Thread(target=go_on, daemon=True).start()


def _both_then_one(scene: Scene) -> None:
    for uplink in (scene.spare, scene.main):
        faults.apply(scene.lab, "uplink-cable", uplink)
    time.sleep(2.5)
    faults.clear(scene.lab, "uplink-cable", scene.spare)


def _both_undone(scene: Scene) -> None:
    for uplink in (scene.spare, scene.main):
        faults.clear(scene.lab, "uplink-cable", uplink)


def _kill(scene: Scene) -> None:
    """Killed, then the cable goes out: it must come back, know nothing, and still decide."""
    scene.pbx.run("systemctl kill -s KILL clinic-wan")
    time.sleep(1.5)
    faults.apply(scene.lab, "uplink-cable", scene.main)


def _reboot(scene: Scene) -> None:
    """The cable is out, the spare uplink carries the calls, and the PBX itself is rebooted."""
    faults.apply(scene.lab, "uplink-cable", scene.main)
    wait_until(lambda: scene.status()["current"] == scene.spare, 5)
    scene.pbx.run("systemctl reboot --no-block")
    time.sleep(3)  # Asterisk has ended

    def up() -> bool:
        try:
            scene.pbx = scene.place.connect()
            return bool(scene.status()["asterisk"])
        except Exception:  # whatever a machine says that is just booting
            return False

    threading.Thread(target=wait_until, args=(up, 60), daemon=True).start()


def _provider_and_cable(scene: Scene) -> None:
    faults.apply(scene.lab, "provider-down", scene.trunk)
    faults.apply(scene.lab, "uplink-cable", scene.main)


def _provider_and_cable_undone(scene: Scene) -> None:
    faults.clear(scene.lab, "uplink-cable", scene.main)
    faults.clear(scene.lab, "provider-down", scene.trunk)


def _back(scene: Scene) -> None:
    """The way back, under load: the cable was out and is in again, and the engineer asks for the return."""
    scene.pbx.run("wanctl return")


CABLE, ROUTER, HOLE = _fault("uplink-cable"), _fault("router-dead"), _fault("uplink-blackhole")
FILTER, DNS = _fault("uplink-sip"), _fault("dns-dead", target="")
ADDRESS = _fault("uplink-address")
BREAKS: tuple[Break, ...] = (
    Break("cable", "the cable between the PBX's switch and the router is out", *CABLE),
    Break("router-crash", "the router is off and forgets its NAT state", *ROUTER),
    Break("black-hole", "the router answers, nothing passes the ISP", *HOLE),
    Break("sip-filtered", "the ISP drops SIP and nothing else", *FILTER),
    Break("loss-10", "10 % of the packets are lost, each way: just what is borne", *_fault("uplink-loss", "10"), 8.0),
    Break("loss-30", "30 % of the packets are lost, each way", *_fault("uplink-loss", "30"), 15.0),
    Break("loss-60", "60 % of the packets are lost, each way", *_fault("uplink-loss", "60"), 8.0),
    Break("one-way-loss", "60 % of what comes in is lost", *_fault("uplink-one-way", "60"), 10.0),
    Break("dns-dead", "the clinic's DNS server is off", *DNS, 3.0, 0),
    Break("provider-down", "the first provider's SBC is off", *_fault("provider-down", target="trunk"), 6.0, 0, "other",
          talks=False),
    Break("provider-and-cable", "the first provider's SBC and the cable are out at once: the fourth way is left",
          _provider_and_cable, _provider_and_cable_undone, 6.0, 1, "", talks=False),
    Break("provider-503", "the first provider answers every call with 503",
          *_fault("provider-503", target="trunk"), 3.0, 0),
    Break("address", "the public address of the main uplink changes", *ADDRESS, 6.0, 1),
    Break("watchdog-killed", "the watchdog is killed, 1.5 s later the cable is out", _kill, CABLE[1], 5.0),
    Break("both-then-one", "both cables are out, after 2.5 s the spare one is back", _both_then_one, _both_undone, 8.0,
          2, talks=False),
    Break("reboot", "the PBX is rebooted while the spare uplink carries the calls", _reboot, CABLE[1], 20.0,
          talks=False, every=REBOOTING),
    Break("failback", "calls return to the main uplink", _back, CABLE[1], 3.0),
    Break("return", "the cable is in again: calls return by themselves", CABLE[1], CABLE[1], 60.0, most=1),
    Break("flapping", "the cable is out and in again every 3 s for 2 minutes", _flap, CABLE[1], 120.0, quick=20.0),
    Break("loss-5", "5 % of the packets are lost, each way, for half an hour", *_fault("uplink-loss", "5"), 1800.0, 0,
          talks=False, most=1, every=2.0, quick=30.0),
)  # fmt: skip
