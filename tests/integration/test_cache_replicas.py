"""Identical requests at one time, at several gateways that share one Redis: one is asked of the model, and nobody waits for
a gateway that is gone or for a Redis that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import config as configuration
from gateway.app import Gateway
from gateway.faults.server import FaultServer
from gateway.faults.steps import HANG
from gateway.telemetry import logs
from tests.fixtures.gateway import WAIT, Ledger, Reply, Talk, running, settings
from tests.fixtures.raw_client import RawClient, asking, post, until
from tests.fixtures.redis import RedisServer

CACHED = {"default": {"cache": {"exact": {"ttl": "1h"}}}}
ONCE = {"m": {"targets": [{"provider": "up", "model": "m"}], "retry": {"attempts": 1}}}
CUT = {"choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": "length"}]}
BROKEN = {"error": {"message": "broken", "type": "server_error"}}


@asynccontextmanager
async def replicas(count: int, redis: str, base: Path, budget: float = 5.0) -> AsyncIterator[list[Talk]]:
    """Gateways with one configuration, one secret and one upstream. `budget`: how long Redis may take; a busy machine is
    not what most of these tests are about."""
    async with FaultServer() as upstream, contextlib.AsyncExitStack() as stack:
        sections = {"redis": redis, "routes": CACHED, "models": ONCE, "server": {"secret": secrets.token_hex(16)}}
        talks = []
        for _ in range(count):
            ledger = Ledger()
            config = configuration.of_value(settings(upstream, upstream, **sections), base)
            gateway = Gateway(config, base, logger=logs.setup("off"), recorders=[ledger])
            assert gateway.caches.redis is not None
            gateway.caches.redis._budget = budget
            url = await stack.enter_async_context(running(gateway))
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=WAIT))
            talks.append(Talk(gateway, url, upstream, upstream, ledger, http))
        yield talks


def counts(t: Talk) -> dict[str, float]:
    return dict(t.gateway.caches.stats()["default.coalescing"])


def total(talks: list[Talk], name: str) -> float:
    return sum(counts(t)[name] for t in talks)


def asked(t: Talk, count: int, **more: Any) -> list[asyncio.Task[Reply]]:
    return [asyncio.create_task(t.ask("hi", max_tokens=9, **more)) for _ in range(count)]


async def all_wait(talks: list[Talk], each: int) -> None:
    """One leads for all, each other gateway's leader waits for it, and all others wait for their own gateway's."""
    await until(lambda: total(talks, "followers") == len(talks) * (each - 1))
    await until(lambda: total(talks, "followed") == len(talks) - 1)


async def at_rest(talks: list[Talk]) -> None:
    names = ("flights", "followers", "leases")
    await until(lambda: [total(talks, name) for name in names] == [0, 0, 0])
    await until(lambda: all(t.gateway.spine.inflight == 0 for t in talks))


async def test_a_hundred_at_three_gateways_make_one_call(redis_url: str, tmp_path: Path) -> None:
    """99 requests at three gateways make one upstream call, and all get its answer, streamed or not."""
    async with replicas(3, redis_url, tmp_path) as talks:
        gate, upstream = asyncio.Event(), talks[0].upstream
        upstream.script("m", ["Hel", gate, "lo"])
        tasks = [task for t in talks for task in asked(t, 17) + asked(t, 16, stream=True)]
        await all_wait(talks, 33)
        gate.set()
        replies = await asyncio.gather(*tasks)
        assert len(upstream.requests) == 1
        assert {(r.status, r.text, r.finish) for r in replies} == {(200, "Hello", "stop")}
        assert sorted(str(r.header("cache")) for r in replies) == ["hit"] * 98 + ["miss"]
        assert (total(talks, "led"), total(talks, "served"), total(talks, "promoted")) == (1, 2, 0)
        await at_rest(talks)


async def test_a_leader_that_leaves_hands_over_to_another_gateway(redis_url: str, tmp_path: Path) -> None:
    """When the leader's client is gone and nobody waits beside it, a waiting gateway's leader asks the model."""
    async with replicas(2, redis_url, tmp_path) as (first, second):
        upstream = first.upstream
        upstream.script("m", ["Hel", HANG])
        async with RawClient(first.url) as leader:
            await leader.send(post(asking("hi", stream=True)))
            await leader.until(b"Hel")
            tasks = asked(second, 3)
            await until(lambda: counts(second)["followed"] == 1)
            upstream.script("m", ["Hello"])
            leader.leave()
            assert {r.text for r in await asyncio.gather(*tasks)} == {"Hello"}
        assert len(upstream.requests) == 2
        assert (counts(second)["promoted"], counts(second)["waited_out"]) == (1, 0)
        await at_rest([first, second])


async def test_a_leader_with_others_beside_it_keeps_the_lease_in_its_gateway(redis_url: str, tmp_path: Path) -> None:
    """The next in line of the same gateway leads on with the same lease; the other gateway's waits on."""
    async with replicas(2, redis_url, tmp_path) as (first, second):
        upstream, gate = first.upstream, asyncio.Event()
        upstream.script("m", ["Hel", HANG])
        async with RawClient(first.url) as leader:
            await leader.send(post(asking("hi", stream=True)))
            await leader.until(b"Hel")
            tasks = asked(first, 2) + asked(second, 2)
            await until(lambda: counts(first)["followers"] == 2 and counts(second)["followed"] == 1)
            upstream.script("m", [gate, "Hello"])
            leader.leave()
            await upstream.received(2)
            gate.set()
            assert {r.text for r in await asyncio.gather(*tasks)} == {"Hello"}
        assert len(upstream.requests) == 2
        assert (counts(second)["promoted"], counts(second)["served"]) == (0, 1)
        await at_rest([first, second])


async def test_an_error_is_not_shared_and_two_are_enough(redis_url: str, tmp_path: Path) -> None:
    """Each failing leader gets its own error; after two in a row, in whichever gateways, all go on by themselves."""
    async with replicas(3, redis_url, tmp_path) as talks:
        gate, upstream = asyncio.Event(), talks[0].upstream
        upstream.script("m", [gate, BROKEN])
        tasks = [task for t in talks for task in asked(t, 2, stream=True)]
        await all_wait(talks, 2)
        gate.set()
        assert {r.status >= 500 for r in await asyncio.gather(*tasks)} == {True}
        assert len(upstream.requests) == 6
        assert total(talks, "waited_out") == 0
        await at_rest(talks)


async def test_an_error_hands_over_to_another_gateway(redis_url: str, tmp_path: Path) -> None:
    """One gateway's leader fails alone; the other's is promoted, and its answer is everybody's there."""
    async with replicas(2, redis_url, tmp_path) as (first, second):
        gate, upstream = asyncio.Event(), first.upstream
        upstream.script("m", [gate, BROKEN])
        failing = asked(first, 1, stream=True)
        await upstream.received(1)
        tasks = asked(second, 3)
        await until(lambda: counts(second)["followed"] == 1)
        upstream.script("m", ["Hello"])
        gate.set()
        assert (await failing[0]).status >= 500
        assert {r.text for r in await asyncio.gather(*tasks)} == {"Hello"}
        assert len(upstream.requests) == 2
        await at_rest([first, second])


async def test_what_may_not_be_stored_frees_the_others_at_once(redis_url: str, tmp_path: Path) -> None:
    """A truncated answer is its asker's alone: the other gateways hear so, and do not wait for what will not come."""
    async with replicas(3, redis_url, tmp_path) as talks:
        gate, upstream = asyncio.Event(), talks[0].upstream
        upstream.script("m", [gate, CUT])
        tasks = [task for t in talks for task in asked(t, 2, stream=True)]
        await all_wait(talks, 2)
        gate.set()
        began = time.perf_counter()
        replies = await asyncio.gather(*tasks)
        assert time.perf_counter() - began < 2.0, "half of a deadline is many seconds"
        assert {(r.text, r.finish, r.header("cache")) for r in replies} == {("Hel", "length", "miss")}
        assert len(upstream.requests) == 6
        assert (total(talks, "alone"), total(talks, "promoted")) == (2, 0)
        await at_rest(talks)


async def test_a_follower_keeps_its_own_deadline(redis_url: str, tmp_path: Path) -> None:
    """Half of its time it waits for the other gateway, then it asks the model itself."""
    async with replicas(2, redis_url, tmp_path) as (first, second):
        upstream = first.upstream
        upstream.script("m", ["Hel", HANG])
        async with RawClient(first.url) as leader:
            await leader.send(post(asking("hi", stream=True)))
            await leader.until(b"Hel")
            upstream.script("m", ["Hello"])
            reply = await second.ask("hi", max_tokens=9, headers={"x-tidegate-timeout-ms": "2000"})
            assert (reply.text, reply.header("cache")) == ("Hello", "miss")
            waited = next(s for s in (await second.receipt()).timeline if s.name == "coalesce")
            assert 0.8e9 < waited.end - waited.start < 2e9
            assert counts(second)["waited_out"] == 1
        await at_rest([first, second])


async def test_a_lease_is_renewed_as_long_as_its_answer_takes(
    redis_url: str, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that takes longer than a lease has one leader all the same."""
    monkeypatch.setattr("cache.backends.redis_lease.LEASE", 0.3)
    async with replicas(2, redis_url, tmp_path) as (first, second):
        gate, upstream = asyncio.Event(), first.upstream
        upstream.script("m", ["Hel", gate, "lo"])
        leading = asked(first, 1)
        await upstream.received(1)
        tasks = asked(second, 2)
        await until(lambda: counts(second)["followed"] == 1)
        later = time.perf_counter() + 1.0
        await until(lambda: time.perf_counter() > later)
        gate.set()
        assert {r.text for r in await asyncio.gather(*leading, *tasks)} == {"Hello"}
        assert len(upstream.requests) == 1
        assert total([first, second], "leases_lost") == 0
        await at_rest([first, second])


# --- without Redis, and while it dies


async def test_a_redis_that_dies_ends_the_wait(own_redis: Callable[..., RedisServer], tmp_path: Path) -> None:
    """Who waits for another gateway when Redis dies asks the model at once, and says that it did without."""
    server = own_redis()
    async with replicas(2, server.url, tmp_path) as (first, second):
        gate, upstream = asyncio.Event(), first.upstream
        upstream.script("m", [gate, "Hello"])
        leading = asked(first, 1)
        await upstream.received(1)
        tasks = asked(second, 5)
        await until(lambda: counts(second)["followed"] == 1)
        server.kill()
        await upstream.received(2)
        gate.set()
        replies = await asyncio.gather(*leading, *tasks)
        assert {(r.status, r.text) for r in replies} == {(200, "Hello")}
        assert len(upstream.requests) == 2
        assert any("coalesce" in str(r.header("degraded")) for r in replies)


@pytest.mark.parametrize("how", ["dead", "frozen"])
async def test_without_redis_each_gateway_makes_one_call(
    own_redis: Callable[..., RedisServer], tmp_path: Path, how: str
) -> None:
    """100 requests at two gateways whose Redis is gone: two calls, no failure, no waiting; and it heals by itself."""
    server = own_redis()
    async with replicas(2, server.url, tmp_path, budget=0.05) as talks:
        gate, upstream = asyncio.Event(), talks[0].upstream
        upstream.script("m", ["Hel", gate, "lo"])
        server.kill() if how == "dead" else server.pause()
        tasks = [task for t in talks for task in asked(t, 50)]
        await until(lambda: total(talks, "followers") == 98)
        gate.set()
        replies = await asyncio.gather(*tasks)
        assert {(r.status, r.text) for r in replies} == {(200, "Hello")}
        assert len(upstream.requests) == 2
        assert any("exact_cache" in str(r.header("degraded")) for r in replies)
        server.start() if how == "dead" else server.resume()

        async with asyncio.timeout(20):
            while (await talks[0].ask("again")).header("cache") != "hit":  # noqa: ASYNC110 - each turn is a request
                await asyncio.sleep(0.05)
        await at_rest(talks)
