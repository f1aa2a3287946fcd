"""Ensure that a listed country opens its fixed lines and mobiles exactly, by the library's own classification."""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache

import phonenumbers
import pytest
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumber, PhoneNumberDesc, PhoneNumberType

from clinic import abroad
from clinic.abroad import patterns, read
from clinic.numbering import CLOSED, matches, rule_of
from clinic.types import ServiceClass

WORLDWIDE = "001"  # satellites, networks and services of no country, which no clinic can list
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = sorted(set(PhoneNumberType.values()) - {PhoneNumberType.UNKNOWN})
USUAL = {PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
USUAL_COUNTRIES = [
    "AE", "AM", "AT", "AZ", "BY", "CA", "CH", "CN", "DE", "EE", "ES", "FI", "FR", "GB", "GE",
    "IE", "IL", "IN", "IT", "KG", "KZ", "LT", "LV", "MD", "PT", "TJ", "TM", "TR", "US", "UZ",
]  # fmt: skip
# Written from Asterisk's extensions.conf: digits, X, Z, N and sets; no `.` and no `!`, which would match any length.
SYNTAX = re.compile(r"_\+[1-9](?:[0-9XZN]|\[[0-9]+(?:-[0-9])?(?:[0-9]+(?:-[0-9])?)*\])+")
LONGEST_NAME = 79  # AST_MAX_EXTENSION is 80 with its end


@cache
def expression(region: str) -> re.Pattern[str]:
    """All patterns of a region as one expression, read independently of `numbering.matches`."""
    named = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]"}
    texts = (re.sub("[XZN]", lambda m: named[m[0]], p.removeprefix("_+")) for p in patterns(region))
    return re.compile("|".join(texts) or r"(?!)")


def number(code: int, national: str) -> PhoneNumber:
    zeros = len(national) - len(national.lstrip("0"))
    return PhoneNumber(
        country_code=code, national_number=int(national),
        italian_leading_zero=zeros > 0 or None, number_of_leading_zeros=zeros or None,
    )  # fmt: skip


def owner(code: int, national: str) -> str | None:
    """The country on whose listing this number opens, by the library."""
    parsed = number(code, national)
    region = phonenumbers.region_code_for_number(parsed)
    return region if region not in (None, WORLDWIDE) and phonenumbers.number_type(parsed) in USUAL else None


def opened(code: int, national: str) -> str | None:
    """The same by our patterns."""
    found = [
        r for r in COUNTRY_CODE_TO_REGION_CODE[code] if r != "001" and expression(r).fullmatch(f"{code}{national}")
    ]
    assert len(found) <= 1, f"+{code}{national} opens with each of {found}"
    return found[0] if found else None


def disagreements(numbers: Iterable[tuple[int, str]], ours: Callable[[int, str], str | None] = opened) -> list[str]:
    return [
        f"+{code}{national}: {ours(code, national)} here, {owner(code, national)} by the library"
        for code, national in numbers
        if ours(code, national) != owner(code, national)
    ]


def by_prefix(code: int, digits: int) -> Iterator[tuple[int, str]]:
    """Every prefix of so many digits, each with a random rest of a length that the code knows or nearly knows."""
    rand = random.Random(code)  # noqa: S311 - a fixed series of test numbers
    lengths = sorted({n + d for r in COUNTRY_CODE_TO_REGION_CODE[code] for n in _lengths(code, r) for d in (0, 0, 1)})
    for prefix in range(10**digits):
        length = max(rand.choice(lengths), digits + 1)
        rest = "".join(rand.choices("0123456789", k=length - digits))
        national = f"{prefix:0{digits}}{rest}"
        if int(national):
            yield code, national


def _lengths(code: int, region: str) -> tuple[int, ...]:
    metadata = (
        PhoneMetadata.metadata_for_nongeo_region(code)
        if region == WORLDWIDE
        else PhoneMetadata.metadata_for_region(region)
    )
    assert metadata is not None and metadata.general_desc is not None
    return tuple(metadata.general_desc.possible_length)


def near(region: str, count: int) -> Iterator[tuple[int, str]]:
    """Numbers of the region's every pattern, and those one digit beside, longer and shorter."""
    rand = random.Random(region)  # noqa: S311
    code = phonenumbers.country_code_for_region(region)
    chosen = patterns(region) if len(patterns(region)) <= count else rand.sample(patterns(region), count)
    for pattern in chosen:
        national = sample(pattern, rand)[len(str(code)) + 1 :]
        at = rand.randrange(len(national))
        beside = national[:at] + rand.choice("0123456789") + national[at + 1 :]
        yield from ((code, n) for n in (national, beside, national + "5", national[:-1]) if int(n or 0))


def sample(pattern: str, rand: random.Random) -> str:
    """One E.164 number of a pattern."""
    named = {"X": "0-9", "Z": "1-9", "N": "2-9"}
    out = "+"
    for name, inside, plain in re.findall(r"([XZN])|\[([0-9-]+)\]|([0-9])", pattern.removeprefix("_+")):
        out += plain or rand.choice([d for d in "0123456789" if re.match(f"[{inside or named[name]}]", d)])
    return out


def test_every_example_number_of_the_library_is_open_exactly_when_it_is_a_fixed_line_or_a_mobile() -> None:
    """Of every region and every kind: premium, shared-cost, personal, pager, company-wide, VoIP and voicemail too."""
    examples = [phonenumbers.example_number_for_type(r, k) for r in REGIONS for k in KINDS]
    found = [(n.country_code, phonenumbers.national_significant_number(n)) for n in examples if n]
    assert len(found) > 1000
    assert not disagreements((code, n) for code, n in found if code)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_every_prefix_of_every_calling_code_opens_as_the_library_says(digits: int) -> None:
    assert not disagreements(n for code in COUNTRY_CODE_TO_REGION_CODE for n in by_prefix(code, digits))


@pytest.mark.parametrize("code", [1, 7, 39, 44, 47, 61, 212, 262, 290, 358, 375, 590, 599])
def test_countries_that_share_a_calling_code_do_not_open_each_other(code: int) -> None:
    assert not disagreements(by_prefix(code, 4))


def test_numbers_beside_a_pattern_open_as_the_library_says() -> None:
    assert not disagreements(n for region in REGIONS for n in near(region, 25))


@pytest.mark.parametrize("region", USUAL_COUNTRIES)
def test_what_a_usual_country_opens_is_e164_as_the_library_reads_it(region: str) -> None:
    """A number that the library rewrites when it parses it would reach another one at the provider."""
    rand = random.Random(region)  # noqa: S311
    for pattern in patterns(region):
        e164 = sample(pattern, rand)
        parsed = phonenumbers.parse(e164)
        assert phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == e164
        assert phonenumbers.is_valid_number_for_region(parsed, region), e164


def test_no_satellite_premium_or_other_worldwide_code_opens_with_any_country() -> None:
    worldwide = [code for code, regions in COUNTRY_CODE_TO_REGION_CODE.items() if regions == (WORLDWIDE,)]
    assert {800, 808, 870, 878, 881, 882, 883, 888, 979} <= set(worldwide)
    heads = tuple(f"_+{code}" for code in worldwide)
    assert not [p for r in REGIONS for p in patterns(r) if p.startswith(heads)]


def test_every_pattern_is_one_that_asterisk_accepts() -> None:
    for region in REGIONS:
        for pattern in patterns(region):
            assert SYNTAX.fullmatch(pattern), pattern
            assert len(pattern) <= LONGEST_NAME, pattern
            assert all(a < b for a, b in re.findall(r"(\d)-(\d)", pattern)), pattern


def test_dial_plan_reads_a_pattern_as_the_comparison_does() -> None:
    numbers = [n for region in USUAL_COUNTRIES for n in near(region, 5)]
    for code, national in numbers:
        theirs = [r for r in USUAL_COUNTRIES if any(matches(p, f"+{code}{national}") for p in patterns(r))]
        assert theirs == [r for r in USUAL_COUNTRIES if expression(r).fullmatch(f"{code}{national}")]


def test_comparison_finds_a_pattern_too_many_and_one_too_few() -> None:
    """The control: the same comparison with patterns that are wrong by one."""
    numbers = [(375, "291234567"), (375, "9021234567"), (375, "9021234")]

    def too_wide(code: int, national: str) -> str | None:
        return "BY" if re.fullmatch(r"375(29\d{7}|902\d{7})", f"{code}{national}") else None

    assert not disagreements(numbers)
    assert disagreements(numbers, too_wide) == ["+3759021234567: BY here, None by the library"]
    assert disagreements(numbers, lambda *_: None) == ["+375291234567: None here, BY by the library"]


def test_comparison_fails_when_neighbours_are_not_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the compiler: taken alone, the Vatican's metadata has every Italian mobile."""
    caches = (abroad.numbers, abroad.patterns, expression)
    monkeypatch.setattr(abroad, "COUNTRY_CODE_TO_REGION_CODE", dict.fromkeys(COUNTRY_CODE_TO_REGION_CODE, ("alone",)))
    try:
        for one in caches:
            one.cache_clear()
        with pytest.raises(AssertionError, match="opens with each of"):
            disagreements(by_prefix(39, 3))
    finally:
        monkeypatch.undo()
        for one in caches:
            one.cache_clear()
    assert not disagreements(by_prefix(39, 3))


def test_number_of_two_kinds_is_of_the_dearer_one() -> None:
    """No country of the installed library overlaps itself, so this one is made up."""

    def described(pattern: str) -> PhoneNumberDesc:
        return PhoneNumberDesc(national_number_pattern=pattern, possible_length=(3,))

    made_up = PhoneMetadata(
        id="ZZ", international_prefix=None, register=False, general_desc=described(r"\d{3}"),
        fixed_line=described("[1-3]00"), premium_rate=described("200"),
    )  # fmt: skip
    usual, other = abroad._kinds(made_up)
    assert (abroad._written(usual), abroad._written(other)) == (("[13]00",), ("200",))


@pytest.mark.parametrize("text", ["[^1]2", "1*", "1+", r"\w", "(?!1)2", "1{2,}", "12)", "(?:12", "[12", "a", ".", "[]"])
def test_syntax_beyond_the_metadata_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the syntax"):
        read(text)


def test_unknown_region_is_refused() -> None:
    with pytest.raises(ValueError, match="XX"):
        patterns("XX")


def test_usual_countries_need_few_patterns() -> None:
    """Asterisk keeps them in a tree, and the rendered file stays one that a person can read."""
    counts = {region: len(patterns(region)) for region in USUAL_COUNTRIES}
    assert sum(counts.values()) < 4000, counts
    assert all(counts.values())


def test_listed_country_opens_for_the_international_class_and_its_zone_only() -> None:
    mobile, premium = "+375291234567", "+3759021234567"
    rule = rule_of(mobile, "495", ("KZ", "BY"))
    assert rule and (rule.rank, rule.zone) == (ServiceClass.INTERNATIONAL.rank, "BY")
    assert rule_of(premium, "495", ("KZ", "BY")) is None
    assert rule_of(mobile, "495", ("KZ",)) is None


def test_no_listed_country_changes_what_is_russian() -> None:
    everywhere = tuple(r for r in REGIONS if r != "RU")
    for code in range(300, 1000):
        e164 = f"+7{code}2345678"
        bare, listed = rule_of(e164, "495"), rule_of(e164, "495", everywhere)
        if bare:
            assert listed == bare, e164
        elif listed:
            assert (listed.zone, listed.rank) == ("KZ", ServiceClass.INTERNATIONAL.rank), e164
        assert listed is None or listed.rank != CLOSED or listed.zone == ""
