"""Which of a provider's addresses takes the next call: in-flight counts, and a passive breaker for each.

Only calls tell of an endpoint's health here; nobody probes. An endpoint that failed `FAILURES` times in a row is left
alone for a while, then gets one call to prove itself. The breaker is a preference and not a gate: when every endpoint
is broken, the one that has been left alone longest is tried, so the last one is never taken away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence, Set
from typing import Literal
from urllib.parse import urlsplit

from gateway.core.clock import Clock

Balance = Literal["round_robin", "least_inflight"]
FAILURES = 5
FIRST_REST = 2.0
LONGEST_REST = 60.0
"""Seconds; a rest doubles each time the proving call fails."""


class Endpoint:
    """One base URL. `in_flight` counts calls that were begun and not yet ended, whatever ended them."""

    __slots__ = ("failures", "in_flight", "label", "probing", "rest", "resting_until", "url")

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        self.label = parts.netloc.rpartition("@")[2]
        """`host:port`, for records."""
        self.in_flight = 0
        self.failures = 0
        self.rest = 0.0
        self.resting_until = 0
        """Nanoseconds of the clock; 0 when the breaker is closed."""
        self.probing = False

    def begin(self) -> None:
        self.in_flight += 1
        if self.resting_until:
            self.probing = True

    def end(self, clock: Clock, ok: bool | None) -> None:
        """`ok` None: the call says nothing of the endpoint's health (the client left, or the request was bad)."""
        self.in_flight -= 1
        self.probing = False
        if ok is None:
            return
        if ok:
            self.failures, self.rest, self.resting_until = 0, 0.0, 0
            return
        self.failures += 1
        if self.failures >= FAILURES:
            now = clock.now()
            if now >= self.resting_until:  # calls that began before the breaker opened do not prolong the rest
                self.rest = min(LONGEST_REST, self.rest * 2 or FIRST_REST)
                self.resting_until = now + int(self.rest * 1e9)

    def ready(self, now: int) -> bool:
        return not self.resting_until or (now >= self.resting_until and not self.probing)


class Endpoints:
    """All endpoints of one provider, and the rule by which one is picked. Picking and counting are one step: there is
    no `await` in between, so a burst does not all go to the same place."""

    def __init__(
        self, urls: Sequence[str], balance: Balance, clock: Clock, *, rng: random.Random | None = None
    ) -> None:
        self.all = tuple(Endpoint(url) for url in urls)
        self._least = balance == "least_inflight"
        self._clock = clock
        # Replicas of the gateway must not all begin with the same endpoint.
        self._next = (rng or random.Random()).randrange(len(self.all))  # noqa: S311 - guards nothing

    def begin(self, tried: Set[Endpoint] = frozenset()) -> Endpoint | None:
        """Picks an endpoint and counts the call. None when all were tried already."""
        if len(self.all) == 1:
            chosen = None if tried else self.all[0]
        else:
            chosen = self._pick(tried)
        if chosen is not None:
            chosen.begin()
        return chosen

    def end(self, endpoint: Endpoint, ok: bool | None) -> None:
        endpoint.end(self._clock, ok)

    def _pick(self, tried: Set[Endpoint]) -> Endpoint | None:
        now = self._clock.now()
        start = self._next
        turn = [*self.all[start:], *self.all[:start]]
        left = [endpoint for endpoint in turn if endpoint not in tried]
        ready = [endpoint for endpoint in left if endpoint.ready(now)]
        if ready:
            # The minimum is the first of equals in turn, so equals take turns.
            chosen = min(ready, key=lambda endpoint: endpoint.in_flight) if self._least else ready[0]
        elif left:
            chosen = min(left, key=lambda endpoint: endpoint.resting_until)
        else:
            return None
        self._next = (self.all.index(chosen) + 1) % len(self.all)
        return chosen
