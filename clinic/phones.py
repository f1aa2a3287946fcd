"""The phone models a clinic may use and what each can carry.

Sources: Grandstream's administration guides for the GRP, GXP and HT families; the counts of Yealink and GRP260x are
unconfirmed. No
hardware was tested. A model missing here is a mistake in the description, because its keys could not be checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """Models that share one provisioning format."""

    GRP261X = "grp261x"
    GXP21XX = "gxp21xx"
    GXP16XX = "gxp16xx"
    GRP260X = "grp260x"
    HT8XX = "ht8xx"
    YEALINK = "yealink"


@dataclass(frozen=True, slots=True)
class Model:
    """A model's keys and screen. `line_keys` can be lines, and anything else when `line_keys_multi` is true."""

    name: str
    vendor: str
    family: Family
    accounts: int
    line_keys: int
    multi_keys: int = 0
    line_keys_multi: bool = True
    console: str = ""
    max_consoles: int = 0
    console_keys: int = 0
    label_chars: int = 12

    def room_for_keys(self, lines: int, consoles: int) -> int:
        """How many keys that are no lines fit beside `lines` line keys and with `consoles` attached."""
        free = max(0, self.line_keys - lines) if self.line_keys_multi else 0
        return free + self.multi_keys + consoles * self.console_keys


def _grandstream(name: str, family: Family, accounts: int, lines: int, multi: int = 0, **more: object) -> Model:
    return Model(name, "Grandstream", family, accounts, lines, multi, **more)  # type: ignore[arg-type]


def _yealink(name: str, accounts: int, lines: int, console: str = "", consoles: int = 0, label: int = 12) -> Model:
    keys = 60 if console else 0
    return Model(name, "Yealink", Family.YEALINK, accounts, lines, 0, True, console, consoles, keys, label)


_ALL = (
    _grandstream("GRP2612", Family.GRP261X, 4, 16),
    _grandstream("GRP2613", Family.GRP261X, 6, 24),
    _grandstream("GRP2614", Family.GRP261X, 4, 16, 24, label_chars=14),
    _grandstream("GRP2615", Family.GRP261X, 10, 40, console="GBX20", max_consoles=4, console_keys=40, label_chars=14),
    _grandstream("GRP2616", Family.GRP261X, 6, 16, 24, label_chars=14),
    _grandstream("GXP2135", Family.GXP21XX, 4, 32),
    _grandstream("GXP2140", Family.GXP21XX, 4, 16, console="GXP2200EXT", max_consoles=4, console_keys=40),
    _grandstream("GXP2170", Family.GXP21XX, 6, 48, console="GXP2200EXT", max_consoles=4, console_keys=40),
    # Line keys of the GXP16xx have no busy lamp; 1628 and 1630 have eight keys that do.
    _grandstream("GXP1610", Family.GXP16XX, 1, 2, line_keys_multi=False, label_chars=8),
    _grandstream("GXP1615", Family.GXP16XX, 1, 2, line_keys_multi=False, label_chars=8),
    _grandstream("GXP1620", Family.GXP16XX, 2, 2, line_keys_multi=False, label_chars=8),
    _grandstream("GXP1625", Family.GXP16XX, 2, 2, line_keys_multi=False, label_chars=8),
    _grandstream("GXP1628", Family.GXP16XX, 2, 2, 8, line_keys_multi=False, label_chars=8),
    _grandstream("GXP1630", Family.GXP16XX, 3, 3, 8, line_keys_multi=False, label_chars=8),
    _grandstream("GRP2601", Family.GRP260X, 2, 2),
    _grandstream("GRP2602", Family.GRP260X, 4, 4),
    _grandstream("GRP2603", Family.GRP260X, 6, 6),
    _grandstream("GRP2604", Family.GRP260X, 6, 6, 10),
    _grandstream("HT801", Family.HT8XX, 1, 1, line_keys_multi=False, label_chars=0),
    _grandstream("HT802", Family.HT8XX, 2, 2, line_keys_multi=False, label_chars=0),
    _grandstream("HT812", Family.HT8XX, 2, 2, line_keys_multi=False, label_chars=0),
    _grandstream("HT814", Family.HT8XX, 4, 4, line_keys_multi=False, label_chars=0),
    _yealink("T31G", 2, 2),
    _yealink("T33G", 4, 4),
    _yealink("T43U", 12, 21, "EXP43", 3),
    _yealink("T46U", 16, 27, "EXP43", 3, 14),
    _yealink("T48U", 16, 29, "EXP43", 3, 14),
    _yealink("T53", 12, 21, "EXP50", 3),
    _yealink("T53W", 12, 21, "EXP50", 3),
    _yealink("T54W", 16, 27, "EXP50", 3, 14),
    _yealink("T57W", 16, 29, "EXP50", 3, 14),
)

MODELS: dict[str, Model] = {model.name: model for model in _ALL}
