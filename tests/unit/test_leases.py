"""Fixed leases: everybody has an address of their own, and newcomers disturb nobody."""

from __future__ import annotations

import pytest

from clinic import synthetic
from clinic.leases import addresses, mac12
from clinic.loading import load
from clinic.model import Clinic
from clinic.synthetic import text
from tests.unit.phones_reader import case


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return case()


def without(clinic: Clinic, ext: str) -> Clinic:
    return clinic.model_copy(update={"people": tuple(p for p in clinic.people if p.ext != ext)})


@pytest.mark.parametrize("people", [20, 219, 1000, 5000])
def test_everybody_has_an_address_of_their_own_in_the_pool(people: int) -> None:
    """219 telephones fill a pool of 219 addresses to the last."""
    clinic = load(synthetic.text(people))
    given = addresses(clinic)
    voice = clinic.networks.voice
    assert len(set(given.values())) == len(given) == people
    assert all(voice.phones_from <= a <= voice.phones_to for a in given.values())


def test_addresses_are_the_same_for_ever_and_in_whatever_order_people_are_written(clinic: Clinic) -> None:
    turned = clinic.model_copy(update={"people": tuple(reversed(clinic.people))})
    assert addresses(turned) == addresses(clinic) == addresses(case())


def test_who_comes_or_goes_moves_nearly_nobody(clinic: Clinic) -> None:
    """156 telephones share 219 addresses, so some meet; without hashing everybody behind would move."""
    whole = addresses(clinic)
    moves = []
    for person in clinic.people[::10]:
        left = addresses(without(clinic, person.ext))
        moves.append(sum(whole[ext] != address for ext, address in left.items()))
    assert max(moves) <= 8 and sum(moves) / len(moves) < 3


def test_new_telephone_at_the_same_desk_has_the_same_address_and_moves_nobody(clinic: Clinic) -> None:
    person = clinic.by_ext["3111"]
    phone = person.phone.model_copy(update={"mac": "00:0b:82:00:00:99"})
    people = tuple(p.model_copy(update={"phone": phone}) if p is person else p for p in clinic.people)
    assert addresses(clinic.model_copy(update={"people": people})) == addresses(clinic)


def test_pool_too_small_is_refused() -> None:
    clinic = load(text(20))
    voice = clinic.networks.voice.model_copy(update={"phones_to": clinic.networks.voice.phones_from + 18})
    small = clinic.model_copy(update={"networks": clinic.networks.model_copy(update={"voice": voice})})
    with pytest.raises(ValueError, match="19 addresses for 20 telephones"):
        addresses(small)


@pytest.mark.parametrize("mac", ["c0:74:ad:3a:25:10", "C0-74-AD-3A-25-10", "c074ad3a2510"])
def test_mac_has_one_spelling_in_names(mac: str) -> None:
    assert mac12(mac) == "c074ad3a2510"
