"""All handsets of a lab in one process, controlled over a unix socket as a softphone pool is.

python -m lab.handset.daemon --socket PATH --pool PATH --memory FOLDER [--card eth0] [--log FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import resource
import time
from pathlib import Path
from typing import Any

from lab.handset.dhcp import Client, Ends
from lab.handset.handset import RESYNC, Handset
from lab.handset.line import Line, LineError
from lab.handset.names import Identity
from softphone.ops import OpError
from softphone.pool import listen

log = logging.getLogger("handset")
AT_ONCE = 40  # rounds of fetching side by side: the lab has one processor for what are many telephones
LOOK_SECONDS = 0.15
PROVISIONED = ("applied", "registering", "refused", "registered")
Json = dict[str, Any]


class Operations:
    """What the daemon can be asked to do, as `softphone.ops` does it. Telephones are named by their MAC address."""

    def __init__(self, pool: Path, memory: Path, ends: Ends) -> None:
        self.stopping = asyncio.Event()
        self.handsets: dict[str, Handset] = {}
        self._memory, self._dhcp, self._line = memory, Client(ends), Line(pool)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._dhcp.open()
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    def _some(self, macs: list[str] | None) -> list[Handset]:
        if macs is None:
            return list(self.handsets.values())
        if unknown := [mac for mac in macs if mac not in self.handsets]:
            raise OpError(f"no telephone {', '.join(unknown[:3])}")
        return [self.handsets[mac] for mac in macs]

    async def op_set(self, handsets: list[Json], power: bool = True) -> Json:
        """Exactly these telephones, each {"mac", "model"}; new ones are plugged in, others unplugged.

        One that comes back has what it kept without power. -> {"added": n, "removed": n}
        """
        wanted = {phone.mac: phone for phone in (Identity(**one) for one in handsets)}
        gone = [mac for mac, one in self.handsets.items() if wanted.get(mac) != one.phone]
        await asyncio.gather(*(self.handsets.pop(mac).off() for mac in gone))
        new = [mac for mac in wanted if mac not in self.handsets]
        for mac in new:
            file = self._memory / f"{mac}.json"
            self.handsets[mac] = Handset(wanted[mac], file, self._dhcp, self._line, self._gate)
            if power:
                self.handsets[mac].on()
        return {"added": len(new), "removed": len(gone)}

    async def op_power(self, on: bool, macs: list[str] | None = None) -> Json:
        """-> {"switched": n}"""
        chosen = self._some(macs)
        for one in chosen:
            if on:
                one.on()
        if not on:
            await asyncio.gather(*(one.off() for one in chosen))
        return {"switched": len(chosen)}

    async def op_reset(self, mac: str) -> Json:
        """Factory settings: it forgets everything and starts anew."""
        (one,) = self._some([mac])
        await one.off()
        one.forget()
        one.on()
        return {}

    async def op_resync(self, macs: list[str]) -> Json:
        """As if somebody pressed its provisioning key."""
        for one in self._some(macs):
            one._events.put_nowait(RESYNC)
        return {}

    async def op_status(self, macs: list[str] | None = None) -> Json:
        """-> {mac: snapshot}, with what the pool knows of their registrations"""
        chosen = self._some(macs)
        await self._look(chosen)
        return {one.phone.mac: one.snapshot() for one in chosen}

    async def op_wait(self, macs: list[str] | None = None, until: str = "registered", timeout: float = 30.0) -> Json:
        """Until all that are on have an account (`until` "provisioned"), or are registered or refused.

        -> {"ready": n, "waiting": {mac: [state, error]}, "seconds": s}
        """
        began = time.monotonic()
        wanted = ("registered",) if until == "registered" else PROVISIONED
        while True:
            chosen = self._some(macs)
            if until == "registered" and all(one.state in (*PROVISIONED, "off") for one in chosen):
                await self._look(chosen)
            waiting = {one.phone.mac: [one.state, one.error] for one in chosen if one.state not in wanted}
            if all(state in ("off", "refused") for state, _ in waiting.values()) or time.monotonic() - began > timeout:
                seconds = round(time.monotonic() - began, 3)
                return {"ready": len(chosen) - len(waiting), "waiting": waiting, "seconds": seconds}
            await asyncio.sleep(LOOK_SECONDS)

    async def op_shutdown(self) -> Json:
        self.stopping.set()
        return {}

    async def _look(self, chosen: list[Handset]) -> None:
        """Registrations change without a telephone's doing: the PBX was away, or came back."""
        try:
            known = await self._line.request("registrations")
        except LineError:
            return
        for one in chosen:
            states = [known.get(name, {}).get("state") for name in one.agents]
            if states and one.state in PROVISIONED[1:]:
                good = all(state == "registered" for state in states)
                one.state = "registered" if good else "refused" if "refused" in states else "registering"

    async def _listen(self) -> None:
        """Hand NOTIFYs to the telephones they are for."""
        last = 0
        while True:
            try:
                heard = await self._line.request("wait_notify", since=last, timeout=25.0, wait=25.0)
            except LineError:
                await asyncio.sleep(1)
                last = 0  # a pool that was started anew counts from the beginning
                continue
            last = heard["last"]
            owners = {name: one for one in self.handsets.values() for name in one.agents}
            for notice in heard["notices"]:
                if one := owners.get(notice["agent"]):
                    one.tell(notice["event"])

    async def close(self) -> None:
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        await asyncio.gather(*(one.off() for one in self.handsets.values()))
        self._line.close()
        self._dhcp.close()


async def serve(options: argparse.Namespace) -> None:
    options.memory.mkdir(mode=0o700, parents=True, exist_ok=True)
    operations = Operations(options.pool, options.memory, Ends(options.card))
    await listen(options.socket, operations, operations.stopping)
    await operations.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.handset.daemon", description="Many virtual telephones in one process.")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--pool", type=Path, required=True, help="the softphone pool's socket")
    parser.add_argument("--memory", type=Path, required=True, help="folder for what telephones keep without power")
    parser.add_argument("--card", default="eth0")
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    logging.basicConfig(filename=options.log, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
