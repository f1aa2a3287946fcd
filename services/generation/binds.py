"""Where PJSIP listens, against where the generation wants it to: a reload never moves a transport to another address.

Asterisk keeps the old socket without a word. Two witnesses are asked: `pjsip show transports` says which transport has
which address, the kernel says whether there is such a socket. An address is written as `udp 10.0.0.1:5060`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .objects import Section

_SHOWN = re.compile(r"^Transport:\s+(?P<name>[^\s<]+)\s+(?P<kind>\w+)\s+\S+\s+\S+\s+(?P<bind>\S+)", re.M)


def wanted(found: Iterable[Section]) -> dict[str, str]:
    """Address by transport, as the files write it."""
    out = {}
    for section in found:
        values = {key: value for key, (value, _, _) in section.options.items()}
        if values.get("type") == "transport" and not section.template:
            out[section.name] = _address(values.get("protocol", "udp"), values.get("bind", "0.0.0.0"))  # noqa: S104
    return out


def shown(text: str) -> dict[str, str]:
    """Address by transport, from `pjsip show transports`."""
    return {m["name"]: _address(m["kind"], m["bind"]) for m in _SHOWN.finditer(text)}


def sockets(text: str, pid: str) -> set[str]:
    """Addresses at which a process listens, from `ss -Hlnutp`."""
    rows = [line.split() for line in text.splitlines() if f"pid={pid}," in line]
    return {f"{row[0]} {row[4]}" for row in rows if len(row) > 4}


def differing(want: Mapping[str, str], show: Mapping[str, str], listening: set[str]) -> list[dict[str, str]]:
    """Transports that only a restart puts right: `transport`, `wanted` and `actual`; `none` for a left-over."""
    out = []
    for name, address in want.items():
        kind, place = address.split()
        heard = f"{'udp' if kind == 'udp' else 'tcp'} {place}" in listening
        if show.get(name) != address or not heard:
            actual = show.get(name, "none")
            out.append({"transport": name, "wanted": address, "actual": "no socket" if actual == address else actual})
    ports = {address.rpartition(":")[2] for address in want.values()}
    known = {a.split()[1] for a in [*want.values(), *show.values()]}
    out += [
        {"transport": "(removed)", "wanted": "none", "actual": socket}
        for socket in sorted(listening)
        if socket.rpartition(":")[2] in ports and socket.split()[1] not in known
    ]
    return out


def in_use(text: str) -> str:
    """What `core show channels count` says is up, empty when nothing is. No answer counts as calls."""
    found = {word: int(number) for number, word in re.findall(r"^(\d+) active (channel|call)", text, re.M)}
    if not found:
        return "an unknown number of calls: Asterisk does not answer"
    return f"{found.get('call', 0)} calls on {found.get('channel', 0)} channels" if any(found.values()) else ""


def _address(kind: str, bind: str) -> str:
    port = "5061" if kind == "tls" else "5060"
    return f"{kind} {bind}" if re.search(r"(?:^|[^:]|\]):\d+$", bind) else f"{kind} {bind}:{port}"
