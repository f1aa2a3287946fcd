"""Packages: the signed bundle is sent as one stream, becomes the only source, and everything is installed from it."""

from __future__ import annotations

import hashlib
import io
import shlex
import tarfile
from collections.abc import Generator
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import FactBase, Host, QuoteString, State, StringCommand, deploy, operation
from pyinfra.api.command import FunctionCommand

from clinicpbx.bundle import Bundle
from clinicpbx.connection import client_of, stream, told
from tasks.trees import File, preview, tree

HOME = "/var/lib/clinicpbx/bundle"
KEY = "/usr/share/keyrings/clinicpbx-bundle.gpg"
# An installation that outlived its deploy is waited for (dpkg answers 2 while another holds its lock), and one that was
# cut short is completed: apt refuses to work before that.
_COMPLETED = "timeout 600 sh -c 'until dpkg --configure -a; [ $? -ne 2 ]; do sleep 1; done' >/dev/null 2>&1"

# /usr/sbin/policy-rc.d (files/base) lets no package script touch a service while this is there.
_INSTALLING = "/run/clinicpbx-installing"
# A deploy asks the bundle alone: no mirror that is away holds it up.
_BUNDLE_ONLY = "-o Dir::Etc::SourceParts=/dev/null -o APT::Get::List-Cleanup=0"
# What never changes but with the bundle, whoever else brings newer versions (files/hardening/apt.conf says it to apt).
_BUNDLE_S_OWN = ("asterisk", "postgresql-17")

# When an installation fails, files that are not what the signed index says are removed: the next run sends them.
_DAMAGED_DROPPED = (
    f'cd {HOME} && awk \'$1 == "Filename:" {{f = $2}} $1 == "SHA256:" {{print $2 "  " f}}\' Packages'
    " | sha256sum --check 2>/dev/null | sed -n 's/: FAILED.*//p' | xargs -r rm -f --"
)


class Installed(FactBase[dict[str, str]]):
    """Package to version of everything dpkg has installed completely."""

    default = dict

    def command(self) -> str:
        return "dpkg-query -W -f='${db:Status-Status} ${Package} ${Version}\\n'"

    def process(self, output: list[str]) -> dict[str, str]:
        rows = [line.split() for line in output]
        return {name: version for status, name, version in rows if status == "installed"}


class Newer(FactBase[list[str]]):
    """Those of the packages whose installed version is newer than the bundle's; asked as `name installed bundle`."""

    default = list

    def command(self, triples: str) -> StringCommand:
        script = 'while read -r n a b; do if dpkg --compare-versions "$a" gt "$b"; then echo "$n"; fi; done'
        return StringCommand("printf", "%s", QuoteString(triples), "|", "sh", "-c", QuoteString(script))

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output]


class Held(FactBase[list[str]]):
    """What the PBX holds of the bundle: `size name` of packages, `SHA-256 name` of the indexes at the top.

    A package's name has its version; an index of another bundle has the same name, and often the same size.
    """

    default = list

    def command(self) -> str:
        packages, indexes = (
            "find . -mindepth 2 -type f -printf '%s %P\\n'",
            "find . -maxdepth 1 -type f -exec sha256sum {} +",
        )
        return f"cd {HOME} 2>/dev/null && {{ {packages}; {indexes}; }} || true"

    def process(self, output: list[str]) -> list[str]:
        return [f"{mark} {name.removeprefix('./')}" for mark, name in (line.split(None, 1) for line in output)]


def _mark(name: str, path: Path) -> str:
    return f"{path.stat().st_size if '/' in name else hashlib.sha256(path.read_bytes()).hexdigest()} {name}"


@operation()
def held(bundle: Bundle) -> Generator[FunctionCommand, None, None]:
    """The PBX holds the whole repository; only what it lacks is sent, as one stream, and apt checks every hash."""
    local = {str(p.relative_to(bundle.pbx_path)): p for p in sorted(bundle.pbx_path.rglob("*")) if p.is_file()}
    found = host.get_fact(Held)
    there = set(found)
    lacking = {name: path for name, path in local.items() if _mark(name, path) not in there}
    if not lacking:
        host.noop("the bundle is there")
        return
    preview.append(f"--- {HOME}: {len(lacking)} files, {sum(p.stat().st_size for p in lacking.values()) >> 20} MiB")
    yield FunctionCommand(_send, (lacking,), {})


@operation()
def installed(bundle: Bundle, updates: bool = False) -> Generator[StringCommand, None, None]:
    """Exactly the bundle's versions are installed. Services do not start before their configuration is there.

    With `updates` from elsewhere a version that is newer already is kept: the bundle takes no security update back.
    """
    have = host.get_fact(Installed)
    wanted = {p.name: p.version for p in bundle.packages if p.name in bundle.pbx}
    if updates:
        other = [n for n, v in sorted(wanted.items()) if have.get(n, v) != v and not n.startswith(_BUNDLE_S_OWN)]
        triples = "".join(f"{n} {have[n]} {wanted[n]}\n" for n in other)
        wanted = {n: v for n, v in wanted.items() if n not in (host.get_fact(Newer, triples) if other else ())}
    missing = [f"{name}={version}" for name, version in sorted(wanted.items()) if have.get(name) != version]
    if not missing:
        host.noop("every package is installed")
        return
    preview.extend(f"--- package {item} (has {have.get(item.partition('=')[0], 'none')})" for item in missing)
    yield StringCommand(f"touch {_INSTALLING}")
    yield StringCommand(_COMPLETED)
    yield StringCommand(f"apt-get update -qq {_BUNDLE_ONLY}")
    options = (
        f"-qq -y {_BUNDLE_ONLY} --no-install-recommends --allow-downgrades -o DPkg::Lock::Timeout=300"
        " -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io"
    )
    yield StringCommand(
        f"DEBIAN_FRONTEND=noninteractive apt-get install {options} {' '.join(map(shlex.quote, missing))};"
        f" status=$?; rm -f {_INSTALLING}; [ $status = 0 ] || {{ {_DAMAGED_DROPPED}; }}; exit $status"
    )


@told
def _send(state: State, host: Host, lacking: dict[str, Path]) -> bool:
    command = f"mkdir -p {HOME} && tar --extract --directory={HOME} --no-same-owner"
    reader = _Tar(lacking)
    status, answer = stream(client_of(host), f"sudo sh -c {shlex.quote(command)}", reader)  # type: ignore[arg-type]
    if status:
        logger.error(f"    the bundle could not be sent: {answer}")
    return status == 0


class _Tar:
    """A tar of the files, made while it is read: the bundle is never in memory as a whole."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = iter(sorted(files.items()))
        self._open = io.BytesIO()
        self._ended = False

    def read(self, size: int) -> bytes:
        data = self._open.read(size)
        if data or self._ended:
            return data
        following = next(self._files, None)
        room = io.BytesIO()
        if following is None:
            self._ended = True
            room.write(bytes(1024))
        else:
            name, path = following
            entry = tarfile.TarInfo(name)
            content = path.read_bytes()
            entry.size, entry.mode = len(content), 0o644
            room.write(entry.tobuf() + content + bytes(-len(content) % 512))
        room.seek(0)
        self._open = room
        return room.read(size)


@deploy("Packages")
def bundle(wanted: Bundle, updates: bool = False) -> None:
    """A deploy installs nothing from anywhere else. `updates`: by night Debian's security archive is asked too."""
    held(name="The bundle is on the PBX", bundle=wanted)
    source = f"deb [signed-by={KEY}] file:{HOME} ./\n"
    tree(
        name="It is the deploy's only source of packages",
        wanted={
            KEY: File(wanted.key.read_bytes()),
            "/etc/apt/sources.list": File(source.encode()),
            "/etc/apt/apt.conf.d/60clinic": File(b'APT::Install-Recommends "false";\nAcquire::Languages "none";\n'),
        },
    )
    installed(name="Every package has the bundle's version", bundle=wanted, updates=updates)
