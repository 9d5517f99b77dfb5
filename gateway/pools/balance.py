"""The rules by which one of several endpoints is picked. Pure and quick: they run between two calls, on the event loop.

Each takes the endpoints that may be picked, in the order whose turn it is, and returns one. All but `round_robin` know
only what this process has under way: replicas of the gateway each see their own share of an endpoint's load.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import xxhash

from gateway.pools.affinity import Key, prefix_key, session_key

if TYPE_CHECKING:
    from gateway.pools.endpoint import Endpoint

Balance = Literal["round_robin", "least_inflight", "latency", "prefix", "session"]
BOUND = 1.25
"""A sticky endpoint takes at most this much of the mean load; what is above goes to the next in its order
(Mirrokni et al., consistent hashing with bounded loads, 2016)."""
FLOOR = 4
"""Calls that an endpoint may have under way whatever the mean is: with little load, moving a conversation costs its
cache and gains no time."""

Rule = Callable[["Sequence[Endpoint]", int, bytes, int, random.Random], "Endpoint"]
"""(endpoints, now in nanoseconds, key, turn, chance) -> one of them. `turn`: how many calls of the same exchange this
provider has had already; a sticky rule then goes on in its order instead of asking the same endpoint again."""


def round_robin(ready: Sequence[Endpoint], now: int, key: bytes, turn: int, rng: random.Random) -> Endpoint:
    return ready[0]


def least_inflight(ready: Sequence[Endpoint], now: int, key: bytes, turn: int, rng: random.Random) -> Endpoint:
    """The minimum is the first of equals in turn, so equals take turns."""
    return min(ready, key=lambda endpoint: endpoint.in_flight)


def latency(ready: Sequence[Endpoint], now: int, key: bytes, turn: int, rng: random.Random) -> Endpoint:
    """The better of two chosen by lot: the wait to be expected, times the calls it would be shared with. Two and not
    all, so that a burst does not fall on whoever was quickest last."""
    pair = ready if len(ready) <= 2 else rng.sample(ready, 2)
    return min(pair, key=lambda endpoint: (endpoint.expected(now) * (endpoint.in_flight + 1), endpoint.in_flight))


def sticky(ready: Sequence[Endpoint], now: int, key: bytes, turn: int, rng: random.Random) -> Endpoint:
    """The endpoint that the key ranks first (rendezvous hashing: when one comes or goes, only its own keys move), unless
    it has more than its share under way; then the next. Without a key: the least busy."""
    if not key:
        return least_inflight(ready, now, key, turn, rng)
    count = len(ready)
    cap = max(FLOOR, math.ceil(BOUND * (sum(endpoint.in_flight for endpoint in ready) + 1) / count))
    digest = xxhash.xxh3_64_intdigest
    free = [endpoint for endpoint in ready if endpoint.in_flight < cap]  # never empty: not all are above the mean
    if not turn:
        return max(free, key=lambda endpoint: digest(key, endpoint.seed))
    order = sorted(free, key=lambda endpoint: digest(key, endpoint.seed), reverse=True)
    return order[turn % len(order)]


RULES: Mapping[Balance, Rule] = {
    "round_robin": round_robin,
    "least_inflight": least_inflight,
    "latency": latency,
    "prefix": sticky,
    "session": sticky,
}
KEYS: Mapping[Balance, Key] = {"prefix": prefix_key, "session": session_key}
"""What a sticky rule hashes; the other rules need no key."""
