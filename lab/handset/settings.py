"""What a telephone understood: accounts and servers, typed. Pure. A value without sense is the factory's again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.handset.aliases import ACCOUNT
from lab.handset.names import Identity

UDP, TCP, TLS = "udp", "tcp", "tls"
_TRANSPORTS = {"0": UDP, "1": TCP, "2": TLS}
_PROTOCOLS = {"1": "http", "2": "https"}
_PORT = {UDP: 5060, TCP: 5060, TLS: 5061}
_FORCED = "2"  # SRTP and nothing else, with both vendors; what is optional is left out


@dataclass(frozen=True)
class Place:
    """Where something is fetched, with the login that goes with it."""

    url: str
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Account:
    """`server` is `host:port`; `expires` in seconds."""

    number: int
    user: str
    login: str
    password: str = field(repr=False)
    server: str
    display: str = ""
    transport: str = UDP
    srtp: bool = False
    expires: int = 3600

    def options(self, address: str, phone: Identity, authority: str, challenges: bool) -> dict[str, Any]:
        """The options of a softphone's agent; its name is the extension."""
        secure = self.transport == TLS
        return {
            "name": self.user, "bind_ip": address, "port": _PORT[self.transport] + 2 * (self.number - 1),
            "user": self.user, "auth_user": self.login, "password": self.password, "server": self.server,
            "display": self.display, "expires": self.expires, "srtp": self.srtp, "user_agent": phone.sip_agent,
            "challenge_notify": challenges,
            **({"transport": TLS, "authority": authority} if secure else {}),
        }  # fmt: skip


@dataclass(frozen=True)
class Configured:
    """`obeys`: which DHCP options may name another server than the file did. `reboots` at check-sync: always, asked,
    never. `verifies` and `checks_name`: the server's certificate; `authority` as a place or, in the file, as `trusted`.
    """

    accounts: tuple[Account, ...] = ()
    config: Place | None = None
    obeys: tuple[str, ...] = ()
    phonebook: Place | None = None
    firmware: Place | None = None
    authority: Place | None = None
    trusted: str = ""
    trusted_for_sip: str = ""
    verifies: bool = False
    checks_name: bool = False
    challenges: bool = False
    reboots: str = "asked"


def understood(phone: Identity, raw: Mapping[str, str]) -> Configured:
    """From settings by the vendor's names."""
    return _yealink(raw) if phone.yealink else _grandstream(phone, raw)


def _grandstream(phone: Identity, raw: Mapping[str, str]) -> Configured:
    accounts = tuple(a for n in range(3) if (a := _grandstream_account(n, raw)))
    login = (raw.get("P1360", ""), raw.get("P1361", ""))
    config = _place(raw.get("P237", ""), _PROTOCOLS.get(raw.get("P212", "2"), ""), *login)
    book = {"1": "http", "3": "https"}.get(raw.get("P330", "0"), "")
    phonebook = _place(raw.get("P331", ""), book, raw.get("P6713", ""), raw.get("P6714", ""))
    own = (raw["P6768"], raw.get("P6769", "")) if "P6768" in raw else login
    protocol = "" if raw.get("P238") == "2" else _PROTOCOLS.get(raw.get("P6767", raw.get("P212", "2")), "")
    firmware = _place(raw.get("P192", ""), protocol, *own)
    trusted = raw.get("P8433", "") if raw.get("P8502", "0") in ("1", "2") else ""  # 0: only the built-in ones
    return Configured(
        accounts, config, tuple(name for name, key in (("66", "P145"), ("160", "P8337")) if raw.get(key) != "0"),
        phonebook and Place(phonebook.url + "phonebook.xml", phonebook.user, phonebook.password),
        firmware and Place(firmware.url + phone.firmware, firmware.user, firmware.password),
        trusted=trusted, trusted_for_sip=raw.get("P2386", trusted), verifies=raw.get("P8463", "0") == "1",
        checks_name=raw.get("P22030", "0") == "1", challenges=raw.get("P4428", "0") != "1",
    )  # fmt: skip


def _grandstream_account(index: int, raw: Mapping[str, str]) -> Account | None:
    def value(alias: str, otherwise: str = "") -> str:
        return raw.get(ACCOUNT[alias][index], otherwise)

    server, user = value("sip.server.1.address"), value("sip.userid")
    if not server or not user or value("enable", "0" if index else "1") != "1":
        return None
    transport = _TRANSPORTS.get(value("sip.transport", "0"), UDP)
    return Account(
        index + 1, user, value("sip.subscriber.userid", user), value("sip.subscriber.password"),
        _with_port(server, "", transport), value("sip.subscriber.name") or value("name"), transport,
        value("audio.srtpMode", "0") == _FORCED,
        60 * _number(value("sip.registerExpiration"), 1, 64_800, 60),
    )  # fmt: skip


def _yealink(raw: Mapping[str, str]) -> Configured:
    login = (raw.get("static.auto_provision.server.username", ""), raw.get("static.auto_provision.server.password", ""))
    own = (raw.get("remote_phonebook.data.1.username", ""), raw.get("remote_phonebook.data.1.password", ""))
    book = _file(raw.get("remote_phonebook.data.1.url", ""), *own)
    return Configured(
        tuple(a for n in range(1, 17) if (a := _yealink_account(n, raw))),
        _place(raw.get("static.auto_provision.server.url", ""), "", *login),
        ("66", "160") if raw.get("static.auto_provision.dhcp_option.enable", "1") != "0" else (),
        book if raw.get("features.remote_phonebook.enable", "0") == "1" else None,
        _file(raw.get("static.firmware.url", ""), *login),
        _file(raw.get("static.trusted_certificates.url", ""), *login),
        # From the factory it would trust the vendor's list only; without any of ours it could not come this far.
        verifies=raw.get("static.security.trust_certificates") == "1",
        checks_name=raw.get("static.security.cn_validation", "0") == "1",
        reboots={"0": "asked", "2": "never"}.get(raw.get("sip.notify_reboot_enable", "1"), "always"),
    )  # fmt: skip


def _yealink_account(number: int, raw: Mapping[str, str]) -> Account | None:
    def value(key: str, otherwise: str = "") -> str:
        return raw.get(f"account.{number}.{key}", otherwise)

    server, user = value("sip_server.1.address"), value("user_name")
    if not server or not user or value("enable", "0") != "1":
        return None
    transport = _TRANSPORTS.get(value("sip_server.1.transport_type", "0"), UDP)
    return Account(
        number, user, value("auth_name", user), value("password"),
        _with_port(server, value("sip_server.1.port"), transport), value("display_name") or value("label"), transport,
        value("srtp_encryption", "0") == _FORCED, _number(value("sip_server.1.expires"), 30, 2_147_483_647, 3600),
    )  # fmt: skip


def _with_port(server: str, port: str, transport: str) -> str:
    host, _, own = server.partition(":")
    return f"{host}:{_number(own or port, 1, 65_535, _PORT[transport])}"


def _number(text: str, least: int, most: int, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and least <= int(text) <= most else otherwise


def _place(path: str, scheme: str, user: str, password: str) -> Place | None:
    """A folder. Grandstream's paths carry no scheme; a scheme of TFTP has no place here."""
    url = path if "://" in path else f"{scheme}://{path}"
    if not path or not url.startswith(("http://", "https://")):
        return None
    return Place(url if url.endswith("/") else f"{url}/", user, password)


def _file(url: str, user: str, password: str) -> Place | None:
    return Place(url, user, password) if url.startswith(("http://", "https://")) else None
