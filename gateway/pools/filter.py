"""Who may be picked. Each condition is a preference: where nobody meets it, it gives way, and no request fails for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.pools.adapters import serves, suits
from gateway.pools.asked import Asked

if TYPE_CHECKING:
    from gateway.pools.endpoint import Endpoint

FULL_QUEUE, FULL_CACHE = 5.0, 0.8
"""Calls in an engine's queue, and the share of its cache in use, that make it saturated (llm-d's values)."""
HEADROOM = 0.25
"""How far beyond that an endpoint is still asked before all others: a burst is no reason to lose a cache."""
TURNS = 2
"""Calls under way for each slot of an engine; of more it is spared while others have fewer."""
MOST_IN_FLIGHT = 256
"""The same for an engine that does not tell its slots."""


def preferred(left: Sequence[Endpoint], now: int, asked: Asked) -> Sequence[Endpoint]:
    """Those of `left` to choose from; never empty unless `left` is."""
    if len(left) < 2:
        return left
    able = [endpoint for endpoint in left if endpoint.ready(now)]
    if not able:
        able = [endpoint for endpoint in left if endpoint.healthy and endpoint.rested(now)]
    if not able:
        return sorted(left, key=lambda endpoint: endpoint.resting_until)[:1]
    if all(endpoint.reading is None for endpoint in able):
        return able
    model = asked.model
    if model:
        able = [endpoint for endpoint in able if serves(endpoint.reading, model)] or able
    if asked.adapter:
        best = max(suits(endpoint.reading, asked.adapter) for endpoint in able)
        able = [endpoint for endpoint in able if suits(endpoint.reading, asked.adapter) >= best]
    calm = [endpoint for endpoint in able if saturation(endpoint, now) < 1 + HEADROOM] or able
    return [endpoint for endpoint in calm if endpoint.in_flight < limit(endpoint)] or calm


def saturation(endpoint: Endpoint, now: int) -> float:
    """1 and more: it has all it can do. 0 where its metrics do not say, or are too old."""
    reading = endpoint.reading
    if reading is None or reading.stale(now):
        return 0.0
    return max((reading.waiting or 0.0) / FULL_QUEUE, (reading.kv or 0.0) / FULL_CACHE)


def limit(endpoint: Endpoint) -> int:
    reading = endpoint.reading
    return TURNS * reading.slots if reading is not None and reading.slots else MOST_IN_FLIGHT
