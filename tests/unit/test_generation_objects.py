"""Ensure sounds that are not there, and PJSIP objects that are named and not loaded, are found with their line."""

from __future__ import annotations

import pytest

from services.generation import core, objects, sounds

HERE = {"beep", "/prompts/greeting", "queue-youarenext", "queue-thereare", "queue-callswaiting"}
PEOPLE = """[phone](!)
type = endpoint
transport = voice
[phone-aor](!)
type = aor

[2001](phone)
auth = 2001
aors = 2001
context = phones-local
[2001](phone-aor)
[2001]
type = auth
password = hunter2
"""
SHOWN = """ Endpoint:  <Endpoint/CID.....................................>  <State.....>  <Channels.>
    I/OAuth:  <AuthId/UserName...........................................................>
==========================================================================================

 Endpoint:  2001/2001                                            Unavailable   0 of inf
     InAuth:  2001/2001
        Aor:  2001                                               1
  Transport:  voice                     udp      3     96  10.77.20.10:5060

 Endpoint:  north-wan-b                                          Not in use    0 of 20
    OutAuth:  north-wan-b/clinic4951230001
        Aor:  north-wan-b                                        0
      Contact:  north-wan-b/sip:198.51.100.10:5060         ddcb674e38 Avail         1.392
   Identify:  north-wan-b/north-wan-b
   RequestURI: /@(198\\.18\\.2\\.2|10\\.77\\.32\\.2)([:
"""


def unheard(call: str) -> list[str]:
    steps = [s for s in core.steps({"x.conf": f"[a]\nexten => s,1,{call}\n"}) if isinstance(s, core.Step)]
    return [f"{p.line}: {p.rule}" for p in sounds.missing(steps, {}, HERE.__contains__)]


@pytest.mark.parametrize(
    "call",
    ["Playback(beep)", "Playback(/prompts/greeting&beep,noanswer)", "Playback(digits/${n})", "Read(x,beep,1)",
     "Dial(PJSIP/1,20,cA(beep))", "Queue(operators,Cti,,,60)", "ExecIf($[1]?Playback(beep))"],
)  # fmt: skip
def test_sound_that_is_there_is_no_problem(call: str) -> None:
    assert unheard(call) == []


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("Playback(/prompts/greting)", "/prompts/greting"),
        ("Background(beep&bep)", "bep"),
        ("Read(x,bep)", "bep"),
        ("Dial(PJSIP/1,20,cA(bep)i)", "bep"),
        ("Queue(operators,Cti,,bep)", "bep"),
        ("ExecIf($[1]?NoOp():Playback(bep))", "bep"),
    ],
)
def test_sound_that_is_not_there_is_named_with_its_line(call: str, name: str) -> None:
    assert unheard(call) == [f"2: no such sound: {name}"]


def test_what_a_queue_announces_must_be_there_too() -> None:
    def silent(text: str) -> list[str]:
        return [f"{p.line}: {p.rule}" for p in sounds.missing([], {"queues.conf": text}, HERE.__contains__)]

    assert silent("[q]\nannounce-position = yes\n") == ["2: no such sound: queue-thankyou"]
    assert silent("announce-position = yes\nqueue-thankyou = \n") == []
    assert silent("announce-position = no\n") == []
    assert silent("periodic-announce = beep,bep ; often\n") == ["1: no such sound: bep"]


def test_sounds_are_looked_for_in_the_language_first() -> None:
    assert sounds.places("digits/1", "ru") == ["ru/digits/1", "digits/1"]
    assert sounds.places("/a/b", "ru_RU") == ["/a/ru_RU/b", "/a/ru/b", "/a/b"]


def dangling(text: str, **fewer: list[str]) -> list[str]:
    loaded = {"endpoint": ["2001"], "aor": ["2001"], "auth": ["2001"], "transport": ["voice"]}
    loaded |= {"context": ["phones-local"]} | fewer
    return [str(p) for p in objects.dangling(objects.sections({"people.conf": text}), loaded)]


def test_objects_that_are_all_there_are_no_problem() -> None:
    assert dangling(PEOPLE) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("auth = 2001", "auth = 4299", "people.conf:8: no such auth: 4299: [2001] auth = 4299"),
        ("= phones-local", "= phones-locl", "people.conf:10: no such context: phones-locl"),
        ("transport = voice", "transport = voise", "people.conf:3: no such transport: voise"),
    ],
)
def test_line_that_names_an_object_which_is_not_loaded_is_found(old: str, new: str, complaint: str) -> None:
    assert dangling(PEOPLE.replace(old, new))[0].startswith(complaint)


def test_lost_aor_is_found_where_it_is_named() -> None:
    assert dangling(PEOPLE, aor=[]) == ["people.conf:9: no such aor: 2001: [2001] aors = 2001"]


def test_what_each_endpoint_holds_is_read_from_asterisk() -> None:
    assert objects.links(SHOWN) == [
        "2001 has auth 2001",
        "2001 has AOR 2001",
        "2001 has transport voice",
        "north-wan-b has outbound auth north-wan-b",
        "north-wan-b has AOR north-wan-b",
        "north-wan-b has identify north-wan-b",
    ]
