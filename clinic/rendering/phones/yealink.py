"""Yealink T3x, T4x and T5x: lines of `key = value`.

Source: Yealink's auto-provisioning guide for V84 to V86 firmware, by public copies. No hardware was tested.
"""

from __future__ import annotations

from collections.abc import Iterator

from clinic.keys import Button, Mode
from clinic.model import Clinic
from clinic.phones import Model
from clinic.rendering.phones import writing
from clinic.rendering.phones.aliases import label
from clinic.rendering.phones.device import (
    DSCP_SIGNALS,
    DSCP_VOICE,
    PICKUP,
    PRIORITY,
    REGISTER_MINUTES,
    Device,
    hours_east,
    time_server,
)

# The number in the common file's name, y0000000000NN.cfg.
COMMON = {
    "T31G": 123, "T33G": 124, "T43U": 107, "T46U": 108, "T48U": 109, "T53": 95, "T53W": 95, "T54W": 96, "T57W": 97,
}  # fmt: skip
TYPES = {Mode.LINE: "15", Mode.LAMP: "16", Mode.DIAL: "13", Mode.TRANSFER: "3", Mode.PARK: "10"}
LANGUAGES = {"ru": "Russian", "en": "English"}
CODECS = {"pcma": "1", "pcmu": "2", "g722": "3"}  # priority 1 is the first
OFF_CODECS = ("g729", "opus", "ilbc", "g726_32", "g723_53", "g723_63")
KEYS_OF_A_CONSOLE = 60


def common_file(model: str) -> str:
    return f"y{COMMON[model]:012d}.cfg"


def general(clinic: Clinic) -> dict[str, str]:
    """What holds for every telephone of the clinic: nothing secret."""
    east = hours_east(clinic)
    return {
        "lang.gui": LANGUAGES[clinic.language],
        "lang.wui": LANGUAGES[clinic.language],
        "local_time.ntp_server1": time_server(clinic),
        "local_time.ntp_server2": "",
        "local_time.manual_ntp_srv_prior": "1",
        "local_time.dhcp_time": "0",
        "local_time.time_zone": f"{east:+g}" if not east % 1 else f"{int(east):+d}:{round(east % 1 * 60):02d}",
        "local_time.summer_time": "0",
        "local_time.time_format": "1",
        "static.network.lldp.enable": "1",
        "static.network.vlan.internet_port_enable": "1",
        "static.network.vlan.internet_port_vid": str(clinic.networks.voice.vlan),
        "static.network.vlan.internet_port_priority": PRIORITY,
        "static.network.vlan.dhcp_enable": "0",
        "static.network.qos.audiotos": DSCP_VOICE,
        "static.network.qos.signaltos": DSCP_SIGNALS,
        "static.managementserver.enable": "0",
        "static.zero_touch.enable": "0",
        "static.auto_provision.pnp_enable": "0",
        "dm.enable": "0",
    }


def files(device: Device, version: str) -> dict[str, bytes]:
    """Both passwords are set by one key, which the file has twice."""
    settings = general(device.clinic) | _account(device) | _security(device) | dict(_keys(device))
    settings |= _addresses(device, version)
    user = ("static.security.user_password", f"user:{device.user_password}")
    return {f"{device.mac}.cfg": writing.cfg(settings, user)}


def shared(clinic: Clinic, model: Model) -> dict[str, bytes]:
    return {common_file(model.name): writing.cfg(general(clinic))}


def _addresses(device: Device, version: str) -> dict[str, str]:
    """The second door, the phonebook that is the marker, the firmware."""
    root, firmware = f"https://{device.pbx}", device.firmware
    return {
        "static.auto_provision.server.url": f"{root}/p/",
        "static.auto_provision.server.username": device.mac,
        "static.auto_provision.server.password": device.door_password,
        "static.auto_provision.power_on": "1",
        "static.auto_provision.repeat.enable": "1",
        "static.auto_provision.repeat.minutes": "1440",
        "static.firmware.url": f"{root}/w/{version}/{firmware.file}" if firmware else "",
        "features.remote_phonebook.enable": "1",
        "remote_phonebook.data.1.name": "Клиника" if device.clinic.language == "ru" else "Clinic",
        "remote_phonebook.data.1.url": f"{root}/b/{version}/phonebook-yealink.xml",
        "remote_phonebook.data.1.username": device.mac,
        "remote_phonebook.data.1.password": device.door_password,
    }


def _account(device: Device) -> dict[str, str]:
    person, a = device.person, "account.1"
    settings = {
        f"{a}.enable": "1",
        f"{a}.label": person.ext,
        f"{a}.display_name": person.name,
        f"{a}.auth_name": person.ext,
        f"{a}.user_name": person.ext,
        f"{a}.password": device.sip_password,
        f"{a}.srtp_encryption": "2" if device.secure else "1",  # compulsory, optional
        f"{a}.dtmf.type": "1",  # RFC 2833
        f"{a}.dtmf.dtmf_payload": "101",
        f"{a}.direct_pickup_code": PICKUP,
        f"{a}.auto_answer": "0",
        "call_waiting.enable": "1",
        "transfer.dsskey_deal_type": "2",  # blind
        "sip.notify_reboot_enable": "0",
    }
    for n, server in ((1, device.pbx), (2, device.backup)):
        settings |= {
            f"{a}.sip_server.{n}.address": server,
            f"{a}.sip_server.{n}.port": str(device.port) if server else "",
            f"{a}.sip_server.{n}.transport_type": ("2" if device.secure else "0") if server else "",
            f"{a}.sip_server.{n}.expires": str(60 * REGISTER_MINUTES) if server else "",
        }
    for codec, priority in CODECS.items():
        settings |= {f"{a}.codec.{codec}.enable": "1", f"{a}.codec.{codec}.priority": priority}
    settings |= {f"{a}.codec.{codec}.enable": "0" for codec in OFF_CODECS}
    return settings | {f"account.{n}.enable": "0" for n in range(2, device.model.accounts + 1)}


def _security(device: Device) -> dict[str, str]:
    return {
        "static.security.user_password": f"admin:{device.admin_password}",
        "static.security.trust_certificates": "1",
        "static.security.ca_cert": "2",  # the factory's and ours
        "static.security.cn_validation": "1",
        "static.trusted_certificates.url": f"https://{device.pbx}/ca.crt",
        "static.wui.http_enable": "0",
        "static.wui.https_enable": "1",
        "static.auto_provision.dhcp_option.enable": "0",
        "sip.trust_ctrl": "1",  # SIP from the PBX only
        "features.direct_ip_call_enable": "0",
        "features.ssh.enable": "0",
    }


def _keys(device: Device) -> Iterator[tuple[str, str]]:
    """A place left over is cleared, or it would keep what it had."""
    keys, model = device.layout, device.model
    for n in range(model.line_keys):
        button = keys.line_keys[n] if n < len(keys.line_keys) else None
        yield from _key(f"linekey.{n + 1}", button, model.label_chars)
    for n in range(device.person.phone.consoles * KEYS_OF_A_CONSOLE):
        module, place = divmod(n, KEYS_OF_A_CONSOLE)
        button = keys.console[n] if n < len(keys.console) else None
        yield from _key(f"expansion_module.{module + 1}.key.{place + 1}", button, model.label_chars)


def _key(name: str, button: Button | None, limit: int) -> Iterator[tuple[str, str]]:
    yield f"{name}.type", TYPES[button.mode] if button else "0"
    yield f"{name}.line", "1" if button else ""
    yield f"{name}.value", button.number if button else ""
    yield f"{name}.label", label(button, limit) if button else ""
    lamp = button is not None and button.mode is Mode.LAMP and button.number.isdigit()
    yield f"{name}.extension", f"{PICKUP}{button.number}" if lamp and button else ""
