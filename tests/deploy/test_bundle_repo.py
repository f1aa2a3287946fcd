"""The bundle with real apt, dpkg and gpg, from a tiny signed Debian mirror on disk. Offline; some seconds.

Only the rebuilt package is ready-made here: compiling it takes minutes, and the lab does it for real.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clinicpbx.bundle import build, cache, groups, mirrors, pool, rebuild, repository, resolve
from clinicpbx.bundle.apt import Apt
from clinicpbx.bundle.lock import Pinned, SourcePin
from clinicpbx.errors import ClinicError

pytestmark = pytest.mark.skipif(shutil.which("apt-ftparchive") is None, reason="needs Debian's apt-utils")
RECIPE = groups.Rebuild("exchange", "1:22.", ("sid",), "+clinic1", ("exchange",))
GROUPS = groups.Groups(RECIPE, ("shell",), ("exchange", "hello"), ("exchange",), ("kernel",), "groups")
SOURCE = SourcePin("exchange", "1:22.1-1", "ee" * 32)


def deb(folder: Path, name: str, version: str, *fields: str) -> Path:
    """A real, empty package."""
    tree = folder / f".{name}"
    (tree / "DEBIAN").mkdir(parents=True)
    control = [f"Package: {name}", f"Version: {version}", "Architecture: all", "Maintainer: Nobody <n@example.invalid>"]
    (tree / "DEBIAN/control").write_text("\n".join([*control, *fields, "Description: for a test", ""]))
    file = folder / f"{name}_{version.rpartition(':')[2]}_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, file], check=True, capture_output=True)
    shutil.rmtree(tree)
    return file


class Mirror:
    """A Debian mirror: an archive with release and updates, and a security archive, signed."""

    def __init__(self, root: Path) -> None:
        self.archive, self.security = root / "debian", root / "debian-security"
        self.pool = self.archive / "pool"
        self.pool.mkdir(parents=True)
        self.mirrors = mirrors.Mirrors(
            f"copy://{self.archive}", f"copy://{self.security}", *[str(root / "key.gpg")] * 2
        )
        self.key = root / "key.gpg"

    def publish(self) -> None:
        """Index and sign what is in the pool now."""
        for base, suites in ((self.archive, ("trixie", "trixie-updates")), (self.security, ("trixie-security",))):
            for suite in suites:
                dist = base / "dists" / suite
                (dist / "main/binary-amd64").mkdir(parents=True, exist_ok=True)
                index = ""
                if suite == "trixie":
                    words = ["apt-ftparchive", "packages", "pool"]
                    index = subprocess.run(words, cwd=base, check=True, capture_output=True, text=True).stdout
                (dist / "main/binary-amd64/Packages").write_text(index)
                facts = {"Suite": suite, "Codename": suite, "Components": "main", "Architectures": "amd64"}
                options = [f"-oAPT::FTPArchive::Release::{key}={value}" for key, value in facts.items()]
                for old in ("Release", "InRelease"):
                    (dist / old).unlink(missing_ok=True)
                words = ["apt-ftparchive", *options, "release", str(dist)]
                (dist / "Release").write_text(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
                repository.sign(dist)
                shutil.copy(dist / repository.KEY_NAME, self.key)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("CLINICPBX_CACHE", str(tmp_path / "cache"))
    made = Mirror(tmp_path / "mirror")
    deb(made.pool, "apt", "3.0", "Depends: shell")
    deb(made.pool, "base-files", "13", "Essential: yes")
    deb(made.pool, "shell", "1:5.0")
    deb(made.pool, "library", "1.0")
    deb(made.pool, "hello", "2.0", "Depends: library", "Recommends: unwanted")
    deb(made.pool, "unwanted", "1.0")
    deb(made.pool, "kernel", "6.12", "Depends: initrd, library")
    deb(made.pool, "initrd", "1.0")
    made.publish()
    ours = deb(tmp_path, "exchange", "1:22.1-1+clinic1", "Depends: library")
    place = pool.place(cache.sha256(ours))
    place.parent.mkdir(parents=True)
    shutil.copy(ours, place)
    rebuilt = [Pinned("exchange", "1:22.1-1+clinic1", place.name, "rebuilt")]
    monkeypatch.setattr(mirrors, "find", lambda: made.mirrors)
    monkeypatch.setattr(groups, "load", lambda: GROUPS)
    monkeypatch.setattr(rebuild, "ensure", lambda *_: rebuilt)
    monkeypatch.setattr(rebuild, "available", lambda *_: True)
    monkeypatch.setattr(rebuild, "latest", lambda *_: SOURCE)
    source_apt = resolve.source_apt

    def without_sources(mirrors_: mirrors.Mirrors, groups_: groups.Groups) -> Apt:
        apt = source_apt(mirrors_, groups_)
        monkeypatch.setattr(apt, "refresh", lambda: None)
        return apt

    monkeypatch.setattr(resolve, "source_apt", without_sources)
    yield made


@pytest.fixture
def locked(mirror: Mirror, tmp_path: Path) -> Path:
    build.update(tmp_path / "bundle.lock")
    return tmp_path / "bundle.lock"


def names(lock_text: str) -> list[str]:
    return [line.split()[0] for line in lock_text.splitlines() if not line.startswith(("#", "source"))]


def test_an_update_pins_every_dependency_and_nothing_recommended_and_a_second_changes_nothing(locked: Path) -> None:
    assert names(locked.read_text()) == ["apt", "base-files", "hello", "initrd", "kernel", "library", "shell"]
    assert build.update(locked) == ""


def test_the_bundle_is_a_signed_repository_apt_installs_from(locked: Path, tmp_path: Path) -> None:
    bundle = build.ensure(locked, production=True)
    boots = {"initrd", "kernel"}
    pinned = set(names(locked.read_text()))
    assert {package.name for package in bundle.packages} == {*pinned, "exchange"} - boots
    assert {package.name for package in bundle.disk} == boots
    assert bundle.pbx == ("exchange", "hello", "library")
    assert [path.name for path in build.pbx_files(bundle)] == [
        "exchange_22.1-1+clinic1.deb",
        "hello_2.0.deb",
        "library_1.0.deb",
    ]
    apt = Apt(tmp_path / "client", f"deb [signed-by={bundle.key}] file:{bundle.pbx_path} ./\n")
    apt.refresh()
    assert sorted(apt.index()) == ["exchange", "hello", "library"]
    # the control: an index that was changed after signing is refused by apt itself
    index = bundle.pbx_path / "Packages"
    index.write_text(index.read_text().replace("library", "libraru"))
    (bundle.pbx_path / "Packages.gz").unlink()
    changed = Apt(tmp_path / "client2", f"deb [signed-by={bundle.key}] file:{bundle.pbx_path} ./\n")
    with pytest.raises(ClinicError, match=r"unexpected size|Hash Sum mismatch"):
        changed.refresh()


def test_another_key_does_not_sign_the_bundle(locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = build.ensure(locked, production=True)
    monkeypatch.setenv("CLINICPBX_CACHE", str(tmp_path / "other"))
    subprocess.run(["gpg", "--homedir", repository.signing_key(), "--output", tmp_path / "other.gpg", "--export"],
                   check=True)  # fmt: skip
    apt = Apt(tmp_path / "client", f"deb [signed-by={tmp_path}/other.gpg] file:{bundle.path} ./\n")
    with pytest.raises(ClinicError, match=r"not signed|NO_PUBKEY|Missing key"):
        apt.refresh()


def test_a_second_call_needs_neither_mirror_nor_work(locked: Path, mirror: Mirror) -> None:
    first = build.ensure(locked, production=True)
    shutil.rmtree(mirror.archive)
    said: list[str] = []
    assert build.ensure(locked, production=True, progress=said.append) == first
    assert said == []


def test_one_changed_byte_in_the_bundle_is_refused_by_name(locked: Path) -> None:
    bundle = build.ensure(locked, production=True)
    build.ensure(locked, production=True, verify=True)  # the control: untouched, it passes
    file = bundle.path / "pool/hello_2.0.deb"
    with file.open("r+b") as stream:
        stream.seek(100)
        byte = stream.read(1)
        stream.seek(100)
        stream.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ClinicError) as refusal:
        build.ensure(locked, production=True)
    for word in ("hello_2.0.deb", cache.sha256(file), str(pool.place(_hash(locked, "hello")))):
        assert word in str(refusal.value)


def test_a_changed_byte_that_hides_behind_its_old_time_is_found_by_verify(locked: Path) -> None:
    bundle = build.ensure(locked, production=True)
    file = bundle.path / "pool/library_1.0.deb"
    times = file.stat()
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ClinicError, match=r"library_1\.0\.deb: the file is not the pinned one"):
        build.ensure(locked, production=True, verify=True)


def test_the_remedy_of_a_refusal_heals_it(locked: Path) -> None:
    bundle = build.ensure(locked, production=True)
    file = bundle.path / "pool/hello_2.0.deb"
    file.write_bytes(b"changed")
    with pytest.raises(ClinicError) as refusal:
        build.ensure(locked, production=True)
    subprocess.run(["sh", "-c", refusal.value.remedy.partition(";")[0]], check=True)
    assert build.ensure(locked, production=True, verify=True).digest == bundle.digest


def test_a_mirror_that_serves_a_changed_file_is_refused_by_name(locked: Path, mirror: Mirror) -> None:
    expected = _hash(locked, "library")
    (mirror.pool / "library_1.0_all.deb").write_bytes(b"changed")
    with pytest.raises(ClinicError, match=f"library 1.0: the file is not the pinned one(.|\n)*{expected}"):
        build.ensure(locked, production=True)
    assert not pool.place(expected).exists()


def test_an_interrupted_download_goes_on_where_it_was(locked: Path, mirror: Mirror) -> None:
    kept = pool.place(_hash(locked, "library"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(mirror.pool / "library_1.0_all.deb", kept)
    half = cache.root() / "pool/incoming" / _hash(locked, "hello")
    half.parent.mkdir(parents=True, exist_ok=True)
    half.write_bytes((mirror.pool / "hello_2.0_all.deb").read_bytes()[:100])
    said: list[str] = []
    build.ensure(locked, production=True, progress=said.append)
    assert any("of 6 " in line for line in said), said


def test_a_pin_that_left_the_mirror_stops_production_and_warns_the_lab(locked: Path, mirror: Mirror) -> None:
    (mirror.pool / "library_1.0_all.deb").unlink()
    deb(mirror.pool, "library", "1.1", "Depends: newcomer")
    deb(mirror.pool, "newcomer", "1.0")
    mirror.publish()
    with pytest.raises(ClinicError) as refusal:
        build.ensure(locked, production=True)
    assert "library 1.0" in refusal.value.message and "clinicpbx bundle update" in refusal.value.remedy
    before = locked.read_text()
    for _ in range(2):  # the warning is given each time, not only when the bundle is made
        said: list[str] = []
        bundle = build.ensure(locked, production=False, progress=said.append)
        assert "WARNING: not the pinned one: library 1.0 -> 1.1" in said
    assert {p.name: p.version for p in bundle.packages}["library"] == "1.1"
    assert "newcomer" in bundle.pbx
    assert locked.read_text() == before
    with pytest.raises(ClinicError):  # what the lab took never serves production
        build.ensure(locked, production=True)
    difference = build.update(locked)
    assert "-library 1.0 " in difference and "+library 1.1 " in difference and "+newcomer 1.0 " in difference
    assert build.ensure(locked, production=True).warnings == ()


def test_a_package_that_was_asked_for_but_never_pinned_names_the_remedy(
    locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = groups.Groups(RECIPE, ("shell", "unwanted"), GROUPS.pbx, GROUPS.tools, GROUPS.disk, "other")
    monkeypatch.setattr(groups, "load", lambda: more)
    with pytest.raises(ClinicError, match=r"unwanted(.|\n)*clinicpbx bundle update"):
        build.ensure(locked, production=True)


def _hash(lock: Path, name: str) -> str:
    return next(line.split()[2] for line in lock.read_text().splitlines() if line.startswith(f"{name} "))
