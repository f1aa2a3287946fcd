"""Synthetic clinics of any size, for tests and benchmarks: valid, and the same for the same seed."""

from __future__ import annotations

import json
import random
from typing import Any

from clinic.phones import MODELS

_SURNAMES = ("Лебедев", "Соколов", "Козлов", "Новиков", "Морозов", "Волков", "Павлов", "Голубев", "Орлов", "Макаров")
_NAMES = ("Андрей", "Дмитрий", "Сергей", "Илья", "Павел", "Олег", "Роман", "Виктор", "Антон", "Максим")
_SPECIALTIES = ("Терапевт", "Педиатр", "Кардиолог", "Невролог", "Хирург", "Офтальмолог", "Уролог", "Эндокринолог")
_SIMPLE = ("GXP1625", "GXP1630", "GRP2602", "GRP2614", "T31G")
PORTS = 48
MAX_PEOPLE = 15_000


def description(people: int, seed: int = 1) -> dict[str, Any]:
    """A clinic of `people` phones (20 to 15,000), as clinic.yml would hold it."""
    if not 20 <= people <= MAX_PEOPLE:
        raise ValueError(f"a synthetic clinic has 20 to {MAX_PEOPLE} people, not {people}")
    wide = people > 1500
    zeros = "0" if wide else ""
    nines = "9" if wide else ""
    chance = random.Random(seed)  # noqa: S311 - data for tests, no secret
    prompts = ("greeting", "closed", "holiday", "apology")
    flow = {"hours": "clinic", **{p: p for p in prompts}}
    return {
        "name": f"Синтетическая клиника на {people} телефонов",
        "timezone": "Europe/Moscow",
        "numbering": {
            "groups": f"5{zeros}000-5{zeros}099",
            "parking": f"7{zeros}000-7{zeros}020",
            "area_code": "495",
        },
        "departments": {
            "call-centre": {"name": "Колл-центр", "range": f"2{zeros}000-2{nines}999", "class": "national"},
            "children": {"name": "Детское отделение", "range": f"3{zeros}000-3{nines}999", "class": "local"},
            "adults": {"name": "Взрослое отделение", "range": f"4{zeros}000-4{nines}999", "class": "local"},
        },
        "people": _people(people, zeros, chance),
        "groups": [
            {"number": f"5{zeros}001", "name": "Старшие смены", "members": [f"2{zeros}900"], "strategy": "linear"}
        ],
        "switches": {
            f"sw-{n + 1}": {"model": "Eltex MES2348P", "ports": PORTS, "location": f"этаж {n + 1}"}
            for n in range(-(-people // PORTS))
        },
        "networks": _networks(people),
        "uplinks": [
            {"name": f"wan-{x}", "isp": f"Провайдер {x}", "address": f"10.77.3{n}.2/24", "gateway": f"10.77.3{n}.1",
             "external_address": f"198.18.{n}.2", "vlan": 30 + n, "bridge": f"vmbr-wan-{x}"}
            for n, x in ((1, "a"), (2, "b"))
        ],
        "wan": {"anchors": ["192.0.2.53", "198.18.200.53"]},
        "trunks": [
            {"name": "north", "provider": "Север", "server": "198.51.100.10", "auth": "registration",
             "username": "clinic", "channels": 20, "caller_id": "+74951230001",
             "dids": [{"number": "+74951230001", "flow": "children"}, {"number": "+74951230002", "flow": "adults"}]},
            {"name": "south", "provider": "Юг", "server": "203.0.113.10", "auth": "address", "channels": 10,
             "number_format": "national", "caller_id": "+74957650001",
             "dids": [{"number": "+74957650001", "flow": "children"}]},
        ],
        "hours": {"clinic": {"week": {"mon-fri": "08:00-20:00", "sat": "09:00-18:00"}}},
        "prompts": {p: {"text": f"Объявление {p}."} for p in prompts},
        "call_centre": {"number": f"5{zeros}000", "name": "Операторы", "pause_reasons": {"1": "Перерыв"}},
        "flows": {
            "children": {"name": "Детское отделение", "department": "children", **flow},
            "adults": {"name": "Взрослое отделение", "department": "adults", **flow},
        },
        "recording": {"retention_days": 60},
        "provisioning": _provisioning(people),
        "hypervisor": {
            "api": "10.77.10.2", "node": "pve", "token": "clinicpbx@pve!deploy", "storage": "local-lvm",
            "image_storage": "local",
            "vm": {"id": 120, "name": "pbx", "cores": 4, "memory_mib": 4096, "disk_gib": 32, "recordings_gib": 800,
                   "macs": [f"bc:24:11:77:00:0{n}" for n in range(1, 5)]},
        },
    }  # fmt: skip


def text(people: int, seed: int = 1) -> str:
    """`description` as YAML, one line a section and one a person (JSON is YAML)."""
    lines = []
    for key, value in description(people, seed).items():
        if key == "people":
            lines.append("people:")
            lines += [f"  - {json.dumps(person, ensure_ascii=False)}" for person in value]
        else:
            lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _networks(people: int) -> dict[str, Any]:
    small = people <= 219
    voice = "10.77.20" if small else "10.78.0"
    return {
        "voice": {
            "cidr": "10.77.20.0/24" if small else "10.78.0.0/16",
            "vlan": 20,
            "pbx": f"{voice}.10",
            "bridge": "vmbr-voice",
            "phones_from": f"{voice}.32",
            "phones_to": "10.77.20.250" if small else "10.78.254.250",
        },
        "management": {"cidr": "10.77.10.0/24", "vlan": 10, "pbx": "10.77.10.10", "bridge": "vmbr-mgmt"},
    }


def _provisioning(people: int) -> dict[str, Any]:
    """Keys as the case has them, on telephones that a clinic of any size can fill."""
    voice = _networks(people)["voice"]["pbx"].rsplit(".", 1)[0]
    line, park = {"kind": "line", "label": "Линия"}, {"kind": "park"}
    queue = [{"kind": "queue"}, {"kind": "queue-login"}, {"kind": "queue-pause", "of": "reasons"}]
    supervisors, own = {"kind": "blf", "of": "supervisors"}, {"kind": "blf", "of": "own-receptions"}
    return {
        "quarantine": f"{voice}.11-{voice}.30",
        "keys": {
            "operator": [line, *queue, park, supervisors, {"kind": "transfer", "of": "receptions"}],
            "supervisor": [line, *queue, {"kind": "blf", "of": "operators"}],
            "reception": [line, park, own, {"kind": "blf", "of": "department", "first": 30}],
        },
        "consoles": {"operator": ["children", "adults"]},
    }


def _people(count: int, zeros: str, chance: random.Random) -> list[dict[str, Any]]:
    """5 operators, 3 supervisors, 8 receptions; everyone else is a doctor of one of the two departments."""
    jobs = [(f"2{zeros}{n:03d}", "call-centre", "operator") for n in range(1, 6)]
    jobs += [(f"2{zeros}{n:03d}", "call-centre", "supervisor") for n in range(900, 903)]
    for first, department in (("3", "children"), ("4", "adults")):
        jobs += [(f"{first}{zeros}{n:03d}", department, "reception") for n in range(1, 5)]
    width = 4 if zeros else 3
    for n in range(count - len(jobs)):
        first, department = (("3", "children"), ("4", "adults"))[n % 2]
        jobs.append((f"{first}{11 + n // 2:0{width}d}", department, "doctor"))
    out = []
    for n, (ext, department, role) in enumerate(jobs):
        model = {"operator": "GRP2615", "supervisor": "GXP2170", "reception": "GRP2614"}.get(role)
        phone = {
            "model": model or chance.choice(_SIMPLE),
            "mac": f"c0:74:ad:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
            "socket": f"{n // PORTS + 1}-{n + 1}-1",
            "switch": f"sw-{n // PORTS + 1}",
            "port": n % PORTS + 1,
        }
        if role == "operator":
            phone["consoles"] = 1
        assert phone["model"] in MODELS  # noqa: S101 - the lists above are the author's, not the user's
        person = {"ext": ext, "name": f"{chance.choice(_SURNAMES)} {chance.choice(_NAMES)}", "department": department,
                  "role": role, "phone": phone}  # fmt: skip
        if role == "doctor":
            person["specialty"] = chance.choice(_SPECIALTIES)
        out.append(person)
    return out
