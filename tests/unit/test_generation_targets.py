"""Ensure a step that leads where nothing is, is found, by what `dialplan show` of a real Asterisk says is there."""

from __future__ import annotations

import pytest

from services.generation import core, plan, targets

SHOWN = """[ Context 'parkedcalls' created by 'res_parking/default' ]
  '7000' =>         1. Park()                                     [res_parking]
  '7001' =>         hint: park:7001@parkedcalls                   [res_parking/default]
                    1. ParkedCall(default,7001)                   [res_parking/default]

[ Context 'missed' created by 'pbx_config' ]
  's' =>            1. GotoIf($["${DIALSTATUS}" = "ANSWER" | "${MEMBERINTERFACE}" != ""]?end) [records.conf:17]
                    2. Set(LOCAL(wait)=$[${EPOCH} - ${ENTERED}])  [records.conf:18]
     [end]          3. Return()                                   [records.conf:20]

[ Context 'forward-local' created by 'pbx_config' ]
  Include =>        'people'                                      [pbx_config]
  Include =>        'outbound-local'                              [pbx_config]

[ Context 'people' created by 'pbx_config' ]
  '2001' =>         1. Gosub(ring-person,s,1(2001,local,25))      [people.conf:2]
  'day-1' =>        1. Return(open)                               [hours.conf:54]

[ Context 'outbound-local' created by 'pbx_config' ]
  '_+[1-689]X!' =>  1. Gosub(outbound,s,1(0,+${FILTER(0-9,${EXTEN})})) [outbound.conf:9]
  '_8ZXX-XXX' =>    1. Gosub(outbound,s,1(0,+7${EXTEN:1}))        [outbound.conf:4]

[ Context 'trunks' created by 'pbx_config' ]
  's' =>            1. NoOp()                                     [trunks.conf:2]
     [go]           2. Return()                                   [trunks.conf:3]

[ Context 'elsewhere' created by 'pbx_config' ]
  Switch =>         'Realtime/'                                   [pbx_config]

-= 860 extensions (1386 priorities) in 58 contexts. =-
"""


def problems(call: str, context: str = "trunks", extension: str = "s") -> list[str]:
    text = f"[{context}]\nexten => {extension},1(first),NoOp()\n same => n,{call}\n"
    steps = [s for s in core.steps({"dialplan/x.conf": text}) if isinstance(s, core.Step)]
    known = plan.read(SHOWN)
    for step in steps:
        known.label(step.context, step.extension, step.label or "-")
    return [f"{p.line}: {p.rule}" for p in targets.jumps_to_nowhere(steps, known)]


@pytest.mark.parametrize(
    "call",
    [
        "Goto(go)",
        "Goto(first)",
        "Goto(2)",
        "Goto(s,go)",
        "Goto(trunks,s,1)",
        "Goto(+1)",
        "Goto(${GOSUB_RETVAL},1)",
        "Gosub(trunks,s,1(${a},b,${IF($[1 = 2]?x:y)}))",
        'GotoIf($["${x}" =~ "^[15]|^40$"]?go:first)',
        "GotoIf($[1]?:go)",
        "GosubIf($[1]?trunks,s,1(1,2):missed,s,1)",
        "GotoIfTime(9:00-17:00,mon-fri,*,*?missed,s,end)",
        "ExecIf($[1]?Gosub(missed,s,1):Goto(missed,s,end))",
        "Set(CHANNEL(hangup_handler_push)=missed,s,1)",
        "Dial(PJSIP/${number}@leg,120^15,f(${shown})ib(trunks^s^1(north^${CHANNEL(name)}))U(missed^${file}))",
        "Queue(operators,Cb(missed^s^1)ti,,,60,,missed)",
        "Originate(Local/s@trunks/n,exten,missed,s,1,10,av(A=${B}^C=d))",
        "Dial(Local/${forward}@forward-${ARG2}/n,60,i)",
        "Dial(Local/2001@forward-local/n&Local/7001@parkedcalls)",
        "Goto(forward-local,2001,1)",
        "Goto(forward-local,+49,1)",
        "Goto(forward-local,8555123,1)",
        "Goto(elsewhere,9,1)",
        "Goto(people,day-${clock_day},1)",
        "GotoIf($[${DIALPLAN_EXISTS(people,${x},1)}]?go)",
        "Gosub(${where},s,1)",
        "Set(TRANSFER_CONTEXT=missed)",
        'Hangup(${IF($["${GOSUB_RETVAL}" = "X"]?42:${HANGUPCAUSE})})',
    ],
)
def test_step_that_leads_somewhere_is_no_problem(call: str) -> None:
    assert problems(call) == []


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        ("Gosub(trunks,x,1(101,emergency,${PERSON}))", "no such extension: x in trunks"),
        ("GotoIf($[1]?ende)", "no such priority or label: ende of s in trunks"),
        ("GotoIf($[1]?go:ende)", "no such priority or label: ende of s in trunks"),
        ("GotoIf($[${GOSUB_RETVAL} = 0]?refused,s,1)", "no such context: refused"),
        ("GosubIf($[1]?:missed,t,1(a))", "no such extension: t in missed"),
        ("ExecIf($[1]?Gosub(missed,s,7))", "no such priority or label: 7 of s in missed"),
        ("ExecIf($[1]?NoOp():Goto(nowhere,s,1))", "no such context: nowhere"),
        ("Set(CHANNEL(hangup_handler_push)=mised,s,1)", "no such context: mised"),
        ("Dial(PJSIP/1,30,ib(leg^s^1(x)))", "no such context: leg"),
        ("Dial(PJSIP/1,30,iU(human^1))", "no such context: human"),
        ("Queue(operators,Cti,,,60,,human)", "no such context: human"),
        ("Originate(Local/s@trunks/n,exten,missed,none,1)", "no such extension: none in missed"),
        ("Dial(Local/${forward}@froward-${ARG2}/n)", "no such context: froward-${ARG2}"),
        ("Dial(Local/2002@forward-local/n)", "no such extension: 2002 in forward-local"),
        ("Goto(forward-local,8055123,1)", "no such extension: 8055123 in forward-local"),
        ("Goto(people,days-${clock_day},1)", "no such extension: days-${clock_day} in people"),
        ("Goto(nowhere,${EXTEN},1)", "no such context: nowhere"),
        ("Set(x=${DIALPLAN_EXISTS(peple,${x},1)})", "no such context: peple"),
        ("Set(__TRANSFER_CONTEXT=nowere)", "no such context: nowere"),
    ],
)
def test_step_that_leads_nowhere_is_named_with_its_line(call: str, rule: str) -> None:
    assert problems(call) == [f"3: {rule}"]


@pytest.mark.parametrize(
    ("line", "endpoints"),
    [
        ("same => n,Dial(PJSIP/2001,20,ci)", []),
        ("same => n,Dial(PJSIP/2002&PJSIP/2001,20)", ["2002"]),
        ("same => n,Dial(PJSIP/${number}@leg,120)", []),
        ("same => n,Dial(PJSIP/${number}@lge,120)", ["lge"]),
        ("same => n,Dial(PJSIP/${ext}&PJSIP/2${x})", []),
        ('same => n,GotoIf($["${DEVICE_STATE(PJSIP/lge)}" = "UNAVAILABLE"]?skip)', ["lge"]),
        ("same => n,ExecIf($[1]?Set(ring=${ring}&PJSIP/2002))", ["2002"]),
        ("exten => 2001,hint,PJSIP/2001&Custom:DND2001", []),
        ("exten => 2002,hint,PJSIP/2002&Custom:DND2002", ["2002"]),
        ("exten => *132001,hint,Queue:operators_pause_PJSIP/2001", []),
        ("member => PJSIP/2002 ; PJSIP/2003", ["2002"]),
    ],
)
def test_literal_endpoint_that_is_not_loaded_is_found(line: str, endpoints: list[str]) -> None:
    found = targets.unknown_devices({"x.conf": line}, ["2001", "leg"])
    assert [p.rule for p in found] == [f"no such endpoint: {name}" for name in endpoints]


@pytest.mark.parametrize(
    ("call", "wrong"),
    [("Queue(operators,Cti)", False), ("Queue(operatrs,Cti)", True), ("PauseQueueMember(,PJSIP/1)", False),
     ("ExecIf($[1]?UnpauseQueueMember(operatrs,PJSIP/1))", True), ("AddQueueMember(${q},PJSIP/1)", False)],
)  # fmt: skip
def test_literal_queue_that_does_not_exist_is_found(call: str, wrong: bool) -> None:
    steps = [s for s in core.steps({"x.conf": f"[a]\nexten => s,1,{call}\n"}) if isinstance(s, core.Step)]
    rules = [p.rule for p in targets.unknown_queues(steps, ["operators"])]
    assert rules == (["no such queue: operatrs"] if wrong else [])


@pytest.mark.parametrize(
    ("name", "wanted", "answer"),
    [
        ("_X.", "12", True), ("_X.", "1", False), ("_X!", "1", True), ("_NXX", "199", False), ("_ZXX", "101", True),
        ("_[a-c]1", "b1", True), ("_[a-c]1", "d1", False), ("2001", "2001", True), ("2001", "2002", False),
        ("_**XXXX", "**2001", True), ("_*72X!", "*72", False), ("_X.", "${EXTEN}", True), ("2001", "2${x}", True),
    ],
)  # fmt: skip
def test_patterns_match_as_asterisk_matches(name: str, wanted: str, answer: bool) -> None:
    assert plan.answers(name, wanted) is answer
