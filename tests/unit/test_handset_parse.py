"""A file as the telephone would read it, by family; a file that it would refuse; the names that it asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.handset.names import Identity, choices
from lab.handset.parse import IllFormedError, merge, parse
from lab.handset.settings import Account, Configured, Place, understood

LARGE, SIMPLE = Identity("c074ad3a2510", "GRP2615"), Identity("000b823ae194", "GXP1625")
ADAPTER, YEALINK = Identity("ec74d73a8cb9", "HT801"), Identity("805ec03ad382", "T43U")
ALL = (LARGE, SIMPLE, ADAPTER, YEALINK)


def aliases(items: str, mac: str = "") -> bytes:
    owner = f"<mac>{mac}</mac>" if mac else ""
    return f'<gs_provision version="1">{owner}<config version="2">{items}</config></gs_provision>'.encode()


def values(items: str, mac: str = "") -> bytes:
    return aliases(items, mac).replace(b'version="2"', b'version="1"')


def item(name: str, value: str) -> str:
    return f'<item name="{name}">{value}</item>'


ACCOUNT = (
    item("account.1.enable", "Yes") + item("account.1.sip.server.1.address", "10.77.20.10:5060")
    + item("account.1.sip.userid", "2001") + item("account.1.sip.subscriber.userid", "2001")
    + item("account.1.sip.subscriber.password", "geheim") + item("account.1.sip.subscriber.name", "Лебедева Анна")
    + item("account.1.sip.registerExpiration", "5")
)  # fmt: skip


def read(phone: Identity, data: bytes) -> Configured:
    return understood(phone, parse(phone, data))


def test_aliases_become_an_account() -> None:
    (account,) = read(LARGE, aliases(ACCOUNT)).accounts
    wanted = Account(1, "2001", "2001", "geheim", "10.77.20.10:5060", "Лебедева Анна", expires=300)
    assert account == wanted and "geheim" not in repr(account)


def test_the_nested_form_of_aliases_says_the_same() -> None:
    nested = (
        '<item name="account.1"><part name="sip.userid">2001</part><part name="sip.server.1.address">h</part></item>'
    )
    (account,) = read(LARGE, aliases(nested)).accounts
    assert (account.user, account.server) == ("2001", "h:5060")


def test_p_values_become_an_account_for_every_family_of_the_maker() -> None:
    data = values("<P271>1</P271><P47>h</P47><P35>3111</P35><P36>x</P36><P34>geheim</P34><P130>2</P130><P183>2</P183>")
    for phone in (LARGE, SIMPLE, ADAPTER):
        (account,) = read(phone, data).accounts
        assert (account.user, account.login, account.server) == ("3111", "x", "h:5061")
        assert account.transport == "tls" and account.srtp


def test_a_family_without_aliases_ignores_them() -> None:
    assert parse(SIMPLE, aliases(ACCOUNT)) == {} and read(SIMPLE, aliases(ACCOUNT)).accounts == ()
    assert parse(LARGE, aliases(ACCOUNT))  # the control: the same file, a telephone that knows them


def test_an_account_that_is_off_or_lacks_its_server_is_none() -> None:
    assert not read(LARGE, aliases(ACCOUNT + item("account.1.enable", "No"))).accounts
    assert not read(LARGE, aliases(item("account.1.sip.userid", "2001"))).accounts
    second = ACCOUNT.replace("account.1", "account.2").replace(item("account.2.enable", "Yes"), "")
    assert not read(LARGE, aliases(second)).accounts, "only the first account is on by the factory's settings"


@pytest.mark.parametrize(("written", "seconds"), [("abc", 3600), ("0", 3600), ("-5", 3600), ("٥", 3600), ("2", 120)])
def test_a_number_without_sense_is_the_factorys_again(written: str, seconds: int) -> None:
    (account,) = read(LARGE, aliases(ACCOUNT + item("account.1.sip.registerExpiration", written))).accounts
    assert account.expires == seconds


def test_servers_of_the_device_are_understood_with_their_logins() -> None:
    found = read(SIMPLE, values(
        "<P212>2</P212><P237>10.77.20.10/p</P237><P1360>000b823ae194</P1360><P1361>tür</P1361><P145>0</P145>"
        "<P8337>0</P8337><P330>3</P330><P331>10.77.20.10/b/0123456789ab</P331><P6713>u</P6713><P6714>w</P6714>"
        "<P192>10.77.20.10/w/0123456789ab</P192><P238>2</P238><P8463>1</P8463><P8433>CA</P8433><P8502>2</P8502>"
    ))  # fmt: skip
    assert found.config == Place("https://10.77.20.10/p/", "000b823ae194", "tür") and found.obeys == ()
    assert found.phonebook == Place("https://10.77.20.10/b/0123456789ab/phonebook.xml", "u", "w")
    assert found.firmware is None, "it was told to skip the check"
    assert found.verifies and found.trusted == "CA"
    assert "tür" not in repr(found)


def test_an_authority_that_is_not_loaded_is_not_trusted() -> None:
    assert read(SIMPLE, values("<P8463>1</P8463><P8433>CA</P8433>")).trusted == ""


def test_dhcp_is_obeyed_until_a_file_forbids_it() -> None:
    assert understood(LARGE, {}).obeys == ("66", "160") and understood(YEALINK, {}).obeys == ("66", "160")
    assert understood(LARGE, {"P145": "0"}).obeys == ("160",), "option 160 is a setting of its own"


def test_notify_is_challenged_unless_the_file_says_otherwise() -> None:
    assert understood(LARGE, {}).challenges and not understood(LARGE, {"P4428": "1"}).challenges
    assert not understood(YEALINK, {}).challenges


def test_yealinks_file_becomes_an_account() -> None:
    found = read(YEALINK, (
        "#!version:1.0.0.1\n# a note\naccount.1.enable = 1\naccount.1.user_name = 4201\naccount.1.auth_name=4201\n"
        "account.1.password = a = b\naccount.1.sip_server.1.address = 10.77.20.10\naccount.1.sip_server.1.port = 5061\n"
        "account.1.sip_server.1.transport_type = 2\naccount.1.srtp_encryption = 2\naccount.1.display_name = Ильич\n"
        "static.auto_provision.server.url = https://10.77.20.10/p/\nstatic.auto_provision.server.username = u\n"
        "static.auto_provision.dhcp_option.enable = 0\nunknown.key = 7\nsip.notify_reboot_enable = 2\n"
        "features.remote_phonebook.enable = 1\nremote_phonebook.data.1.url = https://10.77.20.10/b/v/pb.xml\n"
    ).encode())  # fmt: skip
    (account,) = found.accounts
    assert (account.password, account.server, account.transport) == ("a = b", "10.77.20.10:5061", "tls")
    assert account.srtp and account.display == "Ильич" and found.obeys == () and found.reboots == "never"
    assert found.config == Place("https://10.77.20.10/p/", "u") and found.phonebook


def test_null_clears_what_was_set_and_silence_keeps_it() -> None:
    before = {"account.1.password": "old", "lang.gui": "Russian"}
    new = parse(YEALINK, b"#!version:1.0.0.1\naccount.1.password = %NULL%\n")
    assert merge(before, new) == {"lang.gui": "Russian"}


@pytest.mark.parametrize("data", [
    b"", b"<", b"<gs_provision>", b"<html><body>404</body></html>", b"\xff\xfe\x00",
    aliases(ACCOUNT).replace(b"</config>", b""), aliases(ACCOUNT, mac="c074ad000000"),
    b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + aliases(item("account.1.sip.userid", "&a;")),
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa">]>' + aliases(ACCOUNT), aliases(item("a", "&b;")),
    aliases("<item>" + "x" * (1 << 20) + "</item>"), aliases(item("a", "\x00")),
])  # fmt: skip
def test_what_grandstreams_telephone_cannot_read_it_refuses_whole(data: bytes) -> None:
    with pytest.raises(IllFormedError):
        parse(LARGE, data)


def test_its_own_mac_is_no_reason_to_refuse() -> None:
    assert parse(LARGE, aliases(ACCOUNT, mac="C0:74:AD:3A:25:10"))


@pytest.mark.parametrize("data", [b"", b"account.1.enable = 1\n", b"\n#!version:1.0.0.1\n", b"#!version:1\n", b"\xff"])
def test_yealinks_telephone_needs_its_first_line(data: bytes) -> None:
    with pytest.raises(IllFormedError):
        parse(YEALINK, data)


@given(st.sampled_from(ALL), st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_otherwise(phone: Identity, data: bytes) -> None:
    for file in (data, b"#!version:1.0.0.1\n" + data, aliases("") + data):
        try:
            understood(phone, parse(phone, file))
        except IllFormedError:
            continue


@given(st.sampled_from(ALL), st.dictionaries(st.sampled_from([
    "P271", "P47", "P35", "P130", "P32", "P237", "P212", "P331", "P330", "P192", "account.1.enable",
    "account.1.user_name", "account.1.sip_server.1.address", "account.1.sip_server.1.port",
    "account.1.sip_server.1.expires", "static.auto_provision.server.url",
]), st.text(max_size=20)))  # fmt: skip
def test_no_value_makes_the_telephone_fail(phone: Identity, raw: dict[str, str]) -> None:
    for account in understood(phone, raw).accounts:
        assert 1 <= int(account.server.rpartition(":")[2]) <= 65_535 and account.expires > 0


def test_names_are_asked_in_the_vendors_order() -> None:
    assert choices(LARGE) == (("cfgc074ad3a2510", "cfgc074ad3a2510.xml", "cfggrp2615.xml", "cfg.xml"),)
    assert choices(YEALINK) == (("y000000000107.cfg",), ("805ec03ad382.cfg",))


def test_telephones_say_who_they_are() -> None:
    assert LARGE.http_agent == "Grandstream Model HW GRP2615 SW 1.0.5.15 DevId c074ad3a2510"
    assert LARGE.sip_agent == "Grandstream GRP2615 1.0.5.15 c074ad3a2510"
    assert YEALINK.http_agent == "Yealink SIP-T43U 124.86.0.40 80:5e:c0:3a:d3:82"
    for wrong in (("C074AD3A2510", "GRP2615"), ("c074ad3a251", "GRP2615"), ("c074ad3a2510", "GRP9999")):
        with pytest.raises(ValueError, match="is no"):
            Identity(*wrong)
