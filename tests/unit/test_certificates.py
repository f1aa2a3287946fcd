"""The clinic's own authority: telephones that trust it accept the PBX, and nothing is made anew without need."""

from __future__ import annotations

import datetime as dt
from ipaddress import IPv4Address

import pytest
from cryptography import x509

from clinic.loading import load
from clinic.model import Clinic
from clinic.secrets import TLS_CA, TLS_PBX, certificate_of, key_of
from clinic.synthetic import text
from clinicpbx import certificates

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(text(20))


@pytest.fixture(scope="module")
def made(clinic: Clinic) -> dict[str, str]:
    return certificates.completed({"sip/2001": "x"}, clinic, NOW)


def test_the_pbx_is_known_by_its_voice_address_and_signed_by_the_authority(
    made: dict[str, str], clinic: Clinic
) -> None:
    certificate, authority = certificates.read(made[TLS_PBX]), certificates.read(made[TLS_CA])
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [clinic.networks.voice.pbx]
    assert names.get_values_for_type(x509.DNSName) == [clinic.hypervisor.vm.name]
    assert made["sip/2001"] == "x"


def test_what_is_there_stays(made: dict[str, str], clinic: Clinic) -> None:
    assert certificates.completed(made, clinic, NOW + dt.timedelta(days=9 * 365)) == made


@pytest.mark.parametrize("days", [10 * 365 - 89, 10 * 365 + 5])
def test_the_last_90_days_bring_a_new_certificate_of_the_same_authority(
    made: dict[str, str], clinic: Clinic, days: int
) -> None:
    later = NOW + dt.timedelta(days=days)
    again = certificates.completed(made, clinic, later)
    assert again[TLS_CA] == made[TLS_CA] and again[TLS_PBX] != made[TLS_PBX]
    assert certificates.days_left(again[TLS_PBX], later) == certificates.SERVER_DAYS


def test_another_voice_address_brings_a_new_certificate(made: dict[str, str], clinic: Clinic) -> None:
    assert certificates.fits(made[TLS_PBX], made[TLS_CA], clinic.networks.voice.pbx, NOW)
    assert not certificates.fits(made[TLS_PBX], made[TLS_CA], IPv4Address("10.9.9.9"), NOW)


def test_another_authority_brings_a_new_certificate(made: dict[str, str], clinic: Clinic) -> None:
    lost = certificates.completed({TLS_PBX: made[TLS_PBX]}, clinic, NOW)
    assert lost[TLS_PBX] != made[TLS_PBX]
    certificates.read(lost[TLS_PBX]).verify_directly_issued_by(certificates.read(lost[TLS_CA]))


def test_the_public_part_holds_no_key(made: dict[str, str]) -> None:
    assert "PRIVATE" not in certificate_of(made[TLS_CA]) and "PRIVATE KEY" in key_of(made[TLS_CA])
    assert certificate_of(made[TLS_CA]) + key_of(made[TLS_CA]) == made[TLS_CA]
