"""Prompts: refused texts, the form of the file, the cache. What espeak-ng says is heard in the lab."""

from __future__ import annotations

import array
import io
import wave
from pathlib import Path

import pytest

from clinicpbx import prompts
from clinicpbx.errors import ClinicError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICPBX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []

    def speak(text: str, _voice: str, _tools: Path, _name: str) -> array.array[int]:
        texts.append(text)
        return array.array("h", [0, 100, -200, 50] * 1000)

    monkeypatch.setattr(prompts, "_speak", speak)
    return texts


def test_a_prompt_is_a_telephone_wav_of_known_loudness(spoken: list[str]) -> None:
    made = prompts.synthesise({"closed": "Клиника закрыта"}, "ru", tools=Path("/nonexistent"))
    with wave.open(io.BytesIO(made["closed"])) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        samples = array.array("h", file.readframes(file.getnframes()))
    assert max(map(abs, samples)) == round(0.7 * 32767)


def test_a_text_is_spoken_once(spoken: list[str]) -> None:
    for _ in range(2):
        prompts.synthesise({"a": "Раз", "b": "Два"}, "ru", tools=Path("/nonexistent"))
    prompts.synthesise({"c": "Раз", "d": "Три"}, "ru", tools=Path("/nonexistent"))
    assert spoken == ["Раз", "Два", "Три"]


def test_an_empty_prompt_and_an_unknown_language_are_refused(spoken: list[str]) -> None:
    with pytest.raises(ClinicError, match="prompt 'closed' has no text"):
        prompts.synthesise({"closed": " "}, "ru")
    with pytest.raises(ClinicError, match="no voice for language 'xx'"):
        prompts.synthesise({"closed": "text"}, "xx")
    assert spoken == []
