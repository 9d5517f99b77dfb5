"""Which endpoint a key belongs to, agreed by all gateways without a word between them.

Rendezvous hashing: each endpoint gets a number from the key and its own name, the highest wins; when one comes or goes,
only its own keys move. Bounded: one that has more than its share under way is passed over (Mirrokni et al., consistent
hashing with bounded loads, 2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from gateway.pools.endpoint import Endpoint

BOUND = 1.25
"""An endpoint takes at most this much of the mean load for the sake of a key."""
FLOOR = 4
"""Calls that an endpoint may have under way whatever the mean is: with little load, moving a conversation costs its
cache and gains no time."""


def cap(in_flight: Sequence[int]) -> int:
    """Calls that one endpoint may have under way, the next one included. At least one of them has fewer."""
    return max(FLOOR, math.ceil(BOUND * (sum(in_flight) + 1) / len(in_flight)))


def first(endpoints: Sequence[Endpoint], key: bytes) -> Endpoint:
    digest = xxhash.xxh3_64_intdigest
    return max(endpoints, key=lambda endpoint: digest(key, endpoint.seed))


def ranked(endpoints: Sequence[Endpoint], key: bytes) -> list[Endpoint]:
    """All of them, the key's own first."""
    digest = xxhash.xxh3_64_intdigest
    return sorted(endpoints, key=lambda endpoint: digest(key, endpoint.seed), reverse=True)
