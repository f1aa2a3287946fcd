"""The ordinary telephones of a country, as dial-plan patterns compiled from the metadata of `phonenumbers`.

Fraud goes to number ranges everywhere, so a country on the allow-list opens its fixed lines and mobiles and nothing
else: no premium, shared-cost, personal, pager, VoIP, satellite or company-wide number, and no neighbour that shares the
calling code (+1, +7, +39, +44 ...). A range that the installed library does not know yet stays closed.

The metadata describes numbers by regular expressions, from which others have to be subtracted. Numbers are finite, so
an expression is read into the set of its strings, kept as a tree that shares equal branches; union, intersection and
difference are exact there, and the tree is written out as patterns without overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, reduce

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from phonenumbers.phonemetadata import PhoneNumberDesc

DIGITS = "0123456789"
LONGEST = 17  # digits of a national number; E.164 ends at 15, and the library describes a few beyond
_OTHER_KINDS = (
    "premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail"
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Strings:
    """A set of digit strings: whether the empty one `ends` here, and what may follow each digit (None: nothing)."""

    ends: bool
    after: tuple[Strings | None, ...]


Set = Strings | None  # None is the empty set


@cache
def _made(ends: bool, after: tuple[Set, ...]) -> Set:
    """The one object of this set, so that equal sets are identical."""
    return Strings(ends, after) if ends or any(after) else None


NOTHING = (None,) * 10
EMPTY_STRING = _made(True, NOTHING)


@cache
def union(a: Set, b: Set) -> Set:
    if a is None or b is None or a is b:
        return a or b
    return _made(a.ends or b.ends, tuple(union(x, y) for x, y in zip(a.after, b.after, strict=True)))


@cache
def both(a: Set, b: Set) -> Set:
    if a is None or b is None or a is b:
        return a and b
    return _made(a.ends and b.ends, tuple(both(x, y) for x, y in zip(a.after, b.after, strict=True)))


@cache
def without(a: Set, b: Set) -> Set:
    if a is None or b is None:
        return a
    return _made(a.ends and not b.ends, tuple(without(x, y) for x, y in zip(a.after, b.after, strict=True)))


@cache
def followed(a: Set, b: Set) -> Set:
    """Every string of `a` with every string of `b` behind it."""
    if a is None or b is None:
        return None
    rest = _made(False, tuple(followed(x, b) for x in a.after))
    return union(b, rest) if a.ends else rest


@cache
def one_of(digits: str) -> Set:
    return _made(False, tuple(EMPTY_STRING if d in digits else None for d in DIGITS))


def repeated(what: Set, least: int, most: int) -> Set:
    out = EMPTY_STRING
    for n in reversed(range(most)):
        out = followed(what, out) if n < least else union(EMPTY_STRING, followed(what, out))
    return out


class _Reader:
    """Recursive descent over the metadata's syntax: digits, `\\d`, `[..]`, `(?:..|..)`, `?`, `{n}`, `{n,m}`."""

    def __init__(self, expression: str) -> None:
        self.text, self.at = expression, 0

    def whole(self) -> Set:
        out = self._alternatives()
        if self.at != len(self.text):
            raise self._unknown()
        return out

    def _alternatives(self) -> Set:
        out = self._sequence()
        while self._took("|"):
            out = union(out, self._sequence())
        return out

    def _sequence(self) -> Set:
        parts = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            parts.append(self._quantified(self._atom()))
        return reduce(lambda behind, part: followed(part, behind), reversed(parts), EMPTY_STRING)

    def _atom(self) -> Set:
        if self._took("(?:") or self._took("("):
            inner = self._alternatives()
            self._expect(")")
            return inner
        if self._took("\\d"):
            return one_of(DIGITS)
        if self._took("["):
            inside, _, _ = self.text[self.at :].partition("]")
            if not inside or set(inside) - {*DIGITS, "-"}:
                raise self._unknown()
            self.at += len(inside)
            self._expect("]")
            return one_of(expanded(inside))
        if self.text[self.at] not in DIGITS:
            raise self._unknown()
        self.at += 1
        return one_of(self.text[self.at - 1])

    def _quantified(self, atom: Set) -> Set:
        if self._took("?"):
            return repeated(atom, 0, 1)
        if not self._took("{"):
            return atom
        counts, _, _ = self.text[self.at :].partition("}")
        least, comma, most = counts.partition(",")
        if not least.isdigit() or (comma and not most.isdigit()):  # `{2,}` has no end, which no number is
            raise self._unknown()
        self.at += len(counts)
        self._expect("}")
        return repeated(atom, int(least), int(most or least))

    def _took(self, what: str) -> bool:
        found = self.text.startswith(what, self.at)
        self.at += len(what) if found else 0
        return found

    def _expect(self, what: str) -> None:
        if not self._took(what):
            raise self._unknown()

    def _unknown(self) -> ValueError:
        return ValueError(f"position {self.at} of {self.text!r}: not the syntax that phonenumbers' metadata uses")


@cache
def read(expression: str) -> Set:
    """The strings that match `expression` as a whole. ValueError for syntax beyond the metadata's."""
    return _Reader(expression).whole()


def expanded(inside: str) -> str:
    """`13-5` of a set `[13-5]` as `1345`."""
    out, i = "", 0
    while i < len(inside):
        if inside[i + 1 : i + 2] == "-" and i + 2 < len(inside):
            out += "".join(map(chr, range(ord(inside[i]), ord(inside[i + 2]) + 1)))
            i += 3
        else:
            out, i = out + inside[i], i + 1
    return out


def _described(description: PhoneNumberDesc | None) -> Set:
    if description is None or not description.national_number_pattern:
        return None
    numbers, digit = read(description.national_number_pattern), one_of(DIGITS)
    lengths = description.possible_length
    sized = reduce(union, (repeated(digit, n, n) for n in lengths), None) if lengths else None
    return both(numbers, sized) if lengths else numbers


@cache
def _metadata(region: str) -> PhoneMetadata:
    found = PhoneMetadata.metadata_for_region(region, None)
    if found is None:
        raise ValueError(f"{region}: phonenumbers knows no such region")
    return found


def _kinds(metadata: PhoneMetadata) -> tuple[Set, Set]:
    """(fixed lines and mobiles, every other kind); a number of two kinds is of the other one, as in the library."""
    general = _described(metadata.general_desc)
    other = reduce(union, (_described(getattr(metadata, kind)) for kind in _OTHER_KINDS), None)
    usual = union(_described(metadata.fixed_line), _described(metadata.mobile))
    return without(both(general, usual), other), both(general, other)


def _claimed(metadata: PhoneMetadata) -> Set:
    """What the library calls this region's among those that share a calling code."""
    if metadata.leading_digits is None:
        return union(*_kinds(metadata))
    return followed(read(metadata.leading_digits), repeated(one_of(DIGITS), 0, LONGEST))


@cache
def numbers(region: str) -> Set:
    """National numbers of the region's fixed lines and mobiles. ValueError for a region the library does not know."""
    metadata = _metadata(region)
    out, _ = _kinds(metadata)
    sharing = COUNTRY_CODE_TO_REGION_CODE[metadata.country_code or 0]
    if len(sharing) == 1:
        return out
    for earlier in sharing[: sharing.index(region)]:  # the first that claims a number has it
        out = without(out, _claimed(_metadata(earlier)))
    return both(out, _claimed(metadata))


@cache
def patterns(region: str) -> tuple[str, ...]:
    """Asterisk patterns over `+E.164` of the region's fixed lines and mobiles; no two match the same number."""
    return tuple(f"_+{_metadata(region).country_code}{tail}" for tail in _written(numbers(region)))


@cache
def _written(strings: Set) -> tuple[str, ...]:
    return tuple(_tails(strings)) if strings else ()


def _tails(strings: Strings) -> Iterator[str]:
    if strings.ends:
        yield ""
    digits_to: dict[Strings, str] = {}
    for digit, rest in zip(DIGITS, strings.after, strict=True):
        if rest:
            digits_to[rest] = digits_to.get(rest, "") + digit
    for rest, digits in digits_to.items():
        yield from (_one(digits) + tail for tail in _written(rest))


def _one(digits: str) -> str:
    """One position of a pattern. `Z` and `N` are sets too, and Asterisk ranks all by how many digits they hold."""
    if len(digits) == 1:
        return digits
    names = {DIGITS: "X", DIGITS[1:]: "Z", DIGITS[2:]: "N"}
    return names.get(digits) or f"[{_ranges(digits)}]"


def _ranges(digits: str) -> str:
    runs: list[str] = []
    for digit in digits:
        if runs and ord(digit) == ord(runs[-1][-1]) + 1:
            runs[-1] += digit
        else:
            runs.append(digit)
    return "".join(run if len(run) < 3 else f"{run[0]}-{run[-1]}" for run in runs)
