"""Which endpoint takes a call: turns, load, and a breaker that never takes the last one away."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Set

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.clock import ManualClock
from gateway.pools.endpoint import FAILURES, FIRST_REST, LONGEST_REST, Endpoint
from gateway.pools.endpoints import Balance, Endpoints
from gateway.pools.lease import Lease


def endpoints(count: int, clock: ManualClock, balance: Balance = "round_robin") -> Endpoints:
    return Endpoints([f"http://h{n}:80/v1/" for n in range(count)], balance, clock, rng=random.Random(1))


def lease(pool: Endpoints, others: Set[Endpoint] = frozenset()) -> Lease:
    taken = pool.lease(tried=others)
    assert taken is not None
    return taken


def begin(pool: Endpoints) -> Endpoint:
    return lease(pool).endpoint


def fail(pool: Endpoints, which: Endpoint, times: int = FAILURES) -> None:
    """`times` calls that land on one endpoint and fail."""
    others = set(pool.all) - {which}
    for _ in range(times):
        taken = lease(pool, others)
        assert taken.endpoint is which
        taken.end(ok=False)


def test_turns_are_taken() -> None:
    """Round robin gives each endpoint its turn, whatever is under way."""
    pool = endpoints(3, ManualClock())
    assert Counter(begin(pool).label for _ in range(9)) == {"h0:80": 3, "h1:80": 3, "h2:80": 3}


def test_replicas_do_not_all_begin_with_the_same() -> None:
    """Gateways that start together do not send their first calls to one endpoint."""
    firsts = {
        begin(Endpoints(["http://a", "http://b", "http://c"], "round_robin", ManualClock())).url for _ in range(60)
    }
    assert len(firsts) == 3


def test_the_least_busy_is_chosen() -> None:
    """Least in flight goes where there is least, and equals take turns."""
    pool = endpoints(3, ManualClock(), "least_inflight")
    under_way = [lease(pool) for _ in range(6)]
    assert all(endpoint.in_flight == 2 for endpoint in pool.all)
    for taken in under_way:
        if taken.endpoint is pool.all[1]:
            taken.end(ok=True)
    assert begin(pool) is begin(pool) is pool.all[1]


def test_an_endpoint_that_fails_rests_and_then_proves_itself() -> None:
    """After some failures in a row it gets no calls, then one, and all its share once that one went well."""
    clock = ManualClock()
    pool = endpoints(2, clock)
    bad, good = pool.all
    fail(pool, bad)
    assert {begin(pool) for _ in range(4)} == {good}
    clock.advance(FIRST_REST)
    under_way = [lease(pool) for _ in range(4)]
    proofs = [taken for taken in under_way if taken.endpoint is bad]
    assert len(proofs) == 1
    proofs[0].end(ok=True)
    assert {begin(pool) for _ in range(2)} == {bad, good}


def test_a_rest_doubles_up_to_a_bound() -> None:
    """Each failed proof makes the next rest longer, but never very long."""
    clock = ManualClock()
    pool = endpoints(2, clock)
    bad = pool.all[0]
    fail(pool, bad)
    rests = [bad.rest]
    for _ in range(8):
        clock.advance(bad.rest)
        fail(pool, bad, 1)
        rests.append(bad.rest)
    assert rests[:3] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST]
    assert rests[-1] == LONGEST_REST


def test_calls_under_way_do_not_prolong_a_rest() -> None:
    """A burst that fails together counts as one breakdown."""
    clock = ManualClock()
    pool = endpoints(2, clock)
    bad = pool.all[0]
    burst = [lease(pool, {pool.all[1]}) for _ in range(50)]
    for taken in burst:
        assert taken.endpoint is bad
        taken.end(ok=False)
    assert bad.rest == FIRST_REST


def test_the_last_endpoint_is_never_taken_away() -> None:
    """When all rest, the one that has rested longest is tried; a single endpoint is always tried."""
    clock = ManualClock()
    pool = endpoints(2, clock)
    fail(pool, pool.all[0])
    clock.advance(0.5)
    fail(pool, pool.all[1])
    assert begin(pool) is pool.all[0]
    alone = endpoints(1, clock)
    fail(alone, alone.all[0], 20)
    assert begin(alone) is alone.all[0]


def test_a_success_and_a_refusal_clear_the_count() -> None:
    """Failures count only in a row; a call that says nothing changes nothing."""
    pool = endpoints(2, ManualClock())
    bad, other = pool.all
    for _ in range(3):
        fail(pool, bad, FAILURES - 1)
        lease(pool, {other}).end(ok=None)
        assert bad.failures == FAILURES - 1
        lease(pool, {other}).end(ok=True)
        assert bad.failures == 0


def test_none_is_left_when_all_were_tried() -> None:
    """A call does not go round in circles."""
    pool = endpoints(2, ManualClock())
    assert pool.lease(tried=set(pool.all)) is None
    assert all(endpoint.in_flight == 0 for endpoint in pool.all)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([True, False, None]), st.integers(0, 5))), st.integers(1, 4))
def test_every_call_that_began_and_ended_is_counted_once(
    steps: list[tuple[bool, bool | None, int]], count: int
) -> None:
    """Whatever happens in whatever order, counts are what is under way, and a call always finds an endpoint."""
    clock = ManualClock()
    pool = endpoints(count, clock, "least_inflight")
    under_way: list[Lease] = []
    for start, ok, wait in steps:
        clock.advance(wait)
        if start or not under_way:
            under_way.append(lease(pool))
        else:
            under_way.pop().end(ok)
        counts = Counter(taken.endpoint for taken in under_way)
        assert counts == Counter({e: e.in_flight for e in pool.all if e.in_flight})


def test_the_endpoints_may_change_under_way() -> None:
    """Those that stay keep their counts, a new one is asked, and nothing is left when no name is given any more."""
    ends = Endpoints(["http://a", "http://b"], "round_robin", ManualClock())
    held = begin(ends)
    other = next(end for end in ends.all if end is not held)
    ends.keep(["http://c/", held.url])
    assert [end.url for end in ends.all] == ["http://c", held.url]
    assert ends.all[1] is held
    assert held.in_flight == 1
    ends.keep([])
    assert len(ends.all) == 2
    assert {begin(ends).url for _ in range(2)} == {"http://c", held.url}
    assert other not in ends.all


def test_one_that_is_ill_or_leaving_is_asked_only_when_nobody_else_can() -> None:
    ends = Endpoints(["http://a", "http://b"], "round_robin", ManualClock())
    ends.all[0].healthy = False
    ends.all[1].draining = True
    assert begin(ends) is not None
    ends.all[1].draining = False
    assert [begin(ends).url for _ in range(3)] == ["http://b"] * 3
