"""The guard's judgement, its words, and what it remembers."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from clinic.loading import load
from clinic.rendering.guard import guard
from clinic.synthetic import text
from services.guard import core, words
from services.guard.core import Alert, Failure
from services.guard.files import Database, Follower
from services.guard.send import Sender, reason, targets
from services.guard.store import ROOM, Store

LINES = (Path(__file__).parent / "data/asterisk-log.txt").read_text(encoding="utf-8").split("\n")[1:-1]
NOW = 1_795_400_000.0


@pytest.fixture(scope="module")
def site() -> dict[str, Any]:
    return dict(json.loads(guard(load(text(20)))))


def failures(n: int, account: str = "2001", address: str = "10.77.20.32", at: float = NOW) -> list[Failure]:
    return [Failure(at + i, account, address) for i in range(n)]


def told(tally: core.Failures, happened: list[Failure]) -> list[Alert]:
    return [alert for one in happened for alert in tally.add(one)]


# -- reading ----------------------------------------------------------------------------------------------------------


def test_refusals_of_known_accounts_are_read_from_real_lines_and_nothing_else() -> None:
    found = [core.failure(line.split("\t", 2)[2]) for line in LINES]
    passwords, acl = ("2001", "10.77.20.2"), ("2001", "198.18.100.1")
    assert [(f.account, f.address) for f in found if f] == [passwords] * 3 + [acl], "one plain, two forged, one ACL"


def test_the_moment_of_a_failure_is_the_logs_own() -> None:
    line = next(line.split("\t", 2)[2] for line in LINES if line.startswith("auth\t10.77.20.2\t"))
    found = core.failure(line)
    assert found and abs(found.at - 1795407116.6) < 1


def test_a_right_password_in_clear_is_read_and_one_by_tls_or_forged_is_not() -> None:
    line = next(row.split("\t", 2)[2] for row in LINES if "SuccessfulAuth" in row)
    found = core.in_clear(line)
    assert found and (found.account, found.address) == ("3231", "10.77.20.114")
    assert core.in_clear(line.replace("IPV4/UDP", "IPV4/TLS")) is None
    assert core.in_clear(line.replace("SuccessfulAuth", "ChallengeSent")) is None
    assert core.in_clear(line + "x") is None


def test_a_password_used_in_clear_is_told_at_once_with_its_place_and_once_an_hour(site: dict[str, Any]) -> None:
    tally, ext = core.Failures(), next(iter(site["people"]))
    (alert,) = tally.used_in_clear(Failure(NOW, ext, "10.77.20.5"))
    assert not tally.used_in_clear(Failure(NOW + 60, ext, "10.77.20.5"))
    title, body = words.message(alert, site)
    assert f" {ext} " in title and "10.77.20.5" in body and site["people"][ext]["socket"] in body


@pytest.mark.parametrize("line", ["", "x", "1 2 3 4 5", "1795407444 sip-scan not-an-address 600 40", "9 a b; rm 1 1"])
def test_line_that_fail2ban_did_not_write_is_no_ban(line: str) -> None:
    assert core.ban(line) is None


def test_ban_is_read() -> None:
    assert core.ban("1795407444 sip-scan 192.0.2.2 600 40") == core.Ban(1795407444.0, "sip-scan", "192.0.2.2", 600)


# -- counting ---------------------------------------------------------------------------------------------------------


def test_fifth_failure_in_a_minute_is_told_with_its_address_and_the_fourth_is_not() -> None:
    tally = core.Failures()
    assert told(tally, failures(4)) == []
    (alert,) = tally.add(Failure(NOW + 5, "2001", "10.77.20.32"))
    assert alert.kind == "account"
    assert alert.facts == {"name": "2001", "count": 5, "others": {"10.77.20.32": 5}}


def test_slow_failures_are_typing_mistakes() -> None:
    assert told(core.Failures(), [Failure(NOW + 20 * i, "2001", "10.77.20.32") for i in range(50)]) == []


def test_one_subject_is_told_once_an_hour_with_what_happened_since() -> None:
    tally = core.Failures()
    alerts = told(tally, [Failure(NOW + i, "2001", "10.77.20.32") for i in range(3700)])
    assert [a.facts["count"] for a in alerts] == [5, 3600]


def test_one_address_that_tries_many_accounts_is_told_though_no_account_is() -> None:
    sweep = [Failure(NOW + i, str(3000 + i), "192.0.2.9") for i in range(8)]
    (alert,) = told(core.Failures(), sweep)
    assert (alert.kind, alert.facts["name"], len(alert.facts["others"])) == ("address", "192.0.2.9", 5)


def test_count_goes_on_after_a_restart_and_nothing_is_told_twice() -> None:
    tally = core.Failures()
    assert told(tally, failures(4)) == []
    again = core.Failures.load(json.loads(json.dumps(tally.dump())))
    assert len(told(again, failures(1, at=NOW + 5))) == 1
    after = core.Failures.load(json.loads(json.dumps(again.dump())))
    assert told(after, failures(20, at=NOW + 6)) == []


def test_flood_of_invented_names_costs_no_memory() -> None:
    tally = core.Failures()
    told(tally, [Failure(NOW, f"x{i}", f"192.0.{i // 250}.{i % 250}") for i in range(5000)])
    assert len(tally.subjects) <= core.MOST


def test_first_ban_is_told_at_once_and_a_wave_together() -> None:
    bans = core.Bans()
    bans.add(core.Ban(NOW, "sip-scan", "192.0.2.1", 600))
    assert bans.due(NOW + 1) is None, "it may be made longer yet"
    bans.add(core.Ban(NOW, "sip-scan", "192.0.2.1", 1200))
    first = bans.due(NOW + core.SETTLED)
    assert first and first.facts["count"] == 1 and first.facts["bans"][0]["seconds"] == 1200
    for i in range(30):
        bans.add(core.Ban(NOW + i, "sip-scan", f"192.0.2.{i}", 600))
    assert bans.due(NOW + 30) is None
    kept = core.Bans(**json.loads(json.dumps(bans.dump())))
    wave = kept.due(NOW + core.GATHER + core.SETTLED)
    assert wave and wave.facts["count"] == 30 and len(wave.facts["bans"]) == core.SHOWN
    assert kept.due(NOW + 2 * core.GATHER) is None


def test_toll_key_is_told_once_and_again_when_it_appears_anew() -> None:
    keys = {"/toll/closed/person-3111/international": "1795400000:minutes", "/toll/day": "20261123"}
    alerts, known = core.closed(keys, {}, NOW)
    assert [(a.kind, a.facts) for a in alerts] == [
        ("closed", {"scope": "person-3111", "what": "international", "detail": "minutes"})
    ]
    assert core.closed(keys, known, NOW + 9)[0] == []
    gone, known = core.closed({}, known, NOW + 10)
    assert gone == [] and core.closed(keys, known, NOW + 11)[0] == [], "the same closing, seen half-written in between"
    again = {"/toll/closed/person-3111/international": "1795400600"}
    assert len(core.closed(again, known, NOW + 600)[0]) == 1
    assert core.closed({}, known, NOW + 50 * 3600)[1] == {}


# -- words ------------------------------------------------------------------------------------------------------------


def test_alert_names_person_socket_and_switch_port(site: dict[str, Any]) -> None:
    ext, person = next(iter(site["people"].items()))
    first = site["phones"][0]
    facts = {"name": ext, "count": 7, "others": {first: 6, "192.0.2.9": 1}}
    title, body = words.message(Alert("account", NOW, facts), site)
    assert ext in title and person["name"] in title
    for value in (person["name"], person["department"], person["socket"], person["switch"], first, "192.0.2.9"):
        assert value in body
    assert f"порт {person['port']}" in body
    assert f"{first} (6, из диапазона телефонов)" in body and "192.0.2.9 (1, НЕ из диапазона телефонов)" in body


@pytest.mark.parametrize("language", ["ru", "en"])
@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("account", {"name": "9999", "count": 5, "others": {"192.0.2.9": 5}}),
        ("address", {"name": "192.0.2.9", "count": 5, "others": {"2001": 5}}),
        ("bans", {"bans": [{"at": NOW, "jail": "sshd", "address": "192.0.2.9", "seconds": -1}], "count": 1}),
        ("closed", {"scope": "clinic", "what": "money", "detail": ""}),
        ("closed", {"scope": "trunk-north", "what": "international", "detail": "5000"}),
        ("full", {"scope": "person-3111", "what": "", "detail": ""}),
        ("locked", {"scope": "3111", "what": "", "detail": ""}),
        ("test", {}),
        ("phone-off", {"ext": "2001", "seen": NOW - 900}),
        ("phone-off", {"ext": "9999", "seen": NOW - 900}),
        ("phone-back", {"ext": "2001"}),
        ("phones-switch", {"switch": "sw-1", "off": 12, "of": 20, "phones": ["2001", "2002"]}),
        ("phones-switch-back", {"switch": "sw-1", "off": 1, "of": 20, "phones": ["2001"]}),
        ("phones-all", {"switch": "", "off": 20, "of": 20, "phones": ["2001"]}),
        ("phones-all-back", {"switch": "", "off": 0, "of": 20, "phones": []}),
    ],
)
def test_every_alert_has_words_in_both_languages(
    site: dict[str, Any], language: str, kind: str, facts: dict[str, Any]
) -> None:
    title, body = words.message(Alert(kind, NOW, facts), {**site, "language": language})
    assert title and body and "{" not in title + body
    if kind in ("closed", "full", "locked"):
        assert "clinicpbx fraud status" in body


def test_both_languages_say_the_same_things() -> None:
    assert words.RU.keys() == words.EN.keys()


def test_control_characters_of_strangers_reach_nobody(site: dict[str, Any]) -> None:
    facts = {"scope": "clinic", "what": "money", "detail": "a\x1b[31m\r\nb"}
    _, body = words.message(Alert("closed", NOW, facts), site)
    assert "\x1b" not in body and "\r" not in body and "a?[31m??b" in body


def test_rendered_description_holds_no_secret_and_every_person(site: dict[str, Any]) -> None:
    assert set(site) == {"clinic", "language", "phones", "people", "trunks", "uplinks", "switches", "off_minutes"}
    assert set(next(iter(site["people"].values()))) == {
        "name", "department", "room", "socket", "switch", "port", "encrypted",
    }  # fmt: skip


# -- files ------------------------------------------------------------------------------------------------------------


def restarted(log: Follower) -> Follower:
    again = Follower(log.path)
    again.load(json.loads(json.dumps(log.dump())))
    return again


def test_what_was_before_the_first_start_is_no_news(tmp_path: Path) -> None:
    path = tmp_path / "security.log"
    path.write_text("[1] head\nold\n")
    log = Follower(path)
    assert log.lines() == []
    with path.open("a") as out:
        out.write("new\nhal")
    assert log.lines() == ["new"]
    with path.open("a") as out:
        out.write("f\n")
    assert log.lines() == ["half"]


def test_rotation_and_restart_lose_and_repeat_nothing(tmp_path: Path) -> None:
    path = tmp_path / "security.log"
    path.write_text("[1] head\n")
    log = Follower(path)
    log.lines()
    with path.open("a") as out:
        out.write("a\n")
    assert log.lines() == ["a"]
    with path.open("a") as out:
        out.write("b\n")
    path.rename(tmp_path / "security.log-202611231795408352")
    path.write_text("[2] head\nc\n")
    log = restarted(log)
    assert [*log.lines(), *log.lines()] == ["b", "[2] head", "c"]
    assert restarted(log).lines() == []
    path.rename(tmp_path / "security.log-202611231795408999")
    assert log.lines() == []
    path.write_text("[3] head\nd\n")
    assert log.lines() == ["[3] head", "d"]


def test_log_that_appears_later_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "bans.log"
    log = Follower(path)
    assert log.lines() == []
    path.write_text("one\n")
    assert log.lines() == ["one"] and restarted(log).lines() == []


def test_emptied_log_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("head\nlong line of old\n")
    log = Follower(path)
    log.lines()
    path.write_text("new\n")
    assert log.lines() == ["new"]


def test_astdb_is_read_without_a_lock_and_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "astdb.sqlite3"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE astdb(key TEXT, value TEXT, PRIMARY KEY(key))")
    writer.execute("INSERT INTO astdb VALUES ('/toll/locked/3111', '5'), ('/registrar/x', 'y')")
    database = Database(path)
    assert database.changed() == {"/toll/locked/3111": "5"}
    assert database.changed() is None
    writer.execute("BEGIN EXCLUSIVE")  # a reader that locks would fail here, or make Asterisk fail
    assert database.changed() is None
    writer.execute("INSERT INTO astdb VALUES ('/toll/full/clinic', '6')")
    writer.execute("COMMIT")
    assert database.changed() == {"/toll/locked/3111": "5", "/toll/full/clinic": "6"}


def test_damaged_copy_of_astdb_counts_as_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "astdb.sqlite3"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    assert Database(path).changed() is None
    assert Database(tmp_path / "none").changed() is None


# -- what is remembered and sent --------------------------------------------------------------------------------------


def test_memory_and_messages_are_stored_together_and_survive(tmp_path: Path) -> None:
    path = tmp_path / "guard.sqlite3"
    assert Store(path).save({"log": {"at": 5}}, [("t", "b")], ["mail", "telegram"]) == 0
    again = Store(path)
    assert again.load() == {"log": {"at": 5}} and again.waiting() == {"mail": 1, "telegram": 1}
    again.forget_others(["mail"])
    assert again.waiting() == {"mail": 1}


def test_queue_is_bounded_and_says_what_it_lost(tmp_path: Path) -> None:
    store = Store(tmp_path / "guard.sqlite3")
    lost = store.save({}, [(f"t{i}", "") for i in range(ROOM + 7)], ["mail"])
    first = store.first("mail")
    assert (lost, first and first.title) == (7, "t7")


def test_target_that_is_away_is_tried_again_and_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "guard.sqlite3")
    store.save({}, [("t", "b")], ["away", "well"])
    sender = Sender({"away": "x://", "well": "y://"})
    monkeypatch.setattr(sender, "one", lambda name, title, body: "accepted" if name == "well" else "not reached")
    assert {m.target: said for m, said in sender.round(store)} == {"away": "not reached", "well": "accepted"}
    assert store.waiting() == {"away": 1}
    assert sender.round(store) == [], "not at once"
    assert sender.due["away"] >= 5
    sender.due["away"] = 0.0
    monkeypatch.setattr(sender, "one", lambda name, title, body: "accepted")
    sender.round(store)
    assert store.waiting() == {}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Failed to send JSON POST notification: Bad, error=404.", "refused with 404"),
        ("A Connection error occurred sending JSON notification to secret.example.", "not reached"),
        ("something with token 123:ABC", "not sent"),
    ],
)
def test_complaint_is_told_without_anything_of_the_url(said: str, told: str) -> None:
    assert reason(said) == told


def test_no_file_of_targets_means_no_targets(tmp_path: Path) -> None:
    assert targets(tmp_path / "none") == {}
