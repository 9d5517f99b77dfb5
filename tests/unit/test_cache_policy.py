from __future__ import annotations

import pytest

from cache.policy import HEADER, OnlyIfCached, bypassed, control_of, down, missed, too_old
from cache.stores import StoreDown
from gateway.core.errors import NotCached
from gateway.core.exchange import Exchange
from tests.fixtures.cache_world import exchange


def told(value: str) -> Exchange:
    return exchange("hi", headers={HEADER: value})


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ("no-store", {"no-store"}),
        ("No-Cache , only-if-cached", {"no-cache", "only-if-cached"}),
        ("max-age=0, private", set()),
        ("", set()),
        ("x" * 10_000 + ",no-store", set()),
    ],
)
def test_the_header_speaks_https_words(value: str, known: set[str]) -> None:
    """Known directives are taken whatever their case and order; others are ignored, and length is bounded."""
    assert control_of(told(value)) == known


@pytest.mark.parametrize(
    ("value", "least"),
    [
        ("max-age=60", 60),
        ("Max-Age=60, no-transform", 60),
        ("max-age=60,max-age=5", 5),
        ("max-age=0", 0),
        ("max-age=soon", None),
        ("max-age=-1", None),
        ("max-age=\u0665", None),
        ("x-max-age=1", None),
        ("x" * 200 + ",max-age=1", None),
        ("no-store", None),
    ],
)
def test_max_age_takes_nothing_older(value: str, least: int | None) -> None:
    """Up to that many seconds an answer will do, beyond it will not; what is no number of seconds says nothing."""
    made = told(value)
    if least is None:
        assert not too_old(made, 1e9)
    else:
        assert not too_old(made, least)
        assert too_old(made, least + 0.5)


async def test_only_if_cached_never_calls_a_model() -> None:
    """Where no cache answered, `only-if-cached` ends in a 504 that tells the SDKs not to retry, caches or not."""
    with pytest.raises(NotCached) as caught:
        await OnlyIfCached(None).decide(told("only-if-cached"))
    assert caught.value.wire.status == 504
    assert caught.value.name == "not_cached"
    assert caught.value.name == "not_cached"
    assert await OnlyIfCached(None).decide(exchange("hi")) is None


def test_a_miss_stays_a_miss() -> None:
    """When a later cache has no part in the request, the earlier one's miss is still told."""
    made = exchange("hi")
    missed(made)
    bypassed(made, "semantic:tools")
    assert (made.cache.result, made.cache.reason) == ("miss", "semantic:tools")


def test_a_cache_that_failed_is_a_miss_that_says_so_once() -> None:
    """A dead store is named in `degraded`, once."""
    made = exchange("hi")
    down(made, "exact_cache", StoreDown("timeout"))
    down(made, "exact_cache", StoreDown("timeout"))
    assert made.degraded == ["exact_cache"]
    assert (made.cache.result, made.cache.reason) == ("miss", "exact_cache:timeout")
