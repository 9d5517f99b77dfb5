"""Every policy over every workload, and through every mishap: the same calls, at the same times, for each."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence

from bench.pools.figures import Figures, figures
from bench.pools.jobs import WORKLOADS, Draw, Job
from bench.pools.rules import BASELINES, Make
from bench.pools.world import Happening, Policy, Replica, World

REPLICAS = 8
SEED = 20261201


class Timed:
    """A policy, and what its choices cost this machine."""

    def __init__(self, policy: Policy) -> None:
        self.name = policy.name
        self._policy = policy
        self.answered, self.ended = policy.answered, policy.ended
        self.seconds = 0.0

    def pick(self, job: Job, now: float, gateway: int) -> int:
        begun = time.perf_counter()
        chosen = self._policy.pick(job, now, gateway)
        self.seconds += time.perf_counter() - begun
        return chosen

    def scraped(self, replicas: Sequence[Replica], now: float) -> None:
        self._policy.scraped(replicas, now)


def _metrics(world: World, readable: bool) -> None:
    world.metrics = readable


def mishaps(seconds: float) -> Mapping[str, tuple[int, Sequence[Happening]]]:
    """By name: how many gateways there are, and what befalls the pool. All over the same workload."""
    third, two = seconds / 3, 2 * seconds / 3
    return {
        "nothing": (1, ()),
        "a replica crashes, comes back cold": (
            1,
            (Happening(at=third, does=lambda w: w.crash(0)), Happening(at=third + 10, does=lambda w: w.start(0))),
        ),
        "metrics cannot be read": (
            1,
            (
                Happening(at=third, does=lambda w: _metrics(w, False)),
                Happening(at=two, does=lambda w: _metrics(w, True)),
            ),
        ),
        "2 gateways": (2, ()),
        "4 gateways": (4, ()),
    }


def policies(more: Mapping[str, Make]) -> Mapping[str, Make]:
    return {**BASELINES, **more}


def run(
    workload: str,
    make: Make,
    seconds: float,
    *,
    gateways: int = 1,
    happenings: Sequence[Happening] = (),
) -> Figures:
    """One policy, from cold caches."""
    generate, rate = WORKLOADS[workload]
    jobs = generate(Draw(random.Random(f"{SEED} {workload}")), rate, seconds)
    policy = Timed(make(REPLICAS, random.Random(SEED)))
    world = World(jobs, policy, replicas=REPLICAS, gateways=gateways, happenings=happenings)
    world.run()
    return figures(world, jobs, policy.seconds)
