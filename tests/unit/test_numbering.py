"""Ensure the dial plan's destination patterns agree with the numbering plan of the country."""

import phonenumbers
import pytest

from clinic.numbering import CLOSED, plan, rank_of, spellings, written_as
from clinic.public import normalise
from clinic.trunks import NumberFormat
from clinic.types import ServiceClass

LOCAL, MOBILE, NATIONAL, ABROAD = (ServiceClass(c).rank for c in ("local", "mobile", "national", "international"))


@pytest.mark.parametrize(
    ("number", "rank"),
    [
        ("+74951234567", LOCAL),
        ("+74991234567", LOCAL),
        ("+78002000600", LOCAL),
        ("+78041234567", LOCAL),
        ("+79161234567", MOBILE),
        ("+78123334455", NATIONAL),
        ("+73432223344", NATIONAL),
        ("+78091234567", CLOSED),
        ("+78031234567", CLOSED),
        ("+77012345678", CLOSED),
        ("+76001234567", CLOSED),
        ("+78401234567", CLOSED),
        ("+79401234567", CLOSED),
        ("+375291234567", CLOSED),
        ("+442071838750", CLOSED),
        ("+8811234567", CLOSED),
        ("101", CLOSED),
        ("", CLOSED),
    ],
)
def test_destination_needs_its_class(number: str, rank: int) -> None:
    assert rank_of(number, "495") == rank


def test_every_plus_seven_code_that_belongs_to_another_country_is_abroad() -> None:
    """The library knows which +7 codes are Kazakhstan's; no such code may count as domestic."""
    for code in range(300, 1000):
        number = f"+7{code}2345678"
        parsed = phonenumbers.parse(number)
        if phonenumbers.is_valid_number(parsed) and phonenumbers.region_code_for_number(parsed) != "RU":
            assert rank_of(number, "495") == CLOSED, number


def test_every_mobile_code_of_the_library_is_mobile_here() -> None:
    for code in range(900, 1000):
        parsed = phonenumbers.parse(f"+7{code}2345678")
        if phonenumbers.is_valid_number(parsed) and phonenumbers.region_code_for_number(parsed) == "RU":
            assert rank_of(f"+7{code}2345678", "495") == (CLOSED if code in (940, 954) else MOBILE)


@pytest.mark.parametrize("area", ["495", "812", "3432"])
def test_own_city_is_local(area: str) -> None:
    number = f"+7{area}" + "2" * (10 - len(area))
    assert rank_of(number, area) == LOCAL


def test_every_free_number_is_free_for_all_and_no_premium_number_is_open() -> None:
    kinds = phonenumbers.PhoneNumberType
    for code in range(800, 810):
        number = f"+7{code}2345678"
        kind = phonenumbers.number_type(phonenumbers.parse(number))
        assert rank_of(number, "495") == (LOCAL if kind == kinds.TOLL_FREE else CLOSED), number


def test_no_pattern_matches_everything() -> None:
    assert all(rule.pattern.startswith("_+") for rule in plan("495"))


@pytest.mark.parametrize(
    ("dialled", "e164"),
    [
        ("8 916 123-45-67", "+79161234567"),
        ("+7 (916) 1234567", "+79161234567"),
        ("1234567", "+74951234567"),
        ("84951234567", "+74951234567"),
        ("8~10 44 2071838750", "+442071838750"),
        ("00 44 2071838750", "+442071838750"),
        ("12", None),
        ("abc", None),
        ("+7495CLINICS", None),
        ("tel:", None),
    ],
)
def test_dialled_number_becomes_e164(dialled: str, e164: str | None) -> None:
    assert normalise(dialled, "495") == e164


def test_own_number_is_known_in_every_spelling() -> None:
    assert spellings("+74951230001") == ("+74951230001", "74951230001", "84951230001", "4951230001")


def test_provider_gets_its_own_format() -> None:
    forms = [written_as("+74951230001", f) for f in NumberFormat]
    assert forms == ["+74951230001", "74951230001", "84951230001"]
    assert written_as("+442071838750", NumberFormat.NATIONAL) == "810442071838750"
