"""The lab's machines: a Debian root booted by systemd-nspawn over a read-only base image.

A machine is a folder `disk/` (overlay upper: the system disk), `disks/<name>.img` (further disks)
and a process. The overlay is mounted in a mount namespace that lives and dies with the process, so a
killed machine leaves nothing mounted. Machines are sessions of their own: they outlive who started them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import disks as block
from lab import netns, network, process
from lab.topology import namespace

SEED = "var/lib/cloud/seed/nocloud"
CAPABILITIES = "CAP_NET_ADMIN,CAP_NET_RAW"
NSPAWN = {
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    # Without it /sys shows the root namespace's cards, so that cloud-init finds none of its own, and
    # /proc/sys/net is read-only.
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
}
BOOT = Path(__file__).with_name("boot.sh")


class MachineError(RuntimeError):
    """A machine cannot do what was asked; the text says which and why."""


@dataclass(frozen=True)
class Card:
    """A network card: eth`index` in the machine with this MAC, plugged in the hypervisor's bridge `device`."""

    index: int
    mac: str
    device: str
    plugged: bool = True


@dataclass(frozen=True)
class Machine:
    """One machine of a lab. `folder` holds its disks (kept on disk), `run` its pid file and console log."""

    lab: int
    vmid: int
    folder: Path
    run: Path

    @property
    def namespace(self) -> str:
        return namespace(self.lab, f"vm{self.vmid}")

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def root(self) -> Path:
        """Where the overlay is mounted; visible from the machine's own mount namespace only."""
        return self.folder / "root"

    @property
    def console(self) -> Path:
        return self.run / f"vm{self.vmid}.console"

    @property
    def pid(self) -> int | None:
        """The supervisor (boot.sh), or None when the machine is off."""
        return process.recall(self.run / f"vm{self.vmid}.pid")

    @property
    def leader(self) -> int | None:
        """The machine's own pid 1 as the host sees it: nsenter by it. None when off or still starting."""
        pid = self.pid
        nspawn = _children([pid]) if pid else []
        return next((child for child in _children(nspawn) if _is_init(child)), None)

    @property
    def uptime(self) -> int:
        """Seconds since the machine was started, 0 when off."""
        start = process.started_at(pid) if (pid := self.pid) else None
        if start is None:
            return 0
        return max(0, int(time.clock_gettime(time.CLOCK_BOOTTIME) - int(start) / os.sysconf("SC_CLK_TCK")))

    def create(self) -> None:
        """An empty system disk over the base image."""
        self.disk.mkdir(parents=True)

    def start(self, image: Path, cards: tuple[Card, ...], seed: Mapping[str, str], disks: Mapping[str, int]) -> None:
        """Boot. `disks`: further disks, name -> bytes. Returns as soon as pid 1 runs: the caller waits for
        what it needs. Raises MachineError when running already or when nspawn ends at once."""
        if self.pid:
            raise MachineError(f"VM {self.vmid} already running")
        self._end()
        self._plug(cards)
        self._write_seed(seed)
        work, cgroup = self.folder / "work", self._cgroup()
        shutil.rmtree(work, ignore_errors=True)  # a killed machine leaves the mark `volatile`, which forbids mounting
        for folder in (work, self.root, cgroup, self.run):
            folder.mkdir(parents=True, exist_ok=True)
        devices = {}
        for name, size in disks.items():
            block.grow(self.folder / "disks" / f"{name}.img", size)
            devices[name] = block.attach(self.folder / "disks" / f"{name}.img")
        overlay = f"lowerdir={image},upperdir={self.disk},workdir={work},index=off,metacopy=off,volatile"
        argv = ["unshare", "--mount", "--propagation", "slave", "sh", str(BOOT), str(cgroup), overlay]
        argv += [str(self.root), str(netns.path(self.namespace)), *self._nspawn(devices)]
        with self.console.open("ab") as log:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin"), **NSPAWN},
            )
        process.remember(self.run / f"vm{self.vmid}.pid", child.pid)
        if not process.wait_for(lambda: child.poll() is not None or self.leader, 10) or child.poll() is not None:
            self.stop(0)
            process.detach(child)
            raise MachineError(f"VM {self.vmid} did not start: {tail(self.console)}")
        process.detach(child)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Every process of the machine stands still within the block. A machine that is off stays off."""
        switch = self._cgroup() / "cgroup.freeze"
        active = self.pid is not None and switch.exists()
        if active:
            switch.write_text("1")
            process.wait_for(lambda: "frozen 1" in (self._cgroup() / "cgroup.events").read_text(), 5)
        try:
            yield
        finally:
            if active:
                switch.write_text("0")

    def stop(self, timeout: float = 30, force: bool = True) -> bool:
        """Shut down by systemd, or at once with timeout 0. True when the machine ended by itself in time;
        when it did not, `force` kills it and without it the machine is left running."""
        pid, clean = self.pid, True
        if pid and timeout:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            clean = process.wait_for(lambda: self._reaped(pid), timeout)
            if not clean and not force:
                return False
        self._end()
        if pid:
            process.stop(pid, timeout=0, sign=signal.SIGKILL)
        (self.run / f"vm{self.vmid}.pid").unlink(missing_ok=True)
        netns.ip_batch([f"netns del {self.namespace}"] if netns.exists(self.namespace) else [], force=True)
        for file in (self.folder / "disks").glob("*.img"):
            block.detach(file)
        _remove_cgroup(self._cgroup())
        shutil.rmtree(f"/run/systemd/nspawn/propagate/cpx{self.lab}-vm{self.vmid}", ignore_errors=True)
        return clean

    def destroy(self) -> None:
        """Off, and its disks gone."""
        self.stop(0)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.console.unlink(missing_ok=True)

    def _end(self) -> None:
        """Kill whatever runs in the machine's control group, also when its supervisor is gone already."""
        group = self._cgroup()
        for pid in _group(group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait_for(lambda: not _group(group), 5)

    def _reaped(self, pid: int) -> bool:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return self.pid is None

    def _plug(self, cards: tuple[Card, ...]) -> None:
        netns.ip_batch([f"netns del {self.namespace}"] if netns.exists(self.namespace) else [], force=True)
        netns.ip_batch([f"netns add {self.namespace}"])
        network.quicken(self.namespace)
        hypervisor = namespace(self.lab, "hv")
        for card in cards:
            network.ensure_bridge(hypervisor, card.device)
            tap = f"tap{self.vmid}i{card.index}"
            network.plug(self.namespace, f"eth{card.index}", card.mac, hypervisor, tap, card.device, card.plugged)

    def _write_seed(self, files: Mapping[str, str]) -> None:
        """Straight into the system disk while nothing runs on it; stands for Proxmox's cloud-init drive."""
        folder = self.disk / SEED
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)

    def _nspawn(self, devices: Mapping[str, str]) -> list[str]:
        binds = [f"--bind={device}:{block.BY_ID.format(name=name)}" for name, device in devices.items()]
        return [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            f"--directory={self.root}",
            f"--machine=cpx{self.lab}-vm{self.vmid}",
            "--register=no",
            "--keep-unit",
            f"--network-namespace-path={netns.path(self.namespace)}",
            f"--capability={CAPABILITIES}",
            "--console=read-only",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            *binds,
        ]

    def _cgroup(self) -> Path:
        """Each machine needs a control group of its own, or two systemds would share one tree."""
        return _unified() / "clinicpbx" / f"lab{self.lab}-vm{self.vmid}"


def tail(file: Path, size: int = 600) -> str:
    """The last words of a log, for an error message."""
    try:
        return file.read_bytes()[-size:].decode("utf-8", "replace").strip() or "no output"
    except OSError:
        return "no output"


def _unified() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            return Path(fields[1])
    raise MachineError("the lab needs cgroup version 2 mounted (mount -t cgroup2 none /sys/fs/cgroup/unified)")


def _group(group: Path) -> list[int]:
    """Processes of a control group and of those below it."""
    found: list[int] = []
    for file in group.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):
            found += [int(line) for line in file.read_text().split()]
    return found


def _remove_cgroup(group: Path) -> None:
    for folder in sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
        with contextlib.suppress(OSError):
            folder.rmdir()
    if group.is_dir():
        with contextlib.suppress(OSError):
            group.rmdir()


def _children(parents: list[int]) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) in parents:
                    found.append(int(entry.name))
    return found


def _is_init(pid: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    numbers = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
    return len(numbers) > 1 and numbers[-1] == "1"
