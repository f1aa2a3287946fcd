"""What every check may use. The checks run through `clinicpbx verify`; the project's own tests leave them alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from clinic.model import Clinic
from clinicpbx import descriptions
from clinicpbx.provisioning import Provisioning, build
from clinicpbx.verify.desk import Patients, Phones, Pstn, callers, enabled
from clinicpbx.verify.locks import Locks
from clinicpbx.verify.lynis import Audit
from clinicpbx.verify.pbx import Pbx
from clinicpbx.verify.place import Place

BREAKS_BOTH_WAYS = ("provider-silent", "provider-down")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if config.pluginmanager.hasplugin("clinicpbx.verify.plugin") else True


def _place(config: pytest.Config) -> Place:
    found = getattr(config, "_clinicpbx_place", None)
    if found is None:
        options = {"borrowed": config.getoption("--borrowed")}
        found = Place.of(config.getoption("--clinic"), config.getoption("--at"), **options)
        config._clinicpbx_place = found  # type: ignore[attr-defined]
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Checks are repeated for what the description has: `trunk`, `number` (emergency), `flow`."""
    clinic = descriptions.read_or_explain(metafunc.config.getoption("--clinic"))
    values: dict[str, list[str]] = {
        "trunk": [t.name for t in enabled(clinic)],
        "flow": answered_by_operators(clinic),
    }
    for name, subjects in values.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, subjects)


def answered_by_operators(clinic: Clinic) -> list[str]:
    """Flows that a public number leads to, one per department: calls of one department must not ring at another."""
    found: dict[str, str] = {}
    for _, did in clinic.dids.values():
        if did.flow:
            found.setdefault(clinic.flows[did.flow].department, did.flow)
    return list(found.values())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Calls from outside hold the last trunk for most of a run, so what takes it down comes last in its lane."""
    if not config.pluginmanager.hasplugin("clinicpbx.verify.plugin"):
        return
    clinic = descriptions.read_or_explain(config.getoption("--clinic"))
    last = enabled(clinic)[-1].name

    def order(item: pytest.Item) -> bool:
        trunk = item.callspec.params.get("trunk", last) if hasattr(item, "callspec") else last
        return "emergency" in item.name and trunk != last

    items.sort(key=order)


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest) -> Place:
    return _place(request.config)


@pytest.fixture(scope="session")
def clinic(place: Place) -> Clinic:
    return place.clinic


@pytest.fixture(scope="session")
def secrets(place: Place) -> Any:
    return place.secrets


@pytest.fixture(scope="session")
def pbx(place: Place) -> Pbx:
    return place.connect()


@pytest.fixture(scope="session")
def audit(pbx: Pbx) -> Iterator[Audit]:
    """Lynis, under way since the first check that asks for it."""
    running = Audit(pbx)
    yield running
    running.tidy()


@pytest.fixture(scope="session")
def locks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Locks:
    folder = request.config.getoption("--run-folder")
    return Locks(Path(folder) / "locks" if folder else tmp_path_factory.getbasetemp().parent / "locks")


@pytest.fixture
def bans(locks: Locks) -> Iterator[None]:
    """No other check restarts fail2ban meanwhile."""
    with locks.hold("fail2ban"):
        yield


@pytest.fixture(scope="session")
def rendered(place: Place) -> Provisioning:
    """The telephones' files as the description makes them."""
    return build(place.clinic, place.secrets, place.clinic_path.parent)


@pytest.fixture
def phones(place: Place) -> Iterator[Phones]:
    desk = Phones(_need(place.phones(), "this site has no test telephones"))
    yield desk
    desk.tidy()


@pytest.fixture
def patients(place: Place, pbx: Pbx, locks: Locks) -> Iterator[Patients]:
    """People who call the clinic, at any site."""
    desk: Patients = _need(callers(place, pbx, locks), "this site has no test telephones")
    yield desk
    desk.tidy()


@pytest.fixture
def subscribers(place: Place, pbx: Pbx) -> Iterator[Pstn | None]:
    """People who can be called, where there are any; the numbers of a real clinic's neighbours are not dialled."""
    pool = place.pstn()
    desk = Pstn(pool, place.clinic, pbx) if pool else None
    yield desk
    if desk:
        desk.tidy()


@pytest.fixture
def pstn(subscribers: Pstn | None) -> Pstn:
    """As `subscribers`, for checks that make no sense without."""
    return cast(Pstn, _need(subscribers, "this site has no test subscribers on the public network"))


def _need(pool: Any, otherwise: str) -> Any:
    if pool is None:
        pytest.skip(otherwise)
    return pool


@pytest.fixture(scope="session")
def using(locks: Locks) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """`with using("north")`: no other check breaks the trunk meanwhile."""

    def use(*trunks: str) -> contextlib.AbstractContextManager[None]:
        return locks.hold(*(f"{way}-{trunk}" for trunk in trunks for way in ("in", "out")))

    return use


@pytest.fixture(scope="session")
def calling_in(locks: Locks) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """As `using`, for calls from the provider only: faults of outgoing calls do not disturb these."""
    return lambda *trunks: locks.hold(*(f"in-{trunk}" for trunk in trunks))


@pytest.fixture(scope="session")
def own_number(locks: Locks) -> Callable[[str], contextlib.AbstractContextManager[None]]:
    """`with own_number("4001")`: nobody else calls that person's public number meanwhile."""
    return lambda ext: locks.hold(f"person-{ext}", alone=True)


@pytest.fixture(scope="session")
def rings(locks: Locks, clinic: Clinic) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """`with rings("3101")`: nobody tries meanwhile what *8 picks up in that person's department."""

    def use(*exts: str, alone: bool = False) -> contextlib.AbstractContextManager[None]:
        return locks.hold(*{f"rings-{clinic.by_ext[ext].department}" for ext in exts}, alone=alone)

    return use


@pytest.fixture(scope="session")
def faults(place: Place, locks: Locks) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """`with faults("provider-503", "north")`: alone with the trunk, broken within the block, mended after it."""

    @contextlib.contextmanager
    def broken(name: str, target: str, value: str = "") -> Iterator[None]:
        if place.borrows or place.lab is None:
            pytest.skip(f"{name} is caused in a lab only, never at a working clinic")
        from lab import faults as lab_faults

        ways = ("in", "out") if name in BREAKS_BOTH_WAYS else ("out",)
        held = locks.hold(*(f"{way}-{target}" for way in ways), alone=True)
        with held, lab_faults.broken(place.lab, name, target, value):
            yield

    return broken


@pytest.fixture(scope="session")
def unchanging(locks: Locks) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """`with unchanging():` no check changes meanwhile what a deploy looks at; those that do are `alone=True`."""
    return lambda alone=False: locks.hold("machine", alone=alone)


@pytest.fixture
def alone(locks: Locks) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """`with alone("north")`: no other check uses the trunk for outgoing calls meanwhile."""
    return lambda *trunks: locks.hold(*(f"out-{trunk}" for trunk in trunks), alone=True)
