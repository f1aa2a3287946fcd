"""Alerts in the words of whoever gets them: title and body, in the clinic's language. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from .core import SHOWN, Alert

Site = Mapping[str, Any]
"""/etc/clinicpbx/guard.json: clinic, language, phones [first, last], people {ext: {...}}, trunks {name: provider},
uplinks {name: ISP}, switches {name: location}, off_minutes."""

RU = {
    "account": "Неверный пароль или адрес, телефон {ext} {person}",
    "clear": "Пароль телефона {ext} {person} использован без шифрования",
    "address": "Подбор паролей с адреса {name}",
    "bans": "Заблокирован адрес: {first}",
    "bans-many": "Заблокировано адресов: {count}",
    "closed": "Платные звонки закрыты: {who}",
    "full": "Отказано в звонке за границу: {who}",
    "locked": "ПИН заблокирован: {who}",
    "test": "Проверка оповещений",
    "person": "Кто: {name}, доб. {ext}, {department}{room}",
    "room": ", кабинет {room}",
    "stranger": "Учётная запись {ext}: в описании клиники такой нет",
    "socket": "Где: розетка {socket}, коммутатор {switch}, порт {port}",
    "from": "Неудачных попыток: {count}, с адресов: {others}",
    "tried": "Неудачных попыток: {count}, учётные записи: {others}",
    "of-phones": "{address} ({n}, из диапазона телефонов)",
    "of-others": "{address} ({n}, НЕ из диапазона телефонов)",
    "do-account-phones": "Что делать: проверить настройку этого телефона; адреса телефонов не блокируются. "
    "Если телефон исправен, пароль подбирают из его сети: отключите порт {port} коммутатора {switch}.",
    "do-account-others": "Что делать: найти, чьё это устройство; телефон абонента ни при чём.",
    "do-clear": "Что делать: этот телефон говорит только по TLS, значит, пароль знает кто-то ещё. Найти устройство по "
    "адресу, сменить пароль (clinicpbx secrets renew КЛИНИКА {ext}) и развернуть.",
    "clear-from": "Адреса: {others}",
    "do-address": "Что делать: найти это устройство и отключить его порт; адреса вне диапазона телефонов блокируются "
    "сами.",
    "ban-line": "{address}: {jail}, на {minutes} мин",
    "do-bans": "Что делать: ничего, если адрес чужой. Снять блокировку: fail2ban-client unban АДРЕС на АТС.",
    "international": "международные звонки",
    "money": "все платные звонки",
    "what": "Что закрыто: {what}",
    "detail": "Подробности: {detail}",
    "do-toll": "Что делать: clinicpbx fraud status, затем clinicpbx fraud reopen. Экстренные номера работают.",
    "do-full": "Что делать: ничего, если звонков столько и должно быть; clinicpbx fraud status покажет, кто говорит.",
    "clinic": "вся клиника",
    "trunk": "оператор {name}",
    "test-body": "Если вы это читаете, оповещения этой клиники доходят.",
    "wan-left": "Связь переведена на резервный канал: {to}",
    "wan-returned": "Связь возвращена на основной канал: {to}",
    "wan-down": "Не работает интернет-канал: {name}",
    "wan-up": "Интернет-канал снова работает: {name}",
    "wan-no-line": "Нет ни одного интернет-канала",
    "wan-provider-down": "Оператор не отвечает: {provider}",
    "wan-provider-up": "Оператор снова отвечает: {provider}",
    "wan-rejected": "Оператор отказал в регистрации: {provider} ({code})",
    "wan-accepted": "Оператор снова принимает регистрацию: {provider}",
    "wan-dns-down": "Не отвечают DNS-серверы: {resolvers}",
    "wan-dns-up": "DNS-серверы снова отвечают: {resolvers}",
    "wan-address": "Изменился внешний адрес канала {name}: {address}",
    "wan-held": "Связь закреплена инженером за каналом {name}",
    "wan-released": "Выбор канала снова автоматический",
    "why-no-carrier": "Что случилось: отключён кабель канала {left}.",
    "why-router-dead": "Что случилось: не отвечает маршрутизатор канала {left} и всё, что за ним.",
    "why-isp-dead": "Что случилось: маршрутизатор канала {left} отвечает, но интернета за ним нет.",
    "why-no-sip": "Что случилось: интернет по каналу {left} есть, но телефония по нему не проходит.",
    "why-lossy": "Что случилось: на канале {left} теряются пакеты. {evidence}",
    "why-test": "Что случилось: инженер проверяет переключение, канал {left} исправен.",
    "why-hold": "Так решил инженер.",
    "why-asked": "Так решил инженер.",
    "why-well": "Канал {to} давно работает без сбоев.",
    "do-wan-left": "Звонки идут как обычно, внутри клиники ничего не изменилось. Что делать: сообщить провайдеру "
    "канала {left}; связь вернётся на него сама, когда он будет исправен.",
    "do-wan-returned": "Ничего делать не нужно.",
    "do-wan-down": "Звонки идут по каналу {current}. Что делать: сообщить провайдеру; пока резерва нет.",
    "do-wan-up": "Резерв снова есть. Ничего делать не нужно.",
    "do-wan-no-line": "Внешние звонки невозможны, внутренние работают. Экстренные службы: с мобильного телефона, "
    "112. Что делать: проверить маршрутизаторы и питание, сообщить обоим провайдерам.",
    "do-wan-provider-down": "Исходящие звонки идут через другого оператора; на номера этого оператора дозвониться "
    "нельзя. Каналы интернета исправны. Что делать: позвонить в его поддержку.",
    "do-wan-provider-up": "Ничего делать не нужно.",
    "do-wan-rejected": "Ответ оператора: {reason}. Входящих звонков от него нет, исходящие идут через другого. Что "
    "делать: проверить оплату договора, затем пароль (clinicpbx secrets enter).",
    "do-wan-accepted": "Ничего делать не нужно.",
    "do-wan-dns-down": "Звонкам имена не нужны, они работают. Оповещения и обновления могут задерживаться.",
    "do-wan-dns-up": "Ничего делать не нужно.",
    "do-wan-address": "В описании клиники: {expected}. Что делать: если адрес сменился надолго, исправить "
    "uplinks.external_address, развернуть (clinicpbx deploy) и сообщить операторам, которые знают клинику по адресу.",
    "do-wan-held": "Отменить: wanctl release на АТС.",
    "do-wan-released": "Ничего делать не нужно.",
    "phone-off": "Телефон не на связи: {ext} {person}",
    "phone-back": "Телефон снова на связи: {ext} {person}",
    "phones-switch": "Коммутатор {switch}: не на связи {off} из {of} телефонов",
    "phones-switch-back": "Коммутатор {switch}: телефоны снова на связи",
    "phones-all": "Не на связи {off} из {of} телефонов клиники",
    "phones-all-back": "Телефоны клиники снова на связи",
    "seen": "Последний раз был на связи: {seen}",
    "place": "Где стоит коммутатор: {location}",
    "those": "Кто: {phones}",
    "still": "Ещё не на связи: {off} из {of}",
    "do-phone-off": "Что делать: посмотреть, горит ли экран. Не горит: питание порта {port} коммутатора {switch}, "
    "кабель в розетке {socket}. Горит: clinicpbx phones status КЛИНИКА.",
    "do-phone-back": "Ничего делать не нужно.",
    "do-phones-switch": "Что делать: проверить питание этого коммутатора и его кабель к сети; сами телефоны, скорее "
    "всего, исправны.",
    "do-phones-switch-back": "О тех, кто не вернётся, сообщим отдельно.",
    "do-phones-all": "Что делать: проверить сеть телефонов (главный коммутатор, голосовой VLAN) и саму АТС; это не "
    "один коммутатор.",
    "do-phones-all-back": "О тех, кто не вернётся, сообщим отдельно.",
    "provisioning": "Телефону отказано в настройке: {ext} {person}",
    "provisioning-stranger": "Чужое устройство с данными телефона {ext} {person}",
    "provisioning-guessed": "Чужое устройство подбирает пароль настройки телефона {ext} {person}",
    "provisioning-at": "Адрес: {address}",
    "provisioning-of": "Чьи данные: {name}, доб. {ext}",
    "why-address": "Что случилось: верные данные этого телефона предъявлены с другого адреса.",
    "why-agent": "Что случилось: устройство называет другой MAC-адрес, чем у этого телефона.",
    "why-other": "Что случилось: телефон просил настройку другого телефона.",
    "why-enumeration": "Что случилось: с адреса телефона перебирают чужие MAC-адреса.",
    "why-path": "Что случилось: с адреса телефона просят файлы за пределами настроек.",
    "why-closed": "Что случилось: телефон пришёл как новый, а настройку он уже получал.",
    "why-password": "Что случилось: неверное имя или пароль для настройки.",
    "why-token": "Что случилось: неизвестный ключ первой настройки.",
    "why-method": "Что случилось: запрос, которого телефоны не делают.",
    "why-other-word": "Что случилось: {what}.",
    "do-provisioning-closed": "Что делать: если телефон сбросили к заводским настройкам, clinicpbx phones open "
    "КЛИНИКА {ext}. Если нет, на порту {port} коммутатора {switch} чужое устройство с его MAC-адресом: отключите порт.",
    "do-provisioning-own": "Что делать: посмотреть, что включено в розетку {socket}. Если не этот телефон, отключите "
    "порт {port} коммутатора {switch}; если телефон исправен, clinicpbx phones push КЛИНИКА --ext {ext}.",
    "do-provisioning-stolen": "Что делать: найти это устройство; данные телефона стали известны чужим. Замените их: "
    "clinicpbx secrets renew КЛИНИКА provisioning/{ext}, затем clinicpbx phones push КЛИНИКА --ext {ext}.",
    "do-provisioning-guessed": "Что делать: найти это устройство. Оно знает только MAC-адрес, а пароля не знает: "
    "менять ничего не нужно.",
    "when": "Когда: {when}",
}
EN = {
    "account": "Wrong password or address, telephone {ext} {person}",
    "clear": "The password of telephone {ext} {person} was used in clear",
    "address": "Passwords are tried from {name}",
    "bans": "Address banned: {first}",
    "bans-many": "Addresses banned: {count}",
    "closed": "Calls that cost money are closed: {who}",
    "full": "A call abroad was refused: {who}",
    "locked": "PIN locked: {who}",
    "test": "Test of the alerts",
    "person": "Who: {name}, ext. {ext}, {department}{room}",
    "room": ", room {room}",
    "stranger": "Account {ext}: not in the clinic's description",
    "socket": "Where: socket {socket}, switch {switch}, port {port}",
    "from": "Failed attempts: {count}, from: {others}",
    "tried": "Failed attempts: {count}, accounts: {others}",
    "of-phones": "{address} ({n}, in the telephones' range)",
    "of-others": "{address} ({n}, NOT in the telephones' range)",
    "do-account-phones": "What to do: check this telephone's settings; telephones' addresses are never banned. If it "
    "is well, somebody in its network tries passwords: shut port {port} of switch {switch}.",
    "do-account-others": "What to do: find whose device that is; the person's own telephone is not to blame.",
    "do-clear": "What to do: that telephone speaks TLS only, so somebody else knows its password. Find the device by "
    "its address, renew the password (clinicpbx secrets renew CLINIC {ext}) and deploy.",
    "clear-from": "From: {others}",
    "do-address": "What to do: find the device and shut its port; addresses outside the telephones' range are banned.",
    "ban-line": "{address}: {jail}, for {minutes} min",
    "do-bans": "What to do: nothing, if it is a stranger's. To lift a ban: fail2ban-client unban ADDRESS on the PBX.",
    "international": "international calls",
    "money": "every call that costs money",
    "what": "Closed: {what}",
    "detail": "Details: {detail}",
    "do-toll": "What to do: clinicpbx fraud status, then clinicpbx fraud reopen. Emergency numbers work.",
    "do-full": "What to do: nothing, if there should be so many calls; clinicpbx fraud status shows who talks.",
    "clinic": "the whole clinic",
    "trunk": "provider {name}",
    "test-body": "If you read this, the alerts of this clinic arrive.",
    "wan-left": "Calls moved to the backup uplink: {to}",
    "wan-returned": "Calls are back on the main uplink: {to}",
    "wan-down": "An uplink does not work: {name}",
    "wan-up": "An uplink works again: {name}",
    "wan-no-line": "No uplink works",
    "wan-provider-down": "A provider does not answer: {provider}",
    "wan-provider-up": "A provider answers again: {provider}",
    "wan-rejected": "A provider refuses our registration: {provider} ({code})",
    "wan-accepted": "A provider accepts our registration again: {provider}",
    "wan-dns-down": "DNS servers do not answer: {resolvers}",
    "wan-dns-up": "DNS servers answer again: {resolvers}",
    "wan-address": "The public address of {name} has changed: {address}",
    "wan-held": "An engineer holds calls on the uplink {name}",
    "wan-released": "The uplink is chosen automatically again",
    "why-no-carrier": "What happened: the cable of {left} is out.",
    "why-router-dead": "What happened: the router of {left} does not answer, nor does anything behind it.",
    "why-isp-dead": "What happened: the router of {left} answers, but there is no internet behind it.",
    "why-no-sip": "What happened: {left} has internet, but telephony does not pass.",
    "why-lossy": "What happened: {left} loses packets. {evidence}",
    "why-test": "What happened: an engineer tests the failover; {left} is well.",
    "why-hold": "An engineer decided so.",
    "why-asked": "An engineer decided so.",
    "why-well": "{to} has been without a fault for long enough.",
    "do-wan-left": "Calls go on as usual, and nothing changed inside the clinic. What to do: tell the provider of "
    "{left}; calls return to it by themselves once it is well.",
    "do-wan-returned": "Nothing is to be done.",
    "do-wan-down": "Calls go by {current}. What to do: tell the provider; there is no backup meanwhile.",
    "do-wan-up": "There is a backup again. Nothing is to be done.",
    "do-wan-no-line": "No calls outside; those inside work. Emergencies: by mobile, 112. What to do: look at the "
    "routers and their power, and tell both providers.",
    "do-wan-provider-down": "Outgoing calls take the other provider; this provider's numbers cannot be reached. The "
    "uplinks are well. What to do: call its support.",
    "do-wan-provider-up": "Nothing is to be done.",
    "do-wan-rejected": "The provider's words: {reason}. No calls come in by it; outgoing ones take the other. What "
    "to do: look at the contract's balance, then at the password (clinicpbx secrets enter).",
    "do-wan-accepted": "Nothing is to be done.",
    "do-wan-dns-down": "Calls need no names and work. Alerts and updates may be late.",
    "do-wan-dns-up": "Nothing is to be done.",
    "do-wan-address": "The description has {expected}. What to do: if it stays, correct uplinks.external_address, "
    "deploy, and tell the providers that know the clinic by its address.",
    "do-wan-held": "To undo: wanctl release on the PBX.",
    "do-wan-released": "Nothing is to be done.",
    "phone-off": "A telephone is off: {ext} {person}",
    "phone-back": "A telephone works again: {ext} {person}",
    "phones-switch": "Switch {switch}: {off} of {of} telephones are off",
    "phones-switch-back": "Switch {switch}: its telephones work again",
    "phones-all": "{off} of {of} telephones of the clinic are off",
    "phones-all-back": "The clinic's telephones work again",
    "seen": "Last registered: {seen}",
    "place": "Where the switch is: {location}",
    "those": "Who: {phones}",
    "still": "Still off: {off} of {of}",
    "do-phone-off": "What to do: look whether its display is lit. If not: the power of port {port} of switch {switch}, "
    "the cable in socket {socket}. If it is: clinicpbx phones status CLINIC.",
    "do-phone-back": "Nothing is to be done.",
    "do-phones-switch": "What to do: look at this switch's power and its cable to the network; the telephones "
    "themselves are most likely well.",
    "do-phones-switch-back": "Those that do not return are told of one by one.",
    "do-phones-all": "What to do: look at the telephones' network (main switch, voice VLAN) and at the PBX itself; "
    "this is not one switch.",
    "do-phones-all-back": "Those that do not return are told of one by one.",
    "provisioning": "A telephone was refused its configuration: {ext} {person}",
    "provisioning-stranger": "A strange device has the credentials of telephone {ext} {person}",
    "provisioning-guessed": "A strange device guesses the provisioning password of telephone {ext} {person}",
    "provisioning-at": "Address: {address}",
    "provisioning-of": "Whose credentials: {name}, ext. {ext}",
    "why-address": "What happened: this telephone's right credentials came from another address.",
    "why-agent": "What happened: the device names another MAC address than this telephone's.",
    "why-other": "What happened: the telephone asked for another telephone's configuration.",
    "why-enumeration": "What happened: from a telephone's address somebody tries other MAC addresses.",
    "why-path": "What happened: from a telephone's address somebody asks for files that are no configuration.",
    "why-closed": "What happened: the telephone came as a new one, but it has had its configuration already.",
    "why-password": "What happened: a wrong name or password for its configuration.",
    "why-token": "What happened: an unknown key of the first configuration.",
    "why-method": "What happened: a request that no telephone makes.",
    "why-other-word": "What happened: {what}.",
    "do-provisioning-closed": "What to do: if the telephone was reset to its factory settings, clinicpbx phones open "
    "CLINIC {ext}. If not, port {port} of switch {switch} has a strange device with its MAC address: shut the port.",
    "do-provisioning-own": "What to do: look at what is plugged into socket {socket}. If not this telephone, shut "
    "port {port} of switch {switch}; if the telephone is well, clinicpbx phones push CLINIC --ext {ext}.",
    "do-provisioning-stolen": "What to do: find that device; strangers know this telephone's credentials. Renew them: "
    "clinicpbx secrets renew CLINIC provisioning/{ext}, then clinicpbx phones push CLINIC --ext {ext}.",
    "do-provisioning-guessed": "What to do: find that device. It knows the MAC address only and not the password: "
    "nothing need be renewed.",
    "when": "When: {when}",
}


def message(alert: Alert, site: Site) -> tuple[str, str]:
    """(title, body) of an alert. Every value may come from a stranger: control characters are taken out."""
    words = EN if site.get("language") == "en" else RU
    tell = _wan if alert.kind.startswith("wan-") else _TELL[alert.kind]
    title, lines = tell(alert, site, words)
    lines.append(words["when"].format(when=_moment(alert.at)))
    return plain(f"{site.get('clinic', '')}: {title}"), "\n".join(plain(line) for line in lines)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%d.%m.%Y %H:%M:%S")


def plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:600]


def is_phones(address: str, site: Site) -> bool:
    """Whether the address is one that the clinic gives to its telephones."""
    first, last = (ip_address(a) for a in site["phones"])
    try:
        return bool(first <= ip_address(address) <= last)  # type: ignore[operator]
    except (ValueError, TypeError):
        return False


def _person(ext: str, site: Site, words: Mapping[str, str]) -> list[str]:
    person = site["people"].get(ext)
    if not person:
        return [words["stranger"].format(ext=ext)]
    room = words["room"].format(room=person["room"]) if person["room"] else ""
    return [words["person"].format(**{**person, "ext": ext, "room": room}), words["socket"].format(**person)]


def _account(alert: Alert, site: Site, words: Mapping[str, str]) -> tuple[str, list[str]]:
    ext, others = alert.facts["name"], alert.facts["others"]
    person = site["people"].get(ext, {"name": "", "switch": "?", "port": "?"})
    inside = [is_phones(address, site) for address in others]
    shown = ", ".join(
        words["of-phones" if ours else "of-others"].format(address=a, n=n)
        for (a, n), ours in zip(others.items(), inside, strict=True)
    )
    do = words["do-account-phones" if any(inside) else "do-account-others"].format(**person)
    title = words["account"].format(ext=ext, person=person["name"])
    return title, [*_person(ext, site, words), words["from"].format(count=alert.facts["count"], others=shown), do]


def _clear(alert: Alert, site: Site, words: Mapping[str, str]) -> tuple[str, list[str]]:
    ext = alert.facts["name"]
    person = site["people"].get(ext, {"name": ""})
    shown = ", ".join(
        words["of-phones" if is_phones(address, site) else "of-others"].format(address=address, n=n)
        for address, n in alert.facts["others"].items()
    )
    lines = [*_person(ext, site, words), words["clear-from"].format(others=shown), words["do-clear"].format(ext=ext)]
    return words["clear"].format(ext=ext, person=person["name"]), lines


def _address(alert: Alert, site: Site, words: Mapping[str, str]) -> tuple[str, list[str]]:
    name, others = alert.facts["name"], alert.facts["others"]
    key = "of-phones" if is_phones(name, site) else "of-others"
    return words["address"].format(name=name), [
        words[key].format(address=name, n=alert.facts["count"]),
        words["tried"].format(count=alert.facts["count"], others=", ".join(others)),
        words["do-address"],
    ]


def _bans(alert: Alert, site: Site, words: Mapping[str, str]) -> tuple[str, list[str]]:
    bans, count = alert.facts["bans"], alert.facts["count"]
    lines = [words["ban-line"].format(**b, minutes=max(b["seconds"], 0) // 60 or "?") for b in bans]
    if count > SHOWN:
        lines.append("...")
    title = words["bans" if count == 1 else "bans-many"].format(first=bans[0]["address"], count=count)
    return title, [*lines, words["do-bans"]]


def _toll(alert: Alert, site: Site, words: Mapping[str, str]) -> tuple[str, list[str]]:
    scope, what, detail = (str(alert.facts[k]) for k in ("scope", "what", "detail"))
    kind, _, name = scope.partition("-")
    ext = name if kind == "person" else scope if scope.isdigit() else ""
    if ext:
        who = f"{ext} {site['people'].get(ext, {}).get('name', '')}".strip()
    elif kind == "trunk":
        who = words["trunk"].format(name=site.get("trunks", {}).get(name, name))
    else:
        who = words["clinic"] if scope == "clinic" else scope
    lines = _person(ext, site, words) if ext else []
    lines += [words["what"].format(what=words.get(what, what))] if what else []
    lines += [words["detail"].format(detail=detail)] if detail else []
    return words[alert.kind].format(who=who), [*lines, words["do-full" if alert.kind == "full" else "do-toll"]]


def _test(alert: Alert, site: Site, words: Mapping[str, str]) -> tuple[str, list[str]]:
    return words["test"], [words["test-body"]]


class _Facts(dict[str, Any]):
    """A fact that an event lacks is a dash, not a lost alert."""

    def __missing__(self, key: str) -> str:
        return "-"


def _wan(alert: Alert, site: Site, words: Mapping[str, str]) -> tuple[str, list[str]]:
    def named(uplink: object) -> str:
        isp = site.get("uplinks", {}).get(uplink)
        return f"{uplink} ({isp})" if isp else str(uplink)

    said = alert.facts
    facts = _Facts(
        {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in said.items()}
    )
    facts |= {"name": named(said.get("uplink")), "to": named(said.get("uplink")), "left": named(said.get("left"))}
    if "left" not in said:
        facts["left"] = facts["name"]
    others = [named(name) for name in site.get("uplinks", {}) if name != said.get("uplink")]
    facts["current"] = ", ".join(others)
    if "provider" in said:
        facts["provider"] = site.get("trunks", {}).get(said["provider"], said["provider"])
    lines = []
    if why := words.get(f"why-{said.get('why')}"):
        lines.append(why.format_map(facts))
    lines.append(words[f"do-{alert.kind}"].format_map(facts))
    return words[alert.kind].format_map(facts), lines


def _phone(alert: Alert, site: Site, words: Mapping[str, str]) -> tuple[str, list[str]]:
    ext = str(alert.facts["ext"])
    person = site["people"].get(ext, {"name": "", "socket": "?", "switch": "?", "port": "?"})
    lines = _person(ext, site, words)
    if seen := alert.facts.get("seen"):
        lines.append(words["seen"].format(seen=_moment(seen)))
    return words[alert.kind].format(ext=ext, person=person["name"]), [
        *lines, words[f"do-{alert.kind}"].format(**person)
    ]  # fmt: skip


def _phones(alert: Alert, site: Site, words: Mapping[str, str]) -> tuple[str, list[str]]:
    facts = alert.facts
    lines = []
    if location := site.get("switches", {}).get(facts["switch"]):
        lines.append(words["place"].format(location=location))
    if alert.kind.endswith("-back"):
        lines += [words["still"].format(**facts)] if facts["off"] else []
    else:
        named = [f"{ext} {site['people'].get(ext, {}).get('name', '')}".strip() for ext in facts["phones"]]
        named += ["..."] if facts["off"] > len(named) else []
        lines.append(words["those"].format(phones=", ".join(named)))
    return words[alert.kind].format(**facts), [*lines, words[f"do-{alert.kind}"]]


def _provisioning(alert: Alert, site: Site, words: Mapping[str, str]) -> tuple[str, list[str]]:
    """`ext` is whose telephone has that address, `of` whose credentials came from it; one of them may be empty."""
    ext, of, what, address = (str(alert.facts[key]) for key in ("ext", "of", "what", "address"))
    who = ext or of
    facts = {"name": "", "socket": "?", "switch": "?", "port": "?", **site["people"].get(who, {}), "ext": who}
    lines = [*_person(who, site, words), words["provisioning-at"].format(address=address)]
    if ext and of not in ("", ext):
        lines.append(words["provisioning-of"].format(ext=of, name=site["people"].get(of, {}).get("name", "?")))
    lines.append(words.get(f"why-{what}", words["why-other-word"]).format(what=what))
    strange = "guessed" if what == "password" else "stolen"
    do = strange if not ext else "closed" if what == "closed" else "own"
    kind = "provisioning" if ext else "provisioning-guessed" if strange == "guessed" else "provisioning-stranger"
    title = words[kind].format(ext=who, person=facts["name"])
    return title, [*lines, words[f"do-provisioning-{do}"].format(**facts)]


_TELL = {
    "account": _account, "clear": _clear, "address": _address, "bans": _bans, "closed": _toll, "full": _toll,
    "locked": _toll, "test": _test, "phone-off": _phone, "phone-back": _phone, "provisioning": _provisioning,
    **dict.fromkeys(("phones-switch", "phones-switch-back", "phones-all", "phones-all-back"), _phones),
}  # fmt: skip
