"""The measurements: CPU per request in interleaved rounds, added latency at a steady rate, memory idle and over time.

Rounds are interleaved (each round visits every subject, each time from another start) so that a slow minute of the
machine hits all alike, and the median over the rounds is what counts. All subjects stay up throughout; only the one
that is visited gets load.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.load import Load, closed_loop, open_loop
from bench.process import core_busy
from bench.rig import Rig, Running
from bench.script import Prompts
from bench.stats import median, percentile, slope

STREAM_CHUNKS = 200


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured. Seconds, except where a name says otherwise."""

    warm: float
    rounds: int
    plain: float
    stream: float
    burst: float
    burst_rounds: int
    steady_rounds: int
    steady: float
    peer_steady_rounds: int
    memory_requests: int
    settle: float
    plain_concurrency: int = 64
    stream_concurrency: int = 8
    rate: float = 100.0


FULL = Plan(
    warm=12, rounds=5, plain=4, stream=4, burst=2, burst_rounds=2, steady_rounds=3, steady=12, peer_steady_rounds=1,
    memory_requests=20_000, settle=5,
)  # fmt: skip
QUICK = Plan(
    warm=3, rounds=2, plain=2, stream=2, burst=0, burst_rounds=0, steady_rounds=1, steady=6, peer_steady_rounds=1,
    memory_requests=4_000, settle=3,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One sort of load: plain replies, streams whose chunks come one by one, or streams in a burst.

    In a burst, chunks pile up in the sockets and a slower gateway handles several at once: its cost there says little
    about a model's tokens, which come one by one. At 10 ms a chunk, eight streams leave LiteLLM half its core.
    """

    name: str
    stream: bool
    gap_ms: int = 0


PLAIN = Kind(name="plain", stream=False)
STREAM = Kind(name="stream", stream=True, gap_ms=10)
BURST = Kind(name="burst", stream=True)


@dataclass(slots=True)
class Cost:
    """CPU ms per answered request of each round, and what went wrong, for one subject and kind."""

    cpu_ms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)
    answered: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def median(self) -> float | None:
        return median(self.cpu_ms) if self.cpu_ms else None


@dataclass(slots=True)
class Latency:
    """Per round: the 50th and 99th percentile in ms at the steady rate, and the generator's own p99 lag."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)
    answered: int = 0
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Memory:
    """MB of the process tree at idle, after all rounds, and along the long run as (requests, MB)."""

    idle: float | None = None
    after: float | None = None
    points: list[tuple[int, float]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def slope(self) -> float | None:
        """MB per 10,000 requests by least squares, or None when there was no long run."""
        if len(self.points) < 3:
            return None
        return slope([n / 10_000 for n, _ in self.points], [mb for _, mb in self.points])


@dataclass(slots=True)
class Results:
    """All figures of a run, by subject name."""

    costs: dict[tuple[str, str], Cost] = field(default_factory=dict)
    latency: dict[str, Latency] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    answered: Counter[str] = field(default_factory=Counter)
    """Right answers of all loads together, idle and warm-up included."""
    traces: Counter[str] = field(default_factory=Counter)
    """Traces the sink got from each subject that exports them."""
    not_upstream: Counter[str] = field(default_factory=Counter)


class Bench:
    """Runs the measurements of one `Plan` on a `Rig`, filling `results`."""

    def __init__(self, rig: Rig, plan: Plan, say: Callable[[str], None]) -> None:
        self._rig = rig
        self._plan = plan
        self._say = say
        self.results = Results()

    def _prompts(self, kind: Kind) -> Prompts:
        chunks = STREAM_CHUNKS if kind.stream else 190
        return Prompts(stream=kind.stream, chunks=chunks, gap_ms=kind.gap_ms)

    async def _closed(
        self, one: Running, kind: Kind, *, seconds: float, requests: int = 10**9, concurrency: int = 0
    ) -> Load:
        usual = self._plan.stream_concurrency if kind.stream else self._plan.plain_concurrency
        load = await closed_loop(
            one.target, self._prompts(kind), concurrency=concurrency or usual, seconds=seconds, requests=requests
        )
        self.results.answered[one.name] += load.answered
        return load

    async def _open(self, one: Running) -> Load:
        load = await open_loop(one.target, self._prompts(PLAIN), rate=self._plan.rate, seconds=self._plan.steady)
        self.results.answered[one.name] += load.answered
        return load

    async def idle(self, running: Sequence[Running]) -> None:
        """A few requests each, so that what loads lazily is loaded; a pause; then resident memory."""
        for one in running:
            load = await self._closed(one, PLAIN, concurrency=2, requests=20, seconds=30)
            self.results.memory[one.name] = Memory(errors=load.errors)
        await asyncio.sleep(self._plan.settle)
        for one in running:
            self.results.memory[one.name].idle = one.process.rss()

    async def warm(self, running: Sequence[Running]) -> None:
        for one in running:
            self._say(f"warming {one.name}")
            for kind, share in ((PLAIN, 0.8), (STREAM, 0.2)):
                await self._closed(one, kind, seconds=self._plan.warm * share)

    async def rounds(self, running: Sequence[Running]) -> None:
        for turn in range(self._plan.rounds):
            kinds = [(PLAIN, self._plan.plain), (STREAM, self._plan.stream)]
            if turn < self._plan.burst_rounds:
                kinds.append((BURST, self._plan.burst))
            for kind, seconds in kinds:
                start = turn % len(running)
                for one in [*running[start:], *running[:start]]:
                    await self._cost(one, kind, seconds)
            self._say(f"round {turn + 1}: " + ", ".join(self._brief(one.name) for one in running))

    def _brief(self, name: str) -> str:
        cost = self.results.costs[name, PLAIN.name]
        return f"{name} {cost.cpu_ms[-1]:.2f} ms" if cost.cpu_ms else f"{name} failed"

    async def _cost(self, one: Running, kind: Kind, seconds: float) -> None:
        """One visit: load for `seconds`, and the CPU its whole process tree spent on it."""
        cost = self.results.costs.setdefault((one.name, kind.name), Cost())
        if cost.errors and not cost.answered:
            return  # it failed every request of the round before; more of that tells nothing
        seen = self._rig.upstream_counts()
        begin, busy, cpu = time.perf_counter(), core_busy(self._rig.subject_core), one.process.cpu()
        load = await self._closed(one, kind, seconds=seconds)
        spent, busy = one.process.cpu() - cpu, core_busy(self._rig.subject_core) - busy
        wall = time.perf_counter() - begin
        cost.errors += load.errors
        cost.answered += load.answered
        if load.answered > load.failed:
            cost.cpu_ms.append(spent * 1000 / load.answered)
            cost.rates.append(load.answered / load.wall)
            cost.foreign.append(max(0.0, busy - spent) / wall)
        self._account(one.name, kind, seen, load)

    def _account(self, name: str, kind: Kind, seen: dict[str, int], load: Load) -> None:
        """Each answer must have cost one upstream call; answers beyond those came from a cache, and spoil the figure."""
        now = self._rig.upstream_counts()
        calls = "streams" if kind.stream else "requests"
        self.results.not_upstream[name] += max(0, load.answered - (now[calls] - seen[calls]))

    async def steady(self, running: Sequence[Running]) -> None:
        """Latency at a steady rate, the direct call first in each round; peers take part in the first rounds only."""
        for turn in range(self._plan.steady_rounds):
            for one in [self._rig.direct, *running]:
                ours = one.name == "direct" or one.name.startswith("tidegate")
                if not ours and turn >= self._plan.peer_steady_rounds:
                    continue
                load = await self._open(one)
                self._add_latency(one.name, load)
            self._say(f"steady round {turn + 1}")

    def _add_latency(self, name: str, load: Load) -> None:
        entry = self.results.latency.setdefault(name, Latency())
        entry.answered += load.answered
        entry.errors += load.errors
        if load.latencies:
            entry.p50.append(percentile(load.latencies, 50) * 1000)
            entry.p99.append(percentile(load.latencies, 99) * 1000)
            entry.lag.append(percentile(load.lag, 99) * 1000)

    async def long_run(self, one: Running, every: int = 500) -> None:
        """Many requests through one subject that is warm already, its resident memory read every `every` requests."""
        memory = self.results.memory.setdefault(one.name, Memory())
        sent = 0
        memory.points.append((0, one.process.rss()))
        while sent < self._plan.memory_requests:
            load = await self._closed(one, PLAIN, requests=every, seconds=60)
            memory.errors += load.errors
            sent += every
            memory.points.append((sent, one.process.rss()))
        self._say(f"{one.name}: {sent} requests, {memory.slope:+.2f} MB per 10,000")

    async def after(self, running: Sequence[Running]) -> None:
        """Last, when exporters have had time to send what they hold: memory, and the traces that arrived."""
        await asyncio.sleep(self._plan.settle)
        counts = self._rig.upstream_counts()
        for one in running:
            self.results.traces[one.name] = counts.get(f"traces {one.name}", 0)
            self.results.memory.setdefault(one.name, Memory()).after = one.process.rss()
