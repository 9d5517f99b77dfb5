"""The simulator of pools: what goes in comes out, and the rule that serves is not worse than taking turns."""

from __future__ import annotations

import random

import pytest

from bench.pools.asked import LOADS
from bench.pools.jobs import WORKLOADS, Draw
from bench.pools.ours import OURS, Ours
from bench.pools.report import plots, simulated
from bench.pools.rules import BASELINES, RoundRobin
from bench.pools.simulate import REPLICAS, SEED, mishaps, policies, run
from bench.pools.world import World

SECONDS = 20.0


@pytest.mark.parametrize("name", policies(OURS))
def test_every_call_is_answered_once_and_nothing_is_left_under_way(name: str) -> None:
    """Whatever the rule."""
    generate, rate = WORKLOADS["shared system prompts"]
    jobs = generate(Draw(random.Random(1)), rate, SECONDS)
    policy = policies(OURS)[name](REPLICAS, random.Random(1))
    world = World(jobs, policy)
    world.run()
    assert all(0 <= job.at <= job.first < job.ended for job in jobs)
    assert not any(replica.running or replica.waiting for replica in world.replicas)
    if isinstance(policy, Ours):
        assert all(end.in_flight == end.unanswered == 0 for pool in policy.pools for end in pool.all)


def test_a_crash_breaks_only_what_had_begun() -> None:
    """What had given nothing yet is asked again elsewhere."""
    gateways, happenings = mishaps(60.0)["a replica crashes, comes back cold"]
    told = run("shared system prompts", RoundRobin, 60.0, gateways=gateways, happenings=happenings)
    assert 0 < told.failed < 0.02


@pytest.mark.parametrize("workload", WORKLOADS)
def test_placing_by_prefix_never_makes_them_wait_longer_than_taking_turns(workload: str) -> None:
    """Also where nothing is shared, or one beginning is shared by all."""
    ours = run(workload, OURS["Tidegate, prefix"], 60.0)
    turns = run(workload, BASELINES["round robin"], 60.0)
    assert ours.mean <= turns.mean * 1.02
    assert ours.cached >= turns.cached - 0.01


def test_the_same_seed_makes_the_same_calls() -> None:
    """So that every policy and every router is asked the same."""
    for generate, rate in WORKLOADS.values():
        first, second = (generate(Draw(random.Random(SEED)), rate, 5.0) for _ in range(2))
        assert [(job.at, job.blocks) for job in first] == [(job.at, job.blocks) for job in second]
    for load in LOADS.values():
        assert [ask.messages for ask in load.asks()] == [ask.messages for ask in load.asks()]


def test_the_report_names_every_policy() -> None:
    """In the table and in the plot."""
    figures = {"one": {RoundRobin.name: run("nothing shared", RoundRobin, 5.0)}}
    assert RoundRobin.name in simulated(figures, "workload")
    assert RoundRobin.name in plots(figures, {})["pools-simulated.svg"]
