"""The program as a whole: every command is there, and every ending says what happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clinicpbx import cli, descriptions
from clinicpbx.cli.lab import deploy_command
from clinicpbx.errors import ClinicError
from lab import calls

ROOT = Path(__file__).parents[2]


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return int(caught.value.code or 0)


def test_a_short_command_does_not_look_for_garbage_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(cli.gc, "set_threshold", lambda *given: asked.append(given))
    ended("--help")
    assert asked and asked[0][0] > 10_000


def test_help_names_every_command_and_gives_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--help") == 0
    text = capsys.readouterr().out
    for command in (*cli.TOP, *cli.GROUPS):
        assert f"\n  {command} " in text
    assert "Examples:" in text and "Usage: clinicpbx" in text


@pytest.mark.parametrize("arguments", [["nonsense"], ["deploy"], ["deploy", "case", "--nonsense"]])
def test_wrong_use_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*arguments) == 2
    assert "Usage:" in capsys.readouterr().err


def test_refusal_is_one_paragraph_with_a_remedy_and_ends_with_1() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clinicpbx", "deploy", "nowhere"],
        cwd=ROOT, env=os.environ | {"NO_COLOR": "1"}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "no description of a clinic" in done.stderr and "Remedy: clinicpbx new nowhere" in done.stderr
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "run the same command again"),
        (ClinicError("a broken rule", remedy="mend it"), 1, "Remedy: mend it"),
    ],
)
def test_ending_is_told(
    failure: BaseException, status: int, words: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fails(*_: object) -> None:
        raise failure

    monkeypatch.setattr(descriptions, "find", fails)
    assert ended("secrets", "list", "case") == status
    assert words in capsys.readouterr().err


def test_command_loads_only_what_it_needs() -> None:
    """A no-op deploy has two seconds; help and completion have less."""
    code = "import sys; from clinicpbx.cli import build; build('secrets'); print('pyinfra' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("command", ["deploy", "verify"])
def test_lab_that_is_not_up_is_no_wrong_use(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clinicpbx", command, "case", "--at", "lab99"],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "lab 99 is not up" in " ".join(done.stderr.split()).lower()


@pytest.mark.parametrize(
    ("lab", "usual", "command"),
    [
        (0, "", "clinicpbx deploy case"),
        (60, "", "clinicpbx deploy case --at lab60"),
        (60, "lab60", "clinicpbx deploy case"),
        (0, "clinic", "clinicpbx deploy case --at lab"),
    ],
)
def test_hint_after_lab_up_can_be_typed(lab: int, usual: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICPBX_AT", usual)
    assert deploy_command("case", lab) == command


def test_nothing_printed_becomes_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Between colons rich sees the name of an emoji."""
    file = tmp_path / "clinic.yml"
    file.write_text("name: root:x:0\nroot:x:0: 1\n")
    assert ended("show", str(file)) == 1
    assert ended("check", str(file)) == 1
    seen = "".join(capsys.readouterr())
    assert seen.count("root:x:0") >= 2 and "❌" not in seen


def test_caller_from_outside_is_a_number() -> None:
    clinic = descriptions.read("case")
    assert calls.outsider(clinic, "pstn:8 (916) 123-45-67") == "89161234567"
    assert calls.outsider(clinic, "pstn:") == calls.MOBILE
    for wrong in ("pstn:abc", "pstn:12", "pstn:+7 916 123456789"):
        with pytest.raises(ClinicError, match="no telephone number"):
            calls.outsider(clinic, wrong)
