"""What keepalived with a track script, Debian's, makes of the same uplink: the neighbour our figures are held against.

It watches the main uplink from the PBX's own network namespace while our watchdog is stopped. Only its decision is
timed: what would have to follow for calls (routes, registrations, the dial plan) it leaves to its owner's scripts.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinicpbx.errors import ClinicError
from clinicpbx.verify.pbx import wait_until
from lab import components, faults, process, state

if TYPE_CHECKING:
    from clinicpbx.drill.wan_breaks import Scene

NAME = "keepalived"
LONGEST = 1800
"""Seconds after which it ends by itself, whatever becomes of the drill."""
LOSSY = 120.0
_CONFIG = """
global_defs {{
    script_user root
}}
vrrp_script uplink {{
    script "/usr/bin/ping -n -q -c 1 -W 1 -I {card} {anchor}"
    interval {interval}
    timeout 2
    fall {fall}
    rise {rise}
}}
vrrp_instance uplink {{
    state MASTER
    interface {card}
    virtual_router_id 51
    priority 100
    unicast_peer {{
        {gateway}
    }}
    track_script {{
        uplink
    }}
    notify /mnt/told
}}
"""
_TOLD = '#!/bin/sh\necho "$(date +%s.%N) $3" >> /mnt/states\n'


@dataclass(frozen=True)
class Setting:
    """A track script's `interval` in seconds, misses before FAULT (`fall`) and answers before MASTER (`rise`)."""

    meaning: str
    interval: int
    fall: int
    rise: int


SETTINGS = (
    Setting("keepalived, as it comes: every second, one miss", 1, 1, 1),
    Setting("keepalived, every 2 s, three misses", 2, 3, 3),
)


class Watcher:
    """One running keepalived. `home` is its private /mnt: configuration and the states it was in."""

    def __init__(self, scene: Scene, tools: Path, setting: Setting) -> None:
        self.home, self.tools = state.run_folder(scene.lab) / NAME, tools
        self.leader = next((m.leader for m in components.machines(scene.lab) if m.leader), None)
        uplink = next(u for u in scene.clinic.uplinks if u.name == scene.main)
        links = json.loads(scene.pbx.run("ip -j address show"))
        card = next(link["ifname"] for link in links for a in link["addr_info"] if a["local"] == str(uplink.address.ip))
        self.home.mkdir(exist_ok=True)
        for name in ("states", "log"):
            (self.home / name).write_text("")
        (self.home / "told").write_text(_TOLD)
        (self.home / "told").chmod(0o755)
        (self.home / "keepalived.conf").write_text(
            _CONFIG.format(
                card=card, gateway=uplink.gateway, anchor=scene.clinic.wan.anchors[-1], interval=setting.interval,
                fall=setting.fall, rise=setting.rise,
            )
        )  # fmt: skip

    def states(self, since: float = 0.0) -> list[tuple[float, str]]:
        """(epoch second, MASTER, BACKUP or FAULT), in order."""
        rows = [line.split() for line in (self.home / "states").read_text().splitlines()]
        return [(float(at), name) for at, name in rows if float(at) >= since]

    def well(self) -> bool:
        return bool(self.states()) and self.states()[-1][1] == "MASTER"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        script = (
            f"mount --bind {self.home} {self.tools}/mnt && mount --bind /dev {self.tools}/dev && "
            f"mount -t proc proc {self.tools}/proc && mount -t tmpfs run {self.tools}/run && "
            f"exec chroot {self.tools} timeout --kill-after=2 {LONGEST} keepalived --dont-fork --log-console "
            "--use-file=/mnt/keepalived.conf"
        )
        command = ["nsenter", f"--target={self.leader}", "--net", "unshare", "--mount", "--", "sh", "-ec", script]
        with (self.home / "log").open("w") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            if not wait_until(self.well, 15):
                raise ClinicError("keepalived does not start", remedy=f"read {self.home}/log")
            yield
        finally:
            process.stop(child.pid)
            child.wait()


def measure(scene: Scene, tools: Path, runs: int, lossy: float, say: Callable[[str], None]) -> dict[str, Any]:
    """meaning -> `decisions`: seconds from a black hole; `false_switches` in `lossy_seconds` of 5 % loss."""
    found: dict[str, Any] = {}
    scene.pbx.run("systemctl stop clinic-wan")
    try:
        for setting in SETTINGS:
            watcher = Watcher(scene, tools, setting)
            with watcher.running():
                decisions = [_decision(scene, watcher) for _ in range(runs)]
                began = time.time()
                with faults.broken(scene.lab, "uplink-loss", scene.main, "5"):
                    time.sleep(lossy)
                    left = [name for _, name in watcher.states(began) if name == "FAULT"]
            found[setting.meaning] = {"decisions": decisions, "false_switches": len(left), "lossy_seconds": lossy}
            say(f"{setting.meaning}: {runs} runs, {len(left)} false switches in {lossy:.0f} s of 5 % loss")
    finally:
        scene.pbx.run("systemctl start clinic-wan")
    return found


def _decision(scene: Scene, watcher: Watcher) -> float:
    if not wait_until(watcher.well, 30):
        raise ClinicError("keepalived does not come back", remedy=f"read {watcher.home}/log")
    time.sleep(1 + 2 * random.random())  # noqa: S311 - wherever its script is
    began = time.time()
    with faults.broken(scene.lab, "uplink-blackhole", scene.main):
        wait_until(lambda: any(name == "FAULT" for _, name in watcher.states(began)), 30)
    return next(at for at, name in watcher.states(began) if name == "FAULT") - began
