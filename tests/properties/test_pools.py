"""Whatever happens to calls, endpoints and engines, in any order: nothing is counted twice, and at the end nothing is left."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.clock import ManualClock
from gateway.pools.asked import NOTHING, Asked
from gateway.pools.balance import Balance
from gateway.pools.chain import prefix_of
from gateway.pools.endpoint import Endpoint
from gateway.pools.endpoints import Endpoints
from gateway.pools.lease import Lease
from gateway.pools.reading import Reading
from gateway.pools.sharing import News, marks_of

URLS = [f"http://h{n}" for n in range(5)]
BALANCES: tuple[Balance, ...] = ("prefix", "session", "latency", "least_inflight", "round_robin")
counts = st.one_of(st.none(), st.floats(0, 100))


class Pools(RuleBasedStateMachine):
    """Calls that begin, are answered and end in any order and number, over endpoints that come, go, restart and fail."""

    @initialize(balance=st.sampled_from(BALANCES), seed=st.integers(0, 99))
    def start(self, balance: Balance, seed: int) -> None:
        self.clock = ManualClock()
        self.pool = Endpoints(URLS[:3], balance, self.clock, rng=random.Random(seed))
        self.pool.share(1)
        self.ever: set[Endpoint] = set(self.pool.all)
        self.open: list[Lease] = []
        self.over: list[Lease] = []

    @rule(
        word=st.integers(0, 5),
        length=st.integers(0, 3000),
        turn=st.integers(0, 2),
        known=st.booleans(),
        whole=st.booleans(),
    )
    def lease(self, word: int, length: int, turn: int, known: bool, whole: bool) -> None:
        prefix = prefix_of(bytes([word]) * length, head=100)
        asked = Asked(key=bytes([word]), prefix=prefix, turn=turn) if known else NOTHING
        lease = self.pool.lease(asked, whole=whole)
        assert (lease is None) == (not self.pool.all)
        if lease is not None:
            self.open.append(lease)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), late=st.booleans())
    def answered(self, data: st.DataObject, late: bool) -> None:
        data.draw(st.sampled_from(self.over if late and self.over else self.open)).answered()

    @precondition(lambda self: self.open)
    @rule(data=st.data(), prompt=st.integers(0, 5000), cached=st.one_of(st.none(), st.integers(0, 5000)))
    def usage(self, data: st.DataObject, prompt: int, cached: int | None) -> None:
        data.draw(st.sampled_from(self.open)).usage(prompt, cached)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), ok=st.sampled_from([True, False, None]), again=st.booleans())
    def end(self, data: st.DataObject, ok: bool | None, again: bool) -> None:
        lease = data.draw(st.sampled_from(self.over if again and self.over else self.open))
        lease.end(ok)
        if lease in self.open:
            self.open.remove(lease)
            self.over.append(lease)

    @rule(urls=st.lists(st.sampled_from(URLS), max_size=5), even_none=st.booleans())
    def keep(self, urls: list[str], even_none: bool) -> None:
        self.pool.keep(urls, even_none=even_none)
        self.ever.update(self.pool.all)

    @rule(data=st.data(), waiting=counts, running=counts, slots=st.one_of(st.none(), st.integers(0, 8)), began=counts)
    def scraped(
        self, data: st.DataObject, waiting: float | None, running: float | None, slots: int | None, began: float | None
    ) -> None:
        if self.pool.all:
            reading = Reading(at=self.clock.now(), waiting=waiting, running=running, slots=slots, started=began)
            data.draw(st.sampled_from(self.pool.all)).reading = reading

    @rule(at=st.integers(0, 4), unread=st.floats(0, 1e6), calls=st.integers(0, 99), word=st.integers(0, 5))
    def heard(self, at: int, unread: float, calls: int, word: int) -> None:
        self.pool.news()
        seed = Endpoint(URLS[at]).seed
        marks = marks_of(prefix_of(bytes([word]) * 3000).blocks)
        self.pool.hear(News(2, ((seed, unread, calls, calls // 2),), ((seed, marks),)))

    @rule(data=st.data(), healthy=st.booleans(), draining=st.booleans())
    def probed(self, data: st.DataObject, healthy: bool, draining: bool) -> None:
        if self.pool.all:
            endpoint = data.draw(st.sampled_from(self.pool.all))
            endpoint.healthy, endpoint.draining = healthy, draining

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def counts_are_what_is_open(self) -> None:
        for endpoint in self.ever:
            mine = [lease for lease in self.open if lease.endpoint is endpoint]
            assert endpoint.in_flight == len(mine)
            assert 0 <= endpoint.unanswered <= len(mine)
            assert endpoint.unread >= 0
            assert len(endpoint.known.held) <= endpoint.known.held.room

    def teardown(self) -> None:
        for lease in getattr(self, "open", ()):
            lease.end(None)
        for endpoint in getattr(self, "ever", ()):
            assert (endpoint.in_flight, endpoint.unanswered, endpoint.unread) == (0, 0, 0.0)
            assert not endpoint.probing


TestPools = Pools.TestCase
TestPools.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
