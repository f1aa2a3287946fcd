"""Ensure the rendered configuration of the case is complete, reproducible and safe."""

import json
import re
from pathlib import Path

import pytest

from clinic.loading import load
from clinic.model import Clinic
from clinic.rendering import asterisk
from clinic.rendering.legs import legs
from clinicpbx.generation import Generation, diff, differing, masked, templates
from services.generation.objects import sections

CASE = Path(__file__).resolve().parents[2] / "inventory/case/clinic.yml"


class Secrets(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f"secret-of-{name.replace('/', '-')}"


@pytest.fixture(scope="module")
def clinic() -> Clinic:
    return load(CASE.read_text(), str(CASE))


@pytest.fixture(scope="module")
def tree(clinic: Clinic) -> dict[str, bytes]:
    return asterisk.render(clinic, Secrets(), templates())


def context(tree: dict[str, bytes], name: str) -> str:
    text = b"\n".join(d for p, d in sorted(tree.items()) if p.startswith("dialplan/")).decode()
    return text.split(f"\n[{name}]\n", 1)[1].split("\n[", 1)[0]


def reachable(tree: dict[str, bytes], start: str) -> set[str]:
    """Contexts a call can get to from `start` by include, Goto or Gosub."""
    seen, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            text = context(tree, name)
        except IndexError:
            continue
        todo += re.findall(r"^include => (\S+)", text, re.M)
        todo += re.findall(r"Go(?:to|sub)\(([\w-]+),", text)
        todo += re.findall(r"Local/[^@]*@([\w-]+)", text)
    return seen


def test_same_clinic_gives_the_same_bytes(clinic: Clinic, tree: dict[str, bytes]) -> None:
    again = asterisk.render(clinic, Secrets(), templates())
    assert asterisk.digest(again) == asterisk.digest(tree)
    assert asterisk.digest(tree | {"pjsip.conf": b"other"}) != asterisk.digest(tree)


def test_every_person_has_endpoint_aor_auth_and_hint(clinic: Clinic, tree: dict[str, bytes]) -> None:
    people = tree["pjsip_people.conf"].decode()
    for person in clinic.people:
        assert people.count(f"[{person.ext}]") == 3
        assert f"exten => {person.ext},hint," in context(tree, "hints")


def test_no_context_matches_everything(tree: dict[str, bytes]) -> None:
    for path, data in tree.items():
        if path.startswith("dialplan/"):
            assert not re.search(r"^exten => _X?[.!]", data.decode(), re.M), path


def test_incoming_call_reaches_no_trunk_but_through_a_persons_own_forwarding(
    clinic: Clinic, tree: dict[str, bytes]
) -> None:
    starts = [f"from-{t.name}" for t in clinic.trunks]
    seen = {c for s in starts for c in reachable(tree, s)} | {
        c for f in clinic.flows for c in reachable(tree, f"flow-{f}")
    }
    assert not {c for c in seen if c.startswith(("outbound", "trunks", "leg-", "emergency", "features", "phones"))}
    forwards = set(re.findall(r"ring-person,s,1\(\d+,(\w+),", context(tree, "did") + context(tree, "people")))
    assert forwards <= {"internal", "local", "mobile"}
    # The control: the same walk from a phone does find the trunks.
    assert {"trunks", "leg-north-wan-a"} <= reachable(tree, "phones-national")


def test_phone_of_every_class_reaches_emergency(tree: dict[str, bytes]) -> None:
    for name in ("internal", "local", "mobile", "national", "international"):
        assert {"emergency", "trunks"} <= reachable(tree, f"phones-{name}")


def test_hostile_name_stays_text(clinic: Clinic) -> None:
    evil = clinic.people[0].model_copy(update={"name": 'X" <0>\n[evil]\ntype=endpoint ; ${SHELL(id)}'})
    changed = clinic.model_copy(update={"people": (evil, *clinic.people[1:])})
    text = asterisk.render(changed, Secrets(), templates())["pjsip_people.conf"].decode()
    line = next(li for li in text.splitlines() if li.startswith("callerid = ") and f"<{evil.ext}>" in li)
    assert "${" not in line and line.count('"') == 2
    assert "\n[evil]" not in text


def test_legs_are_in_order_of_cost_then_uplink(clinic: Clinic) -> None:
    assert [leg.name for leg in legs(clinic)] == ["north-wan-a", "north-wan-b", "south-wan-a", "south-wan-b"]


def test_expected_objects_name_every_person_and_leg(clinic: Clinic, tree: dict[str, bytes]) -> None:
    wanted = json.loads(tree["expected.json"])
    assert len(wanted["endpoints"]) == len(clinic.people) + 4
    assert "north-wan-a" in wanted["registrations"] and "south-wan-a" not in wanted["registrations"]
    assert wanted["aors"] == wanted["endpoints"] and len(wanted["auths"]) == len(clinic.people) + 2
    assert {"4206 has auth 4206", "4206 has AOR 4206", "south-wan-b has identify south-wan-b"} <= set(wanted["links"])


def test_diff_shows_the_change_and_hides_the_password(tree: dict[str, bytes]) -> None:
    old = {"pjsip_people.conf": "[2001]\nmax_contacts = 1\npassword = old-password\n"}
    new = {"pjsip_people.conf": b"[2001]\nmax_contacts = 2\npassword = new-password\n"}
    text = "\n".join(diff(old, new, ["pjsip_people.conf"]))
    assert "-max_contacts = 1" in text and "+max_contacts = 2" in text
    assert "old-password" not in text and "new-password" not in text
    only = "\n".join(diff({"a": "password = 1\n"}, {"a": b"password = 2\n"}, ["a"]))
    assert "a password changed" in only
    assert masked("secret = hunter2") == "secret = ********"


def test_diff_never_shows_a_key() -> None:
    for path in ("tls/pbx.key", "tls/pbx.crt", "prompts/menu.wav"):
        assert list(diff({path: "-----BEGIN old"}, {path: b"-----BEGIN new"}, [path])) == [f"--- {path}: changed"]


def test_encryption_is_required_of_whom_the_description_says_and_offered_to_the_others(
    clinic: Clinic, tree: dict[str, bytes]
) -> None:
    found = {s.name: s.options for s in sections({"p": tree["pjsip_people.conf"].decode()}) if "context" in s.options}
    must = {p.ext for p in clinic.people if clinic.encrypts(p)}
    assert must and must < set(found)
    for ext, options in found.items():
        said = {key: value[0] for key, value in options.items()}
        assert said["media_encryption"] == "sdes"
        assert said["media_encryption_optimistic"] == ("no" if ext in must else "yes")
        assert said.get("transport") == ("voice-tls" if ext in must else None)
        assert said["context"].startswith("phones-encrypted-") is (ext in must)


def test_emergency_calls_are_never_asked_how_they_came(tree: dict[str, bytes]) -> None:
    for name in ("internal", "local", "national"):
        assert "DIALPLAN_EXISTS(emergency," in context(tree, f"phones-encrypted-{name}")


def test_difference_of_trees_names_added_removed_and_changed() -> None:
    assert differing({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == ["a", "b", "c"]
    assert differing({"a": "1"}, {"a": "1"}) == []


def test_generation_packs_every_file_once(tree: dict[str, bytes]) -> None:
    import tarfile

    packed = Generation(tree, asterisk.digest(tree)).packed()
    with tarfile.open(fileobj=packed) as archive:
        assert sorted(archive.getnames()) == sorted(tree)


def test_local_variables_are_used_only_where_a_gosub_gives_them_a_frame(tree: dict[str, bytes]) -> None:
    """Outside a Gosub, LOCAL() sets nothing and says nothing."""
    text = b"\n".join(d for p, d in sorted(tree.items()) if p.startswith("dialplan/")).decode()
    called = set(re.findall(r"Gosub(?:If)?\(([\w-]+),", text)) | {"missed", "leg-channel", "record-answered"}
    called |= set(re.findall(r"hangup_handler_push\)=([\w-]+),", text))  # run as a Gosub
    for part in re.split(r"^(?=\[)", text, flags=re.M):
        name = part[1 : part.find("]")]
        if "LOCAL(" in part:
            assert name in called, name


def test_what_a_phone_dials_is_an_argument_only_as_digits(tree: dict[str, bytes]) -> None:
    """A pattern of open length takes anything, a comma included: that would be the next argument."""
    for path, data in tree.items():
        if not path.startswith("dialplan/"):
            continue
        pattern = ""
        for line in data.decode().splitlines():
            found = re.match(r"exten => ([^,]+),", line)
            pattern = found[1] if found else pattern
            if pattern.startswith("_") and pattern.endswith(("!", ".")):
                bare = re.sub(r"\$\{FILTER\((\*#)?\+?0-9,\$\{EXTEN(:\d)?\}\)\}", "", line)
                assert "EXTEN" not in bare, f"{path}: {line}"


def test_a_numeric_account_in_the_called_address_ends_the_call(clinic: Clinic) -> None:
    """It exists in the very context it is looked up in, so without a guard it jumps to itself for ever."""
    text = CASE.read_text().replace("username: clinic4951230001", 'username: "100234"')
    rendered = asterisk.render(load(text, str(CASE)), Secrets(), templates())
    lines = context(rendered, "from-north").split("exten => 100234,1,")[1].splitlines()
    assert '"${to}" = "100234"]?nobody' in lines[1] and "?${to},1" in lines[2], lines


def test_a_groups_number_is_recorded_only_if_all_its_members_are(clinic: Clinic, tree: dict[str, bytes]) -> None:
    group = next(g for g in asterisk.all_groups(clinic) if g.number == "5007")
    assert not any(clinic.departments[clinic.by_ext[m].department].record for m in group.members)
    assert "Gosub(record,s,1(0))" in context(tree, "did").split("+74957650003,1,")[1].split("exten =>")[0]


def test_nobody_who_was_parked_has_feature_codes(tree: dict[str, bytes]) -> None:
    parking = tree["res_parking.conf"].decode()
    assert "parkedcalltransfers = no" in parking and "parkedcallreparking = no" in parking
    assert all("T" not in options for options in re.findall(r"Queue\(operators,(\w+)", context(tree, "groups")))
