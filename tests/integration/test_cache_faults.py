"""Redis goes wrong in every way it can while requests come in: each is answered by the model within a small budget, the
gateway says that it is degraded, and it heals without a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.core.clock import SystemClock
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.redis import RedisServer

CACHED = {"default": {"cache": {"exact": {"ttl": "1h"}}}}
SLOWEST = 1.5
"""Seconds that a request may take here, the model and a busy machine included; a missing time-out would show as many more."""
WAYS = ("hang", "refuse", "reset", "half-open", "nonsense")


class Between:
    """A TCP proxy before Redis that does to connections what networks and dying servers do."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.port = 0
        self._way = ""
        self._silent: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def go_wrong(self, way: str) -> None:
        """hang: nothing is forwarded any more. refuse: nobody listens. reset: every connection is cut at its first bytes.
        half-open: connections that stand go silent, new ones work. nonsense: bytes that are no reply."""
        if way == "refuse":
            await self.stop()
        elif way == "half-open":
            self._silent = set(self._writers)
        else:
            self._way = way

    async def heal(self) -> None:
        self._way = ""
        if self._listener is None:
            await self.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._server.port)
            answers = asyncio.create_task(self._pump(there, writer, writer))
            try:
                await self._pump(reader, back, writer)
            finally:
                answers.cancel()
                back.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, client: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._way == "hang" or client in self._silent:
                continue
            if self._way == "reset":
                client.transport.abort()
                return
            to.write(b"?what\r\n" if self._way == "nonsense" and to is client else data)
            await to.drain()


@pytest.fixture
async def between(redis_server: RedisServer) -> AsyncIterator[Between]:
    proxy = Between(redis_server)
    await proxy.start()
    yield proxy
    await proxy.stop()


async def timed(t: Talk, text: str) -> tuple[Reply, float]:
    began = time.perf_counter()
    return await t.ask(text), time.perf_counter() - began


async def hits_again(t: Talk, text: str) -> None:
    async with asyncio.timeout(20):
        while (await t.ask(text)).header("cache") != "hit":  # noqa: ASYNC110 - each turn is a request
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_redis_does_no_request_fails(talk: Converse, between: Between, way: str) -> None:
    """Hung, refused, reset, half open or talking nonsense: 200 for everybody and quickly, degraded in header, metric and
    /readyz while it lasts, hits again when it is over."""
    async with talk(routes=CACHED, redis=f"redis://127.0.0.1:{between.port}/0") as t:
        t.upstream.script("m", ["Hello"])
        await hits_again(t, "before")
        await between.go_wrong(way)
        told = [await timed(t, f"q{number}") for number in range(6)]
        told += await asyncio.gather(*(timed(t, f"q{number % 10}") for number in range(60)))
        assert {(reply.status, reply.text) for reply, _ in told} == {(200, "Hello")}
        assert max(took for _, took in told) < SLOWEST
        assert any("exact_cache" in str(reply.header("degraded")) for reply, _ in told)
        page = (await t.http.get("/metrics")).text
        assert 'tidegate_degraded_total{what="exact_cache"}' in page
        if way != "half-open":  # which may be over by now: the next connection is a good one
            assert 'tidegate_breaker_open{dependency="redis"} 1.0' in page
            assert "redis" in (await t.http.get("/readyz")).json()["degraded"]
        await between.heal()
        await hits_again(t, "after")
        assert (await t.http.get("/readyz")).json()["degraded"] == {}


@pytest.mark.parametrize("way", ["hang", "refuse"])
async def test_a_purge_of_a_redis_that_is_gone_says_so_in_time(talk: Converse, between: Between, way: str) -> None:
    """A purge is told as failed and not as done, within its own budget, and works again when Redis does."""
    async with talk(routes=CACHED, redis=f"redis://127.0.0.1:{between.port}/0") as t:
        t.upstream.script("m", ["Hello"])
        await hits_again(t, "before")
        await between.go_wrong(way)
        began = time.perf_counter()
        reply = await t.http.post("/admin/v1/cache/purge", json={"dry_run": False})
        assert time.perf_counter() - began < 2 + SLOWEST
        assert (reply.status_code, reply.json()["purged"]) == (503, 0)
        await between.heal()
        await hits_again(t, "before")
        reply = await t.http.post("/admin/v1/cache/purge", json={"dry_run": False, "tenant": "default"})
        assert reply.status_code == 200
        assert reply.json()["purged"] >= 1
        assert (await t.ask("before")).header("cache") == "miss"


async def test_the_near_tier_outlasts_a_hung_redis(talk: Converse, between: Between) -> None:
    """What was asked a moment ago is still a hit while Redis hangs, and costs no round trip."""
    routes = {"default": {"cache": {"exact": {"ttl": "1h", "near": {"ttl": "5s"}}}}}
    async with talk(routes=routes, redis=f"redis://127.0.0.1:{between.port}/0", clock=SystemClock()) as t:
        t.upstream.script("m", ["Hello"])
        await hits_again(t, "again and again")
        await between.go_wrong("hang")
        reply, took = await timed(t, "again and again")
        assert (reply.header("cache"), reply.header("degraded")) == ("hit", None)
        assert took < SLOWEST
        assert (await t.ask("something else")).status == 200
        assert t.gateway.caches.stats()["default.exact"]["near_hits"] >= 1
