"""``python -m bench.gpu [--device cuda|cpu] [--python P] [--processes 2] [--write]``: what the gateway adds to engines.

Engines are `transformers serve` processes over one model of random weights (about 1.1 thousand million parameters; with
`--device cpu` a tiny one, to try the harness itself). P is an interpreter that has torch and `transformers[serving]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench.gpu import report
from bench.gpu.calls import Figures, Way, at_a_rate, figures, one_by_one
from bench.gpu.engines import BIG, TINY, Engine, engines, make_model
from bench.gpu.leaving import Left, leaving
from bench.peers import Unavailable
from bench.place import ROOT
from bench.process import Process, StartError, free_port
from bench.results import put
from bench.tidegate import command

BALANCES = ("least_inflight", "prefix")
TURNS, ALONE = 4, 8
"""Calls one by one for each way: so many turns of so many, taken in turn with the other ways."""
CALLS, CHARS, TOKENS = 120, 2000, 64
RATES = (4.0, 12.0)
"""Calls a second, of all processes together."""
_ABOUT = """
import json, torch, transformers
gpu = torch.cuda.is_available()
print(json.dumps([torch.__version__, transformers.__version__, torch.cuda.get_device_name(0) if gpu else ""]))
"""


def about(python: str, device: str) -> tuple[str, str, str]:
    """Of the interpreter: torch's version, transformers', and the name of the GPU, if there is one. Raises Unavailable
    where it cannot run on `device`."""
    try:
        done = subprocess.run([python, "-c", _ABOUT], capture_output=True, text=True, timeout=120, check=False)
    except OSError as error:
        raise Unavailable(f"{python}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Unavailable(f"{python} has no torch and transformers ({last}); say --python")
    torch, transformers, gpu = json.loads(done.stdout)
    if device == "cuda" and not gpu:
        raise Unavailable(f"{python} sees no GPU; with --device cpu a tiny model tries the harness")
    return torch, transformers, gpu


def gateway(stack: ExitStack, made: Sequence[Engine], balance: str, work: Path) -> tuple[Way, Process]:
    port, path = free_port(), work / f"{balance}.yaml"
    provider = {"type": "openai-compatible", "endpoints": [engine.url for engine in made], "balance": balance}
    models = {"llm": {"targets": [{"provider": "gpu", "model": made[0].model}]}}
    config = {"version": 1, "providers": {"gpu": provider}, "models": models, "routes": {"default": {}}}
    path.write_text(json.dumps(config))
    argv = [*command(), "serve", "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    env = {"PYTHONPATH": str(ROOT)}
    process = stack.enter_context(Process(argv, core=None, log=work / f"{balance}.log", env=env))
    process.wait_ready(f"http://127.0.0.1:{port}/readyz")
    return Way(name=f"Tidegate, {balance}", urls=[f"http://127.0.0.1:{port}/v1"], model="llm"), process


async def measured(made: Sequence[Engine], work: Path, scale: float) -> report.Measured:
    direct = Way(name="direct, in turn", urls=[engine.url for engine in made], model=made[0].model)
    with ExitStack() as stack:
        ours = [gateway(stack, made, balance, work) for balance in BALANCES]
        alone, cpu = await _alone([direct, ours[0][0]], ours[0][1], max(2, int(ALONE * scale)))
        left: dict[str, Left] = {}
        for way in (direct, ours[0][0]):
            say(f"{way.name}: a client leaves")
            left[way.name] = await leaving(way, made)
        loaded: dict[float, dict[str, Figures]] = {}
        for rate in RATES:
            for way in (direct, *(way for way, _ in ours)):
                calls, seconds = await at_a_rate(way, int(CALLS * scale), rate * scale, CHARS, TOKENS, seed=int(rate))
                found = loaded.setdefault(rate * scale, {})[way.name] = figures(calls, seconds)
                say(f"{way.name}: {rate * scale:g}/s: first {1000 * found.first[0]:.0f} ms, good {found.goodput:.0%}")
    return report.Measured(alone=alone, micros_per_token=cpu, left=left, loaded=loaded)


async def _alone(ways: Sequence[Way], process: Process, calls: int) -> tuple[dict[str, Figures], float]:
    """Each way's figures, and the microseconds of CPU that the gateway, the last of them, took for a token."""
    made: dict[str, list] = {way.name: [] for way in ways}  # type: ignore[type-arg]
    cpu = 0.0
    for turn in range(TURNS):
        for way in ways:
            before = process.cpu()
            made[way.name] += await one_by_one(way, calls, CHARS, TOKENS, seed=turn)
            cpu += process.cpu() - before if way is ways[-1] else 0.0
        say(f"one by one, turn {turn + 1} of {TURNS}")
    tokens = sum(len(call.times) for call in made[ways[-1].name])
    return {name: figures(calls, 1.0) for name, calls in made.items()}, cpu / max(1, tokens) * 1e6


def say(what: str) -> None:
    print(f"gpu: {what} ...", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--python", default="python3", help="an interpreter with torch and transformers")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="into bench/RESULTS.md; only with a GPU")
    options = parser.parse_args(arguments)
    state, work = ROOT / ".bench", ROOT / ".bench" / "gpu"
    work.mkdir(parents=True, exist_ok=True)
    try:
        torch, transformers, gpu = about(options.python, options.device)
        small = options.device == "cpu"
        folder, parameters = make_model(options.python, state, TINY if small else BIG)
        say(f"{parameters / 1e6:.0f} million parameters, {options.processes} processes")
        with engines(options.python, folder, options.processes, options.device, work) as made:
            found = asyncio.run(measured(made, work, 0.25 if small else 1.0))
    except (Unavailable, StartError, ValueError) as reason:
        print(f"gpu: not measured: {reason}", file=sys.stderr)
        return 1
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    where = f"{gpu or 'no GPU'}, torch {torch}, transformers {transformers}, {options.processes} processes"
    out = report.text(f"`python -m bench.gpu` on {stamp}, {where}, {parameters / 1e6:.0f} million parameters.", found)
    if options.write and gpu:
        say(f"written to {put('gpu', 'GPU', out)}")
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
