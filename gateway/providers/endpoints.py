"""Which of a provider's addresses takes the next call: in-flight counts, and a passive breaker for each.

Only calls tell of an endpoint's health here; nobody probes. An endpoint that failed `FAILURES` times in a row is left
alone for a while, then gets one call to prove itself. The breaker is a preference and not a gate: when every endpoint
is broken, the one that has been left alone longest is tried, so the last one is never taken away.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence, Set
from urllib.parse import urlsplit

import xxhash

from gateway.core.clock import Clock
from gateway.providers.balance import RULES, Balance

FAILURES = 5
FIRST_REST = 2.0
LONGEST_REST = 60.0
"""Seconds; a rest doubles each time the proving call fails."""
SHARE = 0.3
"""Of the newest wait in the mean of them, at least; more when the others are old."""
HALF_LIFE = 10.0
"""Seconds in which a measured wait comes to count half. So an endpoint that was slow is asked again some time, which is
the only way to learn that it is not slow any more."""
FAILED_WAIT = 5.0
"""Seconds that a call counts as having waited when it failed: one that fails fast must not look like a quick one."""


class Endpoint:
    """One base URL. `in_flight` counts calls that were begun and not yet ended, whatever ended them."""

    __slots__ = (
        "_measured",
        "_wait",
        "failures",
        "in_flight",
        "label",
        "probing",
        "rest",
        "resting_until",
        "seed",
        "url",
    )

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        self.label = parts.netloc.rpartition("@")[2]
        """`host:port`, for records."""
        self.seed = xxhash.xxh3_64_intdigest(self.url.encode())
        """The same in every process, so that all of them rank endpoints alike."""
        self.in_flight = 0
        self.failures = 0
        self.rest = 0.0
        self.resting_until = 0
        """Nanoseconds of the clock; 0 when the breaker is closed."""
        self.probing = False
        self._wait = 0.0
        self._measured: int | None = None

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

    def waited(self, now: int, seconds: float) -> None:
        """Takes one measured wait for the first content into the mean of them."""
        share = max(SHARE, 1.0 - self._freshness(now))
        self._wait += share * (seconds - self._wait)
        self._measured = now

    def expected(self, now: int) -> float:
        """Seconds to wait for the first content, as far as is known; 0 when nothing is."""
        return self._wait * self._freshness(now)

    def _freshness(self, now: int) -> float:
        if self._measured is None:
            return 0.0
        return math.exp2((self._measured - now) / (HALF_LIFE * 1e9))


class Lease:
    """One call at one endpoint: counted until `end`, its wait measured until `answered`."""

    __slots__ = ("_clock", "_since", "_waiting", "endpoint")

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._since = clock.now()
        self._waiting = True

    def answered(self) -> None:
        """The first content is here."""
        if self._waiting:
            self._waiting = False
            self.endpoint.waited(self._clock.now(), self._elapsed())

    def end(self, ok: bool | None) -> None:
        """Once, however the call ended. `ok` as for `Endpoint.end`."""
        endpoint, now = self.endpoint, self._clock.now()
        if self._waiting:
            self._waiting = False
            seconds = self._elapsed()
            if ok is False:
                endpoint.waited(now, max(FAILED_WAIT, seconds))
            elif seconds > endpoint.expected(now):  # given up: it would have taken longer than that
                endpoint.waited(now, seconds)
        endpoint.end(self._clock, ok)

    def _elapsed(self) -> float:
        return (self._clock.now() - self._since) / 1e9


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
        self._next = self._rng.randrange(len(self.all))

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
