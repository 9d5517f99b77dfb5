"""`transformers serve` processes over one model, and what they are busy with."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.peers import Unavailable
from bench.process import Process, free_port

HERE = Path(__file__).resolve().parent
BUILD_TIMEOUT, START_TIMEOUT = 300.0, 180.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of the model. `parameters` are about 1.1 thousand million for 2,048 by 16."""

    hidden: int
    layers: int


BIG, TINY = Size(hidden=2048, layers=16), Size(hidden=64, layers=2)


@dataclass(frozen=True, kw_only=True)
class Engine:
    url: str
    process: Process
    model: str
    """The name that it is asked by: its folder."""


def make_model(python: str, state: Path, size: Size) -> tuple[Path, int]:
    """Once for each size; the folder, and how many parameters it has."""
    folder = state / f"llama-{size.hidden}x{size.layers}"
    told = folder / "parameters"
    if not told.exists():
        argv = [python, str(HERE / "model.py"), str(folder), "--hidden", str(size.hidden), "--layers", str(size.layers)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False)
        if done.returncode:
            raise Unavailable(f"the model could not be made: {done.stderr.strip()[-600:]}")
        told.write_text(done.stdout.split()[-1])
    return folder, int(told.read_text())


@contextmanager
def engines(python: str, folder: Path, count: int, device: str, work: Path) -> Iterator[Sequence[Engine]]:
    """Started together, ready when each has answered once."""
    with ExitStack() as stack:
        made = []
        for at in range(count):
            port = free_port()
            argv = [
                python, "-m", "transformers.cli.transformers", "serve", str(folder), "--device", device,
                "--dtype", "bfloat16", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning",
                "--continuous-batching", "--cb-max-memory-percent", f"{0.8 / count:.2f}",
            ]  # fmt: skip
            env = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
            if device == "cpu":  # the threads of two processes on two cores wait for each other, a hundred times slower
                env["OMP_NUM_THREADS"] = "1"
            process = stack.enter_context(Process(argv, core=None, log=work / f"engine-{at}.log", env=env))
            made.append(Engine(url=f"http://127.0.0.1:{port}/v1", process=process, model=str(folder)))
        for engine in made:
            _warm(engine)
        yield made


def _warm(engine: Engine) -> None:
    body = {"model": engine.model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
    end = time.monotonic() + START_TIMEOUT
    while True:
        try:
            reply = httpx.post(f"{engine.url}/chat/completions", json=body, timeout=60.0, trust_env=False)
            if reply.status_code == 200:
                return
            why = f"status {reply.status_code}: {reply.text[:300]}"
        except httpx.HTTPError as error:
            why = type(error).__name__
        if time.monotonic() > end:
            raise Unavailable(f"an engine did not begin to answer: {why}; {engine.process.tail()}")
        time.sleep(0.5)
