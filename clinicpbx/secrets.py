"""The clinic's secrets at rest: one age file beside clinic.yml, opened by the engineer's own identity.

The identity is `~/.config/clinicpbx/identity.age-key` (or CLINICPBX_IDENTITY), made on first use, readable by its owner
only. Copy it to the safe: without it the secrets of a clinic cannot be read again. Source: age-encryption.org/v1.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets as random
import string
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path

import pyrage
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clinic import secrets as names
from clinic.model import Clinic
from clinicpbx.errors import ClinicError

ALPHABET = string.ascii_letters + string.digits  # safe in every file, URL and phone
LENGTH = 24  # 142 bits
SHORTEST = 8  # a shorter line is no secret of ours, and hiding it would hide ordinary words


class Store:
    """The secrets of one clinic. Values leave it only through `load`."""

    def __init__(self, clinic_dir: Path) -> None:
        self.file = clinic_dir / "secrets.age"

    def __repr__(self) -> str:
        return f"Store({self.file})"

    def load(self) -> dict[str, str]:
        """Every secret by name; empty when there is no file yet. ClinicError when it cannot be opened."""
        try:
            sealed = self.file.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            opened = pyrage.decrypt(sealed, [identity(make=False)])
        except pyrage.DecryptError:
            raise ClinicError(
                f"{self.file} cannot be opened with {identity_file()}: it was sealed for another identity, or damaged.",
                remedy="put the identity that made it there, or name it in CLINICPBX_IDENTITY",
            ) from None
        return dict(json.loads(opened))

    def existing(self) -> dict[str, str]:
        """Load, for commands that only look. ClinicError when there is no file: looking makes none."""
        if not self.file.exists():
            raise ClinicError(
                f"There are no secrets for this clinic: {self.file} is missing.",
                remedy="restore it from the safe; a clinic that was never deployed gets it by `clinicpbx deploy`",
            )
        return self.load()

    def preview(self, clinic: Clinic) -> dict[str, str]:
        """What `ensure` would give, for a dry run: nothing is written."""
        return complete(self.load(), clinic)

    def ensure(self, clinic: Clinic) -> dict[str, str]:
        """Load, and make what is missing. The file is written only when something was."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with (self.file.parent / ".secrets.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            have = self.load()
            full = complete(have, clinic)
            if full != have:
                self._save(full)
        return full

    def put(self, name: str, value: str) -> None:
        """Store one entered secret, replacing an earlier value of the same name."""
        with (self.file.parent / ".secrets.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._save({**self.load(), name: value})

    def renew(self, clinic: Clinic, chosen: Collection[str]) -> None:
        """New values for these generated secrets; everything else stays as it is."""
        with (self.file.parent / ".secrets.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            left = {name: value for name, value in self.load().items() if name not in chosen}
            self._save(names.completed(left, clinic, generate))

    def _save(self, values: Mapping[str, str]) -> None:
        text = json.dumps(dict(values), ensure_ascii=False, sort_keys=True).encode()
        fresh = self.file.with_suffix(".new")
        _write_private(fresh, pyrage.encrypt(text, [identity().to_public()]))
        fresh.replace(self.file)


def complete(have: Mapping[str, str], clinic: Clinic) -> dict[str, str]:
    """`have` and what is missing; the certificates last: they depend on each other and on the voice address."""
    from clinicpbx import certificates

    return certificates.completed(names.completed(have, clinic, generate), clinic)


def generate(name: str) -> str:
    """A new value for a secret of this name: an SSH key, a PIN of eight digits, or 24 letters and digits."""
    if name == names.SSH_KEY:
        key = Ed25519PrivateKey.generate()
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        return key.private_bytes(*form).decode()
    if name.startswith("pin/"):
        return "".join(random.choice(string.digits) for _ in range(8))
    return "".join(random.choice(ALPHABET) for _ in range(LENGTH))


def public_key(private: str) -> str:
    """The authorized_keys line of an OpenSSH private key."""
    key = serialization.load_ssh_private_key(private.encode(), password=None)
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{key.public_key().public_bytes(*form).decode()} clinic-pbx"


def veil(secrets: Mapping[str, str]) -> Callable[[str], str]:
    """What hides every secret in a text, wherever it came from: a diff, or the output of a failing command.

    Made ready at the first text: a thousand people's take 0.1 s, and a deploy that changes nothing says nothing.
    """

    @cache
    def found() -> re.Pattern[str]:
        values = {line for value in secrets.values() for line in value.splitlines() if len(line) >= SHORTEST}
        return re.compile("|".join(map(re.escape, sorted(values, key=len, reverse=True))) or r"(?!)")

    return lambda text: found().sub("********", text)


def identity_file() -> Path:
    given = os.environ.get("CLINICPBX_IDENTITY")
    return Path(given) if given else Path.home() / ".config/clinicpbx/identity.age-key"


def identity(*, make: bool = True) -> pyrage.x25519.Identity:
    """The engineer's identity, made on first use. ClinicError when others can read it or it is no identity.

    `make=False` is for opening what is already sealed: a new identity could never open it.
    """
    file = identity_file()
    if not file.exists() and not make:
        raise ClinicError(
            f"The identity {file} is missing, and the clinic's secrets are sealed for it.",
            remedy="restore it from the safe, or name it in CLINICPBX_IDENTITY",
        )
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = file.with_suffix(f".{os.getpid()}")
        _write_private(fresh, f"{pyrage.x25519.Identity.generate()}\n".encode())
        try:
            os.link(fresh, file)  # fails when another process was first: its identity is the one
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    if file.stat().st_mode & 0o077:
        raise ClinicError(f"{file} can be read by others.", remedy=f"chmod 600 {file}")
    text = next((li for li in file.read_text().splitlines() if li.startswith("AGE-SECRET-KEY-")), "")
    try:
        return pyrage.x25519.Identity.from_str(text.strip())
    except pyrage.IdentityError:
        raise ClinicError(f"{file} holds no age identity.", remedy="restore it from the safe") from None


def _write_private(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
