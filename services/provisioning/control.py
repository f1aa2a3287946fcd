"""What the deploy and engineers ask the running service, by a socket that root alone may open: JSON in, JSON out."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .main import Service

PATH = Path("/run/clinic-provisioning/control")
MINUTES = 60.0
LONGEST_WAIT, LONGEST_OPEN = 3600.0, 7 * 24 * 60.0
LIMIT = 1 << 21
USAGE = "status, open MAC [MINUTES], close MAC or wait VERSIONS-JSON SECONDS"


async def serve(service: Service, path: Path = PATH) -> asyncio.Server:
    """Listen for questions: one line, a list of words, each connection."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            words = json.loads(await asyncio.wait_for(reader.readline(), 10))
            writer.write(json.dumps(await answer(service, words), ensure_ascii=False).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:
            print(f"<5>control: {error or type(error).__name__}", flush=True)
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    listening = await asyncio.start_unix_server(one, str(path), limit=LIMIT)
    path.chmod(0o600)
    return listening


async def answer(service: Service, words: list[str]) -> dict[str, Any]:
    """The reply, or `{"error": ...}` with what was wrong."""
    command, first, second = (*words, "", "", "")[:3]
    service.refresh()
    if command in ("open", "close"):
        mac = first.lower().replace(":", "").replace("-", "")
        if mac not in service.index.phones:
            return {"error": f"no telephone has the MAC address {first!r}: see clinicpbx phones status"}
        if command == "close":
            service.store.close(mac)
        else:
            minutes = _number(second or str(MINUTES), LONGEST_OPEN)
            if minutes is None:
                return {"error": f"{second!r} is no number of minutes, {LONGEST_OPEN:.0f} at most"}
            service.store.open(mac, time.time() + 60 * minutes)
        return service.status()
    if command == "wait":
        seconds = _number(second, LONGEST_WAIT)
        try:
            wanted = {str(mac): str(version) for mac, version in json.loads(first).items()}
        except (ValueError, AttributeError):
            return {"error": 'VERSIONS-JSON is {"<mac, 12 digits>": "<version>", ...}'}
        if seconds is None:
            return {"error": f"{second!r} is no number of seconds, {LONGEST_WAIT:.0f} at most"}
        if unknown := sorted(wanted.keys() - service.index.phones.keys()):
            return {"error": f"no telephone has the MAC address {unknown[0]!r}"}
        await service.wait(wanted, seconds)
        return service.status()
    return service.status() if command == "status" else {"error": USAGE}


def _number(text: str, most: float) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= most else None
