"""Alerts in the words of whoever gets them: title and body, in the clinic's language. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from .core import SHOWN, Alert

Site = Mapping[str, Any]
"""/etc/clinicpbx/guard.json: clinic, language, phones [first, last], people {ext: {...}}, trunks {name: provider}."""

RU = {
    "account": "Неверный пароль или адрес, телефон {ext} {person}",
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
    "when": "Когда: {when}",
}
EN = {
    "account": "Wrong password or address, telephone {ext} {person}",
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
    "when": "When: {when}",
}


def message(alert: Alert, site: Site) -> tuple[str, str]:
    """(title, body) of an alert. Every value may come from a stranger: control characters are taken out."""
    words = EN if site.get("language") == "en" else RU
    title, lines = _TELL[alert.kind](alert, site, words)
    lines.append(words["when"].format(when=datetime.fromtimestamp(alert.at).astimezone().strftime("%d.%m.%Y %H:%M:%S")))
    return plain(f"{site.get('clinic', '')}: {title}"), "\n".join(plain(line) for line in lines)


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


_TELL = {
    "account": _account, "address": _address, "bans": _bans, "closed": _toll, "full": _toll, "locked": _toll,
    "test": _test,
}  # fmt: skip
