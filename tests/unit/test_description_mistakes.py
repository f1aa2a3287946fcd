"""Every mistake an engineer may make is reported at its line, by its rule, with a remedy, and nothing else is.

The file is over the usual size because it is the list of the rules, and is held complete as one list.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from clinic.loading import load
from clinic.mistakes import DescriptionError, Mistake

GOOD = (Path(__file__).parents[2] / "files" / "description" / "clinic.yml").read_text(encoding="utf-8")
PERSON = (
    '  - {ext: 3012, name: Белова Раиса Олеговна, department: doctors, role: doctor, specialty: Педиатр, room: "202", '
)


@dataclass(frozen=True)
class Edit:
    """`old` becomes `new`; the mistake is on the line where `at` (or `new`) ends, with this path and rule."""

    old: str
    new: str
    path: str
    rule: str
    at: str = ""
    count: int = 1


def mistakes(text: str) -> tuple[Mistake, ...]:
    try:
        load(text, "clinic.yml")
    except DescriptionError as error:
        return error.mistakes
    return ()


EDITS = {
    # numbers
    "duplicate extension": Edit(
        "ext: 2011", "ext: 2001", "people[1].ext", "the extension already belongs to Лебедева Анна Сергеевна",
        at="Морозова"),
    "extension outside its department": Edit(
        "ext: 2011", "ext: 2100", "people[1].ext", "extensions of call-centre lie in 2000-2099"),
    "ranges overlap": Edit(
        "range: 4000-4099", "range: 3150-4099", "departments.administration.range",
        "the range overlaps 3000-3199 of department doctors"),
    "range overlaps groups": Edit(
        "  groups: 5000-5099", "  groups: 4099-5099", "departments.administration.range",
        "the range overlaps 4099-5099 of the groups", at="administration: {name"),
    "range overlaps parking": Edit(
        "parking: 7000-7010", "parking: 3190-3210", "departments.doctors.range",
        "the range overlaps 3190-3210 of the parking places", at="doctors: {name"),
    "range of two lengths": Edit(
        "parking: 7000-7010", "parking: 700-710", "numbering.parking",
        "all internal numbers have the same length, here 4 digits"),
    "range runs backwards": Edit(
        "parking: 7000-7010", "parking: 7010-7000", "numbering.parking",
        "a range is written first-last with equally long numbers"),
    "parking without places": Edit(
        "parking: 7000-7010", "parking: 7000-7000", "numbering.parking",
        "parking needs a number to park and at least one place"),
    "group number of the queue": Edit(
        "number: 5001", "number: 5000", "groups[0].number", "the number already belongs to the operators' queue",
        at="number: 5000, name: Дежурные"),
    "department's group number of a group": Edit(
        "group: 5010", "group: 5001", "departments.administration.group",
        "the number already belongs to group Дежурные врачи"),
    "group outside the groups' range": Edit(
        "number: 5001", "number: 5500", "groups[0].number", "a group's number lies in 5000-5099"),
    "queue number among people": Edit(
        "  number: 5000\n", "  number: 3100\n", "call_centre.number",
        "the queue's number lies in 3000-3199 of department doctors", at="  number: 3100"),
    "numbers begin with the trunk prefix": Edit(
        "parking: 7000-7010", "parking: 8000-8010", "numbering.parking",
        "internal numbers do not begin with 8, which begins outside calls"),
    "numbers begin with 0": Edit(
        "parking: 7000-7010", "parking: 0700-0710", "numbering.parking",
        "internal numbers do not begin with 0, which begins outside calls"),
    "range shadows an emergency number": Edit(
        "parking: 7000-7010", "parking: 1120-1130", "numbering.parking",
        "it shadows the emergency number 112, which 1120 begins with"),
    "a foreign numbering plan": Edit(
        '  area_code: "495"', '  country: KZ\n  area_code: "727"', "numbering.country",
        "only Russia's numbering plan is built in", at="country: KZ"),
    "emergency number lost": Edit(
        "forwarding:", 'emergency: {numbers: ["101", "103"]}\nforwarding:', "emergency.numbers",
        "112 is an emergency number in every network", at="emergency: {"),
    # people
    "unknown department": Edit(
        "department: call-centre, role: supervisor", "department: call, role: supervisor", "people[1].department",
        "no such department"),
    "doctor without specialty": Edit(
        "specialty: Педиатр, ", "", "people[4]", "a doctor has a specialty", at="Белова"),
    "no operators": Edit(
        "call-centre, role: operator", "call-centre, role: staff", "people",
        "the call centre has at least one operator", at="people:"),
    "no supervisors": Edit(
        "role: supervisor", "role: staff", "people", "someone is told of every missed call", at="people:"),
    "operator of another department": Edit(
        "role: chief,", "role: operator, class: local,", "people[5].department",
        "operators belong to one department, as the first to call-centre"),
    "department may call abroad": Edit(
        "class: local", "class: international", "departments.doctors.class", "no country is open"),
    "person may call abroad": Edit(
        "role: chief,", "role: chief, class: international,", "people[5].class",
        "no country is open"),
    "forwarding abroad": Edit(
        "highest_class: mobile", "highest_class: international", "forwarding.highest_class",
        "calls are never forwarded abroad"),
    "unknown role": Edit(
        "role: chief", "role: boss", "people[5].role",
        "one of: 'operator', 'reception', 'supervisor', 'chief', 'doctor' or 'staff'"),
    "group of a stranger": Edit(
        "[3011, 3012]", "[3011, 3019]", "groups[0].members[1]", "a group rings people, and nobody has this extension"),
    "group rings someone twice": Edit(
        "[3011, 3012]", "[3011, 3011]", "groups[0].members[1]", "group 5001 already rings this extension"),
    # phones
    "duplicate MAC": Edit(
        "c0:74:ad:00:00:05", "C0-74-AD-00-00-04", "people[4].phone.mac",
        "the MAC address already belongs to the phone of 3011 Архипов Виктор Дмитриевич"),
    "duplicate socket": Edit(
        "socket: 2-202-1", "socket: 2-201-1", "people[4].phone.socket",
        "the wall socket is already used by 3011 Архипов Виктор Дмитриевич", at="Белова"),
    "duplicate switch port": Edit(
        "port: 5}", "port: 4}", "people[4].phone.port",
        "the switch port is already used by 3011 Архипов Виктор Дмитриевич", at="Белова"),
    "unknown switch": Edit(
        "switch: sw-1, port: 5", "switch: sw-9, port: 5", "people[4].phone.switch", "no such switch"),
    "port beyond the switch": Edit("port: 5}", "port: 25}", "people[4].phone.port", "switch sw-1 has 24 ports"),
    "unknown model": Edit(PERSON + "phone: {model: GXP1625", PERSON + "phone: {model: GXP1626",
                          "people[4].phone.model", "no such phone model"),
    "console on a model without": Edit(
        "port: 6, keys", "port: 6, consoles: 1, keys", "people[5].phone.consoles", "a GRP2614 carries no console"),
    "model without busy lamps": Edit(
        "port: 5}", "port: 5, keys: [{kind: blf, value: 3001}]}", "people[4].phone.keys",
        "a GXP1625 with 0 consoles has room for 0 keys beside 1 line(s)"),
    "too many lines": Edit(
        "port: 5}", "port: 5, keys: [{kind: line}, {kind: line}, {kind: line}]}", "people[4].phone.keys",
        "a GXP1625 has 2 line keys"),
    "lamp of a stranger": Edit(
        'value: "3001"', 'value: "3999"', "people[5].phone.keys[1]",
        "a busy lamp watches a person or a parking place"),
    "queue key on another's phone": Edit(
        "{kind: line},", "{kind: queue-login, value: ''},", "people[5].phone.keys[0]",
        "only operators and supervisors log in to the queue"),
    "queue key of a role that is not the queue's": Edit(
        "reception: [{kind: line, label: Линия 1},", "reception: [{kind: queue-pause},",
        "provisioning.keys.reception[0]", "only operators and supervisors log in to the queue"),
    "more keys than the role's telephone": Edit(
        "{kind: blf, of: department, first: 20}", "{kind: transfer, value: 3001, label: А}" + "".join(
            f", {{kind: transfer, value: {n}, label: А}}" for n in range(4001, 4041)),
        "provisioning.keys.reception",
        "a GRP2614, as 3001 Павлова Ольга Юрьевна has, with 0 consoles has room for 39 keys beside 1 line(s)",
        at="reception: ["),
    "row of something else": Edit(
        "{kind: transfer, of: departments}", "{kind: transfer, of: places}", "provisioning.keys.operator[10]",
        "a transfer key is not multiplied by places"),
    "row of nothing": Edit(
        "{kind: transfer, of: departments}", "{kind: transfer, of: doctors}", "provisioning.keys.operator[10].of",
        "one of: 'operators', 'supervisors', 'receptions', 'own-receptions', 'department', 'departments', 'places' "
        "or 'reasons'"),
    "row with a value": Edit(
        "{kind: transfer, of: departments}", "{kind: transfer, of: departments, value: 5001}",
        "provisioning.keys.operator[10]", "a key has a value or `of`, not both"),
    "first of one": Edit(
        "{kind: blf, of: places, first: 4}", "{kind: park, first: 4}", "provisioning.keys.operator[7]",
        "`first` limits a row of keys, and this is one"),
    "transfer to nowhere": Edit(
        "{kind: transfer, of: departments}", "{kind: transfer}", "provisioning.keys.operator[10]",
        "a call is transferred to a number"),
    "another queue": Edit(
        "{kind: line, label: Линия 2}, {kind: queue},", "{kind: line, label: Линия 2}, {kind: queue, value: 5001},",
        "provisioning.keys.operator[2]", "there is one queue, the operators'", at="{kind: queue, value: 5001}"),
    "pause for no reason": Edit(
        "{kind: queue-pause, of: reasons}", "{kind: queue-pause, value: 7}", "provisioning.keys.operator[5]",
        "no such pause reason"),
    "label longer than the display": Edit(
        "label: Стойка", "label: Достопримечательность", "people[5].phone.keys[1].label",
        "the display of a GRP2614 shows 14 characters"),
    "label that no display has": Edit(
        "label: Стойка", "label: 漢字", "people[5].phone.keys[1].label", "the displays have no 漢 字"),
    "keys of no role": Edit(
        "    supervisor: [{kind: line", "    boss: [{kind: line", "provisioning.keys.boss",
        "one of: 'operator', 'reception', 'supervisor', 'chief', 'doctor' or 'staff'"),
    # provisioning
    "quarantine backwards": Edit(
        "10.20.20.11-10.20.20.30", "10.20.20.30-10.20.20.11", "provisioning.quarantine",
        "a range of addresses ends after it begins"),
    "quarantine of one address": Edit(
        "10.20.20.11-10.20.20.30", "10.20.20.11", "provisioning.quarantine",
        "a range of addresses is written first-last", at="quarantine: 10.20.20.11"),
    "quarantine outside the voice network": Edit(
        "10.20.20.11-10.20.20.30", "10.20.10.11-10.20.10.30", "provisioning.quarantine",
        "the quarantine lies inside the voice network 10.20.20.0/24"),
    "quarantine among the phones": Edit(
        "10.20.20.11-10.20.20.30", "10.20.20.11-10.20.20.32", "provisioning.quarantine",
        "the quarantine lies outside the telephones' 10.20.20.32 to 10.20.20.250"),
    "quarantine at the PBX": Edit(
        "10.20.20.11-10.20.20.30", "10.20.20.10-10.20.20.30", "provisioning.quarantine",
        "the quarantine holds the PBX's 10.20.20.10"),
    "time server among the phones": Edit(
        "  quarantine:", "  time_server: 10.20.20.99\n  quarantine:", "provisioning.time_server",
        "the address lies in the telephones' 10.20.20.32 to 10.20.20.250", at="time_server: 10.20.20.99"),
    "backup that is the PBX": Edit(
        "  quarantine:", "  backup_server: 10.20.20.10\n  quarantine:", "provisioning.backup_server",
        "the backup is another server than the PBX", at="backup_server: 10.20.20.10"),
    "firmware of no model": Edit(
        "  quarantine:", f"  firmware: {{GRP2699: {{version: 1.0, file: a.bin, sha256: {'0' * 64}}}}}\n  quarantine:",
        "provisioning.firmware.GRP2699", "no such phone model", at="firmware: {"),
    "firmware of two hashes": Edit(
        "  quarantine:",
        f"  firmware:\n    GRP2614: {{version: 1.0, file: a.bin, sha256: {'0' * 64}}}\n"
        f"    GRP2616: {{version: 1.0, file: a.bin, sha256: {'1' * 64}}}\n  quarantine:",
        "provisioning.firmware.GRP2616.sha256", "a.bin already has another hash at GRP2614", at="GRP2616: {"),
    "firmware without a hash": Edit(
        "  quarantine:", "  firmware: {GRP2614: {version: 1.0, file: a.bin, sha256: abc}}\n  quarantine:",
        "provisioning.firmware.GRP2614.sha256", "the text fits ^[0-9a-f]{64}$", at="firmware: {"),
    "console page of no department": Edit(
        "  quarantine:", "  consoles: {operator: [doctor]}\n  quarantine:", "provisioning.consoles.operator[0]",
        "no such department", at="consoles: {operator: [doctor]"),
    "phonebook for no department": Edit(
        "class: mobile, group: 5010,", "class: mobile, group: 5010, phonebook: [doctor],",
        "departments.administration.phonebook[0]", "no such department"),
    "vendor unknown": Edit(
        "  quarantine:", "  resync: {snom: check-sync}\n  quarantine:", "provisioning.resync.snom",
        "one of: 'grandstream' or 'yealink'", at="resync: {snom"),
    "event that restarts": Edit(
        "  quarantine:", "  resync: {yealink: reboot}\n  quarantine:", "provisioning.resync.yealink",
        "one of: 'resync' or 'check-sync'", at="resync: {yealink"),
    "MAC too short": Edit(
        "c0:74:ad:00:00:05", "c0:74:ad:00:05", "people[4].phone.mac", "a MAC address has 12 hexadecimal digits"),
    # networks
    "networks overlap": Edit(
        "cidr: 10.20.10.0/24, vlan: 10, pbx: 10.20.10.10", "cidr: 10.20.20.0/27, vlan: 10, pbx: 10.20.20.9",
        "networks.management.cidr",
        "the network overlaps 10.20.20.0/24 of the voice network"),
    "uplinks share a network": Edit(
        "address: 10.20.32.2/24, gateway: 10.20.32.1", "address: 10.20.31.3/24, gateway: 10.20.31.1",
        "uplinks[1].address", "it shares a network with uplink wan-a"),
    "PBX outside its network": Edit(
        "pbx: 10.20.10.10", "pbx: 10.20.11.10", "networks.management.pbx", "the address lies in 10.20.10.0/24"),
    "gateway outside its network": Edit(
        "gateway: 10.20.32.1", "gateway: 10.20.33.1", "uplinks[1].gateway", "the address lies in 10.20.32.0/24"),
    "gateway is the PBX": Edit(
        "gateway: 10.20.32.1", "gateway: 10.20.32.2", "uplinks[1].gateway",
        "the gateway is the router's address, not the PBX's"),
    "broadcast address": Edit(
        "pbx: 10.20.10.10", "pbx: 10.20.10.255", "networks.management.pbx",
        "the first and the last address of 10.20.10.0/24 belong to no machine"),
    "phones outside the voice network": Edit(
        "phones_to: 10.20.20.250", "phones_to: 10.20.21.250", "networks.voice.phones_to",
        "phones get addresses inside 10.20.20.0/24"),
    "PBX among the phones": Edit(
        "pbx: 10.20.20.10,", "pbx: 10.20.20.40,", "networks.voice.phones_from",
        "the phones' addresses hold the PBX's 10.20.20.40"),
    "pool too small": Edit(
        "phones_to: 10.20.20.250", "phones_to: 10.20.20.36", "networks.voice.phones_to",
        "the pool has an address for each of 6 phones"),
    "pool backwards": Edit(
        "phones_to: 10.20.20.250", "phones_to: 10.20.20.31", "networks.voice.phones_to",
        "the phones' addresses end after they begin"),
    "VLAN twice": Edit("vlan: 32", "vlan: 20", "uplinks[1].vlan", "the VLAN already belongs to the voice network",
                       at="10.20.32.2"),
    "bridge twice": Edit(
        "bridge: vmbr-wan-b", "bridge: vmbr-wan-a", "uplinks[1].bridge", "the bridge already carries uplink wan-a",
        at="10.20.32.2"),
    "uplink named as a network": Edit(
        "name: wan-b", "name: voice", "uplinks[1].name", "the name belongs to one of the clinic's own networks"),
    "public address twice": Edit(
        "198.18.2.2", "198.18.1.2", "uplinks[1].external_address", "the public address already belongs to uplink wan-a",
        at="10.20.32.2"),
    "public address inside": Edit(
        "198.18.2.2", "10.20.20.7", "uplinks[1].external_address",
        "a public address lies outside 10.20.20.0/24 of the voice network"),
    "one anchor": Edit(
        "anchors: [192.0.2.53, 198.18.200.53]", "anchors: [192.0.2.53]", "wan",
        "the watchdog needs two anchors to tell an uplink's fault from a host's", at="wan: {"),
    "anchor twice": Edit(
        "anchors: [192.0.2.53, 198.18.200.53]", "anchors: [192.0.2.53, 192.0.2.53]", "wan.anchors[1]",
        "the address already belongs to an anchor above", at="wan: {"),
    "anchor of our own": Edit(
        "anchors: [192.0.2.53, 198.18.200.53]", "anchors: [192.0.2.53, 10.20.31.1]", "wan.anchors[1]",
        "an anchor is somebody else's host; this is uplink wan-a", at="wan: {"),
    "hypervisor at the PBX's address": Edit(
        "api: 10.20.10.2", "api: 10.20.10.10", "hypervisor.api", "the address already belongs to the PBX",
        at="api: 10.20.10.10"),
    "network with host bits": Edit(
        "cidr: 10.20.10.0/24", "cidr: 10.20.10.1/24", "networks.management.cidr",
        "a network is its first address and prefix"),
    # trunks
    "DID in two trunks": Edit(
        '{number: "+74950000002", to: 4001}', '{number: "+74950000003", to: 4001}', "trunks[1].dids[0].number",
        "the number already comes by trunk main", at="+74950000003\", flow"),
    "DID routed nowhere": Edit(
        '"+74950000002", to: 4001', '"+74950000002"', "trunks[0].dids[1]", "a public number leads somewhere"),
    "DID routed twice": Edit(
        "to: 4001}", "to: 4001, flow: main}", "trunks[0].dids[1]",
        "a public number leads to a flow or to a number, not both"),
    "DID to a stranger": Edit(
        "to: 4001}", "to: 4044}", "trunks[0].dids[1].to", "nobody and no group has this number"),
    "DID to the queue": Edit(
        "to: 4001}", "to: 5000}", "trunks[0].dids[1].to", "calls reach the operators' queue by a flow only"),
    "DID to an unknown flow": Edit(
        '"+74950000003", flow: main', '"+74950000003", flow: maim', "trunks[1].dids[0].flow", "no such flow"),
    "DID of no telephone": Edit(
        'number: "+74950000002"', 'number: "+7495CLINICS"', "trunks[0].dids[1].number", "this is no telephone number"),
    "DID with an extension": Edit(
        'number: "+74950000002"', 'number: "8 (495) 000-00-02, 5"', "trunks[0].dids[1].number",
        "this is no telephone number"),
    "DID in two trunks, spelled otherwise": Edit(
        '{number: "+74950000002", to: 4001}', "{number: 8 (495) 000-00-03, to: 4001}", "trunks[1].dids[0].number",
        "the number already comes by trunk main", at="+74950000003\", flow"),
    "DID that nobody can have": Edit(
        'number: "+74950000002"', 'number: "+73000000002"', "trunks[0].dids[1].number",
        "no such number exists in its country's numbering plan"),
    "DID of no country": Edit(
        'number: "+74950000002"', 'number: "+99900000002"', "trunks[0].dids[1].number", "this is no telephone number"),
    "DID short of a digit": Edit(
        'number: "+74950000002"', 'number: "+7495000000"', "trunks[0].dids[1].number",
        "the number is too short for its country"),
    "DID with a digit too many": Edit(
        'number: "+74950000002"', 'number: "8 495 000 00 022"', "trunks[0].dids[1].number",
        "the number has a digit too few or too many for its country"),
    "caller-ID short of a digit": Edit(
        'caller_id: "+74950000003"', 'caller_id: "+7495000000"', "trunks[1].caller_id",
        "the number is too short for its country"),
    "speed dial to nowhere": Edit(
        '{kind: blf, value: "3001", label: Стойка}', '{kind: speed-dial, value: "8916123456", label: Дом}',
        "people[5].phone.keys[1].value", "no such number exists in its country's numbering plan"),
    "caller-ID of another provider": Edit(
        'caller_id: "+74950000003"', 'caller_id: "+74950000001"', "trunks[1].caller_id",
        "a provider lets us show only numbers it gave us", at="format: national\n    caller_id"),
    "registration without user name": Edit(
        "    username: clinic\n", "", "trunks[0].auth", "a registration has a user name", at="auth: registration"),
    "two trunks, one server": Edit(
        "203.0.113.10", "198.51.100.10", "trunks[1].server", "the server already belongs to trunk main",
        at="Резервный оператор\n    server: 198.51.100.10"),
    "server inside the clinic": Edit(
        "203.0.113.10", "10.20.20.9", "trunks[1].server", "a provider is outside 10.20.20.0/24"),
    "two trunks, one name": Edit(
        "name: backup", "name: main", "trunks[1].name",
        "the name already belongs to the trunk of Основной оператор", at="to: 4001}\n  - name: main"),
    "all trunks off": Edit(
        "channels: 5", "enabled: false\n    channels: 5", "trunks",
        "at least one trunk is enabled, if only for emergency calls", at="trunks:", count=2),
    # hours and calls
    "unknown time zone": Edit("Europe/Moscow", "Europe/Moskau", "timezone", "no such time zone"),
    "hours that never open": Edit(
        "week: {mon-fri: 08:00-20:00, sat: 09:00-15:00}\n    short_days: {2026-12-31: 08:00-14:00}", "week: {}",
        "hours.clinic.week", "these hours never open"),
    "hours that end before they begin": Edit(
        "mon-fri: 08:00-20:00", "mon-fri: 20:00-08:00", "hours.clinic.week.mon-fri",
        "opening hours must end after they start, on the same day"),
    "weekday twice": Edit(
        "sat: 09:00-15:00", "fri: 09:00-15:00", "hours.clinic.week.fri", "the day is already written under mon-fri"),
    "unknown weekday": Edit(
        "mon-fri:", "mon-fry:", "hours.clinic",
        "`mon-fry` is no day or day range: use mon tue wed thu fri sat sun", at="hours:\n  clinic:"),
    "short day is a holiday": Edit(
        "[2027-01-01, 2027-01-07]", "[2026-12-31]", "hours.clinic.short_days.2026-12-31", "the day is also a holiday",
        at="short_days"),
    "short day when closed": Edit(
        "{2026-12-31:", "{2026-12-27:", "hours.clinic.short_days.2026-12-27",
        "it is a sun, when these hours are closed anyway"),
    "short day that is long": Edit(
        "31: 08:00-14:00", "31: 08:00-21:00", "hours.clinic.short_days.2026-12-31",
        "a short day is shorter than its usual 08:00-20:00"),
    "holiday twice": Edit(
        "2027-01-07", "2027-01-01", "hours.clinic.holidays[1]", "the holiday is listed twice", at="holidays:"),
    "no such date": Edit(
        "2027-01-07", "2027-02-30", "hours.clinic.holidays[1]", "a date is written year-month-day", at="holidays:"),
    "flow of unknown hours": Edit(
        "hours: clinic", "hours: clinics", "flows.main.hours", "no such opening hours"),
    "flow of an unknown prompt": Edit("holiday: holiday", "holiday: feast", "flows.main.holiday", "no such prompt"),
    "flow of an unknown department": Edit(
        "department: doctors, greeting", "department: doctor, greeting", "flows.main.department",
        "no such department"),
    "department without receptions": Edit(
        "role: reception", "role: staff", "flows.main.department",
        "calls that operators miss ring the department's receptions, and it has none", at="flows:\n  main"),
    "flow nobody can call": Edit(
        "flows:\n", "flows:\n  lost: {name: Л, hours: clinic, department: doctors, greeting: greeting, closed: closed, "
        "holiday: holiday, apology: apology}\n", "flows.lost", "no public number leads to this flow", at="lost: {"),
    "prompt of text and file": Edit(
        '  apology: {text: "', '  apology: {file: a.wav, text: "', "prompts.apology",
        "a prompt is spoken from text or played from a file, not both"),
    "prompt of nothing": Edit(
        "prompts:\n", "prompts:\n  empty: {}\n", "prompts.empty", "a prompt has a text or a file", at="empty: {}"),
    "wait shorter than a ring": Edit(
        "max_wait_seconds: 20", "max_wait_seconds: 10", "call_centre.max_wait_seconds",
        "a caller waits at least one ring of 12 s"),
    "no pause reasons": Edit(
        'pause_reasons: {"1": Перерыв, "2": Обед}', "pause_reasons: {}", "call_centre.pause_reasons",
        "an operator who pauses says why"),
    "pause reason of two digits": Edit(
        '"2": Обед', '"12": Обед', "call_centre.pause_reasons.12",
        "a pause reason is dialled as one digit, 1 to 9"),
    # machine
    "recordings do not fit": Edit(
        "recordings_gib: 150", "recordings_gib: 20", "hypervisor.vm.recordings_gib",
        "30 days of recordings need about 57 GiB"),
    "a card too few": Edit(
        ', "bc:24:11:00:00:04"]', "]", "hypervisor.vm.macs",
        "the machine has 4 cards: management, voice, wan-a, wan-b", at="macs:"),
    "card MAC twice": Edit(
        "bc:24:11:00:00:04", "bc:24:11:00:00:03", "hypervisor.vm.macs[3]", "the MAC address already belongs to card 2",
        at="macs:"),
    "card MAC of a phone": Edit(
        "bc:24:11:00:00:04", "c0:74:ad:00:00:01", "hypervisor.vm.macs[3]",
        "the MAC address already belongs to the phone of 2001 Лебедева Анна Сергеевна", at="macs:"),
    "VM number too low": Edit("    id: 120", "    id: 12", "hypervisor.vm.id", "the number is 100 or more"),
    "damaged engineer's key": Edit(
        "engineers: []", "engineers: [{name: ivanov, ssh_key: ssh-ed25519 AAAA}]", "engineers[0].ssh_key",
        "the public key is damaged"),
    # updates
    "updates while the clinic is open": Edit(
        "engineers: []", 'updates: {at: "10:00"}\nengineers: []', "updates.at",
        "the clinic is open then, by the hours `clinic`", at="10:00"),
    "updates at no time": Edit(
        "engineers: []", "updates: {at: 3 am}\nengineers: []", "updates.at", 'a time of day is written "HH:MM"',
        at="3 am"),
    "mirror with a password": Edit(
        "engineers: []", "updates: {mirror: 'http://u:p@mirror.invalid/'}\nengineers: []", "updates.mirror",
        "the description holds no password, so a mirror has none", at="mirror.invalid"),
    "mirror that is no address": Edit(
        "engineers: []", "updates: {mirror: mirror.invalid/security}\nengineers: []", "updates.mirror",
        "a mirror is an http or https address", at="mirror.invalid"),
    # what calls cost
    "money without a price": Edit(
        ", mobile: 2.10, national: 2.80}", ", mobile: 2.10}", "trunks[1]",
        "money is capped, and this trunk has no price for national", at="  - name: backup"),
    "price of a closed country": Edit(
        "national: 2.80}", "national: 2.80, BY: 19}", "trunks[1].tariffs.BY", "a price for a country that is closed",
        at="BY: 19"),
    "negative cap": Edit(
        "toll:\n  person: {money: 300}",
        "toll:\n  countries: []\n  person: {money: 300, calls: -1}", "toll.person.calls",
        "the number is 0 or more", at="calls: -1"),
    "own country abroad": Edit(
        "  person: {money: 300}\n  clinic: {money: 3000}",
        "  countries: [RU]\n  person: {money: 1, calls: 1, minutes: 1}\n  clinic: {money: 1, calls: 1, minutes: 1}",
        "toll.countries[0]", "the clinic's own country is not abroad", at="countries: [RU"),
    "no such country": Edit(
        "  person: {money: 300}", "  countries: [XX]\n  person: {money: 300}", "toll.countries[0]",
        "a country is written as in ISO 3166", at="[XX"),
    "cap of something else": Edit(
        "  person: {money: 300}\n  clinic: {money: 3000}",
        "  countries: []\n  person: {money: 300}\n  clinic: {money: 3000, hours: 1}", "toll.clinic.hours",
        "no such key here", at="hours: 1"),
    "hours of calls abroad": Edit(
        "  person: {money: 300}", "  hours: night\n  person: {money: 300}", "toll.hours", "no such opening hours",
        at="hours: night"),
    "PIN that reaches no further": Edit(
        "role: chief,", "role: chief, pin_class: mobile,", "people[5].pin_class",
        "a PIN reaches further than the person's own class", at="pin_class: mobile"),
    "alert told twice": Edit(
        "resolvers: [] # DNS servers, as [10.20.10.1]; alerts and updates need them, calls do not\n\nalerts: []",
        "resolvers: [10.20.10.1]\nalerts: [mail, mail]", "alerts[1]", "the name already stands in the list",
        at="mail, mail"),
    "alerts that find nobody": Edit(
        "alerts: []", "alerts: [mail]", "alerts", "alerts go to servers by name, and nobody resolves names",
        at="alerts: [mail]"),
    # the file itself
    "unknown key": Edit(PERSON, PERSON.replace("room:", "rom:"), "people[4].rom", "no such key here"),
    "missing key": Edit("timezone: Europe/Moscow\n", "", "timezone", "the key `timezone` is required", at="# yaml"),
    "key twice": Edit("timezone: Europe/Moscow\n", "timezone: Europe/Moscow\ntimezone: Europe/Samara\n", "timezone",
                      "a key is written once", at="Europe/Samara"),
    "no number": Edit("cores: 2", "cores: two", "hypervisor.vm.cores", "a whole number belongs here"),
    "tag": Edit("timezone: Europe", "timezone: !!python/name:os.system Europe", "timezone",
                "YAML tags are not used here"),
    "broken YAML": Edit("cores: 2", "cores: [2", "", "not YAML: did not find expected ',' or ']'", at="memory_mib"),
}  # fmt: skip


def test_a_good_clinic_has_no_mistakes() -> None:
    """The control: without an edit there is nothing to report."""
    assert mistakes(GOOD) == ()


def test_at_least_forty_mistakes_are_tried() -> None:
    assert len(EDITS) >= 40
    assert len({edit.rule for edit in EDITS.values()}) >= 40


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_mistake_is_reported_at_its_line_with_rule_and_remedy(edit: Edit) -> None:
    assert GOOD.count(edit.old) == edit.count, "the edit must change exactly what it means to"
    text = GOOD.replace(edit.old, edit.new)
    found = mistakes(text)
    assert [(m.path, m.rule) for m in found] == [(edit.path, edit.rule)]
    at = edit.at or edit.new
    assert text.count(at) == 1, "the expected line must be unambiguous"
    assert found[0].line == text.count("\n", 0, text.index(at) + len(at) - 1) + 1
    assert found[0].file == "clinic.yml"
    assert found[0].remedy


def test_all_mistakes_are_told_at_once_though_an_entry_is_unreadable() -> None:
    """A wrong MAC does not hide a duplicate extension, and the unreadable person is nobody's missing member."""
    text = (
        GOOD.replace("c0:74:ad:00:00:04", "nonsense").replace("ext: 4001", "ext: 2001").replace("vlan: 32", "vlan: x")
    )
    assert [(m.path, m.rule) for m in mistakes(text)] == [
        ("people[3].phone.mac", "a MAC address has 12 hexadecimal digits"),
        ("people[5].ext", "the extension already belongs to Лебедева Анна Сергеевна"),
        ("people[5].ext", "extensions of administration lie in 4000-4099"),
        ("uplinks[1].vlan", "a whole number belongs here"),
    ]


def test_only_entry_of_a_section_is_unreadable_without_echoes() -> None:
    text = GOOD.replace("hours: clinic,", "hours: clinic, colour: red,").replace("Europe/Moscow", "Mars/Base")
    text = text.replace("sw-1: {model: Eltex MES2324P, ports: 24", "sw-1: {model: Eltex MES2324P, ports: 2400")
    assert [m.path for m in mistakes(text)] == ["timezone", "switches.sw-1.ports", "flows.main.colour"]


def test_values_are_cut_and_stay_on_one_line() -> None:
    (mistake,) = mistakes(GOOD.replace("c0:74:ad:00:00:05", "x" * 500))
    assert len(mistake.value) <= 60


def test_consoles_have_no_more_pages_than_they_hold() -> None:
    pages = "  consoles: {operator: [doctors, administration, call-centre]}\n  quarantine:"
    text = GOOD.replace("  quarantine:", pages).replace("sw-1, port: 1}", "sw-1, port: 1, consoles: 1}")
    assert [(m.path, m.rule) for m in mistakes(text)] == [
        ("provisioning.consoles.operator", "the consoles of 2001 Лебедева Анна Сергеевна have 2 pages")
    ]
    assert mistakes(text.replace(", call-centre]}", "]}")) == (), "the control: two pages fit"


def test_an_open_country_needs_every_cap_and_every_price() -> None:
    text = GOOD.replace("toll:\n  person: {money: 300}", "toll:\n  countries: [BY]\n  person: {money: 300}")
    assert sorted((m.path, m.rule) for m in mistakes(text)) == [
        *((f"toll.{who}", f"calls abroad have a cap, and {who}.{what} is missing")
          for who in ("clinic", "person") for what in ("calls", "minutes")),
        *((f"trunks[{n}]", "money is capped, and this trunk has no price for BY") for n in (0, 1)),
    ]  # fmt: skip
