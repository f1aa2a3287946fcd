"""Looks at the machine's files through one program that stays: a Python for each of fifty trees took most of the
seconds of a deploy that changes nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from pyinfra.api import Host

from clinicpbx.connection import Conversation, client_of

_PROGRAM = """
import grp,hashlib,json,os,pwd,stat,sys
def name(table,number):
    try: return table(number)[0]
    except KeyError: return str(number)
def mark(p,s):
    if stat.S_ISDIR(s.st_mode): raise IsADirectoryError
    d=open(p,'rb').read() if stat.S_ISREG(s.st_mode) else b''
    o=name(pwd.getpwuid,s.st_uid)+':'+name(grp.getgrgid,s.st_gid)
    return [hashlib.sha256(d).hexdigest(),oct(s.st_mode&0o7777)[2:],o],d
for line in sys.stdin:
    folder,paths=json.loads(line); out={}
    if folder: paths=[os.path.join(at,n) for at,_,files in os.walk(folder) for n in files]
    for p in paths:
        try: found,d=mark(p,os.lstat(p) if folder else os.stat(p))
        except OSError: continue
        if folder: out[os.path.relpath(p,folder)]=found
        else: out[p]=found+[d.decode('utf-8','replace') if len(d)<65536 else '']
    print(json.dumps(out),flush=True)
"""
AS_ROOT = "sudo -n "
_programs: WeakKeyDictionary[Any, Conversation] = WeakKeyDictionary()


def look(host: Host, paths: Iterable[str]) -> dict[str, list[str]]:
    """Path to [SHA-256, mode in octal, owner:group, text] of those of the paths that exist."""
    return _ask(client_of(host), "", sorted(paths))


def below(host: Host, folder: str) -> dict[str, list[str]]:
    """Relative path to [SHA-256, mode in octal, owner:group] of every file below a folder; none when there is none.
    Without their contents: they may be many and secret."""
    return _ask(client_of(host), folder, [])


def _ask(client: Any, folder: str, paths: list[str]) -> dict[str, list[str]]:
    program = _programs.pop(client, None)  # kept only while it answers
    if program is None:
        program = Conversation(client, f"{AS_ROOT}python3 -I -S -c {shlex.quote(_PROGRAM)}")
    found = json.loads(program.ask(json.dumps([folder, paths])))
    _programs[client] = program
    return dict(found)
