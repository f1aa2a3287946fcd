"""The synchronous client of the handsets' daemon, and the daemon as a part of a lab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.pools import Daemon
from softphone.client import Pool

Json = dict[str, Any]


class Handsets:
    """Telephones are named by their MAC address, twelve lower hex digits. PoolError where the daemon refuses."""

    def __init__(self, socket: str | Path) -> None:
        self._pool = Pool(socket, connect_timeout=5)

    def __enter__(self) -> Handsets:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def set(self, handsets: Sequence[Json]) -> Json:
        """Exactly these, each {"mac", "model"}; new ones are plugged in. -> {"added", "removed"}"""
        return dict(self._pool.request("set", handsets=list(handsets), wait=60))

    def power(self, on: bool, macs: Sequence[str] | None = None) -> int:
        arguments = {"macs": None if macs is None else list(macs)}
        return int(self._pool.request("power", on=on, wait=60, **arguments)["switched"])

    def reset(self, mac: str) -> None:
        """To the factory's settings."""
        self._pool.request("reset", mac=mac, wait=10)

    def resync(self, macs: Sequence[str]) -> None:
        """As if somebody pressed their provisioning keys."""
        self._pool.request("resync", macs=list(macs))

    def status(self, macs: Sequence[str] | None = None) -> dict[str, Json]:
        return dict(self._pool.request("status", macs=None if macs is None else list(macs), wait=10))

    def wait(self, macs: Sequence[str] | None = None, *, until: str = "registered", timeout: float = 30) -> Json:
        """{"ready": n, "waiting": {mac: [state, error]}, "seconds"}; `until` registered or provisioned."""
        named = None if macs is None else list(macs)
        return dict(self._pool.request("wait", macs=named, until=until, timeout=timeout, wait=timeout))

    def shutdown(self) -> None:
        self._pool.request("shutdown")
        self._pool.close()


@dataclass(frozen=True)
class HandsetDaemon(Daemon):
    """It lives in the telephones' namespace, beside the pool that is its SIP side."""

    space: str = "phones"

    @property
    def folder(self) -> Path:
        return super().folder.parent / "handsets"

    @property
    def program(self) -> list[str]:
        pool = Daemon(self.lab, self.space).socket
        return ["lab.handset.daemon", "--pool", str(pool), "--memory", str(self.folder / "memory")]

    def handsets(self) -> Handsets:
        """A client; use it in `with`. ClinicError when the daemon does not run."""
        self.client()
        return Handsets(self.socket)
