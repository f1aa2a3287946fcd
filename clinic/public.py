"""Public telephone numbers as people write them, to E.164, by `phonenumbers`.

A description may say `8 (495) 123-00-01`, `+7 495 123-00-01` or `74951230001`: all are +74951230001, so two spellings
of one number are one number everywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import phonenumbers
from phonenumbers import ValidationResult
from pydantic import BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

_LOOKS_LIKE = r"^[+0-9][0-9 ()./~\u00a0\u2010-\u2015-]{1,30}$"  # what contracts and web pages put between digits
_WRONG_LENGTH = {
    ValidationResult.TOO_SHORT: "the number is too short for its country",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "the number is too short for its country",
    ValidationResult.INVALID_LENGTH: "the number has a digit too few or too many for its country",
    ValidationResult.TOO_LONG: "the number is too long for its country",
}
EXAMPLE = "+7 495 123-00-00"


def normalise(written: str, area_code: str, country: str = "RU") -> str | None:
    """What a person wrote or dialled, as E.164; None when it cannot be a telephone number."""
    number = _parsed(written, area_code, country)
    return _e164(number) if number and phonenumbers.is_possible_number(number) else None


def _parsed(written: str, area_code: str, country: str) -> phonenumbers.PhoneNumber | None:
    """The dial plan's own readings first: a city number without its code, and 00 before a country."""
    if not re.fullmatch(_LOOKS_LIKE, written.strip()):
        return None
    digits = re.sub(r"[^+0-9]", "", written)
    if area_code and len(digits) == 10 - len(area_code):
        digits = f"8{area_code}{digits}"
    if digits.startswith("00"):
        digits = f"+{digits[2:]}"
    try:
        return phonenumbers.parse(digits, country)
    except phonenumbers.NumberParseException:
        return None


def _e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def existing(value: Any, info: ValidationInfo) -> str:
    """A number of the description as E.164. The validation's context is `conventions` of that description."""
    context = info.context or {}
    number = _parsed(str(value), context.get("area_code", ""), context.get("country", "RU"))
    if number is None:
        raise _mistake("this is no telephone number", f'Write it as in the contract, as "{EXAMPLE}"')
    length = phonenumbers.is_possible_number_with_reason(number)
    if length is not ValidationResult.IS_POSSIBLE:
        why = _WRONG_LENGTH.get(length, "no country has such a number")
        raise _mistake(why, "Count the digits in the contract")
    if not phonenumbers.is_valid_number(number):
        raise _mistake("no such number exists in its country's numbering plan", "Compare it with the contract")
    return _e164(number)


def conventions(description: Mapping[str, Any]) -> dict[str, str]:
    """How numbers are meant in a description that is not yet checked: its country and city code."""
    numbering = description.get("numbering")
    said = numbering if isinstance(numbering, Mapping) else {}
    country, area_code = said.get("country", "RU"), str(said.get("area_code", ""))
    return {
        "country": country if country in phonenumbers.SUPPORTED_REGIONS else "RU",
        "area_code": area_code if re.fullmatch("[0-9]{3,5}", area_code) else "",
    }


def _mistake(rule: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError("public_number", "{rule}", {"rule": rule, "remedy": remedy})


PublicNumber = Annotated[
    str,
    BeforeValidator(existing),
    Field(
        description=f"Public number as people write it, as {EXAMPLE}; kept as E.164",
        # An editor's YAML sees 74951230001 as an integer.
        json_schema_extra={"type": ["string", "integer"], "pattern": _LOOKS_LIKE},
    ),
]
