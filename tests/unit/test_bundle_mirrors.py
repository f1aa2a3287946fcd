"""Which Debian mirror is taken from a machine's own apt configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinicpbx.bundle import mirrors
from clinicpbx.errors import ClinicError

DEB822 = """\
Types: deb deb-src
# a comment inside a stanza
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
ONE_LINE = """\
# deb http://old.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/site.gpg] http://mirror.example/debian trixie main # ours
deb-src http://source.example/debian trixie main
deb http://mirror.example/debian-security trixie-security main
"""


def machine(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / "sources.list.d" / name.replace("_", ".")).write_text(text)
    return tmp_path


def test_a_deb822_machine(tmp_path: Path) -> None:
    found = mirrors.find(machine(tmp_path, debian_sources=DEB822))
    assert (found.archive, found.security) == ("http://mirror.example/debian", "http://mirror.example/debian-security")


def test_a_one_line_machine_with_its_own_keyring(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE)
    found = mirrors.find(tmp_path)
    assert (found.archive, found.archive_keyring) == ("http://mirror.example/debian", "/etc/apt/keyrings/site.gpg")
    assert found.security_keyring == str(mirrors.KEYRING)


def test_third_parties_with_debians_suite_names_are_passed_over(tmp_path: Path) -> None:
    other = "deb [signed-by=/etc/apt/keyrings/other.gpg] https://packages.example/tool bookworm main\n"
    found = mirrors.find(machine(tmp_path, a_list=other, debian_sources=DEB822, z_list=other))
    assert found.archive == "http://mirror.example/debian"


@pytest.mark.parametrize("text", [DEB822.replace("Types: deb", "Enabled: no\nTypes: deb"), ""])
def test_a_machine_without_debian_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ClinicError, match="no Debian archive"):
        mirrors.find(machine(tmp_path, debian_sources=text))


def test_files_apt_ignores_are_ignored(tmp_path: Path) -> None:
    with pytest.raises(ClinicError, match="no Debian archive"):
        mirrors.find(machine(tmp_path, **{"debian_sources_disabled": DEB822}))


def test_an_embedded_key_falls_back_to_debians_keyring() -> None:
    text = DEB822.replace(
        "/usr/share/keyrings/debian-archive-keyring.gpg", "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY"
    )
    assert mirrors.choose(mirrors.parse_deb822(text)).archive_keyring == str(mirrors.KEYRING)


def test_without_a_security_source_its_sibling_is_taken() -> None:
    found = mirrors.choose(mirrors.parse_list("deb http://mirror.example/debian trixie main"))
    assert found.security == "http://mirror.example/debian-security"


def test_only_the_source_suites_may_be_past_their_expiry() -> None:
    lines = mirrors.Mirrors("http://m/debian", "http://m/debian-security").sources_list("trixie", source_suites=["sid"])
    assert [line.split("] ")[1] for line in lines.splitlines() if line.startswith("deb ")] == [
        "http://m/debian trixie main",
        "http://m/debian trixie-updates main",
        "http://m/debian-security trixie-security main",
    ]
    assert ["check-valid-until=no" in line for line in lines.splitlines()] == [False, False, False, True]
