"""The rules by which one of several endpoints is picked. Pure and quick: they run between two calls, on the event loop.

Each takes the endpoints that may be picked, in the order whose turn it is, and returns one. All but `round_robin` know
only what this process has under way: replicas of the gateway each see their own share of an endpoint's load. The rule
`prefix` knows more, and is in `by_prefix`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from gateway.pools.asked import Asked
from gateway.pools.placement import cap, first, ranked

if TYPE_CHECKING:
    from gateway.pools.endpoint import Endpoint

Balance = Literal["round_robin", "least_inflight", "latency", "prefix", "session"]

Rule = Callable[["Sequence[Endpoint]", int, Asked, random.Random], "Endpoint"]
"""(endpoints, now in nanoseconds, what is asked, chance) -> one of them."""


def round_robin(ready: Sequence[Endpoint], now: int, asked: Asked, rng: random.Random) -> Endpoint:
    return ready[0]


def least_inflight(ready: Sequence[Endpoint], now: int, asked: Asked, rng: random.Random) -> Endpoint:
    """The minimum is the first of equals in turn, so equals take turns."""
    return min(ready, key=lambda endpoint: endpoint.in_flight)


def latency(ready: Sequence[Endpoint], now: int, asked: Asked, rng: random.Random) -> Endpoint:
    """The better of two chosen by lot: the wait to be expected, times the calls it would be shared with. Two and not
    all, so that a burst does not fall on whoever was quickest last."""
    pair = ready if len(ready) <= 2 else rng.sample(ready, 2)
    return min(pair, key=lambda endpoint: (endpoint.expected(now) * (endpoint.in_flight + 1), endpoint.in_flight))


def session(ready: Sequence[Endpoint], now: int, asked: Asked, rng: random.Random) -> Endpoint:
    """The key's own endpoint, unless it has more than its share under way; then the next in the key's order. Without a
    key: the least busy."""
    if not asked.key:
        return least_inflight(ready, now, asked, rng)
    bound = cap([endpoint.in_flight for endpoint in ready])
    free = [endpoint for endpoint in ready if endpoint.in_flight < bound]  # never empty: not all are above the mean
    if not asked.turn:
        return first(free, asked.key)
    return ranked(free, asked.key)[asked.turn % len(free)]


RULES: Mapping[Balance, Rule] = {
    "round_robin": round_robin,
    "least_inflight": least_inflight,
    "latency": latency,
    "session": session,
}
