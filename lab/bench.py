"""What things cost, measured as an engineer meets them: `scripts/bench [--quick] [--sizes 150,1000] [--verify]`.

Each size is a synthetic clinic brought up from nothing in a lab of its own, by the same commands as any other, with the
bundle cached. JSON on standard output, a table on standard error. Exit 1 when a step failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from clinic import secrets as names
from clinic import synthetic
from clinic.loading import load
from clinic.rendering import asterisk
from clinic.rendering import phones as telephones
from clinicpbx.generation import templates
from clinicpbx.secrets import complete
from lab import clean, phones, state
from lab.components import machines

ROOT = Path(__file__).resolve().parent.parent
CLI = [sys.executable, "-m", "clinicpbx"]
STEP_SECONDS = 900
PLUG_IN_SECONDS = 120.0
# Reach (issue figures), for a machine with 2 cores.
WANTED = {
    "noop_deploy": 2.0,
    "rendering": 0.5,
    "rendering_phones": 0.3,
    "nothing_to_go": 120.0,
    "provision_first": 15.0,
    "provision": 15.0,
    "push_key": 3.0,
}
RATIO_WANTED = 3.0
CASE = Path(__file__).resolve().parent.parent / "inventory/case/clinic.yml"
CASE_PHONES = 150  # as it is called; 156 to the piece
Times = dict[str, float]


class StepError(RuntimeError):
    """A command of the run failed; the text has its last lines."""


def measure(people: int, lab: int, runs: int, verify: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Medians in seconds for one size, the PBX's memory in MiB, and the runs they come from.

    150 phones are the case itself, the only one that is taken to its verdict; other sizes are synthetic.
    """
    text = CASE.read_text() if people == CASE_PHONES else synthetic.text(people)
    verify = verify and people == CASE_PHONES
    every = []
    for run in range(runs):
        with tempfile.TemporaryDirectory(prefix="clinic-bench-") as folder:
            file = Path(folder) / "bench" / "clinic.yml"
            file.parent.mkdir()
            file.write_text(text)
            every.append(_once(file, lab, verify, lambda line, run=run: say(f"{people} phones, run {run + 1}: {line}")))  # type: ignore[misc]
    keys = every[0].keys()
    return {"phones": people, "median": {key: round(median(one[key] for one in every), 3) for key in keys},
            "runs": every}  # fmt: skip


def _once(file: Path, lab: int, verify: bool, say: Callable[[str], None]) -> Times:
    os.environ["CLINICPBX_IDENTITY"] = str(file.parent / "identity")
    os.environ["CLINICPBX_AT"] = f"lab{lab}"
    times: Times = _pure_parts(file)
    changed: dict[str, int] = {}
    clean.lab(lab)

    def step(name: str, *command: str) -> str:
        say(name.replace("_", " "))
        began = time.monotonic()
        out = _run(*command)
        times[name] = round(time.monotonic() - began, 3)
        return out

    try:
        step("check", "check", str(file))
        step("lab_up", "lab", "up", str(file), "--lab", str(lab))
        phones.power(lab, None, False)
        first = json.loads(step("deploy", "deploy", str(file), "--json"))
        for phase, facts in first["phases"].items():
            times[f"deploy: {phase.lower()}"] = facts["seconds"]
        for figure in ("provision_first", "provision"):  # from the factory, then as after a power cut
            say("all phones are plugged in at once")
            times[figure] = _plug_in(lab)
        times["register"] = float(phones.register(lab, timeout=60)["seconds"])
        parts = ("check", "lab_up", "deploy", "provision_first")
        times["nothing_to_registered"] = round(sum(times[part] for part in parts), 3)
        if verify:
            step("verify", "verify", str(file))
            times["nothing_to_go"] = round(times["nothing_to_registered"] + times["verify"], 3)
        for name, options in (("noop_deploy", ()), ("dry_run", ("--dry",))):
            taken = []
            for _ in range(3):
                again = json.loads(step(name, "deploy", str(file), "--json", *options))
                taken.append(times[name])
                changed[name] = changed.get(name, 0) + int(again["changed"])
            times[name] = median(taken)
            times[f"{name}_changes"] = changed[name]  # must be 0: a second deploy changes nothing
        file.write_text(with_a_key(file.read_text()))
        for name, expected in (("push_key", 1), ("push_again", 0)):
            told = json.loads(step(name, "phones", "push", str(file), "--json"))
            if told["failed"] or len(told["confirmed"]) != expected:
                raise StepError(f"{name}: {len(told['confirmed'])} telephones are confirmed, {expected} expected")
        times["push_again_changes"] = told["uploaded"]
        times |= _memory(lab)
        step("lab_down", "lab", "down", "--lab", str(lab))
    finally:
        clean.lab(lab)
    return times


def with_a_key(text: str) -> str:
    """The description with one key of one telephone changed, the last doctor's. Pure."""
    lines = text.splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if re.search(r"role\W+doctor", line))
    lines[last] = re.sub(
        r"(\"?port\"?: \d+)\}", r'\1, "keys": [{"kind": "line", "label": "Новая"}]}', lines[last], count=1
    )
    return "".join(lines)


def _plug_in(lab: int) -> float:
    """Seconds from power for all telephones at once to all of them provisioned and registered."""
    phones.power(lab, None, False)
    began = time.monotonic()
    phones.power(lab, None, True)
    with phones.handsets(lab) as box:
        found = box.wait(timeout=PLUG_IN_SECONDS)
    if found["waiting"]:
        mac, (what, error) = next(iter(found["waiting"].items()))
        raise StepError(f"{len(found['waiting'])} telephones are not registered: {mac} is in state {what} ({error})")
    return round(time.monotonic() - began, 3)


def _pure_parts(file: Path) -> Times:
    """Medians of reading the description and of rendering it, each time the first of a program.

    A second rendering of the same program finds what the first one compiled, and a burst of load that is longer than
    five of them in a row would shift their median too: a thousand phones once seemed cheaper than 150.
    """
    code = f"import json; from lab.bench import first; print(json.dumps(first({str(file)!r})))"
    every = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        every.append(json.loads(done.stdout))
    return {key: round(median(one[key] for one in every), 3) for key in every[0]}


def first(file: str) -> Times:
    """The times of one program's first reading and first renderings: the generation, then all telephones."""
    text = Path(file).read_text()
    began = time.perf_counter()
    clinic = load(text)
    loading = time.perf_counter() - began
    secrets = names.for_rehearsal(complete({}, clinic))
    began = time.perf_counter()
    asterisk.digest(asterisk.render(clinic, secrets, templates()))
    rendering = time.perf_counter() - began
    began = time.perf_counter()
    telephones.phones(clinic, secrets)
    return {"loading": loading, "rendering": rendering, "rendering_phones": time.perf_counter() - began}


def _memory(lab: int) -> Times:
    """Proportional set sizes of the PBX's processes, MiB: all of them, and Asterisk's own."""
    leader = next(machine.leader for machine in machines(lab) if machine.leader)
    space = (Path("/proc") / str(leader) / "ns/pid").stat().st_ino
    total = own = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "ns/pid").stat().st_ino != space:
                continue
            rollup = (entry / "smaps_rollup").read_text()
            name = (entry / "comm").read_text().strip()
        except OSError:
            continue
        size = next(int(line.split()[1]) / 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        total += size
        own += size if name == "asterisk" else 0
    return {"memory_pbx_mib": round(total, 1), "memory_asterisk_mib": round(own, 1)}


def _run(*command: str) -> str:
    done = subprocess.run(
        [*CLI, *command], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=STEP_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        tail = "\n".join((done.stderr + done.stdout).strip().splitlines()[-12:])
        raise StepError(f"clinicpbx {' '.join(command)} ended with {done.returncode}:\n{tail}")
    return done.stdout


def ratios(small: Times, large: Times) -> Times:
    """How many times more the larger clinic costs, by figure. Pure."""
    return {key: round(large[key] / small[key], 2) for key in small if key in large and small[key] > 0}


def table(results: list[dict[str, Any]], ratio: Times) -> Table:
    shown = Table("figure", *(f"{r['phones']} phones" for r in results), "ratio", header_style="bold")
    for key in results[0]["median"]:
        unit = "MiB" if key.endswith("_mib") else "" if key.endswith("_changes") else "s"
        cells = [
            f"{r['median'][key]:.{3 if unit == 's' else 0}f} {unit}" if key in r["median"] else "" for r in results
        ]
        missed = key in WANTED and results[0]["median"][key] > WANTED[key]
        over = ratio.get(key, 0) > RATIO_WANTED
        cells[0] = f"[red]{cells[0]}[/] (wanted {WANTED[key]:g})" if missed else cells[0]
        factor = f"{ratio[key]:.2f}" if key in ratio else ""
        shown.add_row(key.replace("_", " "), *cells, f"[red]{factor}[/]" if over else factor)
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="one run of each size")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sizes", default="150,1000", help="phones, comma separated; the ratio is last to first")
    parser.add_argument("--verify", action="store_true", help="until the verdict, not only until the phones register")
    parser.add_argument("--lab", type=int, default=90)
    options = parser.parse_args()
    console = Console(stderr=True, highlight=False, emoji=False)
    if state.exists(options.lab):
        console.print(f"[red]Lab {options.lab} is up; it would be removed. Choose another --lab.[/]")
        return 2
    runs = 1 if options.quick else options.runs
    sizes = [int(size) for size in options.sizes.split(",")]
    try:
        with console.status("") as line:
            results = [measure(size, options.lab, runs, options.verify, line.update) for size in sizes]
    except StepError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    ratio = ratios(results[0]["median"], results[-1]["median"]) if len(results) > 1 else {}
    console.print(table(results, ratio))
    restless = any(value for r in results for key, value in r["median"].items() if key.endswith("_changes"))
    if restless:
        console.print("A deploy of what is deployed already found something to change.", style="bold red")
    print(json.dumps({"cores": os.cpu_count(), "runs": runs, "sizes": results, "ratios": ratio}, indent=2))
    return int(restless)


if __name__ == "__main__":
    sys.exit(main())
