"""The cache's connection to a real Redis: when all is well, and when it is not."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from cache.backends.redis_link import RedisLink, tls_of
from cache.backends.redis_store import RedisStore
from cache.backends.resp import ReplyError
from cache.build import Caches, build
from cache.config import CacheConfig, ExactConfig
from cache.stores import StoreDown
from gateway.core.clock import SystemClock
from gateway.core.exchange import Exchange
from tests.fixtures.cache_world import SECRET, ask, exchange, look, play, said
from tests.fixtures.redis import RedisServer, free_port

Own = Callable[..., RedisServer]
BUDGET = 0.05
SLACK = 0.45
"""Seconds a loaded machine may add; far below the seconds a missing time-out would show."""


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    made = RedisLink(redis_url, SystemClock(), budget=5)
    yield made
    await made.close()


async def until(there: Callable[[], object], limit: float = 15.0) -> None:
    """Waits for something that must come, and fails if it does not."""
    async with asyncio.timeout(limit):
        while True:
            result = there()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(0.02)


async def test_commands_of_one_turn_leave_in_one_write(link: RedisLink, redis_server: RedisServer) -> None:
    """Many tasks, one connection: all get their replies, and Redis sees one client of ours."""
    await link.call("PING")
    before = redis_server.command("INFO", "stats").count(b"total_connections_received")
    replies = await asyncio.gather(*(link.call("ECHO", f"{number}") for number in range(500)))
    assert replies == [b"%d" % number for number in range(500)]
    assert before == 1
    assert link.stats()["connects"] == 1


def test_it_runs_on_uvloop(redis_url: str) -> None:
    """The loop that serves in production has transports of its own: replies, time-outs and closing work on it too."""

    async def story() -> list[object]:
        link = RedisLink(redis_url, SystemClock(), budget=5)
        replies = await asyncio.gather(*(link.call("ECHO", str(number)) for number in range(200)))
        with pytest.raises(StoreDown, match="timeout"):
            await link.call("BLPOP", "nothing is ever pushed here", 1, budget=0.02)
        await link.close()
        return list(replies)

    assert uvloop.run(story()) == [b"%d" % number for number in range(200)]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_loop_that_stood_still_does_not_blame_redis(redis_url: str, run: Callable[..., bool]) -> None:
    """When the process itself was held up past the budget, the reply that lies there is taken and not timed out."""

    async def story() -> bool:
        link = RedisLink(redis_url, SystemClock(), budget=0.05)
        await link.call("PING", budget=5)
        task = asyncio.create_task(_echo(link, 7))
        for _ in range(3):
            await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - this is the stall
        reply = await task
        await link.close()
        return reply == b"7"

    assert run(story())


async def test_a_caller_who_leaves_costs_nobody_his_reply(link: RedisLink) -> None:
    """Cancelled in the middle of a pipeline, a command's reply is dropped and the others' are not shifted."""
    await link.call("PING")
    tasks = [asyncio.create_task(_echo(link, number)) for number in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for number, result in enumerate(results):
        assert isinstance(result, asyncio.CancelledError) if number % 3 == 0 else result == b"%d" % number


async def _echo(link: RedisLink, number: int) -> object:
    return await link.call("ECHO", str(number))


async def test_an_entry_lives_as_long_as_it_was_told(redis_url: str, redis_server: RedisServer) -> None:
    """Redis itself ends the entry: the TTL stands at the key."""
    link = RedisLink(redis_url, SystemClock(), budget=5)
    store = RedisStore(link, "ttl")
    await store.put("e-1", b"v", 12.5)
    left = int(redis_server.command("PTTL", store.prefix + "e-1")[1:])
    assert 12_000 < left <= 12_500
    await link.close()


async def test_password_and_database_come_from_the_url(own_redis: Own) -> None:
    """AUTH and SELECT are said before anything else; a wrong password is a store that is down, not a crash."""
    server = own_redis(password="pa:ss/w@rd")
    good = RedisLink(server.url.removesuffix("/0") + "/3", SystemClock(), budget=5)
    assert await good.call("SET", "k", "v") == b"OK"
    assert b"db3:keys=1" in server.command("INFO", "keyspace")
    await good.close()
    for wrong in (f"redis://:nope@127.0.0.1:{server.port}/0", f"redis://127.0.0.1:{server.port}/0"):
        link = RedisLink(wrong, SystemClock(), budget=5)
        with pytest.raises(StoreDown) as caught:
            await link.call("GET", "k")
        assert caught.value.why == "connect_failed"
        assert "nope" not in str(caught.value)
        await link.close()


async def test_an_error_reply_is_a_store_that_is_down(link: RedisLink) -> None:
    """What Redis refuses is told by its code; a script it does not know is told as such, for who can send it again."""
    with pytest.raises(StoreDown) as caught:
        await link.call("SET", "only a key")
    assert caught.value.why == "ERR"
    with pytest.raises(ReplyError, match="NOSCRIPT"):
        await link.call("EVALSHA", "0" * 40, 0)
    assert await link.call("PING") == b"PONG"


async def test_a_dead_redis_costs_the_budget_and_then_nothing(own_redis: Own) -> None:
    """Killed under load: every lookup is a miss in time, the breaker opens, and after a restart it serves again."""
    server = own_redis()
    caches = build({"default": CacheConfig(exact=ExactConfig())}, secret=SECRET, clock=SystemClock(), redis=server.url)
    await caches.start()
    await ask(caches, exchange("warm"), "yes")
    server.kill()
    made = await all_miss(caches, count=40)
    assert all(one.degraded == ["exact_cache"] and one.cache.result == "miss" for one in made)
    assert caches.redis is not None
    assert caches.redis.stats()["breaker_open"] == 1
    late = exchange("late")
    assert await look(caches.routes["default"], late) is None
    assert late.cache.reason == "exact_cache:breaker_open"
    server.start()
    await serves_again(caches)
    await caches.close()


async def test_a_frozen_redis_costs_the_budget_and_then_nothing(own_redis: Own) -> None:
    """Frozen, it takes connections and answers nothing: the same, and the late replies reach nobody."""
    server = own_redis()
    caches = build({"default": CacheConfig(exact=ExactConfig())}, secret=SECRET, clock=SystemClock(), redis=server.url)
    await caches.start()
    await ask(caches, exchange("warm"), "yes")
    server.pause()
    try:
        made = await all_miss(caches, count=40)
        assert {one.cache.reason for one in made} <= {"exact_cache:timeout", "exact_cache:breaker_open"}
        assert caches.redis is not None
        assert caches.redis.stats()["breaker_open"] == 1
    finally:
        server.resume()
    await serves_again(caches)
    found = await ask(caches, exchange("warm"), "")
    assert found is not None
    assert found.choices[0].text == "yes"
    await caches.close()


async def test_a_caller_with_its_own_time_out_opens_the_breaker_too(own_redis: Own) -> None:
    """Cancelled after most of the budget is a failure of Redis; cancelled at once is a client who left."""
    server = own_redis()
    link = RedisLink(server.url, SystemClock(), budget=BUDGET)
    await link.call("PING", budget=5)
    server.pause()
    try:
        for _ in range(5):
            task = asyncio.create_task(_echo(link, 1))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert link.stats()["breaker_open"] == 0
        for _ in range(3):
            with pytest.raises((TimeoutError, StoreDown)):
                async with asyncio.timeout(BUDGET):
                    await link.call("ECHO", "x", budget=BUDGET * 1.1)
        assert link.stats()["breaker_open"] == 1
    finally:
        server.resume()
    await link.close()


async def all_miss(caches: Caches, count: int) -> list[Exchange]:
    """Lookups at one time, each of them in its budget."""

    async def one(number: int) -> tuple[Exchange, float]:
        made = exchange(f"q{number}")
        began = time.perf_counter()
        assert await look(caches.routes["default"], made) is None
        return made, time.perf_counter() - began

    done = await asyncio.gather(*(one(number) for number in range(count)))
    slowest = max(took for _, took in done)
    assert slowest < BUDGET + SLACK, f"a lookup took {slowest:.3f} s"
    return [made for made, _ in done]


async def serves_again(caches: Caches) -> None:
    """Without a restart of ours: once Redis is back, entries are written and read."""

    async def hit() -> bool:
        return await ask(caches, exchange("after"), "yes") is not None

    await until(hit)
    assert caches.redis is not None
    assert caches.redis.stats()["breaker_open"] == 0


async def test_writes_to_a_dead_redis_hold_nobody_up(own_redis: Own) -> None:
    """The queue is emptied by failing, counted, and the shutdown is not held up."""
    server = own_redis()
    caches = build({"default": CacheConfig(exact=ExactConfig())}, secret=SECRET, clock=SystemClock(), redis=server.url)
    await caches.start()
    await ask(caches, exchange("warm"), "yes")
    noted = [exchange(f"q{number}") for number in range(50)]
    for one in noted:
        await look(caches.routes["default"], one)
    server.pause()
    try:
        for one in noted:
            play(caches.routes["default"].tap, one, said("x"))
        began = time.perf_counter()
        await caches.close()
        assert time.perf_counter() - began < 2
        assert caches.writer.failed == 50
    finally:
        server.resume()


async def test_nothing_listens() -> None:
    """A refused connection is a miss, and the start does not wait for Redis."""
    caches = build(
        {"default": CacheConfig(exact=ExactConfig())},
        secret=SECRET,
        clock=SystemClock(),
        redis=f"redis://127.0.0.1:{free_port()}/0",
    )
    await caches.start()
    made = exchange("hi")
    assert await look(caches.routes["default"], made) is None
    assert made.cache.reason == "exact_cache:connect_failed"
    await caches.close()


async def test_a_server_that_speaks_something_else_is_given_up() -> None:
    """Bytes that are no Redis reply end the connection and are told as a store that is down."""

    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    link = RedisLink(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", SystemClock(), budget=5)
    with pytest.raises(StoreDown):
        await link.call("GET", "k")
    await link.close()
    server.close()


def test_tls_is_verified_unless_the_url_says_otherwise() -> None:
    """`rediss://` checks the server's certificate and name; `redis://` has no TLS; only `none` turns the check off."""
    strict, lax, plain = (
        RedisLink(url, SystemClock())._address
        for url in ("rediss://h:1/0", "rediss://h:1/0?ssl_cert_reqs=none", "redis://h:1/0")
    )
    checked, unchecked = tls_of(strict), tls_of(lax)
    assert checked is not None
    assert checked.verify_mode == ssl.CERT_REQUIRED
    assert checked.check_hostname
    assert unchecked is not None
    assert unchecked.verify_mode == ssl.CERT_NONE
    assert tls_of(plain) is None
    with pytest.raises(ValueError, match="schemes"):
        RedisLink("http://h", SystemClock())
