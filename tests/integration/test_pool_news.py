"""Gateways tell each other over a real Redis what they have under way; without it each goes on by its own counts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cache.backends.redis_link import RedisLink
from cache.backends.redis_news import RedisBoard
from gateway.core.clock import SystemClock
from gateway.demo.gguf import build_copy
from gateway.demo.llamacpp import LlamaServer
from gateway.pools.asked import Asked
from gateway.pools.chain import prefix_of
from gateway.pools.endpoints import Endpoints
from gateway.providers.watch_news import Courier
from tests.fixtures.fleet import Background, Serve
from tests.fixtures.redis import RedisServer

URLS = [f"http://h{n}:80/v1" for n in range(3)]
LONG = Asked(prefix=prefix_of(b"a prompt that is long " * 300))


class Gateway:
    """A pool, and its courier over a connection of its own."""

    def __init__(self, url: str, name: str, seed: int) -> None:
        clock = SystemClock()
        self.link = RedisLink(url, clock)
        self.board = RedisBoard(self.link, name)
        self.pool = Endpoints(URLS, "prefix", clock, rng=random.Random(seed))
        self.courier = Courier({"gpu": self.pool}, self.board)


@asynccontextmanager
async def gateways(url: str, name: str) -> AsyncIterator[tuple[Gateway, Gateway]]:
    made = Gateway(url, name, 1), Gateway(url, name, 2)
    try:
        for one in made:
            assert await one.courier.once()
        yield made
    finally:
        for one in made:
            await one.courier.stop()
            await one.link.close()


async def test_what_one_sent_the_other_knows(redis_url: str) -> None:
    """One look later: the load at the endpoint, and that the prompt is there."""
    async with gateways(redis_url, "know") as (one, other):
        lease = one.pool.lease(LONG)
        assert lease is not None
        assert await one.courier.once()
        assert await other.courier.once()
        there = other.pool.all[one.pool.all.index(lease.endpoint)]
        assert there.known.others.load(SystemClock.now()).in_flight == 1
        assert len(there.known.heard)
        lease.end(ok=True)
        assert await one.courier.once()
        assert await other.courier.once()
        assert there.known.others.load(SystemClock.now()).in_flight == 0


async def test_a_dead_redis_costs_no_pick(own_redis: Callable[..., RedisServer]) -> None:
    """Killed, it is missed and counted; picks go on; when it is back, so is the news."""
    server = own_redis()
    async with gateways(server.url, "dead") as (one, other):
        server.kill()
        for _ in range(5):
            assert one.pool.lease(LONG) is not None
            assert not await one.courier.once()
        assert one.courier.failed == 5
        server.start()
        async with asyncio.timeout(20):
            for gateway in (one, other):
                while not await gateway.courier.once():  # noqa: ASYNC110 - its breaker is open for a while
                    await asyncio.sleep(0.05)
        lease = one.pool.lease(LONG)
        assert lease is not None
        assert await one.courier.once()
        assert await other.courier.once()
        assert sum(endpoint.known.others.load(SystemClock.now()).in_flight for endpoint in other.pool.all) > 0


@pytest.mark.parametrize(
    "message",
    [b"", b"not it", msgspec.msgpack.encode([("gpu", 7)]), msgspec.msgpack.encode({"by": 1}), b"\x00" * (1 << 20)],
)
async def test_what_nobody_understands_is_left_alone(redis_url: str, message: bytes) -> None:
    """Words of another version, or of somebody else, change nothing and stop nothing."""
    async with gateways(redis_url, f"odd {len(message)} {message[:1]!r}") as (one, other):
        await one.board.put(message)
        assert await other.courier.once()
        assert other.courier.failed == 1
        await one.board.put(msgspec.msgpack.encode([("another", other.pool.news() or (1, (), ()))]))
        assert await other.courier.once()


@pytest.fixture
def replicas(background: Background, tmp_path: Path) -> Iterator[list[LlamaServer]]:
    path = tmp_path / "copy.gguf"
    build_copy(path)
    servers = [LlamaServer(path, alias="demo", parallel=2, ctx=16384) for _ in range(3)]
    for server in servers:
        background.run(server.start())
    yield servers
    for server in servers:
        background.run(server.stop())


def test_two_gateways_read_a_prompt_once(
    serve: Serve, replicas: list[LlamaServer], background: Background, redis_url: str
) -> None:
    """A prompt that one gateway sent to a server is asked there by the other, too: the engine has it in its cache."""
    value: dict[str, Any] = {
        "redis": redis_url,
        "providers": {
            "gpu": {"type": "llama-cpp", "endpoints": [one.base_url for one in replicas], "balance": "prefix"}
        },
        "models": {"m": {"targets": [{"provider": "gpu", "model": "demo"}]}},
        "routes": {"default": {}},
    }
    served = [serve(value), serve(value)]

    async def talk() -> None:
        for number in range(6):
            start = f"Prompt {number} of the harbour office. " + f"Rule {number}: be brief about tide and ship. " * 18
            for turn, gateway in enumerate(served * 2):
                courier = gateway.gateway.pools.courier
                assert courier is not None
                async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
                    said = [{"role": "system", "content": start}, {"role": "user", "content": f"question {turn}?"}]
                    body = {"model": "m", "messages": said, "max_tokens": 2}
                    assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
                for one in served:
                    heard = one.gateway.pools.courier
                    assert heard is not None
                    assert await heard.once()

    background.run(talk())
    first, second = ([background.run(one.ledger.next()).attempts[0] for _ in range(12)] for one in served)
    for mine, theirs in zip(first, second, strict=True):
        assert mine.endpoint == theirs.endpoint
        assert theirs.usage is not None
        assert theirs.usage.cached_tokens > 0.8 * theirs.usage.input_tokens
