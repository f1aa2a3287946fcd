"""The fleet as a whole: no file betrays another telephone, versions move only where something moved, and no name breaks
a file."""

from __future__ import annotations

import time

import pytest

from clinic import synthetic
from clinic.loading import load
from clinic.model import Clinic
from clinic.people import Key, Person
from clinic.rendering.phones import PhoneFiles, phonebooks, phones, shared
from tests.unit.phones_reader import Secrets, case, cfg, of, tree, xml

HOSTILE = 'О\'Брайен "Игла" <b>&amp;\n]]>\x00\x0b\u2028\r\naccount.1.password = x'


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return case()


def changed(clinic: Clinic, ext: str, **update: object) -> Clinic:
    people = tuple(p.model_copy(update=update) if p.ext == ext else p for p in clinic.people)
    return clinic.model_copy(update={"people": people})


def moved(before: dict[str, PhoneFiles], after: dict[str, PhoneFiles]) -> set[str]:
    return {phone.ext for mac, phone in after.items() if mac not in before or before[mac].version != phone.version}


def leaks(fleet: dict[str, PhoneFiles], secrets: dict[str, str]) -> list[str]:
    """Files that hold a secret of somebody else's."""
    return [
        f"{phone.ext} has {name}"
        for phone in fleet.values()
        for name, value in secrets.items()
        if name.split("/")[-1] not in (phone.ext, phone.mac) and any(value.encode() in d for d in phone.files.values())
    ]


def test_no_file_holds_another_telephones_secret(clinic: Clinic) -> None:
    people = clinic.people[::9]
    some = clinic.model_copy(update={"people": people})
    own = {f"{kind}/{p.ext}": f"{kind}:{p.ext}:x" for p in people for kind in ("sip", "provisioning")}
    fleet = phones(some, Secrets(own))
    assert leaks(fleet, own) == []
    # The control: with one file under another's name the same check finds it.
    first, second = list(fleet.values())[:2]
    swapped = fleet | {first.mac: PhoneFiles(first.ext, first.mac, first.version, second.files)}
    assert leaks(swapped, own) == [f"{first.ext} has sip/{second.ext}", f"{first.ext} has provisioning/{second.ext}"]


def test_first_door_is_in_no_file(clinic: Clinic) -> None:
    """The token opens the first door once; a file that held it would open it for whoever reads the file."""
    assert not any(b"first-access" in data for p in phones(clinic, Secrets()).values() for data in p.files.values())


def test_missing_secret_is_refused(clinic: Clinic) -> None:
    have = {name: "x" for p in clinic.people for name in (f"sip/{p.ext}", f"provisioning/{p.ext}")}
    with pytest.raises(KeyError, match="phone-admin"):
        phones(clinic, have)
    assert len(phones(clinic, have | {"phone-admin": "x", "tls/ca": "x"})) == len(clinic.people), "the control"


def test_user_passwords_are_nobodys_and_differ(clinic: Clinic) -> None:
    fleet = phones(clinic, Secrets())
    one, other = xml(of(fleet, "3111"), "1")["P196"], xml(of(fleet, "3112"), "1")["P196"]
    assert len({one, other, "secret-of-phone-admin", "secret-of-provisioning-3111"}) == 4 and len(one) == 24


def test_same_description_gives_the_same_versions(clinic: Clinic) -> None:
    assert phones(clinic, Secrets()) == phones(case(), Secrets())
    assert all(len(p.version) == 12 and int(p.version, 16) >= 0 for p in phones(clinic, Secrets()).values())


def test_changed_key_moves_one_version(clinic: Clinic) -> None:
    before = phones(clinic, Secrets())
    phone = clinic.by_ext["3111"].phone.model_copy(update={"keys": (Key(kind="line", label="Кабинет"),)})
    assert moved(before, phones(changed(clinic, "3111", phone=phone), Secrets())) == {"3111"}


def test_changed_password_moves_one_version(clinic: Clinic) -> None:
    before = phones(clinic, Secrets())
    assert moved(before, phones(clinic, Secrets({"sip/3111": "another"}))) == {"3111"}
    assert len(moved(before, phones(clinic, Secrets({"phone-admin": "another"})))) == len(clinic.people)


def test_changed_socket_room_and_class_move_none(clinic: Clinic) -> None:
    before = phones(clinic, Secrets())
    phone = clinic.by_ext["3111"].phone.model_copy(update={"socket": "9-999-9", "port": 44})
    assert moved(before, phones(changed(clinic, "3111", phone=phone, room="999"), Secrets())) == set()


def test_changed_name_moves_those_who_see_it(clinic: Clinic) -> None:
    """Everybody has it in the phonebook but the adapter, which has none."""
    before = phones(clinic, Secrets())
    after = phones(changed(clinic, "3111", name="Иванова Диана Игоревна"), Secrets())
    assert moved(before, after) == {p.ext for p in clinic.people} - {"4206"}


def test_new_mac_is_a_new_telephone(clinic: Clinic) -> None:
    before = phones(clinic, Secrets())
    phone = clinic.by_ext["3111"].phone.model_copy(update={"mac": "00:0b:82:00:00:01"})
    after = phones(changed(clinic, "3111", phone=phone), Secrets())
    assert moved(before, after) == {"3111"} and before.keys() - after.keys() == {"000b823ae194"}


@pytest.mark.parametrize("ext", ["2001", "3111", "4206", "4201"])
def test_hostile_name_stays_a_value(clinic: Clinic, ext: str) -> None:
    fleet = phones(changed(clinic, ext, name=HOSTILE), Secrets())
    phone = of(fleet, ext)
    usual = of(phones(clinic, Secrets()), ext)
    if ext == "4201":
        assert cfg(phone).keys() == cfg(usual).keys()
        assert cfg(phone)["account.1.password"] == ["secret-of-sip-4201"]
    else:
        version = "2" if ext == "2001" else "1"
        settings = xml(phone, version)
        name = settings["account.1.sip.subscriber.name" if ext == "2001" else "P3"]
        assert settings.keys() == xml(usual, version).keys()
        assert name == 'О\'Брайен "Игла" <b>&amp; ]]> account.1.password = x'


def test_hostile_label_and_department_stay_values(clinic: Clinic) -> None:
    phone = clinic.by_ext["4201"].phone.model_copy(
        update={"keys": (Key(kind="blf", value="3101", label='"><x>&\n= 1'),)}
    )
    departments = clinic.departments | {"children": clinic.departments["children"].model_copy(update={"name": HOSTILE})}
    evil = changed(clinic, "4201", phone=phone).model_copy(update={"departments": departments, "name": HOSTILE})
    assert cfg(of(phones(evil, Secrets()), "4201"))["linekey.2.value"] == ["3101"]
    for name, book in phonebooks(evil).items():
        root = tree(book)
        assert root.tag == ("YealinkIPPhoneBook" if name.endswith(".yealink") else "AddressBook")


def test_phonebook_has_everybody_once_and_their_departments(clinic: Clinic) -> None:
    root = tree(phonebooks(clinic)["adults"])
    groups = {g.findtext("id"): g.findtext("name") for g in root.iter("pbgroup")}
    assert list(groups.values()) == ["Группы", *(d.name for d in clinic.departments.values())]
    found = {c.findtext("Phone/phonenumber"): c for c in root.iter("Contact")}
    assert set(found) >= {p.ext for p in clinic.people} | {"5000", "5001", "5006"}
    one = found["2001"]
    assert (one.findtext("LastName"), one.findtext("FirstName")) == ("Лебедева", "Анна Сергеевна")
    assert groups[one.findtext("Group")] == "Колл-центр" and one.find("Phone").get("type") == "Work"  # type: ignore[union-attr]


def test_yealink_phonebook_has_the_same_numbers(clinic: Clinic) -> None:
    books = phonebooks(clinic)
    units = {u.get("Phone1") for u in tree(books["adults.yealink"]).iter("Unit")}
    assert units == {p.text for p in tree(books["adults"]).iter("phonenumber")}


def test_phonebook_hides_a_department_from_those_it_does_not_name(clinic: Clinic) -> None:
    hidden = clinic.departments["accounting"].model_copy(update={"phonebook": ("administration",)})
    narrowed = clinic.model_copy(update={"departments": clinic.departments | {"accounting": hidden}})
    books = phonebooks(narrowed)
    numbers = {slug: {p.text for p in tree(books[slug]).iter("phonenumber")} for slug in clinic.departments}
    assert {slug for slug, seen in numbers.items() if "4101" in seen} == {"accounting", "administration"}
    assert {slug for slug, seen in numbers.items() if "5007" in seen} == {"accounting", "administration"}, (
        "nor its group"
    )
    assert moved(phones(clinic, Secrets()), phones(narrowed, Secrets())) >= {"3111"}, (
        "who lost it must fetch the new one"
    )
    assert moved(phones(clinic, Secrets()), phones(narrowed, Secrets())).isdisjoint({"4101", "4002"})


def test_150_telephones_take_less_than_their_share_of_a_second() -> None:
    clinic = load(synthetic.text(150))
    began = time.process_time()
    phones(clinic, Secrets())
    assert time.process_time() - began < 0.3
    assert shared(clinic)


def test_everybody_of_a_synthetic_clinic_has_a_file() -> None:
    clinic = load(synthetic.text(1000))
    fleet = phones(clinic, Secrets())
    people: tuple[Person, ...] = clinic.people
    assert len({p.version for p in fleet.values()}) == len(people)
