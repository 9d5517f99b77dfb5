"""The base URLs of one provider, and the rule by which one is picked.

The breaker of an endpoint is a preference and not a gate: when every endpoint is broken, the one that has been left
alone longest is tried, so the last one is never taken away. So is what probes say (`healthy`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence, Set

from gateway.core.clock import Clock
from gateway.pools.balance import RULES, Balance
from gateway.pools.endpoint import Endpoint, Lease


class Endpoints:
    """All endpoints of one provider, and the rule by which one is picked. Picking and counting are one step: there is
    no `await` in between, so a burst does not all go to the same place."""

    def __init__(
        self, urls: Sequence[str], balance: Balance, clock: Clock, *, rng: random.Random | None = None
    ) -> None:
        self.all = tuple(Endpoint(url) for url in urls)
        self._rule = RULES[balance]
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        # Replicas of the gateway must not all begin with the same endpoint.
        self._next = self._rng.randrange(max(1, len(self.all)))

    def keep(self, urls: Iterable[str], *, even_none: bool = False) -> None:
        """From now on these are all there are. Those that were known before go on as they are; what a call still holds of
        one that is gone is counted to its end. Without any, what was known is kept: an empty answer of a name server is
        no reason to stop. `even_none`: it has been empty for long enough, so an address may be somebody else's by now."""
        known = {endpoint.url: endpoint for endpoint in self.all}
        wanted = dict.fromkeys(url.rstrip("/") for url in urls)
        if wanted or even_none:
            self.all = tuple(known.get(url) or Endpoint(url) for url in wanted)
            self._next %= max(1, len(self.all))

    def lease(self, tried: Set[Endpoint] = frozenset(), key: bytes = b"", turn: int = 0) -> Lease | None:
        """As `begin`, for a call whose wait is measured too."""
        endpoint = self.begin(tried, key, turn)
        return Lease(endpoint, self._clock) if endpoint is not None else None

    def begin(self, tried: Set[Endpoint] = frozenset(), key: bytes = b"", turn: int = 0) -> Endpoint | None:
        """Picks an endpoint and counts the call. None when all were tried already. `key` and `turn`: see `balance`."""
        if len(self.all) == 1:
            chosen = None if tried else self.all[0]
        else:
            chosen = self._pick(tried, key, turn)
        if chosen is not None:
            chosen.begin()
        return chosen

    def end(self, endpoint: Endpoint, ok: bool | None) -> None:
        endpoint.end(self._clock, ok)

    def _pick(self, tried: Set[Endpoint], key: bytes, turn: int) -> Endpoint | None:
        now = self._clock.now()
        start = self._next
        order = [*self.all[start:], *self.all[:start]]
        left = [endpoint for endpoint in order if endpoint not in tried]
        ready = [endpoint for endpoint in left if endpoint.ready(now)]
        if ready:
            chosen = self._rule(ready, now, key, turn, self._rng)
        elif left:
            chosen = min(left, key=lambda endpoint: endpoint.resting_until)
        else:
            return None
        self._next = (self.all.index(chosen) + 1) % len(self.all)
        return chosen
