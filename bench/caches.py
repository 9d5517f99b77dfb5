"""What caches and router add to a request, without a server around them: `python -m bench.caches [--quick] [--write]`.

One process on one core, Redis on another where there is one. Each figure is the wall time of one stage's decision, from
the call to its answer, one request at a time; beside it the CPU time of the process, which other processes cannot make much
better or worse. A machine with other work makes the wall times doubtful: its share is printed."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench.cache_texts import intents, questions
from bench.guard_report import says
from bench.results import put
from bench.stats import percentile
from tests.fixtures.cache_world import SECRET, ask, exchange

LIMITS = {"exact, in memory": 0.1, "exact, in Redis": 1.0, "router": 2.5, "semantic": 4.0}
"""Milliseconds at the median."""
ENTRIES = 10_000

Once = Callable[[int], Awaitable[bool]]
"""The n-th request; whether it went as it should (a store that was late is a miss)."""


class Row(NamedTuple):
    """Milliseconds. `cpu`: median of the process's CPU time for one."""

    stage: str
    what: str
    p50: float
    p99: float
    cpu: float


async def timed(stage: str, what: str, once: Once, times: int) -> Row:
    """`once(n)` is the n-th request; the first tenth warms up and does not count."""
    walls, cpus, late = [], [], 0
    for number in range(-(times // 10), times):
        cpu, wall = time.process_time(), time.perf_counter()
        good = await once(number + times)
        late += not good
        if number >= 0 and good:
            walls.append((time.perf_counter() - wall) * 1000)
            cpus.append((time.process_time() - cpu) * 1000)
    told = f"{what} ({late} were late)" if late else what
    return Row(stage, told, percentile(walls, 50), percentile(walls, 99), percentile(cpus, 50))


async def exact(times: int, redis: str | None) -> list[Row]:
    """Of a full store: half hits, half misses apart."""
    from cache.build import build
    from cache.config import CacheConfig, ExactConfig
    from gateway.core.clock import SystemClock

    stage = "exact, in Redis" if redis else "exact, in memory"
    config = CacheConfig(partition="route", exact=ExactConfig(max_entries=2 * ENTRIES))
    caches = build({"default": config}, secret=SECRET, clock=SystemClock(), redis=redis)
    await caches.start()
    texts = questions(ENTRIES if redis is None else ENTRIES // 5)
    for text in texts:
        await ask(caches, exchange(text), "It is so.")
        while redis is not None and await ask(caches, exchange(text), "It is so.") is None:
            """A busy machine may be late with a write."""
    decider = caches.routes["default"].exact
    assert decider is not None

    async def hit(number: int) -> bool:
        return await decider.decide(asked[number]) is not None

    async def miss(number: int) -> bool:
        return await decider.decide(missed[number]) is None and not missed[number].degraded

    asked = [exchange(texts[number % len(texts)]) for number in range(2 * times)]
    missed = [exchange(f"{texts[number % len(texts)]} {number}") for number in range(2 * times)]
    rows = [await timed(stage, "hit", hit, times), await timed(stage, "miss", miss, times)]
    await caches.close()
    return rows


async def semantic(times: int, entries: int) -> list[Row]:
    """One partition with `entries` questions; new ones are asked, near some of them. Embedding included."""
    from cache.build import build
    from cache.config import CacheConfig, SemanticConfig
    from gateway.core.clock import SystemClock
    from gateway.core.units import Size

    encoder = _encoder()
    near = SemanticConfig(evidence="assume", verify_sample=0.0, max_entries=entries, max_bytes=Size(1 << 30))
    config = CacheConfig(partition="route", semantic=near)
    caches = build({"default": config}, secret=SECRET, clock=SystemClock(), embed=encoder, embed_budget=5.0)
    await caches.start()
    decider = caches.routes["default"].semantic
    assert decider is not None
    texts = questions(entries + 2 * times)
    await _fill(caches, encoder, texts[:entries])
    assert caches.stats()["default.semantic"]["entries"] == entries
    fresh = [exchange(f"hello, {text[0].lower()}{text[1:]}") for text in texts[entries:]]

    async def asked(number: int) -> bool:
        await decider.decide(fresh[number])
        return not fresh[number].degraded

    async def embedded(number: int) -> bool:
        return len(await encoder.embed([f"{texts[entries + number]} now"])) == 1

    rows = [
        await timed("semantic", f"{entries:,} entries, embedding included", asked, times),
        await timed("", "of that, embedding alone", embedded, times),
    ]
    await caches.close()
    encoder.close()
    return rows


async def _fill(caches: Any, encoder: Any, texts: Sequence[str]) -> None:
    """Straight into the store: asked for, some would be answered by others."""
    from cache.notes import SEMANTIC
    from cache.record import Entry, pack
    from cache.text import normalise
    from gateway.core.response import said

    first = exchange(texts[0])
    await caches.routes["default"].semantic.decide(first)
    partition = first.facts.get(SEMANTIC).partition
    answer = said("It is so.", id="x", model="m", created=1)
    (owned,) = caches._stores.all
    for number, (text, vector) in enumerate(zip(texts, encoder.encode([normalise(t) for t in texts]), strict=True)):
        entry = Entry(key=partition, response=answer, created=time.time(), text=text)
        await owned.store.put(partition, f"s-{number:032x}", vector, pack(entry), 3600.0)


async def router(times: int) -> list[Row]:
    """150 intents with ten examples each; new utterances, embedding included."""
    import routing.build
    from gateway.core.plan import ModelPlan, Target
    from routing.config import IntentsConfig, RouteMatch, Rules

    encoder = _encoder()
    examples, fresh = intents(150, 10, 2 * times)
    rules = Rules(match=RouteMatch(models=["fast"]), intents=IntentsConfig(examples=examples, budget=5.0))  # type: ignore[arg-type]
    plan = ModelPlan(alias="fast", targets=(Target(provider="gpu", model="small-1"),))
    made = routing.build.build(
        {"default": rules},
        plans={"fast": plan},
        cost=lambda _usage, _price: 0.0,
        embed=encoder,
        base=Path(),
        revisions={"default": "r"},
        progress=say,
    )
    decider = made.routes["default"]
    asked = [exchange(text, plan=None) for text in fresh]

    async def once(number: int) -> bool:
        await decider.decide(asked[number])
        return bool(asked[number].intent)

    row = await timed("router", "150 intents, embedding included", once, times)
    encoder.close()
    return [row]


def _encoder() -> Any:
    from gateway.embedding.files import models_dir
    from gateway.embedding.minilm import MiniLM

    return MiniLM(models_dir(), deadline=30.0)


@contextlib.contextmanager
def redis_server() -> Iterator[str | None]:
    """On another core than ours; None without a redis-server."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    others = [core for core in range(os.cpu_count() or 1) if core not in os.sched_getaffinity(0)]
    pinned = ["taskset", "-c", str(others[0])] if others and shutil.which("taskset") else []
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        process = subprocess.Popen([*pinned, program, *options], stdout=subprocess.DEVNULL)
        try:
            _await(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(10)


def _await(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise RuntimeError("redis-server did not answer within 10 s")
        time.sleep(0.02)


def report(rows: Sequence[Row], quick: bool, foreign: float, entries: int) -> str:
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = "python -m bench.caches" + (" --quick" if quick else "") + " --write"
    lines = [
        f"`{command}` on {stamp}, {platform.machine()}, Python {platform.python_version()}, on one core; milliseconds a "
        f"request, one at a time; other work took {100 * foreign:.0f} % of the machine.",
        "",
        "| stage | what | p50 | p99 | CPU p50 | limit at p50 |  |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        limit = LIMITS.get(row.stage)
        told = f"{limit:g} | {says(row.p50 <= limit)}" if limit is not None else " | "
        lines.append(f"| {row.stage} | {row.what} | {row.p50:.3f} | {row.p99:.3f} | {row.cpu:.3f} | {told} |")
    if entries < ENTRIES:
        lines += ["", f"Quick: {entries:,} entries, where the limit speaks of {ENTRIES:,}."]
    return "\n".join(lines)


def say(what: str) -> None:
    print(f"caches: {what} ...", file=sys.stderr, flush=True)


async def measured(quick: bool) -> tuple[list[Row], int]:
    times, entries = (200, 2_000) if quick else (1_000, ENTRIES)
    rows: list[Row] = []
    say("exact, in memory")
    rows += await exact(2 * times, None)
    with redis_server() as url:
        if url is None:
            say("no redis-server: left out")
        else:
            say("exact, in Redis")
            rows += await exact(2 * times, url)
    say("router")
    rows += await router(times)
    say(f"semantic, {entries:,} entries")
    rows += await semantic(times, entries)
    return rows, entries


def _others(begin: tuple[float, float]) -> float:
    """The share of the machine that others took since `begin`."""
    busy, whole = _machine()
    spent = max(1e-6, whole - begin[1])
    return max(0.0, (busy - begin[0] - time.process_time()) / spent)


def _machine() -> tuple[float, float]:
    """CPU seconds of all cores: busy, and all."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    rate = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) / rate, sum(ticks) / rate


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.caches", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rough figures")
    parser.add_argument("--write", action="store_true", help="into bench/RESULTS.md")
    options = parser.parse_args(argv)
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    sys.setswitchinterval(0.0005)  # as `tidegate serve` does
    begin = _machine()
    rows, entries = asyncio.run(measured(options.quick))
    text = report(rows, options.quick, _others(begin), entries)
    print(text)
    if options.write:
        put("caches", "Caches and router", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
