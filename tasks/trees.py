"""Files as one tree: compared by one look, sent as one stream. One operation a file is the wrong grain for many."""

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
from pyinfra.api import Host, State, StringCommand, operation
from pyinfra.api.command import FunctionCommand

from clinicpbx.connection import client_of, stream, told
from clinicpbx.generation import masked
from tasks.looking import below, look

HOME = "/var/lib/clinicpbx"
SHOWN = 1 << 16
LISTED = 20
"""Files of a folder that a dry run names."""
preview: list[str] = []
"""Diffs of a dry run, in order; the CLI prints them."""

CHECKED = (
    'umask 077; NEW=$(mktemp -d /run/clinicpbx-XXXXXX) && trap \'rm -rf "$NEW" "$NEW.tar"\' EXIT && '
    'cat >"$NEW.tar" && tar -C "$NEW" -xf "$NEW.tar" && ( {check} ) && '
    '{extract} --file="$NEW.tar"'
)
# Each file takes its place by a rename, so that who reads at that moment reads the old one or the new one.
_PLACE = """
import json,os,shutil,sys
new,home,mode,owner=sys.argv[1:5]; user,_,group=owner.partition(':')
def folder(p):
    os.makedirs(p,exist_ok=True); os.chmod(p,int(mode,8)); shutil.chown(p,user,group)
folder(home)
for at,_,files in os.walk(new):
    to=os.path.normpath(os.path.join(home,os.path.relpath(at,new)))
    if files: folder(to)
    for n in files:
        if os.path.join(at,n)!=os.path.join(new,'.gone'): os.replace(os.path.join(at,n),os.path.join(to,n))
for n in json.load(open(os.path.join(new,'.gone'))):
    try: os.remove(os.path.join(home,n))
    except FileNotFoundError: pass
for at,_,_ in os.walk(home,topdown=False):
    if at!=home and not os.listdir(at): os.rmdir(at)
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


@operation()
def folder(path: str, wanted: Mapping[str, bytes], owner: str) -> Generator[FunctionCommand, None, None]:
    """Make the folder hold exactly these files, for `owner` (user:group) alone: 640, folders 750. Nothing is shown.

    For many files: they are compared by one look and sent as one stream, each takes its place by a rename, and what is
    not wanted any more is removed.
    """
    made = {name: File(data, "640", owner, hidden=True) for name, data in wanted.items()}
    found = below(host, path)
    changed = {name: file for name, file in made.items() if found.get(name) != file.mark}
    gone = sorted(found.keys() - made.keys())
    if not changed and not gone:
        host.noop("all files are as wanted")
        return
    names = [*changed, *(f"{name} (removed)" for name in gone)]
    preview.extend(f"--- {path}/{name}: its contents are secret" for name in names[:LISTED])
    if len(names) > LISTED:
        preview.append(f"--- {path}: {len(names) - LISTED} files more")
    stream_of = {**changed, ".gone": File(json.dumps(gone).encode(), "600")}
    command = (
        f"umask 077; mkdir -p {HOME} && NEW=$(mktemp -d {HOME}/new-XXXXXX) && trap 'rm -rf \"$NEW\"' EXIT && "
        f'tar --extract --directory="$NEW" --same-owner --preserve-permissions && '
        f'python3 -c {shlex.quote(_PLACE)} "$NEW" {shlex.quote(path)} 750 {shlex.quote(owner)}'
    )
    yield FunctionCommand(_send, (pack(stream_of), command), {})


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
    found = look(host, [*wanted, mark])
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
