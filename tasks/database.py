"""PostgreSQL: one database, roles that can do no more than their work, no door but the local ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import os
import shlex
from collections.abc import Generator
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import FactBase, Host, State, deploy, operation
from pyinfra.api.command import FunctionCommand
from pyinfra.operations import systemd

from clinicpbx.connection import client_of, stream, told
from tasks.trees import File, preview, tree

FILES = Path(__file__).resolve().parent.parent / "files/database"
CLUSTER = "/etc/postgresql/17/main"
_PSQL = "sudo -u postgres psql -X -q -v ON_ERROR_STOP=1"
_LOOK = (
    "select json_build_object('schema', (select shobj_description(oid,'pg_database') from pg_database"
    " where datname='clinicpbx'), 'reports', (select shobj_description(oid,'pg_authid') from pg_roles"
    " where rolname='reports'))"
)


class Marks(FactBase[dict[str, str]]):
    """What the database says of itself: the digest of its schema and of the reports' password."""

    default = dict

    def command(self) -> str:
        return f"cd / && sudo -u postgres psql -X -Atc {shlex.quote(_LOOK)} 2>/dev/null || echo '{{}}'"

    def process(self, output: list[str]) -> dict[str, str]:
        return {k: v for k, v in json.loads("".join(output) or "{}").items() if v}


@operation()
def schema(sql: str, password: str) -> Generator[FunctionCommand, None, None]:
    """Roles, database and tables are those of files/database, and the reports' password is the clinic's."""
    wanted = {"schema": _digest(sql), "reports": _digest(f"reports:{password}")}
    if host.get_fact(Marks) == wanted:
        host.noop("roles, database and tables are there")
        return
    preview.append(f"--- database clinicpbx: schema {wanted['schema'][:12]}, roles clinicpbx, clinic-ledger, reports")
    yield FunctionCommand(_apply, (sql, password, wanted), {})


@told
def _apply(state: State, host: Host, sql: str, password: str, marks: dict[str, str]) -> bool:
    """Everything through standard input: a password is never an argument."""
    roles = (FILES / "roles.sql").read_text().replace(":VERIFIER", scram_sha_256(password))
    comments = (
        f"COMMENT ON DATABASE clinicpbx IS '{marks['schema']}';\nCOMMENT ON ROLE reports IS '{marks['reports']}';\n"
    )
    steps = (("postgres", roles), ("clinicpbx", f"SET ROLE clinicpbx;\n{sql}"), ("postgres", comments))
    for database, text in steps:
        command = f"cd / && {_PSQL} {database}"
        status, answer = stream(client_of(host), f"sh -c {shlex.quote(command)}", io.BytesIO(text.encode()))
        if status:
            logger.error(f"    PostgreSQL refuses: {answer}")
            return False
    return True


def scram_sha_256(password: str, rounds: int = 4096) -> str:
    """PostgreSQL's SCRAM verifier of a password (RFC 5802, RFC 7677), with a fresh salt."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client, server_key = (hmac.digest(salted, text, "sha256") for text in (b"Client Key", b"Server Key"))
    marks = (salt, hashlib.sha256(client).digest(), server_key)
    shown, stored, server = (base64.b64encode(mark).decode() for mark in marks)
    return f"SCRAM-SHA-256${rounds}:{shown}${stored}:{server}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@deploy("Database")
def database(password: str) -> None:
    """`password` is the read-only role's, for reports over loopback. Services use their system user instead."""
    tree(
        name="PostgreSQL listens on loopback only and knows who may come",
        wanted={
            f"{CLUSTER}/conf.d/clinic.conf": File((FILES / "postgresql.conf").read_bytes(), "640", "postgres:postgres"),
            f"{CLUSTER}/pg_hba.conf": File((FILES / "pg_hba.conf").read_bytes(), "640", "postgres:postgres"),
        },
        then=("systemctl is-active -q postgresql@17-main && systemctl reload postgresql@17-main || true",),
    )
    systemd.service(name="PostgreSQL runs", service="postgresql@17-main", running=True)
    systemd.service(name="It starts with the machine", service="postgresql", enabled=True)
    schema(name="Roles, database and tables are there", sql=(FILES / "schema.sql").read_text(), password=password)
