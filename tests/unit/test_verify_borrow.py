"""Borrowed telephones: what is read from the PBX and kept for giving back. No PBX, no network."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clinic.model import Clinic
from clinicpbx import descriptions
from clinicpbx.errors import ClinicError
from clinicpbx.site import Site
from clinicpbx.verify import borrow, restore
from clinicpbx.verify.borrow import Borrowed, Contact
from clinicpbx.verify.place import Before, Place
from softphone.client import Pool, PoolError

STORED = {
    "via_addr": "10.77.20.32",
    "uri": "sip:2001@10.77.20.32:5060^3Btransport=udp",
    "expiration_time": "1795395181",
}


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return descriptions.read_or_explain("case")


class Machine:
    """A PBX of two commands: a file, and the AstDB."""

    def __init__(self, database: dict[str, str], queue: str = "") -> None:
        self.files: dict[str, bytes] = {}
        self.keys, self.said, self.answer = database, [], queue

    def run(self, command: str, *, data: bytes = b"", check: bool = True) -> str:
        if data:
            self.files[restore.KEPT] = data
        elif command.startswith("rm "):
            self.files.clear()
        return self.files.get(restore.KEPT, b"").decode() if command.startswith("cat ") else ""

    def asterisk(self, *commands: str) -> str:
        self.said += commands
        return self.answer

    def database(self, family: str = "") -> dict[str, str]:
        return {key: value for key, value in self.keys.items() if key.startswith(family)}


def test_a_registered_telephone_is_read_from_the_database() -> None:
    found = borrow.contacts({"registrar/contact/2001;@f115": json.dumps(STORED), "dnd/2002": "1"})
    assert found == {"2001": Contact("sip:2001@10.77.20.32:5060;transport=udp", 1795395181)}


def test_the_latest_of_two_registrations_counts() -> None:
    older = STORED | {"uri": "sip:2001@10.77.20.99:5060", "expiration_time": "1795395000"}
    rows = {"registrar/contact/2001;@a": json.dumps(STORED), "registrar/contact/2001;@b": json.dumps(older)}
    assert borrow.contacts(rows)["2001"].until == 1795395181


def test_what_is_borrowed_travels_to_the_workers(tmp_path: Path) -> None:
    wanted = Borrowed(tmp_path / "socket", "10.77.20.2", {"2001": Contact("sip:2001@10.77.20.32", 17)})
    wanted.save(tmp_path / "file")
    assert Borrowed.load(tmp_path / "file") == wanted


def test_a_telephone_that_took_its_extension_back_by_tls_loses_it_again_at_once() -> None:
    def stored(ext: str, at: str) -> dict[str, str]:
        return {f"registrar/contact/{ext};@1": json.dumps(STORED | {"uri": f"sip:{ext}@{at}:5061;transport=tls"})}

    class Registers:
        def __init__(self) -> None:
            self.taken: list[str] = []

        def register(self, agents: list[str], timeout: float) -> None:
            self.taken += agents

    pbx, pool = Machine({}), Registers()
    again = borrow.Again(pbx, pool, "10.77.20.2", ["4101", "4102", "4103"])  # type: ignore[arg-type]
    pbx.keys = stored("4101", "10.77.20.2") | stored("4102", "10.77.20.72") | stored("2001", "10.77.20.32")
    assert again.look() == pool.taken == ["4102"], "neither who is ours, nor who is nowhere, nor who speaks in clear"
    again.start()
    deadline = time.monotonic() + 5
    while len(pool.taken) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert pool.taken == ["4102", "4102"]
    pbx.keys |= stored("4103", "10.77.20.73")
    assert set(again.end()) == {"4102", "4103"}, "both are given back what they registered themselves"
    assert again.look() == [] and pool.taken == ["4102", "4102"], "and nothing is taken any more"


def test_what_a_telephone_registered_meanwhile_is_given_back() -> None:
    """It believes in that, and until then; and one that came only meanwhile is not left without any."""

    class Ending:
        def registrations(self) -> dict[str, dict[str, str]]:
            return {ext: {"state": "registered"} for ext in ("2001", "2002", "4101", "4102")}

        def hangup_all(self) -> None: ...

        def shutdown(self) -> None: ...

        def unregister(self, agents: list[str], timeout: float) -> None:
            self.gone = agents

        def hand_over(self, wanted: dict[str, tuple[str, int]]) -> dict[str, int]:
            self.back = wanted
            return dict.fromkeys(wanted, 200)

    now, pool = int(time.time()), Ending()
    again = borrow.Again(Machine({}), pool, "10.77.20.2", ["4101", "4102"])  # type: ignore[arg-type]
    again.seen = {"4101": Contact("sip:4101@10.77.20.71:6001", now + 290), "4102": Contact("sip:4102@h", now + 280)}
    before = {"2001": Contact("sip:2001@10.77.20.32", now + 100), "4101": Contact("sip:4101@10.77.20.71:5061", now + 5)}
    kept = Borrowed(Path(), "10.77.20.2", before, pool, None, again)  # type: ignore[arg-type]
    assert borrow.give_back(kept) == []
    assert pool.gone == ["2002"] and pool.back.keys() == {"2001", "4101", "4102"}
    uri, seconds = pool.back["4101"]
    assert uri.endswith(":6001") and seconds > 280


def test_the_patient_is_nobody_a_check_needs(clinic: Clinic) -> None:
    ext = borrow.patient(clinic)
    assert ext in clinic.by_ext and ext not in {did.to for _, did in clinic.dids.values()}
    assert ext not in [person.ext for person in clinic.people[-2:]]


def test_a_machine_outside_the_voice_network_cannot_stand_in(clinic: Clinic) -> None:
    with pytest.raises(ClinicError, match="no address in the voice network") as refused:
        borrow.address(clinic)
    assert "telephone's socket" in str(refused.value.remedy)


@pytest.mark.parametrize(("calls", "members"), [(1, ""), (0, "  Анна (PJSIP/2001) (dynamic) (Not in use)")])
def test_telephones_are_not_borrowed_while_people_use_them(calls: int, members: str) -> None:
    class Busy(Machine):
        def asterisk(self, *commands: str) -> str:
            return f"0 active channels\n{int(calls) + 2} active calls\n"

        def channels(self) -> list[str]:  # a call that is paid for has a meter, which is no call
            return ["Local/s@meter-00000001;1!meter!none", "Local/s@meter-00000001;2!meter!s"]

        def queue(self) -> dict[str, str]:
            return {"2001": members} if members else {}

    with pytest.raises(borrow.InUseError, match="in use"):
        borrow.refuse_if_in_use(Busy({}))  # type: ignore[arg-type]


def test_an_idle_pbx_may_be_borrowed_from() -> None:
    class Idle(Machine):
        def queue(self) -> dict[str, str]:
            return {}

        def channels(self) -> list[str]:
            return []

    borrow.refuse_if_in_use(Idle({}, "0 active channels\n0 active calls\n"))  # type: ignore[arg-type]


def test_forwarding_is_stopped_and_a_killed_run_does_not_lose_it() -> None:
    pbx = Machine({"forward/4001": "4002", "dnd/4003": "1", "trunk/north/disabled": "1"})
    before = restore.take(pbx)  # type: ignore[arg-type]
    restore.save(pbx, before)  # type: ignore[arg-type]
    restore.stop_forwarding(pbx, before)  # type: ignore[arg-type]
    assert sorted(pbx.said[-2:]) == ["database del dnd 4003", "database del forward 4001"]
    pbx.keys = {"trunk/north/disabled": "1"}  # killed here: nothing was put back
    said = restore.recover(pbx)  # type: ignore[arg-type]
    assert sorted(said) == ['database put dnd 4003 "1"', 'database put forward 4001 "4002"']
    assert not pbx.files and restore.recover(pbx) == []  # type: ignore[arg-type]


def test_a_dead_pool_does_not_keep_what_people_had_set(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    pbx, done = Machine({}), []
    monkeypatch.setattr(Place, "connect", lambda _: pbx)
    monkeypatch.setattr(restore, "put_back", lambda *_, **__: done.append("forwarding") or [])
    place = Place("case", Path(), clinic, Site(None, Path()), {}, borrows=True)
    dead = Borrowed(Path("/nonexistent/socket"), "10.77.20.2", {"2001": Contact("sip:2001@10.77.20.32", 17)})
    monkeypatch.setattr(Pool, "registrations", lambda _: (_ for _ in ()).throw(PoolError("gone")))
    with pytest.raises(ClinicError, match="not registered again: all: gone"):
        place.put_back(Before(restore.Snapshot({}, {}), (), 0.0, [], dead))
    assert done == ["forwarding"]


def test_what_people_set_during_a_run_stays() -> None:
    before = restore.Snapshot({"forward/4001": "4002"}, {})
    now = restore.Snapshot({"forward/4001": "4009", "dnd/4003": "1"}, {"PJSIP/2001": ("Анна", None)})
    assert restore.commands(before, now, gentle=True) == []
    assert len(restore.commands(before, now)) == 3, "after a run that was stopped in a check all of it is undone"


def test_borrowed_registrations_end_with_the_program_that_took_them(tmp_path: Path) -> None:
    """A pool that outlived its program would keep every telephone of the clinic for ever."""
    text = "import sys, time; from softphone.client import Pool; p = Pool.start(sys.argv[1]); print(1, flush=True); "
    owner = subprocess.Popen(
        [sys.executable, "-c", text + "time.sleep(60)", str(tmp_path / "s")], stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout and owner.stdout.readline()
        with Pool(tmp_path / "s") as pool:
            pool.stats()
        owner.kill()
    deadline = time.monotonic() + 5
    while (tmp_path / "s").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises((PoolError, OSError)):
        Pool(tmp_path / "s", connect_timeout=0.3).stats()
