"""Which endpoints are drained, in one process and through a real Redis in all of them."""

from __future__ import annotations

from collections.abc import Callable

from cache.backends.redis_link import RedisLink
from gateway.core.clock import SystemClock
from gateway.providers.watch_drains import Drains
from tests.fixtures.redis import RedisServer

ONE, TWO = ("gpu", "http://10.0.0.1:8000/v1"), ("my pool", "http://10.0.0.2:8000/v1")


def link(server: RedisServer) -> RedisLink:
    """Waits as long as a busy machine needs, and always tries again."""
    made = RedisLink(server.url, SystemClock(), budget=0.5)
    made._breaker._limit = 10**9
    return made


async def test_without_redis_it_is_this_process() -> None:
    """At once, and nobody else is told."""
    drains = Drains(None)
    await drains.set(ONE, True)
    await drains.refresh()
    assert drains.all == {ONE}
    assert not drains.shared
    await drains.set(ONE, False)
    assert drains.all == frozenset()


async def test_others_hear_of_it(own_redis: Callable[[], RedisServer]) -> None:
    """Whoever shares the Redis sees what was said at the next look, a name with a space in it too."""
    server = own_redis()
    first, second = link(server), link(server)
    mine, theirs = Drains(first.call), Drains(second.call)
    await mine.set(ONE, True)
    await mine.set(TWO, True)
    assert mine.shared
    await theirs.refresh()
    assert theirs.all == {ONE, TWO}
    await theirs.set(ONE, False)
    await mine.refresh()
    assert mine.all == {TWO}
    await first.close()
    await second.close()


async def test_a_redis_that_is_away_gets_it_later(own_redis: Callable[[], RedisServer]) -> None:
    """What was said meanwhile holds here, is not lost, and reaches the others when Redis is back."""
    server = own_redis()
    first, second = link(server), link(server)
    mine, theirs = Drains(first.call), Drains(second.call)
    await mine.set(ONE, True)
    await theirs.refresh()
    server.kill()
    await mine.set(TWO, True)
    await mine.set(ONE, False)
    assert not mine.shared
    await mine.refresh()
    await theirs.refresh()
    assert mine.all == {TWO}
    assert theirs.all == {ONE}, "what was known stays"
    server.start()
    await mine.refresh()
    await theirs.refresh()
    assert mine.shared
    assert mine.all == theirs.all == {TWO}
    await first.close()
    await second.close()
