"""Limits are kept, what they say about waiting is true, and memory and Redis count alike."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache.backends.redis_link import RedisLink
from gateway.admission.limits import Concurrency, MemoryLimiter, RedisLimiter
from gateway.core.clock import ManualClock, SystemClock
from tests.fixtures.redis import RedisServer

WINDOW = 60.0
ALIGNED = 1_699_999_980 * 10**9
"""A wall time at which a minute begins."""

# Milliseconds to move on, and how much to ask for then.
STEPS = st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 4)), min_size=1, max_size=60)
LIMITS = st.integers(1, 12)


def moved(clock: ManualClock, milliseconds: int) -> None:
    clock._now += milliseconds * 1_000_000  # whole, where seconds as a float would not be


@given(STEPS, LIMITS)
def test_no_aligned_window_holds_more_than_the_limit(steps: list[tuple[int, int]], limit: int) -> None:
    """Whatever is asked and when."""
    clock = ManualClock()
    limiter = MemoryLimiter(clock)
    taken: dict[int, int] = defaultdict(int)
    for wait, amount in steps:
        moved(clock, wait)
        if limiter.try_take("k", limit, WINDOW, amount) is None:
            taken[clock.now() // 60_000_000_000] += amount
    assert all(total <= limit for total in taken.values())


@given(STEPS, LIMITS)
def test_any_minute_holds_at_most_twice_the_limit(steps: list[tuple[int, int]], limit: int) -> None:
    """The windows are aligned, and between two of them the count is an estimate: this is how far off it can be."""
    clock = ManualClock()
    limiter = MemoryLimiter(clock)
    taken: list[tuple[int, int]] = []
    for wait, amount in steps:
        moved(clock, wait)
        if limiter.try_take("k", limit, WINDOW, amount) is None:
            taken.append((clock.now(), amount))
            recent = sum(n for at, n in taken if clock.now() - at < 60_000_000_000)
            assert recent <= 2 * limit


@given(STEPS, LIMITS, st.integers(0, 4))
def test_the_wait_that_is_told_is_enough_and_no_longer(steps: list[tuple[int, int]], limit: int, amount: int) -> None:
    """Who waits as told, while nobody else asks, is let in; a little earlier would have been too early."""
    clock = ManualClock()
    limiter = MemoryLimiter(clock)
    for wait, taken in steps:
        moved(clock, wait)
        limiter.try_take("k", limit, WINDOW, taken)
    told = limiter.try_take("k", limit, WINDOW, amount)
    if told is None or amount > limit:
        return
    milliseconds = math.ceil(told * 1000)
    moved(clock, milliseconds - 2)
    early = limiter.try_take("k", limit, WINDOW, amount) if milliseconds > 2 else 1.0
    moved(clock, 2 if milliseconds > 2 else milliseconds)
    assert early is not None
    assert limiter.try_take("k", limit, WINDOW, amount) is None


def test_what_is_refused_is_not_counted() -> None:
    """Knocking does not keep the door shut."""
    clock = ManualClock()
    limiter = MemoryLimiter(clock)
    assert limiter.try_take("k", 1, WINDOW) is None
    for _ in range(1000):
        assert limiter.try_take("k", 1, WINDOW) is not None
    clock.advance(120)
    assert limiter.try_take("k", 1, WINDOW) is None


def test_keys_do_not_share() -> None:
    """One key's use is nothing to another."""
    limiter = MemoryLimiter(ManualClock())
    assert limiter.try_take("a", 1, WINDOW) is None
    assert limiter.try_take("b", 1, WINDOW) is None
    assert limiter.try_take("a", 1, WINDOW) is not None


def test_memory_is_bounded() -> None:
    """However many keys ask, only so many are remembered; the one idle longest goes first."""
    limiter = MemoryLimiter(ManualClock(), most=100)
    for number in range(1000):
        limiter.try_take(f"k{number}", 1, WINDOW)
        limiter.try_take("busy", 5000, WINDOW)
    assert len(limiter) == 100
    assert limiter.try_take("busy", 1000, WINDOW) is not None


# --- Redis


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    link = RedisLink(redis_url, SystemClock(), budget=5.0)
    yield link
    await link.close()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=STEPS, limit=LIMITS)
def test_redis_counts_like_memory(redis_url: str, steps: list[tuple[int, int]], limit: int) -> None:
    """The same sequence is let in and refused alike, and told the same wait to the millisecond."""

    async def both() -> None:
        clock = ManualClock(ALIGNED)
        link = RedisLink(redis_url, SystemClock(), budget=5.0)
        memory, redis = MemoryLimiter(clock), RedisLimiter(link.call, clock, budget=5.0)
        key = uuid4().hex
        for wait, amount in steps:
            moved(clock, wait)
            here, there = memory.try_take(key, limit, WINDOW, amount), await redis.take(key, limit, WINDOW, amount)
            assert not redis.degraded
            assert (here is None) == (there is None), (here, there)
            if here is not None and there is not None:
                assert 0 <= there - here < 0.0011
        await link.close()

    asyncio.run(both())


async def test_two_processes_share_one_limit(link: RedisLink) -> None:
    """A hundred ask two limiters at once; ten get in."""
    limiters = [RedisLimiter(link.call, SystemClock(), budget=5.0) for _ in range(2)]
    key = uuid4().hex
    waits = await asyncio.gather(*(limiters[n % 2].take(key, 10, WINDOW) for n in range(100)))
    assert sum(wait is None for wait in waits) == 10


async def test_counters_in_redis_expire(link: RedisLink) -> None:
    """Nothing stays in Redis for a key that is used no more."""
    key = uuid4().hex
    await RedisLimiter(link.call, SystemClock(), prefix="p:", budget=5.0).take(key, 10, WINDOW)
    names = await link.call("KEYS", f"p:{key}*")
    assert isinstance(names, list)
    assert len(names) == 1
    left = await link.call("PTTL", names[0])
    assert isinstance(left, int)
    assert 60_000 < left <= 120_000


async def test_without_redis_each_process_counts_for_itself(own_redis: Callable[[], RedisServer]) -> None:
    """The limit still holds in each process, it is said that it does not hold across them, and it does again when Redis
    is back."""
    server = own_redis()
    link = RedisLink(server.url, SystemClock(), budget=0.5)
    limiter = RedisLimiter(link.call, SystemClock(), budget=0.5)
    assert await limiter.take("k", 2, WINDOW) is None
    assert not limiter.degraded
    server.kill()
    assert [await limiter.take("k", 2, WINDOW) is None for _ in range(3)] == [True, True, False]
    assert limiter.degraded
    server.start()
    async with asyncio.timeout(10):
        while limiter.degraded:
            await limiter.take("other", 1000, WINDOW)
            await asyncio.sleep(0.01)
    await link.close()


# --- concurrency


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=200), st.integers(1, 4))
def test_concurrency_is_what_is_open(moves: list[tuple[str, bool]], limit: int) -> None:
    """Never more than the limit are in; each way out gives one place back; nothing is left when all are out."""
    doors = Concurrency()
    inside: dict[str, list[Callable[[], None]]] = {"a": [], "b": []}
    for key, enters in moves:
        if enters:
            leave = doors.enter(key, limit)
            assert (leave is None) == (len(inside[key]) == limit)
            if leave is not None:
                inside[key].append(leave)
        elif inside[key]:
            inside[key].pop()()
    for leaves in inside.values():
        for leave in leaves:
            leave()
    assert len(doors) == 0
