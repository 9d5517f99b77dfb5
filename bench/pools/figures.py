"""What one run of a policy over a workload came to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench.pools.jobs import Job
from bench.pools.world import World

SLO_FIRST = 1.0
"""Seconds within which an answer should begin, for `goodput`."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Times in seconds, shares 0 to 1."""

    mean: float
    p50: float
    p95: float
    p99: float
    """Of the time to the first token."""
    cached: float
    """Share of the tokens of prompts that came out of a cache."""
    spread: float
    """Deviation of the tokens that the replicas read, over their mean."""
    goodput: float
    """Share of the calls that began within `SLO_FIRST` and ended whole."""
    fairness: float
    """Jain's index over the tenants' mean times to the first token: 1 when all wait alike."""
    failed: float
    """Share of the calls that broke."""
    micros: float
    """Microseconds a choice took, in the mean."""


def figures(world: World, jobs: Sequence[Job], seconds_picking: float) -> Figures:
    answered = [job for job in jobs if job.first >= 0]
    waits = sorted(job.first - job.at for job in answered) or [0.0]
    tenants: dict[str, list[float]] = defaultdict(list)
    for job in answered:
        tenants[job.tenant].append(job.first - job.at)
    means = [sum(one) / len(one) for one in tenants.values()] or [1.0]
    read = [replica.read for replica in world.replicas]
    mean_read = sum(read) / len(read) or 1.0
    good = sum(job.ended >= 0 and job.first - job.at <= SLO_FIRST for job in answered)
    return Figures(
        mean=sum(waits) / len(waits),
        p50=_quantile(waits, 0.5),
        p95=_quantile(waits, 0.95),
        p99=_quantile(waits, 0.99),
        cached=sum(job.cached for job in answered) / max(1, sum(job.tokens for job in answered)),
        spread=(sum((one - mean_read) ** 2 for one in read) / len(read)) ** 0.5 / mean_read,
        goodput=good / len(jobs),
        fairness=sum(means) ** 2 / (len(means) * sum(one**2 for one in means) or 1.0),
        failed=sum(job.failed for job in jobs) / len(jobs),
        micros=seconds_picking / len(jobs) * 1e6,
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
