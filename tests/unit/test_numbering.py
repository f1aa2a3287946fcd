"""Ensure the dial plan's destination patterns agree with the numbering plan of the country."""

import phonenumbers
import pytest

from clinic.numbering import CLOSED, matches, plan, rank_of, rule_of, specificity, spellings, written_as
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


def of_russia(code: int) -> bool:
    """Whether the library has fixed lines or mobiles of Russia in any part of this code."""
    kinds = phonenumbers.PhoneNumberType
    tries = (phonenumbers.parse(f"+7{code}{rest}") for rest in ("2345678", "0505555", "9999999"))
    usual = (kinds.FIXED_LINE, kinds.MOBILE, kinds.FIXED_LINE_OR_MOBILE)
    return any(phonenumbers.region_code_for_number(n) == "RU" and phonenumbers.number_type(n) in usual for n in tries)


def test_every_russian_code_of_the_library_is_open_but_the_two_of_abkhazia_and_the_satellite() -> None:
    for code in filter(of_russia, range(300, 1000)):
        wanted = CLOSED if code in (840, 940, 954) else MOBILE if code >= 900 else NATIONAL
        assert rank_of(f"+7{code}2345678", "8126") == wanted, code


def test_codes_open_here_that_the_library_does_not_know_are_these() -> None:
    """Unassigned areas of 3xx, 4xx and 81x-87x: a new one works on its first day. Of 80x free-phone only."""
    extra = {c for c in range(300, 1000) if rank_of(f"+7{c}2345678", "495") < CLOSED and not of_russia(c)}
    areas = {*range(300, 500), *range(811, 880)} - {840, 850}
    assert extra <= {800, 804} | areas
    assert {354, 858, 859} <= extra


@pytest.mark.parametrize(
    ("number", "rank", "zone"),
    [
        ("+74951234567", LOCAL, "local"),
        ("+78002000600", LOCAL, "local"),
        ("+79161234567", MOBILE, "mobile"),
        ("+78123334455", NATIONAL, "national"),
        ("+77012345678", ABROAD, "KZ"),
        ("+77272345678", ABROAD, "KZ"),
        ("+77512345678", CLOSED, ""),
        ("+76001234567", CLOSED, ""),
        ("+78401234567", CLOSED, ""),
        ("+78501234567", CLOSED, ""),
        ("+79401234567", CLOSED, ""),
        ("+79541234567", CLOSED, ""),
        ("+78081234567", CLOSED, ""),
        ("+78101234567", CLOSED, ""),
        ("+78801234567", CLOSED, ""),
        ("+78901234567", CLOSED, ""),
        ("+375291234567", ABROAD, "BY"),
        ("+3759021234567", CLOSED, ""),
        ("+442071838750", CLOSED, ""),
        ("+881612345678", CLOSED, ""),
        ("+7916123456", CLOSED, ""),
        ("+791612345678", CLOSED, ""),
        ("+37529123456", CLOSED, ""),
        ("+3752912345678", CLOSED, ""),
        ("+7112", CLOSED, ""),
        ("+", CLOSED, ""),
    ],
)
def test_destination_has_its_zone(number: str, rank: int, zone: str) -> None:
    rule = rule_of(number, "495", ("BY", "KZ"))
    assert ((rule.rank, rule.zone) if rule else (CLOSED, "")) == (rank, zone)
    assert rank_of(number, "495", ("BY", "KZ")) == rank


def test_zone_is_empty_exactly_when_the_destination_is_closed() -> None:
    assert all((rule.zone == "") == (rule.rank == CLOSED) for rule in plan("495", ("BY", "KZ", "AM")))


def test_own_country_is_not_abroad() -> None:
    with pytest.raises(ValueError, match="RU"):
        plan("495", ("RU",))


@pytest.mark.parametrize(
    ("pattern", "number", "fits", "order"),
    [
        ("_+7[13-5]X", "+735", True, (1, 1, 4, 10)),
        ("_+7[13-5]X", "+725", False, (1, 1, 4, 10)),
        ("_+7ZN", "+712", True, (1, 1, 9, 8)),
        ("_+7ZN", "+702", False, (1, 1, 9, 8)),
        ("_+7ZN", "+711", False, (1, 1, 9, 8)),
        ("_+7ZN", "+7122", False, (1, 1, 9, 8)),
    ],
)
def test_pattern_is_read_as_asterisk_reads_it(pattern: str, number: str, fits: bool, order: tuple[int, ...]) -> None:
    assert matches(pattern, number) is fits
    assert specificity(pattern) == order


def test_no_number_has_two_best_rules() -> None:
    """Equal rules would leave it to Asterisk which one counts."""
    for area in ("495", "812", "3432"):
        rules = plan(area, ("KZ",))
        for code in range(1000):
            fitting = [specificity(r.pattern) for r in rules if matches(r.pattern, f"+7{code:03}2345678")]
            assert len(fitting) == len(set(fitting)), code


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
