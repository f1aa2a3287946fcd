"""GRP261x and GXP21xx: Grandstream's named settings.

Source: Grandstream's configuration templates for the GRP260x/261x and GXP21xx, by their public copies; where those
disagree or are silent the line says (?). No hardware was tested.
"""

from __future__ import annotations

from collections.abc import Iterator

from clinic import labels
from clinic.keys import Button, Mode
from clinic.model import Clinic
from clinic.phones import Model
from clinic.rendering.phones import writing
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

# Strings, because the numbers of key modes differ between families.
MODES = {
    Mode.LINE: "Line", Mode.LAMP: "BLF", Mode.DIAL: "SpeedDial", Mode.TRANSFER: "Transfer", Mode.PARK: "CallPark",
}  # fmt: skip
CODECS = ("PCMA", "PCMU", "G.722")  # as pjsip_people.conf allows them
CHOICES = 8
PRESETS = ("MSK-3",)  # zones that the telephones know by this name


def general(clinic: Clinic) -> dict[str, str]:
    """What holds for every telephone of the clinic: nothing secret."""
    zone = posix_zone(clinic)
    return {
        "language.gui": clinic.language,
        "dateTime.ntp.server.1": time_server(clinic),
        "dateTime.override.dhcp.allowOption42": "No",
        "dateTime.override.dhcp.allowOption2": "No",
        "dateTime.timezone": zone if zone in PRESETS else "customize",
        "dateTime.timezone.custom": zone,
        "dateTime.format.date": "dd-mm-yyyy",
        "dateTime.format.time": "24Hour",
        "network.lldp.enable": "Yes",
        "network.port.eth.1.vlan.enable": "Yes",
        "network.port.eth.1.vlan.tag": str(clinic.networks.voice.vlan),
        "network.port.eth.1.vlan.priority": PRIORITY,
        "network.qos.forSip": DSCP_SIGNALS,
        "network.qos.forRtp": DSCP_VOICE,
        "security.ssh": "No",  # the alias says whether SSH is on; P276 whether it is off
        "tr069.enable": "No",
        "provisioning.3cxAutoProvision": "No",
    }


def files(device: Device, version: str) -> dict[str, bytes]:
    settings = general(device.clinic) | _account(device) | _security(device) | _calls() | dict(_keys(device))
    return {f"cfg{device.mac}.xml": writing.aliases(device.mac, settings | _addresses(device, version))}


def shared(clinic: Clinic, model: Model) -> dict[str, bytes]:
    return {f"cfg{model.name.lower()}.xml": writing.aliases("", general(clinic))}


def _addresses(device: Device, version: str) -> dict[str, str]:
    """The second door, the phonebook that is the marker, the firmware. Paths carry no scheme."""
    user, password = device.mac, device.door_password
    return {
        "provisioning.config.protocol": "HTTPS",
        "provisioning.config.serverPath": f"{device.pbx}/p",
        "provisioning.config.username": user,
        "provisioning.config.password": password,
        "provisioning.firmware.protocol": "HTTPS",
        "provisioning.firmware.serverPath": f"{device.pbx}/w/{version}",
        "provisioning.firmware.username": user,
        "provisioning.firmware.password": password,
        "provisioning.firmware.checkCondition": "AlwaysCheck" if device.firmware else "SkipCheck",
        "provisioning.firmware.confirm.enable": "No",
        "provisioning.auto.mode": "YesUpgradeHourOfDay",
        "provisioning.auto.hour": "2",
        "provisioning.auto.endHour": "4",
        "provisioning.auto.randomTime.enable": "Yes",
        "phonebook.download.mode": "EnabledUseHTTPS",
        "phonebook.download.server": f"{device.pbx}/b/{version}",
        "phonebook.download.username": user,
        "phonebook.download.password": password,
        "phonebook.download.interval": "720",
        "phonebook.download.removeEditedEntries": "Yes",
    }


def _account(device: Device) -> dict[str, str]:
    person, a = device.person, "account.1"
    backup = f"{device.backup}:{device.port}" if device.backup else ""
    settings = {
        f"{a}.enable": "Yes",
        f"{a}.name": person.ext,
        f"{a}.sip.server.1.address": f"{device.pbx}:{device.port}",
        f"{a}.sip.server.2.address": backup,
        f"{a}.sip.userid": person.ext,
        f"{a}.sip.subscriber.userid": person.ext,
        f"{a}.sip.subscriber.password": device.sip_password,
        f"{a}.sip.subscriber.name": person.name,
        f"{a}.sip.transport": "TlsOrTcp" if device.secure else "UDP",
        f"{a}.sip.uriSchemeWhenUsingTls": "sip",
        f"{a}.sip.registerExpiration": str(REGISTER_MINUTES),
        f"{a}.audio.srtpMode": "EnabledAndForced" if device.secure else "Optional",
        f"{a}.dtmf.sendInAudio": "No",
        f"{a}.dtmf.sendInRtp": "Yes",  # RFC 2833
        f"{a}.dtmf.sendInSip": "No",
        f"{a}.codec.payloadType.dtmf": "101",
        f"{a}.sip.validate.incomingServer": "Yes",
        f"{a}.sip.validate.userIdforInvite": "Yes",
        f"{a}.sip.validate.certificationChain": "Yes" if device.secure else "No",
        f"{a}.sip.allowSipReset": "No",  # a factory reset by NOTIFY
        f"{a}.sip.blf.callPickup.prefix": PICKUP,
        f"{a}.intercom.allowAutoAnswer": "No",
        f"{a}.featureCodes.callFeatures": "No",  # *72 and *78 are the PBX's
        f"{a}.call.dialplan": DIALPLAN,
        **{f"{a}.codec.choice.{n}": CODECS[min(n, len(CODECS)) - 1] for n in range(1, CHOICES + 1)},
    }
    return settings | {f"account.{n}.enable": "No" for n in range(2, device.model.accounts + 1)}


def _security(device: Device) -> dict[str, str]:
    return {
        "users.admin.password": device.admin_password,
        "users.user.password": device.user_password,
        "security.webaccessmode": "HTTPS",
        "security.webAccess.user.enable": "No",
        "security.minimum.TLS.version": "TLS_1_2",
        "security.configurationViaKeypadMenu": "BasicSettingsOnly",
        "trustedCACertificates.trustedCACertificate.1": device.authority,  # (?) P8433
        "trustedCACertificates.load": "All Certificates",
        "security.validate.serverCertificate": "Yes",
        "provisioning.validateHostnameInCertificate": "Yes",
        "provisioning.override.dhcp.allowCommonOptions": "No",  # the path is known now: no DHCP server may change it
        "provisioning.override.dhcp.allowCustomOption": "None",
        "sip.override.dhcp.allowOption120": "No",
        "network.dhcp.enableVlan": "No",
        "sip.notify.challenge": "No",  # (?) the PBX answers a challenge too
        "call.ipcall.enable": "No",
    }


def _calls() -> dict[str, str]:
    return {"call.callWaiting.enable": "Yes", "call.transfer.modeViaVpk": "BlindTransfer"}


def _keys(device: Device) -> Iterator[tuple[str, str]]:
    """A place left over is cleared, or it would keep what it had."""
    keys, model = device.layout, device.model
    rows: tuple[tuple[str, str, tuple[Button | None, ...], int], ...] = (
        ("vpk", "0", keys.line_keys, model.line_keys),
        ("mpk", "Account1", keys.multi_keys, model.multi_keys),
        ("ext", "Account1", keys.console, device.person.phone.consoles * model.console_keys),
    )
    for kind, account, buttons, places in rows:
        for n in range(places):
            button = buttons[n] if n < len(buttons) else None
            key = f"pks.{kind}.{n + 1}"
            yield f"{key}.keyMode", MODES[button.mode] if button else "None"
            yield f"{key}.account", account
            yield f"{key}.description", label(button, model.label_chars) if button else ""
            yield f"{key}.value", button.number if button else ""


def label(button: Button, limit: int) -> str:
    return labels.of_person(button.label, limit) if button.person else labels.cut(button.label, limit)
