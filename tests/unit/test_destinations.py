"""Ensure that the fraud drill's table has what it must, and that the dial plan's patterns decide as it says."""

import re

import phonenumbers
import pytest

from clinic.numbering import CLOSED, rank_of, rule_of
from clinic.types import ServiceClass
from lab.destinations import DESTINATIONS, Destination, closed_for

EVERYWHERE = tuple(sorted(phonenumbers.SUPPORTED_REGIONS - {"RU"}))
NEIGHBOURS = ("BY", "KZ", "AM")


def test_table_has_hundreds_of_numbers_each_once() -> None:
    assert len(DESTINATIONS) >= 300
    assert len({d.e164 for d in DESTINATIONS}) == len(DESTINATIONS)
    assert all(re.fullmatch(r"\+[0-9]{1,20}", d.e164) and d.what and d.why for d in DESTINATIONS)


def test_clinic_without_an_allow_list_reaches_none_of_them() -> None:
    assert not [d for d in DESTINATIONS if rank_of(d.e164, "495") != CLOSED]


@pytest.mark.parametrize("countries", [NEIGHBOURS, EVERYWHERE, ("GB", "IT", "US"), ("JM", "VA", "GG")])
def test_allow_list_opens_what_the_table_says_and_nothing_else(countries: tuple[str, ...]) -> None:
    for d in DESTINATIONS:
        rule = rule_of(d.e164, "495", countries)
        if opening := d.allowed_for & set(countries):
            assert rule and rule.rank == ServiceClass.INTERNATIONAL.rank, d
            assert {rule.zone} == opening, d
        else:
            assert rule is None or rule.rank == CLOSED, d


def test_closed_for_a_clinic_is_all_but_what_its_list_opens() -> None:
    assert len(closed_for(frozenset(NEIGHBOURS))) >= 300
    assert set(DESTINATIONS) - set(closed_for(frozenset(NEIGHBOURS))) == {
        d for d in DESTINATIONS if d.allowed_for & set(NEIGHBOURS)
    }


@pytest.mark.parametrize("country", NEIGHBOURS)
def test_neighbours_have_a_fixed_line_and_a_mobile_as_controls(country: str) -> None:
    assert {"fixed line", "mobile"} <= {d.what for d in DESTINATIONS if country in d.allowed_for}


@pytest.mark.parametrize(
    "head",
    [
        "+870", "+881", "+882", "+883", "+888", "+979", "+808", "+878", "+800", "+7840", "+7940", "+7803", "+7809",
        "+7954", "+76", "+7751", "+1876", "+1473", "+1809", "+1284", "+1649", "+4470", "+449", "+375902", "+3906698",
    ],
)  # fmt: skip
def test_table_tries_what_looks_cheap_and_is_not(head: str) -> None:
    assert [d for d in DESTINATIONS if d.e164.startswith(head)]


def test_codes_of_nobody_are_codes_of_nobody() -> None:
    """An unassigned code that is given out later becomes its country's, and the table must say so."""
    given = {str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE}
    nobodys = [d for d in DESTINATIONS if d.why.startswith("no country")]
    assert len(nobodys) > 15
    assert not [d for d in nobodys if {d.e164[1 : 1 + n] for n in (1, 2, 3)} & given]


def test_table_that_is_wrong_by_one_is_noticed() -> None:
    """The control: a premium number declared open does not agree with the patterns."""
    wrong = Destination("+3759021234567", "BY", "premium rate", "control", frozenset({"BY"}))
    assert rule_of(wrong.e164, "495", ("BY",)) is None
