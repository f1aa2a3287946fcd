"""What is read from apt, from a .dsc and from the recipe; and the cache's promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinicpbx.bundle import apt, cache, groups, pool, rebuild
from clinicpbx.bundle.lock import SourcePin
from clinicpbx.errors import ClinicError

HASH = "cd" * 32


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICPBX_CACHE", str(tmp_path / "cache"))


def test_apts_file_names_give_name_and_version_with_its_epoch() -> None:
    assert apt.split_filename("procps_2%3a4.0.4-9_amd64.deb") == ("procps", "2:4.0.4-9")


def test_a_packages_index_gives_each_file_with_its_address() -> None:
    text = (
        f"Package: acl\nVersion: 2.3\nSize: 7\nFilename: pool/a/acl.deb\nSHA256: {HASH}\nDescription: x\n"
        " Package: no\n\n"
        "Package: half\nVersion: 1\n\n"
    )
    assert list(apt.parse_index(text, "http://m/debian/", "")) == [
        apt.Available("acl", "2.3", HASH, 7, "http://m/debian/pool/a/acl.deb", "")
    ]


def test_a_sources_index_gives_the_hash_of_each_dsc() -> None:
    text = (
        "Package: asterisk\nVersion: 1:22.10.1-1\nChecksums-Sha1:\n 00 1 a.dsc\nChecksums-Sha256:\n"
        f" {'11' * 32} 9 asterisk.tar.xz\n {HASH} 5389 asterisk_22.10.1-1.dsc\nDirectory: pool\n\n"
        f"Package: other\nVersion: 1:22.99-1\nChecksums-Sha256:\n {HASH} 5 other.dsc\n"
    )
    assert apt.parse_showsrc(text, "asterisk") == {"1:22.10.1-1": HASH}


def test_versions_are_compared_as_dpkg_does() -> None:
    assert apt.newest(["1:22.9.0-1", "1:22.10.1-1", "1:22.10.1~rc1-1"]) == "1:22.10.1-1"
    with pytest.raises(ClinicError):
        apt.newest([])


def test_our_rebuild_sorts_between_debians_revisions() -> None:
    suffix = groups.load().rebuild.suffix
    assert apt.newest(["22.10.1-1", f"22.10.1-1{suffix}"]).endswith(suffix)
    assert apt.newest(["22.10.1-2", f"22.10.1-1{suffix}"]) == "22.10.1-2"


def test_a_dsc_pins_its_files_and_none_outside_its_folder() -> None:
    text = f"Files:\n 00 1 a.tar\nChecksums-Sha256:\n {HASH} 12 a.tar.xz\n {HASH} 13 b.tar.xz\nHomepage: x\n"
    assert rebuild.dsc_files(text) == [("a.tar.xz", HASH), ("b.tar.xz", HASH)]
    with pytest.raises(ClinicError, match="names the file"):
        rebuild.dsc_files(f"Checksums-Sha256:\n {HASH} 12 ../a.tar.xz\n")


def test_a_changed_recipe_is_built_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = SourcePin("asterisk", "1:22-1", HASH)
    recipe = groups.load().rebuild
    before = rebuild.place(source, recipe)
    assert before == rebuild.place(source, recipe)
    (tmp_path / "rebuild.sh").write_text("other")
    monkeypatch.setattr(rebuild, "SCRIPT", tmp_path / "rebuild.sh")
    assert rebuild.place(source, recipe) != before


def test_a_file_that_is_not_the_pinned_one_is_refused_by_name_with_both_hashes(tmp_path: Path) -> None:
    file = tmp_path / "acl.deb"
    file.write_bytes(b"right")
    pool.check(file, "acl 2.3", cache.sha256(file))
    expected = cache.sha256(file)
    file.write_bytes(b"wrong")
    with pytest.raises(ClinicError) as refusal:
        pool.check(file, "acl 2.3", expected)
    for word in ("acl 2.3", str(file), expected, cache.sha256(file), "Remedy: rm"):
        assert word in str(refusal.value)


def test_an_interrupted_directory_never_gets_its_name(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with pytest.raises(KeyboardInterrupt), cache.atomic(target) as room:
        (room / "half").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.glob("*made*")) == [] and not target.exists()
    (tmp_path / ".made.killed").mkdir()  # what a killed run leaves
    with cache.atomic(target) as room:
        (room / "whole").write_text("x")
    assert [path.name for path in target.iterdir()] == ["whole"]
    assert list(tmp_path.glob(".made.*")) == []


def test_two_runs_never_make_the_same_thing_at_once() -> None:
    said: list[str] = []
    with cache.lock("thing"):
        with pytest.raises(ClinicError, match="another run"), cache.lock("thing", said.append, timeout=0.1):
            pass
        with cache.lock("different", timeout=0.1):
            pass
    assert said and "waiting" in said[0]
    with cache.lock("thing", timeout=0.1):
        pass


def test_the_parts_of_a_digest_have_borders() -> None:
    assert cache.digest("ab", "c") != cache.digest("a", "bc")


def test_a_failed_program_says_what_failed_and_its_last_words() -> None:
    with pytest.raises(ClinicError, match=r"indexing failed with status 3\n    no room"):
        cache.run(["sh", "-c", "echo no room >&2; exit 3"], what="indexing")
    with pytest.raises(ClinicError, match="no end after"):
        cache.run(["sleep", "9"], what="indexing", timeout=0.1)
    with pytest.raises(ClinicError, match="missing"):
        cache.run(["/nonexistent/program"], what="indexing")
