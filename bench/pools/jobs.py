"""What is asked of a pool: calls with prompts made of blocks, in the order and at the times of a named workload.

A block stands for `BLOCK` tokens and is a number. A call's `blocks` are chained, as engines and routers do it: each
number stands for its block and all before it, so two prompts have in common what they begin with and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

import xxhash

BLOCK = 64
"""Tokens."""


@dataclass(slots=True, eq=False)
class Job:
    """One call. Times in seconds of the simulation."""

    at: float
    blocks: tuple[int, ...]
    answer: int
    """Tokens it will say."""
    session: str
    tenant: str
    # what became of it
    replica: int = -1
    first: float = -1.0
    ended: float = -1.0
    cached: int = 0
    """Tokens of its prompt that the replica had."""
    failed: bool = False

    def __post_init__(self) -> None:
        last = b""
        chained = []
        for block in self.blocks:
            last = xxhash.xxh3_64_digest(last + block.to_bytes(8, "little"))
            chained.append(int.from_bytes(last, "little"))
        self.blocks = tuple(chained)

    @property
    def tokens(self) -> int:
        return len(self.blocks) * BLOCK


@dataclass(slots=True)
class Draw:
    """Chance and fresh blocks of one workload: the same for every policy."""

    rng: random.Random
    fresh: Iterator[int] = field(default_factory=lambda: count(1))

    def new(self, blocks: int) -> tuple[int, ...]:
        return tuple(next(self.fresh) for _ in range(blocks))

    def arrivals(self, rate: float, seconds: float) -> Iterator[float]:
        """A Poisson process."""
        at = self.rng.expovariate(rate)
        while at < seconds:
            yield at
            at += self.rng.expovariate(rate)

    def zipf(self, items: int, skew: float = 1.0) -> int:
        weights = [1 / (rank + 1) ** skew for rank in range(items)]
        return self.rng.choices(range(items), weights)[0]


Workload = Callable[[Draw, float, float], list[Job]]
"""(chance, calls a second, seconds) -> calls in order of time."""


def shared_prompts(draw: Draw, rate: float, seconds: float) -> list[Job]:
    """60 applications, each with a system prompt of 1,000 to 3,000 tokens, asked as often as Zipf says."""
    prompts = [draw.new(draw.rng.randint(16, 48)) for _ in range(60)]
    jobs = []
    for at in draw.arrivals(rate, seconds):
        which = draw.zipf(len(prompts))
        jobs.append(Job(at, prompts[which] + draw.new(draw.rng.randint(1, 6)), 80, f"s{at}", f"t{which}"))
    return jobs


def conversations(draw: Draw, rate: float, seconds: float) -> list[Job]:
    """Talks of up to 12 turns over one of 8 system prompts; each turn holds all before it, and comes about 12 s later."""
    prompts = [draw.new(12) for _ in range(8)]
    jobs: list[Job] = []
    for begun in draw.arrivals(rate / 6.5, seconds):
        blocks, at = prompts[draw.rng.randrange(8)], begun
        for _ in range(draw.rng.randint(1, 12)):
            blocks = blocks + draw.new(draw.rng.randint(1, 5))
            if at < seconds:
                jobs.append(Job(at, blocks, 120, f"s{begun}", f"t{int(begun) % 20}"))
            blocks = blocks + draw.new(2)  # what was answered
            at += draw.rng.expovariate(1 / 12)
    return sorted(jobs, key=lambda job: job.at)


def documents(draw: Draw, rate: float, seconds: float) -> list[Job]:
    """Retrieval: one system prompt, then 3 of 200 documents in any order, then a question. Only the beginning is shared."""
    system = draw.new(8)
    library = [draw.new(10) for _ in range(200)]
    jobs = []
    for at in draw.arrivals(rate, seconds):
        found = [library[draw.zipf(200, 0.8)] for _ in range(3)]
        blocks = system + tuple(block for text in found for block in text) + draw.new(1)
        jobs.append(Job(at, blocks, 60, f"s{at}", "t0"))
    return jobs


def long_and_short(draw: Draw, rate: float, seconds: float) -> list[Job]:
    """Nine short questions to one prompt of 16,000 tokens, from 12 applications: who counts calls sees no difference."""
    prompts = [draw.new(6) for _ in range(12)]
    jobs = []
    for at in draw.arrivals(rate, seconds):
        which = draw.zipf(12)
        long = draw.rng.random() < 0.1
        jobs.append(Job(at, prompts[which] + draw.new(250 if long else 3), 60, f"s{at}", f"t{which}"))
    return jobs


def one_hot(draw: Draw, rate: float, seconds: float) -> list[Job]:
    """Nine of ten calls begin with the same 3,000 tokens: a rule that only follows the cache sends all to one replica."""
    hot = draw.new(48)
    jobs = []
    for at in draw.arrivals(rate, seconds):
        blocks = (hot if draw.rng.random() < 0.9 else draw.new(48)) + draw.new(draw.rng.randint(1, 6))
        jobs.append(Job(at, blocks, 80, f"s{at}", "t0"))
    return jobs


def nothing_shared(draw: Draw, rate: float, seconds: float) -> list[Job]:
    """No two prompts begin alike: nothing to gain, and what a rule costs when it is of no use."""
    return [
        Job(at, draw.new(draw.rng.randint(4, 40)), 80, f"s{at}", f"t{draw.rng.randrange(20)}")
        for at in draw.arrivals(rate, seconds)
    ]


WORKLOADS: Mapping[str, tuple[Workload, float]] = {
    "shared system prompts": (shared_prompts, 52.0),
    "conversations": (conversations, 48.0),
    "retrieval": (documents, 20.0),
    "long and short": (long_and_short, 18.0),
    "one hot prefix": (one_hot, 48.0),
    "nothing shared": (nothing_shared, 28.0),
}
"""By name: what makes it, and calls a second for eight replicas of `world.Engine`."""
