"""Every family is told what the issue wants, in the numbers and names that the vendors' tables have."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from clinic.model import Clinic
from clinic.people import Key
from clinic.phones import MODELS
from clinic.provisioning import Firmware
from clinic.rendering.phones import PhoneFiles, phones, shared
from tests.unit.phones_reader import Secrets, case, cfg, of, xml

GRP2615, GXP2170, GXP1625, GXP1630, GRP2602, HT801, T43U = "2001", "2011", "3111", "4101", "3211", "4206", "4201"


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return case()


@pytest.fixture(scope="module")
def fleet(clinic: Clinic) -> dict[str, PhoneFiles]:
    return phones(clinic, Secrets())


def with_model(clinic: Clinic, ext: str, model: str, **more: object) -> Clinic:
    people = tuple(
        p.model_copy(update={"phone": p.phone.model_copy(update={"model": model, **more})}) if p.ext == ext else p
        for p in clinic.people
    )
    return clinic.model_copy(update={"people": people})


def test_every_person_has_one_file_by_their_mac(clinic: Clinic, fleet: dict[str, PhoneFiles]) -> None:
    assert sorted(p.ext for p in fleet.values()) == sorted(p.ext for p in clinic.people)
    assert fleet["c074ad3a2510"].ext == "2001" and list(fleet["c074ad3a2510"].files) == ["cfgc074ad3a2510.xml"]
    assert list(fleet["805ec03ad382"].files) == ["805ec03ad382.cfg"]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_of_the_catalogue_has_a_well_formed_file(clinic: Clinic, model: str) -> None:
    phone = of(phones(with_model(clinic, "4201", model), Secrets()), "4201")
    if MODELS[model].vendor == "Yealink":
        assert cfg(phone)["account.1.user_name"] == ["4201"]
    elif "grp261" in MODELS[model].family or "gxp21" in MODELS[model].family:
        assert xml(phone, "2")["account.1.sip.userid"] == "4201"
    else:
        assert xml(phone, "1")["P35"] == "4201"


def test_aliases_of_the_large_grandstreams(fleet: dict[str, PhoneFiles]) -> None:
    phone = of(fleet, GRP2615)
    assert xml(phone, "2").items() >= {
        "account.1.enable": "Yes", "account.2.enable": "No", "account.1.sip.server.1.address": "10.77.20.10:5060",
        "account.1.sip.userid": "2001", "account.1.sip.subscriber.userid": "2001",
        "account.1.sip.subscriber.password": "secret-of-sip-2001",
        "account.1.sip.subscriber.name": "Лебедева Анна Сергеевна",
        "account.1.sip.transport": "UDP", "account.1.audio.srtpMode": "Optional",
        "account.1.sip.registerExpiration": "5", "account.1.codec.choice.1": "PCMA",
        "account.1.codec.choice.2": "PCMU", "account.1.codec.choice.3": "G.722",
        "account.1.dtmf.sendInRtp": "Yes", "account.1.dtmf.sendInAudio": "No", "account.1.dtmf.sendInSip": "No",
        "account.1.sip.validate.incomingServer": "Yes", "account.1.sip.validate.userIdforInvite": "Yes",
        "account.1.sip.blf.callPickup.prefix": "**", "account.1.intercom.allowAutoAnswer": "No",
        "account.1.sip.allowSipReset": "No", "account.1.featureCodes.callFeatures": "No",
        "language.gui": "ru", "dateTime.timezone": "MSK-3", "dateTime.ntp.server.1": "10.77.20.10",
        "network.port.eth.1.vlan.enable": "Yes", "network.port.eth.1.vlan.tag": "20",
        "network.port.eth.1.vlan.priority": "5", "network.qos.forSip": "24", "network.qos.forRtp": "46",
        "network.lldp.enable": "Yes", "users.admin.password": "secret-of-phone-admin",
        "security.webaccessmode": "HTTPS", "security.ssh": "No", "tr069.enable": "No",
        "security.validate.serverCertificate": "Yes", "provisioning.override.dhcp.allowCommonOptions": "No",
        "provisioning.config.protocol": "HTTPS", "provisioning.config.serverPath": "10.77.20.10/p",
        "provisioning.config.username": "c074ad3a2510", "provisioning.config.password": "secret-of-provisioning-2001",
        "phonebook.download.mode": "EnabledUseHTTPS", "phonebook.download.server": f"10.77.20.10/b/{phone.version}",
        "phonebook.download.username": "c074ad3a2510",
        "provisioning.firmware.serverPath": f"10.77.20.10/w/{phone.version}",
        "provisioning.firmware.checkCondition": "SkipCheck", "call.callWaiting.enable": "Yes",
    }.items()  # fmt: skip


def test_p_values_of_the_doctors_telephone(fleet: dict[str, PhoneFiles]) -> None:
    """By the tables of the GXP16xx. P64 is its own zone, because its preset for Moscow has summer time."""
    phone = of(fleet, GXP1625)
    settings = xml(phone, "1")
    assert settings.items() >= {
        "P271": "1", "P401": "0", "P47": "10.77.20.10:5060", "P35": "3111", "P36": "3111", "P34": "secret-of-sip-3111",
        "P3": "Богданова Диана Игоревна", "P130": "0", "P183": "3", "P32": "5", "P57": "8", "P58": "0", "P59": "9",
        "P2301": "0", "P2302": "1", "P2303": "0", "P2347": "1", "P258": "1", "P1347": "**", "P298": "0",
        "P2": "secret-of-phone-admin", "P1650": "0", "P276": "1", "P212": "2", "P237": "10.77.20.10/p",
        "P1360": "000b823ae194", "P1361": "secret-of-provisioning-3111", "P6767": "2", "P22030": "1", "P8463": "1",
        "P30": "10.77.20.10", "P64": "customize", "P246": "MSK-3", "P1362": "ru", "P51": "20", "P87": "5",
        "P1558": "24", "P1559": "46", "P1684": "1", "P330": "3", "P331": f"10.77.20.10/b/{phone.version}",
        "P26015": "0", "P145": "0", "P191": "0", "P91": "0", "P1409": "0",
    }.items()  # fmt: skip
    assert "P98" not in settings, "the GXP16xx has seven places for codecs"


def test_p_values_of_the_grp260x_are_those_of_its_kin(fleet: dict[str, PhoneFiles]) -> None:
    settings = xml(of(fleet, GRP2602), "1")
    assert settings.items() >= {"P64": "MSK-3", "P98": "9", "P22174": "1", "P51": "20", "P1363": "0"}.items()


def test_adapter_is_told_by_its_own_numbers(fleet: dict[str, PhoneFiles]) -> None:
    """HT8xx: QoS, failover, language and DTMF have other numbers, and TR-069 is on until it is put out."""
    phone = of(fleet, HT801)
    settings = xml(phone, "1")
    assert settings.items() >= {
        "P47": "10.77.20.10:5060", "P35": "4206", "P34": "secret-of-sip-4206", "P967": "", "P243": "1", "P258": "1",
        "P850": "101", "P342": "6", "P5038": "5", "P5046": "24", "P5050": "46", "P64": "customize", "P246": "MSK-3",
        "P1409": "0", "P276": "1", "P1650": "0", "P145": "0", "P26015": "0", "P194": "1", "P212": "2",
        "P237": "10.77.20.10/p", "P192": f"10.77.20.10/w/{phone.version}", "P238": "0",
    }.items()  # fmt: skip
    assert not {"P331", "P1347", "P323"} & settings.keys(), "it has neither phonebook nor keys"


def test_yealink_is_told_in_lines(fleet: dict[str, PhoneFiles]) -> None:
    phone = of(fleet, T43U)
    settings = cfg(phone)
    wanted = {
        "account.1.enable": "1", "account.2.enable": "0", "account.1.user_name": "4201", "account.1.auth_name": "4201",
        "account.1.password": "secret-of-sip-4201", "account.1.display_name": "Евдокимов Максим Ильич",
        "account.1.sip_server.1.address": "10.77.20.10", "account.1.sip_server.1.port": "5060",
        "account.1.sip_server.1.transport_type": "0", "account.1.sip_server.1.expires": "300",
        "account.1.sip_server.2.address": "%NULL%", "account.1.srtp_encryption": "1", "account.1.dtmf.type": "1",
        "account.1.codec.pcma.priority": "1", "account.1.codec.pcmu.priority": "2",
        "account.1.codec.g722.priority": "3",
        "account.1.codec.g729.enable": "0", "lang.gui": "Russian", "local_time.time_zone": "+3",
        "local_time.summer_time": "0", "local_time.ntp_server1": "10.77.20.10",
        "static.network.vlan.internet_port_vid": "20", "static.network.vlan.internet_port_priority": "5",
        "static.network.qos.audiotos": "46", "static.network.qos.signaltos": "24", "static.network.lldp.enable": "1",
        "static.auto_provision.server.url": "https://10.77.20.10/p/",
        "static.auto_provision.server.username": "805ec03ad382",
        "static.auto_provision.server.password": "secret-of-provisioning-4201",
        "static.auto_provision.dhcp_option.enable": "0", "static.managementserver.enable": "0",
        "static.security.trust_certificates": "1", "static.trusted_certificates.url": "https://10.77.20.10/ca.crt",
        "remote_phonebook.data.1.url": f"https://10.77.20.10/b/{phone.version}/phonebook-yealink.xml",
        "linekey.1.type": "15", "linekey.2.type": "0", "sip.trust_ctrl": "1", "call_waiting.enable": "1",
    }  # fmt: skip
    assert {key: settings[key] for key in wanted} == {key: [value] for key, value in wanted.items()}
    passwords = settings["static.security.user_password"]
    assert passwords[0] == "admin:secret-of-phone-admin" and passwords[1].startswith("user:") and len(passwords) == 2


def test_telephones_that_must_encrypt_speak_tls_and_srtp_and_others_may(clinic: Clinic) -> None:
    """Accounting requires it: port 5061, TLS, SRTP or no call. Its neighbours are offered SRTP over UDP."""
    assert clinic.departments["accounting"].encryption == "required"
    clinic = with_model(with_model(clinic, "4102", "GRP2614"), "4103", "T46U")
    clinic = with_model(clinic, "4104", "HT801")
    fleet = phones(clinic, Secrets())
    numbers, names = xml(of(fleet, "4101"), "1"), xml(of(fleet, "4102"), "2")
    assert (numbers["P47"], numbers["P130"], numbers["P183"]) == ("10.77.20.10:5061", "2", "2")
    assert numbers["P2367"] == "1" and xml(of(fleet, GXP1625), "1")["P2367"] == "0"
    assert names["account.1.sip.server.1.address"] == "10.77.20.10:5061"
    assert (names["account.1.sip.transport"], names["account.1.audio.srtpMode"]) == ("TlsOrTcp", "EnabledAndForced")
    lines = cfg(of(fleet, "4103"))
    assert lines["account.1.sip_server.1.transport_type"] == ["2"] and lines["account.1.srtp_encryption"] == ["2"]
    adapter = xml(of(fleet, "4104"), "1")
    assert (adapter["P130"], adapter["P183"], adapter["P2386"]) == ("2", "2", "secret-of-tls-ca")


def test_backup_server_is_the_second_of_every_family(clinic: Clinic) -> None:
    ours = clinic.provisioning.model_copy(
        update={"backup_server": IPv4Address("10.77.20.9"), "time_server": IPv4Address("10.77.20.8")}
    )
    fleet = phones(clinic.model_copy(update={"provisioning": ours}), Secrets())
    assert xml(of(fleet, GRP2615), "2")["account.1.sip.server.2.address"] == "10.77.20.9:5060"
    assert xml(of(fleet, GXP1625), "1")["P2312"] == "10.77.20.9:5060"
    assert xml(of(fleet, HT801), "1")["P967"] == "10.77.20.9:5060"
    assert cfg(of(fleet, T43U))["account.1.sip_server.2.address"] == ["10.77.20.9"]
    assert xml(of(fleet, HT801), "1")["P30"] == "10.77.20.8"


def test_firmware_is_looked_for_where_the_description_has_one(clinic: Clinic) -> None:
    firmware = {m: Firmware(version="1.0", file=f"{m}.rom", sha256="a" * 64) for m in ("GRP2615", "T43U", "GXP1625")}
    ours = clinic.provisioning.model_copy(update={"firmware": firmware})
    before, after = phones(clinic, Secrets()), phones(clinic.model_copy(update={"provisioning": ours}), Secrets())
    assert xml(of(after, GRP2615), "2")["provisioning.firmware.checkCondition"] == "AlwaysCheck"
    assert xml(of(after, GXP1625), "1")["P238"] == "0" and xml(of(before, GXP1625), "1")["P238"] == "2"
    phone = of(after, T43U)
    assert cfg(phone)["static.firmware.url"] == [f"https://10.77.20.10/w/{phone.version}/T43U.rom"]
    assert of(before, T43U).version != phone.version and of(before, HT801).version == of(after, HT801).version


@pytest.mark.parametrize(
    ("zone", "grp", "gxp16", "yealink"),
    [("Europe/Samara", "LOC-4", "LOC-4", "+4"), ("Asia/Vladivostok", "LOC-10", "LOC-10", "+10")],
)
def test_other_zones_are_the_clinics_own(clinic: Clinic, zone: str, grp: str, gxp16: str, yealink: str) -> None:
    fleet = phones(clinic.model_copy(update={"timezone": zone}), Secrets())
    large = xml(of(fleet, GRP2615), "2")
    assert (large["dateTime.timezone"], large["dateTime.timezone.custom"]) == ("customize", grp)
    assert xml(of(fleet, GXP1625), "1")["P246"] == gxp16
    assert cfg(of(fleet, T43U))["local_time.time_zone"] == [yealink]


def test_keys_of_an_operator_and_pages_of_the_console(fleet: dict[str, PhoneFiles]) -> None:
    settings = xml(of(fleet, GRP2615), "2")

    def key(name: str) -> tuple[str, ...]:
        return tuple(settings[f"pks.{name}.{part}"] for part in ("keyMode", "account", "description", "value"))

    assert key("vpk.1") == ("Line", "0", "Линия 1", "")
    assert key("vpk.5") == ("BLF", "0", "Очередь", "5000")
    assert key("vpk.6") == ("BLF", "0", "В очереди", "*112001")
    assert key("vpk.8") == ("SpeedDial", "0", "Перерыв", "*131")
    assert key("vpk.11") == ("CallPark", "0", "Парковка", "7000")
    assert key("vpk.16") == ("BLF", "0", "Морозова И.Р.", "2011")
    assert key("vpk.19") == ("Transfer", "0", "Павлова О.Ю.", "3101")
    assert (
        key("vpk.29")[0] == "Transfer" and key("vpk.30") == ("None", "0", "", "") and "pks.vpk.41.value" not in settings
    )
    assert key("ext.1") == ("BLF", "Account1", "Павлова О.Ю.", "3101"), "the first page begins with the receptions"
    assert key("ext.21") == ("BLF", "Account1", "Ершова И.Е.", "3201"), "the second page is the other department's"


def test_keys_of_the_smaller_telephones(clinic: Clinic) -> None:
    watched = [Key(kind="blf", value=ext) for ext in ("3102", "3103", "3104", "3111", "3112")]
    first = [Key(kind="line"), Key(kind="blf", value="3101"), Key(kind="transfer", value="5001"), Key(kind="park")]
    keys = (*first, *watched)
    numbers = xml(of(phones(with_model(clinic, "4101", "GXP1630", keys=keys), Secrets()), "4101"), "1")
    assert [numbers[p] for p in ("P323", "P301", "P302", "P303")] == ["1", "0", "Павлова", "3101"]
    assert [numbers[p] for p in ("P324", "P306")] == ["8", "5001"] and [numbers[p] for p in ("P325", "P309")] == [
        "9",
        "7000",
    ]
    assert [numbers[p] for p in ("P353", "P356")] == ["1", "3112"], "the eighth has numbers of its own"
    assert numbers["P1363"] == "0" and numbers["P1367"] == "0"
    lines = cfg(of(phones(with_model(clinic, "4201", "T46U", keys=keys, consoles=1), Secrets()), "4201"))
    assert [lines[f"linekey.2.{part}"] for part in ("type", "value", "label", "extension")] == [
        ["16"], ["3101"], ["Павлова О.Ю."], ["**3101"]]  # fmt: skip
    assert lines["linekey.3.type"] == ["3"] and lines["linekey.4.type"] == ["10"]
    assert lines["expansion_module.1.key.60.type"] == ["0"] and "expansion_module.2.key.1.type" not in lines


def test_what_anybody_may_read_has_no_account_and_no_password(clinic: Clinic) -> None:
    files = shared(clinic)
    assert {
        "cfggrp2615.xml",
        "cfggxp1625.xml",
        "cfght801.xml",
        "y000000000107.cfg",
        "y000000000123.cfg",
    } <= files.keys()
    for name, data in files.items():
        text = data.decode().lower()
        words = ("secret", "password", "userid", "account", "<p34>", "<p2>", "<p35>", "10.77.20.10/p")
        assert not [word for word in words if word in text], name
        assert all(person.ext not in text for person in clinic.people), name
