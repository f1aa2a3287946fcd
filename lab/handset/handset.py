"""One telephone's life: power, DHCP, files, accounts, and what it does when the PBX tells it to look again.

As a real one it goes on with what it had when no server answers, and tries again later; in the lab "later" is seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol

from lab.handset.dhcp import RefusedError
from lab.handset.fetch import AbsentError, Fetcher, FetchError, Trust
from lab.handset.line import LineError
from lab.handset.memory import Memory
from lab.handset.names import Identity, choices
from lab.handset.packet import Lease, PacketError
from lab.handset.parse import IllFormedError, merge, parse
from lab.handset.settings import Configured, Place, understood

log = logging.getLogger("handset")
FIRST, LONGEST = 1.0, 8.0  # seconds between tries; a real telephone's are minutes
REGISTER_SECONDS = 4.0
PLACES = 3  # a file may send the telephone on to another place, which may do so once more
RESYNC, REBOOT = "resync", "reboot"


class Dhcp(Protocol):
    def lease(self, mac: bytes, vendor: str, last: IPv4Address | None = None) -> Awaitable[Lease]: ...
    def renew(self, mac: bytes, vendor: str, lease: Lease) -> Awaitable[Lease]: ...


class Sip(Protocol):
    """The softphone pool's operations."""

    def request(self, op: str, *, wait: float = 0.0, **arguments: Any) -> Awaitable[Any]: ...


class Handset:
    """States: off, dhcp, fetching, unconfigured, applied, registering, refused, registered.

    `gate`: how many of all telephones fetch at once.
    """

    def __init__(self, phone: Identity, memory: Path, dhcp: Dhcp, sip: Sip, gate: asyncio.Semaphore) -> None:
        self.phone, self._file, self._dhcp, self._sip, self._gate = phone, memory, dhcp, sip, gate
        self.memory = Memory.load(memory)
        self.state, self.error, self.door = "off", "", ""
        self.lease: Lease | None = None
        self.agents: dict[str, dict[str, Any]] = {}  # by extension, as the pool has them
        self.fetched: list[tuple[str, int]] = []
        self.marker = ""
        self.times: dict[str, float] = {}
        self._began, self._patience, self._refusal = 0.0, FIRST, ""
        self._events: asyncio.Queue[str] = asyncio.Queue()
        self._life: asyncio.Task[None] | None = None
        self._registering: asyncio.Task[None] | None = None
        self._setting: asyncio.Future[Any] | None = None

    # -- power -------------------------------------------------------------------------------------------------------

    def on(self) -> None:
        """Plugged in; nothing happens when it is on."""
        if self._life is None:
            self._life = asyncio.get_running_loop().create_task(self._live())

    async def off(self) -> None:
        """Without a word, as at a power cut: the PBX learns of it when the registration runs out."""
        life, self._life = self._life, None
        if life:
            life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await life
        if self._setting:  # an account on its way to the pool would come to life after its telephone's end
            await asyncio.wait([self._setting])
        await self._vanish()
        self.state, self.lease, self.error = "off", None, ""

    def forget(self) -> None:
        """The factory's settings again; the telephone must be off."""
        self.memory = Memory()
        self.fetched, self.marker, self.door = [], "", ""
        self._file.unlink(missing_ok=True)

    def tell(self, event: str) -> None:
        """A NOTIFY's Event header, as this maker obeys it."""
        kind, _, parameters = event.partition(";")
        asked, reboots = "reboot=true" in parameters.replace(" ", ""), self.configured.reboots
        if kind == "check-sync" and (reboots == "always" or (reboots == "asked" and asked)):
            self._events.put_nowait(REBOOT)
        elif kind == "check-sync" or (kind == "resync" and not self.phone.yealink):
            self._events.put_nowait(RESYNC)

    # -- what it knows -----------------------------------------------------------------------------------------------

    @property
    def configured(self) -> Configured:
        return understood(self.phone, self.memory.settings)

    def _place(self) -> Place | None:
        """Where it asks for its file: what DHCP says, unless a file told it not to listen."""
        known, lease = self.configured, self.lease
        offered = {"66": lease.boot, "160": lease.custom} if lease else {}
        boot = next((offered[option] for option in known.obeys if offered.get(option)), "")
        if not boot:
            return known.config
        url = boot if "://" in boot else f"https://{boot}"
        return Place(url if url.endswith("/") else f"{url}/")

    # -- life --------------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        while True:
            try:
                await self._boot()
                await self._work()
            except LineError as error:
                self.error = str(error)
                await asyncio.sleep(FIRST)
            except Exception:
                log.exception("%s: restarts after a fault of its own", self.phone.mac)
                await asyncio.sleep(FIRST)
            await self._vanish()

    async def _boot(self) -> None:
        self.state, self.times, self._began, self.marker = "dhcp", {}, time.monotonic(), ""
        last = IPv4Address(self.memory.address) if self.memory.address else None
        self.lease = await self._dhcp.lease(self.phone.hardware, self.phone.vendor_class, last)
        self.memory.address = str(self.lease.address)
        self._reached("dhcp")

    async def _work(self) -> None:
        """Until it must start again: told to reboot, its address gone, or still without an account."""
        done = await self._provision()
        renew = self._renewal()
        while True:
            now = time.monotonic()
            wait = renew - now if done else min(renew - now, self._patience * random.uniform(0.8, 1.2))  # noqa: S311
            try:
                event = await asyncio.wait_for(self._events.get(), max(0.0, wait))
            except TimeoutError:
                if time.monotonic() >= renew:
                    if not await self._renew():
                        return
                    renew = self._renewal()
                    continue
                self._patience = min(LONGEST, self._patience * 2)
                if not self.agents:  # somebody pulls its plug and tries again
                    return
                done = await self._provision()
                continue
            while not self._events.empty():  # a second one meanwhile asks for nothing more
                event = REBOOT if REBOOT in (event, self._events.get_nowait()) else event
            if event == REBOOT:
                await self._idle(list(self.agents))
                return
            self._patience, done = FIRST, await self._provision()

    def _renewal(self) -> float:
        return time.monotonic() + (self.lease.renew if self.lease else LONGEST)

    async def _renew(self) -> bool:
        """Whether the address is still its own. A silent server is asked again until the lease is over."""
        if self.lease is None:
            return False
        end = time.monotonic() + self.lease.seconds - self.lease.renew
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError, PacketError):
                try:
                    renewed = await self._dhcp.renew(self.phone.hardware, self.phone.vendor_class, self.lease)
                except RefusedError:
                    return False
                same, self.lease = renewed.address == self.lease.address, renewed
                return same
            await asyncio.sleep(LONGEST)
        return False

    # -- provisioning ------------------------------------------------------------------------------------------------

    async def _provision(self) -> bool:
        """Fetch, apply, show that it was applied. Whether all of it succeeded; what was known before goes on."""
        assert self.lease is not None  # noqa: S101 - for the type checker
        if not self.agents:
            self.state = "fetching"
        self.error, self.fetched, faults = "", [], []
        try:
            async with self._gate:
                await self._configuration()
        except (FetchError, IllFormedError) as error:
            faults.append(str(error))
        self._reached("fetched")
        try:
            await self._apply()
            async with self._gate, self._fetcher() as http:
                await self._books(http)
        except (FetchError, IllFormedError) as error:
            faults.append(str(error))
        if not self.agents:
            self.state = "unconfigured"
            faults = faults or [self._refusal or "no account in what it got"]
        self.error = "; ".join(faults)
        self._patience = self._patience if faults else FIRST
        return not faults

    def _fetcher(self) -> Fetcher:
        assert self.lease is not None  # noqa: S101 - for the type checker
        known = self.configured
        trust = Trust(known.trusted or self.memory.authority, known.verifies, known.checks_name)
        return Fetcher(str(self.lease.address), self.phone.http_agent, trust, self.fetched)

    async def _configuration(self) -> None:
        """The vendor's names in order, at the place there is, then at the one that a file named, as after a restart."""
        asked: Place | None = None
        for _ in range(PLACES):
            place = self._place()
            if place is None:
                raise FetchError("neither DHCP nor a file names a server")
            if place == asked:
                return
            async with self._fetcher() as http:
                settings = await self._files(http, place)
                self.memory.settings = merge(self.memory.settings, settings)
                self.door = "second" if place.user else "first"
                await self._authority(http)
            self.memory.save(self._file)
            asked = place

    async def _files(self, http: Fetcher, place: Place) -> dict[str, str]:
        found: dict[str, str] | None = None
        refused: FetchError | None = None
        self._refusal = ""
        for group in choices(self.phone):
            for name in group:
                try:
                    found = {**(found or {}), **parse(self.phone, await http.get(place, name))}
                    break
                except FetchError as error:
                    refused = error if refused is None or not isinstance(error, AbsentError) else refused
        if found is None:
            raise refused or AbsentError("no file")
        self._refusal = str(refused) if refused else ""
        return found

    async def _authority(self, http: Fetcher) -> None:
        place = self.configured.authority
        if place:
            self.memory.authority = (await http.get(place)).decode("ascii", "replace")

    async def _books(self, http: Fetcher) -> None:
        """Phonebook and firmware; their path tells the server which configuration was applied."""
        known = self.configured
        for place in filter(None, (known.phonebook, known.firmware)):
            if place.url not in self.marker.split():
                with contextlib.suppress(AbsentError):  # there is no newer firmware
                    await http.get(place)
        self.marker = " ".join(place.url for place in (known.phonebook, known.firmware) if place)

    async def _apply(self) -> None:
        """Accounts that changed, and no other: calls of the others go on, and those of a changed one end first."""
        assert self.lease is not None  # noqa: S101 - for the type checker
        known, address = self.configured, str(self.lease.address)
        wanted = {
            one.user: one.options(address, self.phone, known.trusted_for_sip or self.memory.authority, known.challenges)
            for one in known.accounts
        }  # fmt: skip
        gone = [name for name in self.agents if name not in wanted]
        changed = [name for name, options in wanted.items() if self.agents.get(name) != options]
        if gone or changed:
            await self._idle([*gone, *changed])
        if gone:
            await self._drop(gone)
        for name in changed:
            self.agents[name] = wanted[name]
            self._setting = asyncio.ensure_future(self._sip.request("replace_agent", **wanted[name]))
            try:
                await asyncio.shield(self._setting)
            except LineError as error:
                del self.agents[name]
                raise FetchError(f"account {name} cannot be set up: {error}") from None
        self._reached("applied")
        if changed:
            self.state = "applied"
            self._stop_registering()
            self._registering = asyncio.get_running_loop().create_task(self._register(changed))

    async def _idle(self, names: list[str]) -> None:
        """A telephone changes nothing under a call."""
        mine = [name for name in names if name in self.agents]
        while mine and await self._sip.request("calls", agents=mine, active=True):
            await asyncio.sleep(0.2)

    async def _register(self, names: list[str]) -> None:
        """Until the PBX takes it. One that it refuses asks again by itself, a minute later, as telephones do."""
        patience = FIRST
        while True:
            self.state = "registering"
            try:
                done = await self._sip.request("register", agents=names, timeout=REGISTER_SECONDS, wait=60)
            except LineError as error:
                self.error = str(error)
                return
            if not done["failed"]:
                self.state = "registered"
                self._reached("registered")
                return
            name, (state, status) = next(iter(done["failed"].items()))
            self.error = f"{name} is {state} ({status or 'no answer'})"
            if all(found[0] == "refused" for found in done["failed"].values()):
                self.state = "refused"
                return
            await asyncio.sleep(patience * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the load, no secret
            patience = min(LONGEST / 2, patience * 2)

    def _stop_registering(self) -> None:
        if self._registering:
            self._registering.cancel()
            self._registering = None

    async def _vanish(self) -> None:
        self._stop_registering()
        await self._drop(list(self.agents))

    async def _drop(self, names: list[str]) -> None:
        for name in names:
            del self.agents[name]
            with contextlib.suppress(LineError):  # somebody else took it away
                await self._sip.request("remove", agents=[name])

    def _reached(self, what: str) -> None:
        self.times.setdefault(what, round(time.monotonic() - self._began, 3))

    def snapshot(self) -> dict[str, Any]:
        """Nothing secret: no path of the first door, no password."""
        return {
            "mac": self.phone.mac, "model": self.phone.model, "state": self.state, "error": self.error,
            "exts": sorted(self.agents), "address": str(self.lease.address) if self.lease else "", "door": self.door,
            "settings": len(self.memory.settings), "times": self.times,
            "marker": ["/" + url.split("/", 3)[-1] for url in self.marker.split()],
            "fetched": [[name.rpartition("/")[2], status] for name, status in self.fetched],
        }  # fmt: skip
