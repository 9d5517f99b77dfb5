"""What the client asked of the caches, and how an outcome is noted.

`x-tidegate-cache-control` follows HTTP's words: `no-store` neither reads nor stores, `no-cache` does not read but
stores the fresh answer, `only-if-cached` never calls a model: a miss is a 504 (`NotCached`). `max-age=N` takes no answer
that is older than N seconds, and stores the fresh one.
"""

from __future__ import annotations

from typing import Any

from cache.stores import StoreDown
from gateway.core.answer import Answer
from gateway.core.errors import NotCached
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Decider

HEADER = "x-tidegate-cache-control"

_KNOWN = frozenset({"no-store", "no-cache", "only-if-cached"})
_NOTHING: frozenset[str] = frozenset()
_LONGEST = 200
"""Characters of the header that are read."""


def control_of(exchange: Exchange) -> frozenset[str]:
    """The known directives of the request header. Others are ignored, as HTTP has it."""
    value = exchange.headers.get(HEADER)
    if not value:
        return _NOTHING
    return _KNOWN.intersection(word.strip().lower() for word in value[:_LONGEST].split(","))


def too_old(exchange: Exchange, age: float) -> bool:
    """Whether the client wants no answer of this age. A `max-age` that is no whole number is ignored, as HTTP has it;
    of several the least counts."""
    value = exchange.headers.get(HEADER)
    if not value or "max-age" not in value.lower():
        return False
    pairs = (word.strip().lower().partition("=") for word in value[:_LONGEST].split(","))
    limits = [int(number) for name, _, number in pairs if name == "max-age" and _digits(number)]
    return bool(limits) and age > min(limits)


def _digits(number: str) -> bool:
    return number.isascii() and number.isdigit()


def bypassed(exchange: Exchange, reason: str) -> None:
    """Notes that a cache was not asked. A miss of an earlier cache stays a miss."""
    exchange.cache.reason = reason


def missed(exchange: Exchange, reason: str = "") -> None:
    exchange.cache.result = "miss"
    exchange.cache.reason = reason


def down(exchange: Exchange, stage: str, error: StoreDown) -> None:
    """A cache that failed is a miss that says so."""
    missed(exchange, f"{stage}:{error.why}")
    if stage not in exchange.degraded:
        exchange.degraded.append(stage)


class OnlyIfCached:
    """The last cache of a route, and the promise of `only-if-cached` after it. `inner` is None on a route without
    caches: there the promise still holds, so that a client that must not spend does not."""

    def __init__(self, inner: Decider | None) -> None:
        self._inner = inner
        self.name = inner.name if inner is not None else "cache"
        self.consumes: tuple[Key[Any], ...] = inner.consumes if inner is not None else ()
        self.produces: tuple[Key[Any], ...] = inner.produces if inner is not None else ()

    async def decide(self, exchange: Exchange) -> Answer | None:
        answer = await self._inner.decide(exchange) if self._inner is not None else None
        if answer is None and HEADER in exchange.headers and "only-if-cached" in control_of(exchange):
            raise NotCached(
                f"No cached answer for this request, and {HEADER} says only-if-cached. Ask without it to call a model."
            )
        return answer
