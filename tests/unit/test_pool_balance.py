"""How one of several endpoints is picked: by measured waits, and by what belongs together, within a bound."""

from __future__ import annotations

import math
import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.clock import ManualClock
from gateway.pools.asked import Asked
from gateway.pools.balance import Balance
from gateway.pools.endpoint import FAILURES, HALF_LIFE, Endpoint
from gateway.pools.endpoints import Endpoints
from gateway.pools.lease import FAILED_WAIT, Lease
from gateway.pools.placement import BOUND, FLOOR


def pool_of(count: int, balance: Balance, clock: ManualClock | None = None, seed: int = 1) -> Endpoints:
    urls = [f"http://h{n}:80/v1" for n in range(count)]
    return Endpoints(urls, balance, clock or ManualClock(), rng=random.Random(seed))


def lease(pool: Endpoints, key: bytes = b"", turn: int = 0) -> Lease:
    taken = pool.lease(Asked(key=key, turn=turn))
    assert taken is not None
    return taken


def serve(pool: Endpoints, clock: ManualClock, waits: dict[Endpoint, float]) -> Endpoint:
    """One call from beginning to end, at an endpoint that takes this long to say something."""
    taken = lease(pool)
    clock.advance(waits[taken.endpoint])
    taken.answered()
    taken.end(ok=True)
    return taken.endpoint


# --- latency


def test_the_quicker_endpoint_gets_the_calls() -> None:
    """Of two, the one with the shorter wait takes all but the first call, as long as it keeps up."""
    clock = ManualClock()
    pool = pool_of(2, "latency", clock)
    slow, quick = pool.all
    served = Counter(serve(pool, clock, {slow: 1.0, quick: 0.01}) for _ in range(50))
    assert served[slow] == 1


def test_a_burst_is_shared_by_speed() -> None:
    """Calls under way count against an endpoint, so a burst spreads in inverse proportion to the waits."""
    clock = ManualClock()
    pool = pool_of(2, "latency", clock)
    slow, quick = pool.all
    slow.waited(clock.now(), 0.3)
    quick.waited(clock.now(), 0.1)
    for _ in range(40):
        lease(pool)
    assert (slow.in_flight, quick.in_flight) == (10, 30)


def test_many_endpoints_share_by_chance() -> None:
    """Two are drawn for each call: nobody gets the whole of a burst, and the slowest gets least."""
    clock = ManualClock()
    pool = pool_of(8, "latency", clock)
    for endpoint in pool.all:
        endpoint.waited(clock.now(), 2.0 if endpoint is pool.all[3] else 0.1)
    for _ in range(400):
        lease(pool)
    counts = [endpoint.in_flight for endpoint in pool.all]
    assert sum(counts) == 400
    assert counts[3] == min(counts) < 10
    assert max(counts) < 90


def test_a_slow_endpoint_is_asked_again_when_its_figure_is_old() -> None:
    """Only a call can tell that an endpoint is not slow any more; so after some half-lives it gets one."""
    clock = ManualClock()
    pool = pool_of(2, "latency", clock)
    slow, quick = pool.all
    slow.waited(clock.now(), 3.2)
    quick.waited(clock.now(), 0.1)
    assert serve(pool, clock, {slow: 0.1, quick: 0.1}) is quick
    clock.advance(HALF_LIFE * 6)
    quick.waited(clock.now(), 0.1)
    assert serve(pool, clock, {slow: 0.1, quick: 0.1}) is slow
    assert slow.expected(clock.now()) < 0.2


def test_failing_fast_does_not_look_quick() -> None:
    """A failed call counts as a long wait, whatever time it took to fail."""
    clock = ManualClock()
    pool = pool_of(2, "latency", clock)
    bad, good = pool.all
    good.waited(clock.now(), 0.5)
    taken = lease(pool)
    assert taken.endpoint is bad, "nothing is known of it yet, so it is tried"
    clock.advance(0.001)
    taken.end(ok=False)
    assert bad.expected(clock.now()) == pytest.approx(FAILED_WAIT)
    assert {serve(pool, clock, {good: 0.5}) for _ in range(8)} == {good}


def test_a_call_given_up_says_how_long_it_took_at_least() -> None:
    """A hedge that won, or a client that left, teaches that the wait was longer; never that it was shorter."""
    clock = ManualClock()
    pool = pool_of(2, "latency", clock)
    taken = lease(pool)
    taken.endpoint.waited(clock.now(), 1.0)
    taken.end(ok=None)
    assert taken.endpoint.expected(clock.now()) == pytest.approx(1.0)
    other = lease(pool)
    clock.advance(4.0)
    other.end(ok=None)
    assert other.endpoint.expected(clock.now()) == pytest.approx(4.0)


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=30), st.floats(0, 20))
def test_a_mean_lies_between_what_was_measured(waits: list[float], pause: float) -> None:
    """The figure is never outside the measured waits, and only shrinks while nothing is measured."""
    clock = ManualClock()
    endpoint = Endpoint("http://h")
    for seconds in waits:
        clock.advance(pause)
        endpoint.waited(clock.now(), seconds)
    fresh = endpoint.expected(clock.now())
    assert min(waits) * 0.999 <= fresh <= max(waits) * 1.001
    clock.advance(1.0)
    assert endpoint.expected(clock.now()) < fresh


# --- session


def test_what_belongs_together_stays_together() -> None:
    """A key has one endpoint, in every process and whatever came before, as long as that is not overloaded."""
    pools = [pool_of(5, "session", seed=seed) for seed in range(4)]
    for number in range(50):
        key = b"conversation %d" % number
        chosen = set()
        for pool in pools:
            for _ in range(3):
                taken = lease(pool, key)
                chosen.add(taken.endpoint.url)
                taken.end(ok=True)
        assert len(chosen) == 1


def test_keys_are_spread_evenly() -> None:
    """A thousand keys over five endpoints: each gets about its fifth."""
    pool = pool_of(5, "session")
    homes: Counter[Endpoint] = Counter()
    for number in range(1000):
        taken = lease(pool, b"key %d" % number)
        homes[taken.endpoint] += 1
        taken.end(ok=True)
    assert all(150 < count < 250 for count in homes.values()), homes


def test_only_the_keys_of_a_lost_endpoint_move() -> None:
    """When an endpoint rests, its keys go elsewhere and all others stay; when it is back, so are they."""
    clock = ManualClock()
    pool = pool_of(4, "session", clock)
    keys = [b"key %d" % number for number in range(200)]

    def homes() -> list[Endpoint]:
        out = []
        for key in keys:
            taken = lease(pool, key)
            out.append(taken.endpoint)
            taken.end(ok=None)
        return out

    before = homes()
    lost = pool.all[2]
    for _ in range(FAILURES):
        lost.begin()
        lost.end(clock, ok=False)
    during = homes()
    assert lost in before
    assert lost not in during
    assert all(b is d for b, d in zip(before, during, strict=True) if b is not lost)
    assert len({d for b, d in zip(before, during, strict=True) if b is lost}) == 3
    clock.advance(120)
    lost.begin()
    lost.end(clock, ok=True)
    assert homes() == before


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=200),
    st.integers(2, 6),
)
def test_no_endpoint_is_overloaded_for_the_sake_of_a_key(steps: list[tuple[int, bool]], count: int) -> None:
    """However few keys there are, an endpoint takes a call only below 1.25 times the mean or a small floor; and when all
    calls have ended, every count is zero."""
    pool = pool_of(count, "session")
    under_way: list[Lease] = []
    for key, ends in steps:
        if ends and under_way:
            under_way.pop().end(ok=True)
            continue
        cap = max(FLOOR, math.ceil(BOUND * (len(under_way) + 1) / count))
        under_way.append(lease(pool, b"key %d" % key))
        assert under_way[-1].endpoint.in_flight <= cap
    for taken in under_way:
        taken.end(ok=None)
    assert all(endpoint.in_flight == 0 for endpoint in pool.all)


def test_what_does_not_fit_goes_to_the_keys_next_endpoint() -> None:
    """A hot key fills its first endpoint to the bound, then the second of its own order, always the same."""
    orders = []
    for _ in range(2):
        pool = pool_of(6, "session")
        taken = [lease(pool, b"hot").endpoint.url for _ in range(2 * FLOOR)]
        assert list(Counter(taken).values()) == [FLOOR, FLOOR]
        orders.append(taken)
    assert orders[0] == orders[1]


def test_a_second_call_of_an_exchange_meets_another_endpoint() -> None:
    """A retry or a hedge goes on in the key's order, instead of back to the endpoint that was just slow."""
    pool = pool_of(3, "session")
    asked = [lease(pool, b"key", turn).endpoint for turn in range(4)]
    assert len(set(asked[:3])) == 3
    assert asked[3] is asked[0]


def test_without_a_key_the_least_busy_is_chosen() -> None:
    """Nobody is the favourite of all the calls that belong to nothing."""
    pool = pool_of(3, "session")
    for _ in range(9):
        lease(pool)
    assert [endpoint.in_flight for endpoint in pool.all] == [3, 3, 3]


@pytest.mark.parametrize("balance", ["latency", "session"])
def test_a_pick_is_cheap(balance: Balance) -> None:
    """The best of many picks among sixteen endpoints stays far below what a call costs otherwise (0.2 ms here)."""
    pool = pool_of(16, balance)
    best = math.inf
    for _ in range(200):
        begin = time.perf_counter()
        taken = lease(pool, b"a key of a session")
        best = min(best, time.perf_counter() - begin)
        taken.end(ok=True)
    assert best < 200e-6
