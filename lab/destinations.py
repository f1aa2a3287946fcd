"""Where fraud calls go: the table that the fraud drill dials, with what a clinic's allow-list opens as its control.

Built from `phonenumbers`' own example numbers, so that it stays right when a country renumbers; what the library has
no example of is written out below. Some of these numbers may be somebody's: nothing here leaves the lab, whose public
network is a namespace of its own.
The countries are those commonly named in shared-revenue fraud and small networks with high rates; the choice is a test
table, no statistic. Codes of no country: ITU-T E.164.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType


@dataclass(frozen=True, slots=True)
class Destination:
    """One number to dial. `zone`: ISO 3166 code, empty for codes of no country.

    `allowed_for`: the countries whose place on the allow-list opens it to the international class; empty is never.
    """

    e164: str
    zone: str
    what: str
    why: str
    allowed_for: frozenset[str] = frozenset()


_USUAL = (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
_KINDS = {
    PhoneNumberType.FIXED_LINE: "fixed line",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.PREMIUM_RATE: "premium rate",
    PhoneNumberType.SHARED_COST: "shared cost",
    PhoneNumberType.PERSONAL_NUMBER: "personal number",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "company-wide number",
    PhoneNumberType.VOIP: "VoIP number",
    PhoneNumberType.VOICEMAIL: "voicemail",
    PhoneNumberType.TOLL_FREE: "free-phone of another country",
}
_REVENUE_SHARE = "a mobile or city range that pays its owner a share of each minute"
_ISLAND = "a small network with a high termination rate, often used for shared revenue"
_LIKE_NORTH_AMERICA = "looks like a call within +1 and costs as one overseas"
_NEIGHBOUR = "often listed by a clinic: its ordinary telephones are the control, its dear ones stay closed"
_DEAR_KINDS = "personal, premium and company-wide numbers beside ordinary ones"

# Countries by why they are here; each gives one number of every kind that the library has an example of.
_COUNTRIES = {
    _REVENUE_SHARE: "CU SO LV LT EE GM MV SL BA TN ZW GN GW LR TD BI DJ ER CG CD CF KM MG MR ML NE TG BJ BF CM GA GQ"
    " ST AL MK RS ME XK BG MC SM LI AF TL KP MM LA LK PS YE SY LY DZ MA SS ET RW UG",
    _ISLAND: "PG CK AC SH FK NR TV TO WS SB VU KI NU TK WF NC PF FM MH PW NF IO SC CV FO GL GP PM MQ"
    " RE YT CW BQ SR GY HT",
    _LIKE_NORTH_AMERICA: "JM GD DO VG TC AG AI BB BM BS DM KN KY LC MS SX TT VC AS GU MP PR VI",
    _DEAR_KINDS: "GB GG JE IM VA IT DE AT CH NL BE FR ES AX SJ",
    _NEIGHBOUR: "BY KZ AM GE AZ UZ KG TJ TM MD UA",
}  # fmt: skip

_SATELLITE = "satellite or network of no country, several dollars a minute"
_WORLDWIDE = "service of no country, charged as its owner likes"
_RUSSIAN = "looks Russian, and is charged by what it offers"
_ABKHAZIA = "under +7 and not Russia: Abkhazia"
_NOBODY = "no country has this code"
_LENGTH = "not a telephone number by its length; a provider might still read a dear prefix"
_KAZAKHSTAN = "under +7 and not Russia: Kazakhstan, no fixed line or mobile"

# What the library has no example of, or takes for something else.
_WRITTEN = {
    _SATELLITE: "870301234567 870771234567 870391234567 870600123456 881612345678 881712345678 881812345678"
    " 881912345678 881012345678 8816234567 88163145678 8823421234 88216123456 88213123456 882345678901 883510012345"
    " 883120123456 883130123456 88351001234567",
    _WORLDWIDE: "979123456789 979012345678 80012345678 80812345678 878101234567890 88812345678901 888123456789",
    _RUSSIAN: "78031234567 78091234567 78011234567 78021234567 78051234567 78061234567 78071234567 78081234567"
    " 78012000600 78091112233 79541234567 79540000001 78801234567 78811234567 78821234567 78901234567 78991234567"
    " 78101234567 78501234567 78502223344",
    _ABKHAZIA: "78401234567 78402223344 78402345678 79401234567 79407123456 79409123456",
    _KAZAKHSTAN: "76001234567 76012345678 76301234567 76661234567 76991234567 77501234567 77511234567 77541234567"
    " 77901234567 77401234567 77301234567 77801234567",
    _NOBODY: "2101234567 2141234567 2591234567 2801234567 2891234567 2941234567 3841234567 4221234567"
    " 6931234567 6991234567 8011234567 8031234567 8511234567 8591234567 8711234567 8841234567 8891234567 9781234567"
    " 9901234567 9971234567 9991234567",
    _LENGTH: "7 37 375 37529 3752912345 375291234567890 791612345 7916123456 791612345678 79161234567890123"
    " 7495 44 4479 447400123456789012 1 1876 18769 18765555 187621012345678 881 8816 979 8709 53 535 5351234567890123"
    " 12345678901234567890 0 00 07 075 0375291234567",
}  # fmt: skip


def _of_countries() -> Iterator[Destination]:
    for why, regions in _COUNTRIES.items():
        for region in regions.split():
            for kind, what in _KINDS.items():
                number = phonenumbers.example_number_for_type(region, kind)
                if (
                    number and phonenumbers.region_code_for_number(number) != "RU"
                ):  # Kazakhstan's free-phone is Russia's
                    yield _described(phonenumbers.format_number(number, PhoneNumberFormat.E164), what, why, region)


def _written_out() -> Iterator[Destination]:
    for why, numbers in _WRITTEN.items():
        for number in numbers.split():
            zone = {_RUSSIAN: "RU", _ABKHAZIA: "RU", _KAZAKHSTAN: "KZ"}.get(why, "")
            what = "no telephone number" if why in (_NOBODY, _LENGTH) else "special number"
            yield Destination(f"+{number}", zone, what, why)


def _described(e164: str, what: str, why: str, region: str) -> Destination:
    """A country's number opens with the country that the library says it is of, which may be another of its code."""
    number = phonenumbers.parse(e164)
    owner = phonenumbers.region_code_for_number(number)
    open_with = {owner} if owner and phonenumbers.number_type(number) in _USUAL else set()
    return Destination(e164, owner or region, what, why, frozenset(open_with))


DESTINATIONS: tuple[Destination, ...] = tuple({d.e164: d for d in (*_of_countries(), *_written_out())}.values())


def closed_for(countries: frozenset[str]) -> tuple[Destination, ...]:
    """Those that nobody of a clinic with this allow-list may reach."""
    return tuple(d for d in DESTINATIONS if not d.allowed_for & countries)
