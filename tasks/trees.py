"""Files as one tree: compared by one fact, sent as one stream. One operation a file is the wrong grain for many."""

from __future__ import annotations

import difflib
import io
import json
import shlex
import tarfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from pyinfra import host, logger
from pyinfra.api import FactBase, Host, QuoteString, State, StringCommand, operation
from pyinfra.api.command import FunctionCommand

from clinicpbx.connection import client_of, stream, told
from clinicpbx.generation import masked

HOME = "/var/lib/clinicpbx"
SHOWN = 1 << 16
preview: list[str] = []
"""Diffs of a dry run, in order; the CLI prints them."""

CHECKED = (
    'umask 077; NEW=$(mktemp -d /run/clinicpbx-XXXXXX) && trap \'rm -rf "$NEW" "$NEW.tar"\' EXIT && '
    'cat >"$NEW.tar" && tar -C "$NEW" -xf "$NEW.tar" && ( {check} ) && '
    '{extract} --file="$NEW.tar"'
)
_LOOK = """
import grp,hashlib,json,os,pwd,sys
out={}
for p in json.loads(sys.argv[1]):
    try: s=os.stat(p); d=open(p,'rb').read()
    except OSError: continue
    t=d.decode('utf-8','replace') if len(d)<65536 else ''
    o=pwd.getpwuid(s.st_uid).pw_name+':'+grp.getgrgid(s.st_gid).gr_name
    out[p]=[hashlib.sha256(d).hexdigest(),oct(s.st_mode&0o7777)[2:],o,t]
json.dump(out,sys.stdout)
"""


@dataclass(frozen=True)
class File:
    """A file as it should be: contents, mode in octal, `owner:group`. A diff shows nothing of what is `hidden`."""

    data: bytes
    mode: str = "644"
    owner: str = "root:root"
    hidden: bool = False

    @property
    def mark(self) -> list[str]:
        return [sha256(self.data).hexdigest(), self.mode, self.owner]


Tree = Mapping[str, File]


class Found(FactBase[dict[str, list[str]]]):
    """Path to [SHA-256, mode, owner:group, text] of those of the paths that exist."""

    default = dict

    def command(self, paths: str) -> StringCommand:
        return StringCommand("python3", "-c", QuoteString(_LOOK), QuoteString(paths))

    def process(self, output: list[str]) -> dict[str, list[str]]:
        return dict(json.loads("\n".join(output)))


@operation()
def tree(
    wanted: Tree, then: Sequence[str] = (), check: str = ""
) -> Generator[FunctionCommand | StringCommand, None, None]:
    """Make the files be as wanted. Directories that are missing are made, root's and 755.

    `check`: a shell command that must end with 0 before anything is replaced; what changes lies below $NEW then.
    `then`: shell commands that make the running system take what changed; they run only when something did. A mark on
    the machine stands until all of them have: a run cut short in between is completed by the next.
    """
    mark = f"{HOME}/unfinished-{sha256(json.dumps(sorted(wanted)).encode()).hexdigest()[:12]}"
    found = host.get_fact(Found, json.dumps(sorted([*wanted, mark])))
    changed = {p: f for p, f in wanted.items() if found.get(p, [])[:3] != f.mark}
    if not changed and mark not in found:
        host.noop("all files are as wanted")
        return
    if not changed:
        preview.extend(f"--- left over from a run cut short: {command}" for command in then)
    for path, file in changed.items():
        preview.extend(_diff(path, found.get(path), file))
    begin = f"mkdir -p {HOME} && touch {mark} && " if then else ""
    if changed:
        extract = "tar --extract --directory=/ --same-owner --preserve-permissions"
        if check:
            extract = CHECKED.format(check=check, extract=extract)
        yield FunctionCommand(_send, (pack(changed), begin + extract), {})
    for command in then:
        yield StringCommand(command)
    if then:
        yield StringCommand(f"rm -f {mark}")


def pack(files: Tree) -> bytes:
    """A tar of the files under their absolute paths."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, file in sorted(files.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(file.data), int(file.mode, 8)
            entry.uname, _, entry.gname = file.owner.partition(":")
            archive.addfile(entry, io.BytesIO(file.data))
    return out.getvalue()


@told
def _send(state: State, host: Host, data: bytes, command: str) -> bool:
    status, answer = stream(client_of(host), f"sudo sh -c {shlex.quote(command)}", io.BytesIO(data))
    if status:
        for line in answer.splitlines()[-8:]:
            logger.error(f"{host.print_prefix}  {line}")
    return status == 0


def _diff(path: str, found: list[str] | None, file: File) -> Iterator[str]:
    if found is None:
        yield f"--- {path}: new file, mode {file.mode}, {file.owner}"
    elif found[1:3] != [file.mode, file.owner]:
        yield f"--- {path}: mode {found[1]} {found[2]} becomes {file.mode} {file.owner}"
    if file.hidden:
        yield f"--- {path}: its contents are secret"
        return
    if len(file.data) > SHOWN or b"\0" in file.data:
        return
    before, after = (found[3] if found else ""), file.data.decode(errors="replace")
    lines = (masked(before).splitlines(), masked(after).splitlines())
    yield from difflib.unified_diff(*lines, f"live{path}", f"new{path}", lineterm="")
