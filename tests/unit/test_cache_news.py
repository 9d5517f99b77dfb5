"""What one process forgets, the others that share its Redis forget too. Real Redis, real streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cache.backends.redis_link import RedisLink
from cache.backends.redis_news import KEPT, RedisBoard
from cache.build import Caches, build
from cache.config import CacheConfig, ExactConfig, NearConfig, SemanticConfig
from cache.news import News, Told
from cache.stores import Which
from gateway.core.clock import ManualClock, SystemClock
from gateway.core.units import Duration
from tests.fixtures.cache_world import SECRET, TrigramEmbed, ask, exchange, look
from tests.fixtures.redis import RedisServer

CONFIG = CacheConfig(
    partition="route",
    tags=("faq",),
    exact=ExactConfig(near=NearConfig(ttl=Duration(5.0))),
    semantic=SemanticConfig(threshold=0.9, evidence="assume", verify_sample=0.0),
)
QUESTION, LIKE_IT = "What is the capital of Peru?", "hello, what is the capital of peru"


async def replicas(url: str, secret: bytes = SECRET) -> tuple[Caches, Caches]:
    made = [
        build({"default": CONFIG}, secret=secret, clock=ManualClock(), redis=url, embed=TrigramEmbed())
        for _ in range(2)
    ]
    for caches in made:
        await caches.start()
    return made[0], made[1]


async def hear(caches: Caches) -> None:
    """One look at the board, instead of waiting for the next."""
    news = caches._forgetting._news
    assert news is not None
    await news.hear()


async def near(caches: Caches) -> bool:
    """Whether the like question is answered from memory."""
    asked = exchange(LIKE_IT)
    return await look(caches.routes["default"], asked) is not None and asked.cache.result == "semantic"


async def exact(caches: Caches) -> bool:
    return await look(caches.routes["default"], exchange(QUESTION)) is not None


@pytest.mark.parametrize("which", [Which(), Which(tag="faq"), Which(tenant="acme")])
async def test_a_purge_reaches_what_another_process_alone_holds(
    own_redis: Callable[..., RedisServer], which: Which
) -> None:
    """Its vectors in memory and its near tier; a purge of something else takes nothing."""
    one, two = await replicas(own_redis().url)
    await ask(one, exchange(QUESTION), "Lima.")
    await ask(two, exchange(QUESTION, headers={"x-tidegate-cache-control": "no-cache"}), "Lima.")
    assert await near(two)
    assert await exact(two)
    await one.purge(None, Which(tag="other"))
    await hear(two)
    assert await near(two)
    told = await one.purge("default", which)
    assert all(purged.shared for purged in told.values())
    await hear(two)
    assert not await near(two)
    assert not await exact(two)
    for caches in (one, two):
        await caches.close()


async def test_an_eviction_reaches_it_too(own_redis: Callable[..., RedisServer]) -> None:
    """By the id a client saw; other entries stay."""
    one, two = await replicas(own_redis().url)
    for caches in (one, two):
        await ask(caches, exchange(QUESTION, headers={"x-tidegate-cache-control": "no-cache"}), "Lima.")
        await ask(caches, exchange("How tall is the tower?", headers={"x-tidegate-cache-control": "no-cache"}), "Very.")
    asked = exchange(LIKE_IT)
    await look(two.routes["default"], asked)
    assert await one.evict(asked.cache.id)
    await hear(two)
    assert not await near(two)
    assert two.stats()["default.semantic"]["entries"] == 1
    for caches in (one, two):
        await caches.close()


async def test_a_verdict_finds_the_process_that_has_seen_the_hit(own_redis: Callable[..., RedisServer]) -> None:
    """Told to another, it is passed on; the pair is then barred in both, and nobody is told what nobody can know."""
    one, two = await replicas(own_redis().url)
    for caches in (one, two):
        await ask(caches, exchange(QUESTION, headers={"x-tidegate-cache-control": "no-cache"}), "Lima.")
    asked = exchange(LIKE_IT)
    assert await look(two.routes["default"], asked) is not None
    assert await one.judge(asked.cache.id, False) == "passed_on"
    assert await near(one)
    await hear(two)
    await hear(one)
    assert not await near(two)
    assert not await near(one)
    for caches in (one, two):
        await caches.close()


async def test_without_redis_nobody_else_is_told() -> None:
    """A verdict on what is not known is `unknown`, and a purge says that it is this process's own."""
    caches = build({"default": CONFIG}, secret=SECRET, clock=ManualClock(), embed=TrigramEmbed())
    await caches.start()
    assert await caches.judge("s-none", True) == "unknown"
    assert not any(purged.shared for purged in (await caches.purge()).values())
    await caches.close()


async def test_another_secret_is_another_board(own_redis: Callable[..., RedisServer]) -> None:
    """Gateways that share a Redis but no entries do not purge each other."""
    url = own_redis().url
    one, _ = await replicas(url)
    _, two = await replicas(url, b"another secret, of 32 bytes long")
    await ask(two, exchange(QUESTION), "Lima.")
    await one.purge()
    await hear(two)
    assert await near(two)
    for caches in (one, _, two):
        await caches.close()


async def heard_by(url: str) -> tuple[News, list[Told | None]]:
    heard: list[Told | None] = []

    async def note(told: Told | None) -> None:
        heard.append(told)

    return News(RedisBoard(RedisLink(url, SystemClock()), "board"), note), heard


async def test_nothing_is_missed_while_redis_is_away(own_redis: Callable[..., RedisServer]) -> None:
    """What was told meanwhile comes afterwards, in order; what was lost with a Redis that started anew is known to be
    missing."""
    redis = own_redis()
    (ear, heard), (voice, own) = await heard_by(redis.url), await heard_by(redis.url)
    await ear.hear()
    assert await voice.tell("evict", id="a")
    assert await voice.tell("evict", id="b")
    redis.pause()
    await ear.hear()
    assert heard == []
    redis.resume()
    while not heard:
        await ear.hear()
    assert [told.id for told in heard if told is not None] == ["a", "b"]
    redis.restart()
    heard.clear()
    while not await voice.tell("evict", id="c"):
        pass
    while not heard:
        await ear.hear()
    assert heard[0] is None
    assert [told.id for told in heard[1:] if told is not None] == ["c"]
    assert own == []


async def test_who_comes_too_late_to_the_board_forgets_all(own_redis: Callable[..., RedisServer]) -> None:
    """A process that started without Redis cannot know what was told before it got there."""
    redis = own_redis()
    redis.kill()
    ear, heard = await heard_by(redis.url)
    await ear.hear()
    redis.start()
    while not heard:
        await ear.hear()
    assert heard == [None]


async def test_the_board_is_bounded_and_what_was_trimmed_is_missed(own_redis: Callable[..., RedisServer]) -> None:
    """Some thousand pieces stay up; a reader that was slower than that is told so."""
    redis = own_redis()
    (ear, heard), (voice, _) = await heard_by(redis.url), await heard_by(redis.url)
    await voice.tell("evict", id="first")
    await ear.hear()
    for number in range(KEPT + 300):
        assert await voice.tell("evict", id=str(number))
    await ear.hear()
    assert heard[0] is None
    length = int(redis.command("XLEN", "tidegate:news:board").strip(b":\r\n"))
    assert KEPT <= length < KEPT + 300


async def test_news_of_another_version_are_passed_over(own_redis: Callable[..., RedisServer]) -> None:
    """And so is what is too long to be ours."""
    redis = own_redis()
    ear, heard = await heard_by(redis.url)
    await ear.hear()
    redis.command("XADD", "tidegate:news:board", "*", "m", "nonsense")
    await ear.hear()
    assert heard == []
    fields: dict[str, Any] = {"tag": "x" * 5000}
    assert not await ear.tell("purge", **fields)


async def test_a_redis_that_refuses_streams_is_not_asked_again_and_again(own_redis: Callable[..., RedisServer]) -> None:
    """Or its refusals would open the breaker that the caches share."""
    redis = own_redis()
    redis.command("SET", "tidegate:news:board", "not a stream")
    ear, heard = await heard_by(redis.url)
    for _ in range(2):
        await ear.hear()
    await ear._listen()
    assert heard == []
