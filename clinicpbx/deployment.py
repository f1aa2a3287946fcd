"""deploy.py run through pyinfra's API: the same file and the same inventory that plain pyinfra takes."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from gevent import get_hub, getcurrent, monkey

monkey.patch_all()  # as pyinfra's own command line does, before anything opens a socket

import click  # noqa: E402
from pyinfra import logger  # noqa: E402
from pyinfra.api import Config, Inventory, State  # noqa: E402
from pyinfra.api.connect import connect_all, disconnect_all  # noqa: E402
from pyinfra.api.exceptions import PyinfraError  # noqa: E402
from pyinfra.api.operations import run_ops  # noqa: E402
from pyinfra.api.state import BaseStateCallback, StateStage  # noqa: E402
from pyinfra.context import ctx_config, ctx_inventory, ctx_state  # noqa: E402
from pyinfra_cli.exceptions import UnexpectedExternalError  # noqa: E402
from pyinfra_cli.util import load_deploy_file  # noqa: E402

from clinicpbx import connection, inventory  # noqa: E402
from clinicpbx.errors import ClinicError  # noqa: E402
from clinicpbx.secrets import veil  # noqa: E402
from tasks import trees  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
Say = Callable[[str], None]
Linked = Callable[[Any], None]


class _Lines(logging.Handler):
    """pyinfra's warnings and errors. While `kept` is a list they go there: a refused connection is told once."""

    def __init__(self, say: Say) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self.kept: list[str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self.kept is not None:
            self.kept.append(click.unstyle(text).strip())
        elif "known_hosts" not in text and "host keys file" not in text:
            self._say(text)


class _Progress(BaseStateCallback):
    """Prints each operation as it ends, with its seconds, and keeps them by phase."""

    def __init__(self, say: Say, names: dict[str, tuple[str, str]]) -> None:
        self.say, self.names = say, names
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._began: dict[str, float] = {}
        self._ended: tuple[Any, str] | None = None

    def operation_start(self, state: Any, op_hash: str) -> None:  # type: ignore[override]
        self.report()
        self._began[op_hash] = time.monotonic()

    def operation_host_success(  # type: ignore[override]
        self, state: Any, host: Any, op_hash: str, retry_count: int = 0
    ) -> None:
        phase, name = self.names[op_hash]
        took = time.monotonic() - self._began[op_hash]
        self.seconds[phase] = self.seconds.get(phase, 0.0) + took
        self._ended = (state.ops[host][op_hash].operation_meta, f"  {phase}: {name} ({took:.1f} s)")

    def report(self) -> None:
        """Say the operation that ended last, if it changed something; pyinfra knows that only after its callback."""
        meta, line = self._ended or (None, "")
        self._ended = None
        if meta is not None and meta.did_change():
            self.say(line)

    def operation_host_error(  # type: ignore[override]
        self, state: Any, host: Any, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        self.failed.append(": ".join(self.names[op_hash]))


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C is raised here and nowhere else. Python raises it in whatever greenlet runs at that moment, and one that
    stands for a thread, as paramiko's reader does, prints it and ends: then this one waits for answers for ever."""
    mine, hub, before = getcurrent(), get_hub(), signal.getsignal(signal.SIGINT)

    def interrupt(*_: object) -> None:
        if getcurrent() is mine:
            raise KeyboardInterrupt
        hub.loop.run_callback(mine.throw, KeyboardInterrupt)

    if before is not signal.default_int_handler:  # ignored, or somebody else's business
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run(
    clinic: str, at: str, *, dry: bool, say: Say, only: Collection[str] = (), restart: bool = False,
    make: bool = True, file: Path = ROOT / "deploy.py", before: Linked | None = None, after: Linked | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Deploy, or with `dry` only compare. Changed, unchanged and failed operations by phase, and the dry run's diff.

    With `restart` Asterisk may be restarted, if that is what its addresses need and no call is up.
    `only` names phases as the result does, in any case; the others are compared but not run. `file`: a deploy of fewer
    phases, which compares nothing else. Without `make` a machine that is missing is not made. `before` and `after` the
    phases what they name is called with the connection's own paramiko client; `after` only when none failed.
    """
    logger.setLevel(logging.WARNING)
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # every failure is told in our own words
    if ClinicError not in get_hub().NOT_ERROR:
        get_hub().NOT_ERROR += (ClinicError,)
    trees.preview.clear()
    connection.refused.clear()
    hosts = inventory.hosts(clinic, dry=dry, at=at, restart=restart, make=make)
    night = inventory.tonight()
    hidden = veil(night.secrets)

    def tell(text: str) -> None:
        say(hidden(text))

    lines = _Lines(tell)
    logger.handlers = [lines]
    if dry and night.machine_differences() is None:
        return _nothing_there(night)
    state = State(Inventory((hosts, {})), Config(SUDO=True, CONNECT_TIMEOUT=20))
    state.cwd = str(ROOT)
    progress = _Progress(tell, {})
    # The values are made before the first connection: bad input stops the deploy while nothing is contacted.
    _ = night.generation.digest, night.telephones.index
    with interruptible():
        try:
            with ctx_state.use(state), ctx_config.use(state.config), ctx_inventory.use(state.inventory):
                state.set_stage(StateStage.Connect)
                lines.kept = []
                try:
                    connect_all(state)
                except PyinfraError:
                    why = connection.refused[-1] if connection.refused else None
                    raise why or ClinicError(
                        f"The PBX at {night.clinic.networks.management.pbx} cannot be reached: {' '.join(lines.kept)}",
                        remedy="mend that; then run the deploy again",
                    ) from None
                lines.kept = None
                client = connection.client_of(next(iter(state.inventory)))
                if before:
                    before(client)
                for note in night.notes:
                    tell(f"  {note}")
                state.set_stage(StateStage.Prepare)
                try:
                    load_deploy_file(state, str(file))
                except UnexpectedExternalError as error:  # pyinfra's wrapper of what our own code raised
                    raise error.exception from None
                except PyinfraError as error:
                    raise ClinicError(f"Nothing was changed: {error}", remedy="see the lines above") from None
                host = next(iter(state.inventory))
                names = {h: _name(state.op_meta[h].names) for h in state.get_op_order()}
                if only:
                    names = _only(names, only)
                    host.op_hash_order[:] = [h for h in host.op_hash_order if h in names]
                planned = {h: state.ops[host][h].operation_meta for h in names}
                progress.names = names
                if not dry:
                    state.add_callback_handler(progress)
                    state.set_stage(StateStage.Execute)
                    try:
                        run_ops(state)
                        progress.report()
                    except PyinfraError as error:
                        if not progress.failed:
                            progress.failed.append(str(error))
                if after and not progress.failed:
                    after(client)
        except KeyboardInterrupt:
            state.pool.kill(block=False)  # what runs there holds the only place, and disconnecting wants one
            raise
        finally:
            disconnect_all(state)
    result = _result(night, names, planned, progress, dry)
    return {**result, "diff": [hidden(line) for line in result["diff"]]}


def _only(names: dict[str, tuple[str, str]], only: Collection[str]) -> dict[str, tuple[str, str]]:
    phases = dict.fromkeys(phase for phase, _ in names.values())
    wanted = {name.strip().lower() for name in only}
    unknown = wanted - {phase.lower() for phase in phases}
    if unknown:
        raise ClinicError(f"There is no phase `{sorted(unknown)[0]}`.", remedy=f"one of: {', '.join(phases)}")
    return {h: (phase, name) for h, (phase, name) in names.items() if phase.lower() in wanted}


def _result(
    night: Any, names: dict[str, Any], planned: dict[str, Any], progress: _Progress, dry: bool
) -> dict[str, Any]:
    phases: dict[str, dict[str, Any]] = {}
    for op_hash, (phase, _) in names.items():
        meta = planned[op_hash]
        facts = phases.setdefault(phase, {"changed": 0, "unchanged": 0, "not_done": 0, "seconds": 0.0})
        if dry:
            kind = "changed" if meta.will_change else "unchanged"
        elif not meta.is_complete() or not meta.did_succeed():
            kind = "not_done"  # it failed, or was never reached
        else:
            kind = "changed" if meta.did_change() else "unchanged"
        facts[kind] += 1
        facts["seconds"] = round(progress.seconds.get(phase, 0.0), 2)
    return {
        "clinic": night.clinic.name,
        "site": night.site.name,
        "dry": dry,
        "changed": sum(f["changed"] for f in phases.values()),
        "unchanged": sum(f["unchanged"] for f in phases.values()),
        "not_done": sum(f["not_done"] for f in phases.values()),
        "failed": progress.failed,
        "phases": phases,
        "diff": list(trees.preview) if dry else [],
        "generation": night.generation.digest,
    }


def _nothing_there(night: Any) -> dict[str, Any]:
    """The dry run before the first night: what would be made, said without a machine to ask."""
    from clinic import vm

    parameters = vm.creation(night.clinic, night.image, "ssh-ed25519 (the toolkit's key)")
    diff = [f"--- VM {night.clinic.hypervisor.vm.id}: does not exist and would be created"]
    diff += [f"+ {key}={value}" for key, value in parameters.items() if key not in ("vmid", "sshkeys")]
    diff += [f"+ package {p.name} {p.version}" for p in night.bundle.packages if p.name in night.bundle.pbx]
    diff += [f"+ generation {night.generation.digest[:12]}: {path}" for path in sorted(night.generation.tree)]
    return {
        "clinic": night.clinic.name, "site": night.site.name, "dry": True, "changed": len(diff), "unchanged": 0,
        "not_done": 0, "failed": [], "phases": {}, "diff": diff, "generation": night.generation.digest,
    }  # fmt: skip


def _name(names: Any) -> tuple[str, str]:
    """pyinfra names an operation `Deploy | name`."""
    parts = sorted(names)[0].split(" | ")
    return parts[0], parts[-1]
