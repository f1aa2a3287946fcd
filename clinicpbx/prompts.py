"""Spoken prompts: text in, telephone wav files out, spoken by espeak-ng in the lab's tools root and kept by content.

A clinic may put recordings of a human in their place; these make every announcement exist from the first night.
"""

from __future__ import annotations

import array
import io
import sys
import tempfile
import wave
from collections.abc import Mapping
from pathlib import Path

from clinicpbx import image
from clinicpbx.bundle import cache, ensure
from clinicpbx.bundle.cache import Progress, quiet
from clinicpbx.errors import ClinicError

RATE = 8000  # Hz: what G.711 carries
PEAK = 0.7  # of full scale: about -3 dB, as loud as the core sounds beside it
VOICES = {"ru": "ru", "en": "en-us"}
_LOCK = Path(__file__).resolve().parents[1] / "bundle.lock"
_RECIPE = "espeak-ng 140 wpm, 200-3400 Hz, peak 0.7; 1"
# Chroot in a mount namespace of its own, the root read-only: nothing of the cached root can change.
_SCRIPT = """\
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && mount --rbind /dev "$1/dev" || exit 1
exec chroot "$1" sh -c 'espeak-ng -v "$1" -s 140 -g 2 --stdin --stdout |
  sox --no-dither --ignore-length -t wav - -t raw -e signed -b 16 -c 1 -r 8000 - sinc 200-3400 pad 0.1 0.2' sh "$2"
"""


def synthesise(
    texts: Mapping[str, str], language: str, *, tools: Path | None = None, progress: Progress = quiet
) -> dict[str, bytes]:
    """Name -> wav file (8 kHz, 16 bits, mono) for name -> text.

    `tools` is the tools root; without it, it is made from the project's bundle when a prompt is not cached yet.
    Raises ClinicError naming the prompt for an empty text, and for a language without a voice.
    """
    if language not in VOICES:
        raise ClinicError(f"no voice for language {language!r}", remedy=f"use one of: {', '.join(VOICES)}")
    folder = cache.root() / "prompts"
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        name: folder / f"{cache.digest(text.strip(), VOICES[language], _RECIPE)}.wav" for name, text in texts.items()
    }
    for name, file in files.items():
        if file.exists():
            continue
        if not texts[name].strip():
            raise ClinicError(f"prompt {name!r} has no text", remedy="write its text, or remove the prompt")
        tools = tools or image.tools(ensure(_LOCK, production=False, progress=progress), progress)
        progress(f"speaking prompt {name}")
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as work:
            work.write(_wav(_speak(texts[name], VOICES[language], tools, name)))
        Path(work.name).rename(file)
    return {name: file.read_bytes() for name, file in files.items()}


def _speak(text: str, voice: str, tools: Path, name: str) -> array.array[int]:
    """Samples of a text, spoken; at least a fifth of a second of something louder than silence."""
    words: list[str | Path] = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        _SCRIPT,
        "sh",
        tools,
        voice,
    ]
    raw = cache.run_bytes(words, what=f"speaking prompt {name}", stdin=text.strip().encode() + b"\n", timeout=60)
    samples = array.array("h", raw[: len(raw) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    if len(samples) < RATE // 5 or max(map(abs, samples)) < 300:
        raise ClinicError(f"prompt {name!r} came out silent", remedy="see whether its text is words of its language")
    return samples


def _wav(samples: array.array[int]) -> bytes:
    """A wav file of the samples, its loudest at PEAK of full scale."""
    scale = PEAK * 32767 / max(map(abs, samples))
    level = array.array("h", (round(sample * scale) for sample in samples))
    if sys.byteorder == "big":
        level.byteswap()
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(level.tobytes())
    return out.getvalue()
