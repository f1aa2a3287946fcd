"""Ensure a candidate configuration is refused for what Asterisk itself would not report."""

import pytest

from services.generation import core, plan, targets

GOOD = """[a]
exten => s,1,Set(LOCAL(x)=${FILTER(0-9,${ARG1})}) ; a comment (with an open bracket
 same => n(go),Dial(PJSIP/${x},30,iU(human))
 same => n,ExecIf($["${x}" != ""]?Gosub(b,s,1(${x})))
exten => 2001,hint,PJSIP/2001

[b]
exten => s,1,Return()
"""
SHOWN = """[ Context 'b' created by 'pbx_config' ]
  's' =>            1. Return()                                   [a.conf:8]

[ Context 'human' created by 'pbx_config' ]
  's' =>            1. Return()                                   [a.conf:9]
"""
APPS = ("Set", "Dial", "ExecIf", "Gosub", "Return", "Goto")
FUNCTIONS = ("FILTER", "LOCAL", "DB")


def found(text: str) -> list[core.Step | core.Problem]:
    return list(core.steps({"dialplan/a.conf": text}))


def lint(text: str) -> list[str]:
    items = found(text)
    steps = [i for i in items if isinstance(i, core.Step)]
    problems = [i for i in items if isinstance(i, core.Problem)]
    problems += targets.unknown_calls(steps, APPS, FUNCTIONS) + targets.jumps_to_nowhere(steps, plan.read(SHOWN))
    return [str(p) for p in problems]


def test_good_dial_plan_has_no_problem() -> None:
    assert lint(GOOD) == []
    assert len(found(GOOD)) == 4


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("Dial(PJSIP", "Dail(PJSIP", "dialplan/a.conf:3: no such application: Dail"),
        ("iU(human))", "iU(human)", "dialplan/a.conf:3: unbalanced bracket"),
        ("FILTER(", "FLITER(", "dialplan/a.conf:2: no such function: FLITER"),
        ("?Gosub(b,s", "?Gosbu(b,s", "dialplan/a.conf:4: no such application: Gosbu"),
        ("Return()", "Goto(nowhere,s,1)", "dialplan/a.conf:8: no such context: nowhere"),
        ("${ARG1})})", "${ARG1)})", "dialplan/a.conf:2: unbalanced bracket"),
    ],
)
def test_broken_line_is_named(old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    assert any(p.startswith(complaint) for p in lint(GOOD.replace(old, new)))


def test_error_and_warning_of_the_log_are_problems_and_a_notice_is_not() -> None:
    log = (
        "[2027-01-01T00:00:00.000+0300] NOTICE[1] x.c: all is well\n"
        "[2027-01-01T00:00:00.000+0300] ERROR[2]: config_options.c: Could not find option suitable for category '2001' "
        "named 'bogus' at line 57 of pjsip_people.conf\n"
        "[2027-01-01T00:00:00.000+0300] WARNING[3] y.c: odd\n"
    )
    problems = core.log_problems(log)
    assert [(p.rule, p.file, p.line) for p in problems] == [
        ("ERROR", "pjsip_people.conf", 57),
        ("WARNING", "asterisk", 0),
    ]


def test_faults_of_lines_come_first_each_once_and_consequences_are_one() -> None:
    log = [
        core.Problem("pjsip_people.conf", 6, f"Could not find option suitable for category '{n}'", "ERROR")
        for n in range(2001, 2157)
    ]
    objects = [core.Problem("asterisk", 0, f"Could not create 'endpoint' with id '{n}'", "ERROR") for n in range(156)]
    absent = core.missing("endpoint", [str(n) for n in range(2001, 2157)], [])
    found = [str(p) for p in core.ordered([*absent, *objects, *log, core.Problem("a.conf", 2, "x", "wrong")])]
    assert found == [
        "a.conf:2: wrong: x",
        "pjsip_people.conf:6: ERROR: Could not find option suitable for category '2001'",
        "asterisk: ERROR: Could not create 'endpoint' with id '0' (and 155 alike)",
        "asterisk: 156 endpoints not loaded: 2001, 2002, 2003, 2004, 2005, 2006, 2007, 2008 ...",
    ]


def test_different_faults_of_one_line_and_a_single_missing_object_stay_as_they_are() -> None:
    problems = [
        core.Problem("a.conf", 2, "x", "no such context: b"),
        core.Problem("a.conf", 2, "x", "no such sound: c"),
        core.Problem("asterisk", 0, "4206", "aor not loaded"),
    ]
    assert core.ordered(problems) == problems


def test_object_that_is_promised_and_not_loaded_is_a_problem() -> None:
    assert [p.text for p in core.missing("endpoint", ["2001", "2002"], ["2001"])] == ["2002"]
    assert core.missing("endpoint", ["2001"], ["2001", "extra"]) == []
