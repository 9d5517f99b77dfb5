"""Where the time of one request goes, stage by stage, as Tidegate's own traces tell it.

    python -m bench.stages [--stream] [--redis] [--requests 500]

One request is under way at a time, so a stage's time is its own and not that of waiting for other requests; it is wall
time, the wait for Redis or the upstream included. Stages that run beside each other add up to more than the whole.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.load import closed_loop
from bench.otlp import SERVER, spans
from bench.place import ROOT
from bench.process import free_port
from bench.report import table
from bench.rig import Rig, Running
from bench.script import Prompts
from bench.stats import median, percentile
from bench.subjects import SUBJECTS
from bench.upstream import Seen, Upstream
from bench.upstream import run as run_loop

_WARM = 200


@dataclass(slots=True)
class Stage:
    """Durations and offsets from the start of the trace's server span, in microseconds."""

    durations: list[float] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)


def collect(exports: Sequence[bytes]) -> dict[str, Stage]:
    """Stages by span name, in the order in which they start. Traces whose server span is missing are left out."""
    found = [span for export in exports for span in spans(export)]
    opened = {span.trace: span.start for span in found if span.kind == SERVER}
    stages: dict[str, Stage] = {}
    for span in found:
        if span.trace in opened:
            stage = stages.setdefault(span.name, Stage())
            stage.durations.append((span.end - span.start) / 1000)
            stage.offsets.append((span.start - opened[span.trace]) / 1000)
    return dict(sorted(stages.items(), key=lambda item: median(item[1].offsets)))


async def _measure(one: Running, port: int, *, stream: bool, requests: int) -> list[bytes]:
    seen = Seen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(seen), "127.0.0.1", port)
    prompts = Prompts(stream=stream, chunks=200 if stream else 190)
    await closed_loop(one.target, prompts, concurrency=1, requests=_WARM, seconds=120)
    await asyncio.sleep(6)  # what the warm-up left in the exporter
    seen.exports.clear()
    load = await closed_loop(one.target, prompts, concurrency=1, requests=requests, seconds=300)
    await asyncio.sleep(6)
    server.close()
    print(f"{load.answered} answered, {load.failed} failed; client p50 {median(load.latencies) * 1e6:.0f} µs")
    return [export for _, export in seen.exports]


def render(stages: dict[str, Stage]) -> str:
    lines = [
        [name, str(len(stage.durations)), f"{median(stage.offsets):.0f}"]
        + [f"{percentile(stage.durations, q):.0f}" for q in (50, 90, 99)]
        for name, stage in stages.items()
    ]
    return table(["span", "seen", "starts at µs", "p50 µs", "p90 µs", "p99 µs"], lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.stages", description="time of each stage, from traces")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--redis", action="store_true")
    parser.add_argument("--requests", type=int, default=500)
    options = parser.parse_args(argv)
    name = "tidegate-redis" if options.redis else "tidegate"
    subject = next(subject for subject in SUBJECTS if subject.name == name)
    port = free_port()
    state = ROOT / ".bench"
    state.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as work, Rig(state, Path(work)) as rig:
        rig.site = replace(rig.site, otlp=f"http://127.0.0.1:{port}")
        one = rig.start(subject)
        if one is None:
            return 1
        rig.pin()
        exports = run_loop(_measure(one, port, stream=options.stream, requests=options.requests))
    print(render(collect(exports)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
