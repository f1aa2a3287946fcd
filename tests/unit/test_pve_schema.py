"""The validator of hypervisor exchanges can fail: each right exchange has a wrong neighbour."""

from __future__ import annotations

from typing import Any

import pytest

from tests.schema.pve_schema import problems

START = "/nodes/pve1/qemu/100/status/start"
UPID = "UPID:pve1:00000001:00000002:00000003:qmstart:100:deploy@pve!ci:"


def exchange(method: str, path: str, data: Any = None, status: int = 200, **params: str) -> dict[str, Any]:
    return {"method": method, "path": path, "params": params, "status": status, "reason": "", "data": data}


RIGHT = [
    exchange("GET", "/version", {"version": "9.0.3", "release": "9.0", "repoid": "x"}),
    exchange("POST", START, UPID, timeout="60"),
    exchange("PUT", "/nodes/pve1/qemu/100/config", None, net0="virtio=02:00:00:00:00:01,bridge=vmbr0,tag=20"),
    exchange("POST", "/nodes/pve1/qemu", UPID, vmid="100", scsi0="local-lvm:0,import-from=local:import/x.qcow2"),
    exchange("GET", "/nodes/pve1/qemu/101/config", status=500),
    exchange("GET", "/nodes/pve1/no-such-thing", status=501),
    exchange("POST", "/nodes/pve1/qemu", status=400, vmid="seven"),
]
WRONG = [
    (exchange("GET", "/version", {"version": "9.0.3"}), "release is missing"),
    (exchange("GET", "/version", ["9.0.3"]), "is no object"),
    (exchange("POST", START, UPID, colour="red"), "parameter colour"),
    (exchange("POST", START, UPID, timeout="soon"), "parameter timeout"),
    (exchange("POST", START, None), "null instead of string"),
    (exchange("PUT", "/nodes/pve1/qemu/100/config", None, net0="virtio,bridge=vmbr0,colour=red"), "parameter net0"),
    (exchange("PUT", "/nodes/pve1/qemu/100/config", None, cores="two"), "parameter cores"),
    (exchange("POST", "/nodes/pve1/qemu", UPID), "parameter vmid"),
    (exchange("GET", "/nodes/pve1/no-such-thing", {}), "no such call"),
    (exchange("GET", "/nodes/pve1/qemu", [{"vmid": "x", "status": "running"}]), "'x' is no integer"),
    (exchange("GET", "/nodes/pve1/qemu/100/status/current", {"vmid": 100, "status": "asleep"}), "is not one of"),
    (exchange("GET", "/nodes", [], status=404), "never answers 404"),
]


@pytest.mark.parametrize("right", RIGHT, ids=lambda e: f"{e['method']} {e['path']}")
def test_right_exchange_passes(right: dict[str, Any]) -> None:
    assert problems(right) == []


@pytest.mark.parametrize(("wrong", "complaint"), WRONG)
def test_wrong_exchange_is_caught(wrong: dict[str, Any], complaint: str) -> None:
    assert complaint in "\n".join(problems(wrong))
