"""A PBX in memory that understands what the tasks ask and do, and writes down every command it was given."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
import tarfile
from collections.abc import Callable, Iterable
from typing import IO, Any

from pyinfra.api import Config, Inventory, State
from pyinfra.api.deploy import add_deploy
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage
from pyinfra.connectors.util import CommandOutput, OutputLine

from tasks import asterisk, bundle, database, trees


class FakePbx:
    """Files are `path: (data, mode, owner)`; services are the names of those that run and are enabled.

    `met`: numbers of steps that hold; `former`: units in a former sandbox; `newer`: packages from elsewhere.
    `card`: the one that has the voice address.
    """

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, str, str]] = {}
        self.packages: dict[str, str] = {}
        self.running: set[str] = set()
        self.enabled: set[str] = set()
        self.zone = "/usr/share/zoneinfo/Etc/UTC"
        self.restart_needed: list[dict[str, str]] = []
        self.marks: dict[str, str] = {}
        self.met: set[int] = set()
        self.container = "none"
        self.card = "eth1"
        self.former: list[str] = []
        self.newer: set[str] = set()
        self.commands: list[str] = []
        self.sent: list[bytes] = []
        self.refuse: Callable[[str], bool] = lambda command: False
        self.client = self

    # --- as pyinfra's connector

    def connect(self) -> None: ...

    def run_shell_command(self, command: Any, *_: object, **__: object) -> tuple[bool, CommandOutput]:
        text = command.get_raw_value() if hasattr(command, "get_raw_value") else str(command)
        answer = self._asked(text)
        if answer is None:
            self.commands.append(text)
            if self.refuse(text):
                return False, CommandOutput([OutputLine("stderr", "refused by the test")])
            self._do(text)
            answer = ""
        return True, CommandOutput([OutputLine("stdout", line) for line in answer.splitlines()])

    def _asked(self, text: str) -> str | None:
        if "# unmet" in text:
            number = text.count("|| echo")
            return "\n".join(str(n) for n in range(number) if n not in self.met)
        if text == "systemd-detect-virt --container":
            return self.container
        if "ActiveEnterTimestamp" in text:
            return json.dumps(self.former)
        if "dpkg --compare-versions" in text:
            return "\n".join(
                line.split()[0] for line in shlex.split(text)[2].splitlines() if line.split()[0] in self.newer
            )
        if text.startswith("ip -j -4 address"):
            return json.dumps([{"ifname": self.card}] if self.card else [])
        if text.endswith("clinic-generation binds || { test $? = 2 && echo '{}'; }"):
            return json.dumps({"restart_needed": self.restart_needed})
        if text.startswith("dpkg-query"):
            return "\n".join(f"installed {name} {version}" for name, version in self.packages.items())
        if "find . -mindepth 2" in text:
            home = f"{bundle.HOME}/"
            held = {p.removeprefix(home): f[0] for p, f in self.files.items() if p.startswith(home)}
            marks = {n: str(len(d)) if "/" in n else hashlib.sha256(d).hexdigest() for n, d in held.items()}
            return "\n".join(f"{mark} {name if '/' in name else './' + name}" for name, mark in marks.items())
        if "psql -X -Atc" in text:
            return json.dumps(self.marks)
        if "/etc/localtime" in text and "stat" in text:
            times = "atime=1 mtime=1 ctime=1 size=1"
            return f"user=root group=root mode=lrwxrwxrwx {times} '/etc/localtime' -> '{self.zone}'"
        if "systemctl show" in text:
            names = re.findall(r"'?([\w@.-]+\.(?:service|socket))'?", text)
            state = {n: ("running" if n in self.running else "dead", "enabled" if n in self.enabled else "disabled")
                     for n in names}  # fmt: skip
            return "\n".join(f"Id={n}\nSubState={run}\nUnitFileState={on}\n" for n, (run, on) in state.items())
        return None

    # --- as tasks.looking

    def look(self, _: object, paths: Iterable[str]) -> dict[str, list[str]]:
        return {p: self._look(p) for p in paths if p in self.files}

    def below(self, _: object, folder: str) -> dict[str, list[str]]:
        return {p.removeprefix(f"{folder}/"): self._look(p)[:3] for p in self.files if p.startswith(f"{folder}/")}

    def _look(self, path: str) -> list[str]:
        data, mode, owner = self.files[path]
        return [hashlib.sha256(data).hexdigest(), mode, owner, data.decode(errors="replace")]

    def _do(self, text: str) -> None:
        if text.startswith("ln -sfn"):
            self.zone = shlex.split(text)[2]
        elif "apt-get install" in text:
            asked = shlex.split(text.partition(";")[0])
            self.packages |= dict(i.split("=", 1) for i in asked if re.fullmatch(r"[a-z0-9][a-z0-9.+-]*=\S+", i))
        elif text.startswith("rm -f "):
            self.files.pop(text.split()[-1], None)
        elif match := re.match(r"systemctl (start|enable) '?([\w@.-]+)'?", text):
            (self.running if match[1] == "start" else self.enabled).add(match[2])

    # --- as clinicpbx.connection.stream

    def stream(self, client: object, command: str, source: IO[bytes]) -> tuple[int, str]:
        self.commands.append(command)
        data = b"".join(iter(lambda: source.read(1 << 16), b""))
        self.sent.append(data)
        if self.refuse(command):
            return 1, "refused by the test"
        if command.endswith("clinic-generation restart"):
            self.restart_needed = []
        elif 'tar --extract --directory="$NEW"' in command:
            self._placed(command, data)
        elif "tar --extract" in command:
            folder = re.search(r"--directory=(\S+?)(?: |'|$)", command)
            for mark in re.findall(r"touch (\S+)", command):
                self.files[mark] = (b"", "644", "root:root")
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for entry in archive:
                    content = archive.extractfile(entry)
                    assert content and folder
                    owner = f"{entry.uname or 'root'}:{entry.gname or 'root'}"
                    self.files[f"{folder[1].rstrip('/')}/{entry.name}"] = (content.read(), f"{entry.mode:o}", owner)
        else:
            for kind, name, digest in re.findall(r"COMMENT ON (DATABASE|ROLE) (\w+) IS '(\w+)'", data.decode()):
                self.marks["schema" if kind == "DATABASE" else name] = digest
        return 0, ""

    def _placed(self, command: str, data: bytes) -> None:
        """A folder's files, as tasks.trees places them: `.gone` lists those that go."""
        home = shlex.split(shlex.split(command)[-1])[-3]
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                content = archive.extractfile(entry)
                assert content
                if entry.name == ".gone":
                    for name in json.load(content):
                        self.files.pop(f"{home}/{name}", None)
                else:
                    owner = f"{entry.uname}:{entry.gname}"
                    self.files[f"{home}/{entry.name}"] = (content.read(), f"{entry.mode:o}", owner)

    # --- a run

    def run(self, monkeypatch: Any, *deploys: tuple[Any, ...], dry: bool = False) -> list[str]:
        """Run deploy functions with their arguments; the names of the operations that changed (or would)."""
        for module in (trees, bundle, database, asterisk):
            monkeypatch.setattr(module, "stream", self.stream)
        monkeypatch.setattr(trees, "look", self.look)
        monkeypatch.setattr(trees, "below", self.below)
        trees.preview.clear()
        self.commands.clear()
        self.sent.clear()
        state = State(Inventory((["pbx"], {})), Config(SUDO=True))
        host = next(iter(state.inventory))
        host.connector, host.connected = self, True  # type: ignore[assignment]
        state.activate_host(host)
        state.set_stage(StateStage.Prepare)
        for function, *arguments in deploys:
            add_deploy(state, function, *arguments)
        names = {h: sorted(state.op_meta[h].names)[0].split(" | ")[-1] for h in state.get_op_order()}
        metas = {h: state.ops[host][h].operation_meta for h in names}
        if dry:
            return [names[h] for h in names if metas[h].will_change]
        state.set_stage(StateStage.Execute)
        run_ops(state)
        return [names[h] for h in names if metas[h].did_change()]
