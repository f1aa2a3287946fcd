"""GXP16xx, GRP260x and HT8xx: Grandstream's numbered settings.

Source: Grandstream's configuration templates by their public copies. For the GRP260x there is none; its numbers are
taken to be those of the GRP261x and GXP21xx (?). No hardware was tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from clinic.keys import Button, Mode
from clinic.model import Clinic
from clinic.phones import Family, Model
from clinic.rendering.phones import writing
from clinic.rendering.phones.aliases import PRESETS, label
from clinic.rendering.phones.device import (
    DIALPLAN,
    DSCP_SIGNALS,
    DSCP_VOICE,
    PICKUP,
    PRIORITY,
    REGISTER_MINUTES,
    Device,
    posix_zone,
    time_server,
)

PCMU, PCMA, G722 = "0", "8", "9"
CODECS = (PCMA, PCMU, G722)
LINE_MODES = {Mode.LINE: "0", Mode.DIAL: "10", Mode.LAMP: "11", Mode.TRANSFER: "18", Mode.PARK: "19"}
MULTI_MODES = {Mode.DIAL: "0", Mode.LAMP: "1", Mode.TRANSFER: "8", Mode.PARK: "9"}
HT_LANGUAGES = {"ru": "6", "en": "0"}
OTHER_ACCOUNTS = ("P401", "P501", "P601", "P1701", "P1801")  # active: accounts 2 to 6
HTTPS, ON, OFF = "2", "1", "0"


def general(clinic: Clinic, family: Family) -> dict[str, str]:
    """What holds for every telephone of the clinic: nothing secret."""
    zone = posix_zone(clinic)
    # The old families' preset for Moscow still has the summer time that was abolished in 2011.
    preset = zone in PRESETS and family is Family.GRP260X
    settings = {
        "P30": time_server(clinic), "P64": zone if preset else "customize", "P246": zone,
        "P51": str(clinic.networks.voice.vlan), "P276": ON, "P1409": OFF, "P1414": OFF,
    }  # fmt: skip
    if family is Family.HT8XX:
        return settings | {
            "P342": HT_LANGUAGES[clinic.language], "P5038": PRIORITY, "P5042": PRIORITY,
            "P5046": DSCP_SIGNALS, "P5050": DSCP_VOICE,
        }  # fmt: skip
    return settings | {
        "P1362": clinic.language, "P122": ON, "P87": PRIORITY, "P1558": DSCP_SIGNALS, "P1559": DSCP_VOICE,
        "P1684": ON, **({"P22174": ON} if family is Family.GRP260X else {}),
    }  # fmt: skip


def files(device: Device, version: str) -> dict[str, bytes]:
    adapter = device.model.family is Family.HT8XX
    settings = general(device.clinic, device.model.family) | _account(device) | _security(device)
    settings |= _adapter(device) if adapter else _telephone(device) | dict(_keys(device))
    return {f"cfg{device.mac}.xml": writing.p_values(device.mac, settings | _addresses(device, version))}


def shared(clinic: Clinic, model: Model) -> dict[str, bytes]:
    return {f"cfg{model.name.lower()}.xml": writing.p_values("", general(clinic, model.family))}


def _addresses(device: Device, version: str) -> dict[str, str]:
    """The second door, the marker, the firmware. An adapter has no phonebook: it always looks for firmware instead."""
    adapter = device.model.family is Family.HT8XX
    settings = {
        "P212": HTTPS, "P237": f"{device.pbx}/p", "P1360": device.mac, "P1361": device.door_password,
        "P192": f"{device.pbx}/w/{version}", "P238": OFF if adapter or device.firmware else "2",
    }  # fmt: skip
    if adapter:
        return settings | {"P194": "1", "P285": "2", "P8459": "4", "P8458": ON}
    return settings | {
        "P6767": HTTPS, "P6768": device.mac, "P6769": device.door_password, "P194": "1", "P193": "1440",
        "P330": "3", "P331": f"{device.pbx}/b/{version}", "P332": "720", "P6713": device.mac,
        "P6714": device.door_password,
    }  # fmt: skip


def _account(device: Device) -> dict[str, str]:
    person = device.person
    order = [f"P{n}" for n in range(57, 63)] + ["P46"]
    # The GXP16xx has seven places for codecs, the others eight.
    order += [] if device.model.family is Family.GXP16XX else ["P98"]
    return {
        "P271": ON, "P270": person.ext, "P47": f"{device.pbx}:{device.port}", "P35": person.ext, "P36": person.ext,
        "P34": device.sip_password, "P3": person.name, "P130": "2" if device.secure else "0", "P2329": OFF,
        "P32": str(REGISTER_MINUTES), "P290": DIALPLAN, "P258": ON, "P26015": OFF, "P191": OFF, "P91": OFF,
        "P79": "101", "P298": OFF, "P2367": ON if device.secure else OFF,
        **{number: CODECS[min(place, len(CODECS) - 1)] for place, number in enumerate(order)},
        **dict.fromkeys(OTHER_ACCOUNTS[: device.model.accounts - 1], OFF),
    }  # fmt: skip


def _security(device: Device) -> dict[str, str]:
    return {
        "P2": device.admin_password, "P196": device.user_password, "P1650": OFF, "P4428": ON, "P145": OFF,
        "P8337": OFF, "P8463": ON, "P22030": ON, "P8433": device.authority, "P8502": "2", "P1310": ON,
    }  # fmt: skip


def _telephone(device: Device) -> dict[str, str]:
    return {
        "P2312": _backup(device), "P183": "2" if device.secure else "3", "P2301": OFF, "P2302": ON, "P2303": OFF,
        "P2347": ON, "P1347": PICKUP, "P8300": OFF, "P102": "2",
    }  # fmt: skip


def _adapter(device: Device) -> dict[str, str]:
    """DTMF by RFC 2833 first; the certificate that SIP over TLS is held against is a setting of its own."""
    return {
        "P967": _backup(device), "P183": "2" if device.secure else "1", "P850": "101", "P851": "102", "P852": "100",
        "P243": ON, "P2386": device.authority,
    }  # fmt: skip


def _backup(device: Device) -> str:
    return f"{device.backup}:{device.port}" if device.backup else ""


def _keys(device: Device) -> Iterator[tuple[str, str]]:
    keys, model = device.layout, device.model
    free = Button(Mode.LINE, "", "")  # these families know no empty line key: it is one more line
    for n in range(model.line_keys):
        button = keys.line_keys[n] if n < len(keys.line_keys) else free
        yield from _key(_line_numbers(n), LINE_MODES[button.mode], button, model.label_chars)
    for n in range(model.multi_keys):
        given = keys.multi_keys[n] if n < len(keys.multi_keys) else Button(Mode.DIAL, "", "")
        yield from _key(_multi_numbers(n), MULTI_MODES[given.mode], given, model.label_chars)


def _key(numbers: tuple[int, int, int, int], mode: str, button: Button, limit: int) -> Iterator[tuple[str, str]]:
    """Mode, account, description, value."""
    values = (mode, "0", label(button, limit), button.number)
    return chain((f"P{number}", value) for number, value in zip(numbers, values, strict=True))


def _line_numbers(n: int) -> tuple[int, int, int, int]:
    return 1363 + 2 * n, 1364 + 2 * n, 1465 + 2 * n, 1466 + 2 * n


def _multi_numbers(n: int) -> tuple[int, int, int, int]:
    """The first seven lie in two blocks, the others follow each other."""
    if n < 7:
        return 323 + n, 301 + 3 * n, 302 + 3 * n, 303 + 3 * n
    first = 353 + 4 * (n - 7)
    return first, first + 1, first + 2, first + 3
