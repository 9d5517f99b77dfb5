"""The command behind ``./dev bench``: start everything, measure, print, and write ``bench/RESULTS.md``.

./dev bench                      all of it, under 12 minutes; writes RESULTS.md and the plots
./dev bench --quick              about two minutes; prints only
./dev bench --only tidegate,nginx --quick
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import FULL, PLAIN, QUICK, Bench, Plan
from bench.place import ROOT
from bench.report import About, markdown, plots, write
from bench.rig import Rig, Running
from bench.subjects import SUBJECTS, Subject
from bench.upstream import run as run_loop


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.partition("\n")[0] if __doc__ else "")
    names = ", ".join(subject.name for subject in SUBJECTS)
    parser.add_argument("--quick", action="store_true", help="about two minutes; rough figures")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"comma-separated: {names}")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md also after --quick or --only")
    return parser.parse_args(argv)


def choose(only: str) -> list[Subject]:
    """The subjects to start. Raises SystemExit with the known names when one is unknown."""
    if not only:
        return [subject for subject in SUBJECTS if subject.default]
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    known = {subject.name: subject for subject in SUBJECTS}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"--only: no subject named {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in wanted]


async def _measure(rig: Rig, plan: Plan, running: list[Running]) -> Bench:
    bench = Bench(rig, plan, lambda text: print(text, flush=True))
    await bench.idle(running)
    rounds = [one for one in running if one.subject is not None and one.subject.rounds]
    working = [one for one in rounds if not bench.results.memory[one.name].errors]
    for one in rounds:
        if one not in working:
            reason = bench.results.memory[one.name].errors.most_common(1)[0]
            rig.missing[one.name] = f"first requests failed: {reason[0]} ({reason[1]}×)"
    if working:
        await bench.warm(working)
        await bench.rounds(working)
        await bench.steady(working)
        for one in working:
            if one.name == "tidegate":
                await bench.long_run(one)
    await bench.after(running)
    return bench


def _machine(rig: Rig) -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    shared = " (one core for all: figures are worse than they should be)" if rig.load_core == rig.subject_core else ""
    python = platform.python_version()
    return (
        f"{os.cpu_count()} cores ({model}), subject pinned to one{shared}, Linux {platform.release()}, Python {python}"
    )


def _about(rig: Rig, running: list[Running], command: str, took: float) -> About:
    titles = [("direct", "direct call")]
    titles += [(one.name, f"{one.subject.title} ({one.subject.note})") for one in running if one.subject is not None]
    return About(
        command=command,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=_machine(rig),
        versions=tuple((one.name, one.version) for one in running),
        missing=tuple(rig.missing.items()),
        titles=tuple(titles),
        took=took,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 when something was measured, 1 when no subject could be started."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _arguments(arguments)
    if sys.platform != "linux":
        print("the bench reads /proc and pins cores: it needs Linux")
        return 1
    subjects, plan = choose(options.only), QUICK if options.quick else FULL
    state = ROOT / ".bench"
    state.mkdir(exist_ok=True)
    (state / ".gitignore").write_text("*\n")
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as work, Rig(state, Path(work)) as rig:
        running = [one for one in map(rig.start, subjects) if one is not None]
        if not running:
            print("nothing to measure")
            return 1
        rig.pin()
        bench = run_loop(_measure(rig, plan, running))
        command = shlex.join(["./dev", "bench", *arguments])
        about = _about(rig, running, command, time.monotonic() - begin)
    text = markdown(bench.results, plan, about)
    print("\n" + text)
    if options.write or not (options.quick or options.only):
        path = write(ROOT / "bench", text, plots(bench.results, about.titles))
        print(f"\nwritten: {path.relative_to(ROOT)}")
    return 0 if any(kind == PLAIN.name for _, kind in bench.results.costs) else 1
