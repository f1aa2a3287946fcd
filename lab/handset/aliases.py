"""Grandstream's aliases of the settings that decide how a telephone reaches its servers, and their P-values. Pure.

Sources: the vendor's XML templates of the GRP261x and GXP21xx. An alias that stands here for no setting of ours is
ignored like any other: the telephone has it, the rehearsal has no use for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from clinic.phones import Family

ALIASED = (Family.GRP261X, Family.GXP21XX)

# A column per account: the first three have P-values of their own, and no later one is used.
ACCOUNT: Mapping[str, tuple[str, str, str]] = {
    "enable": ("P271", "P401", "P501"),
    "name": ("P270", "P417", "P517"),
    "sip.server.1.address": ("P47", "P402", "P502"),
    "sip.server.2.address": ("P2312", "P2412", "P2512"),
    "sip.outboundProxy.1.address": ("P48", "P403", "P503"),
    "sip.outboundProxy.2.address": ("P2333", "P2433", "P2533"),
    "sip.userid": ("P35", "P404", "P504"),
    "sip.subscriber.userid": ("P36", "P405", "P505"),
    "sip.subscriber.password": ("P34", "P406", "P506"),
    "sip.subscriber.name": ("P3", "P407", "P507"),
    "sip.transport": ("P130", "P448", "P548"),
    "audio.srtpMode": ("P183", "P443", "P543"),
    "sip.registerExpiration": ("P32", "P412", "P512"),
    "sip.validate.incomingServer": ("P2347", "P2447", "P2547"),
}
DEVICE: Mapping[str, str] = {
    "provisioning.config.protocol": "P212",
    "provisioning.config.serverPath": "P237",
    "provisioning.config.username": "P1360",
    "provisioning.config.password": "P1361",
    "provisioning.firmware.protocol": "P6767",
    "provisioning.firmware.serverPath": "P192",
    "phonebook.download.mode": "P330",
    "phonebook.download.server": "P331",
    "phonebook.download.username": "P6713",
    "phonebook.download.password": "P6714",
    "sip.notify.challenge": "P4428",
    "security.validate.serverCertificate": "P8463",
    "provisioning.validateHostnameInCertificate": "P22030",
    "trustedCACertificates.trustedCACertificate.1": "P8433",
    "trustedCACertificates.load": "P8502",
    "provisioning.firmware.username": "P6768",
    "provisioning.firmware.password": "P6769",
    "provisioning.firmware.checkCondition": "P238",
    "provisioning.override.dhcp.allowCommonOptions": "P145",
    "provisioning.override.dhcp.allowCustomOption": "P8337",
}
_ACCOUNTS = {
    f"account.{number + 1}.{name}": codes[number] for name, codes in ACCOUNT.items() for number in range(3)
}  # fmt: skip
_WORDS = {"Yes": "1", "No": "0"}
_SPOKEN: Mapping[str, Mapping[str, str]] = {
    "sip.transport": {"UDP": "0", "TCP": "1", "TLS": "2", "TlsOrTcp": "2"},
    "provisioning.config.protocol": {"TFTP": "0", "HTTP": "1", "HTTPS": "2"},
    "provisioning.firmware.protocol": {"TFTP": "0", "HTTP": "1", "HTTPS": "2"},
    "phonebook.download.mode": {"Disabled": "0", "EnabledUseHTTP": "1", "EnabledUseTFTP": "2", "EnabledUseHTTPS": "3"},
    "trustedCACertificates.load": {"Built-in Certificates": "0", "Custom Certificates": "1", "All Certificates": "2"},
    "provisioning.firmware.checkCondition": {"AlwaysCheck": "0", "CheckWhenChange": "1", "SkipCheck": "2"},
    "provisioning.override.dhcp.allowCustomOption": {"None": "0"},
    "audio.srtpMode": {"Disabled": "0", "EnabledButNotForced": "1", "EnabledAndForced": "2", "Optional": "3"},
}


def to_p_value(alias: str, value: str) -> tuple[str, str] | None:
    """The P-value and its number for a word, or None for an alias that is not ours."""
    code = _ACCOUNTS.get(alias) or DEVICE.get(alias)
    if code is None:
        return None
    words = _SPOKEN.get(alias.split(".", 2)[2] if alias.startswith("account.") else alias, _WORDS)
    return code, words.get(value, value)
