"""One replica: what this process has under way there, how long it lets wait, and a passive breaker.

An endpoint that failed `FAILURES` times in a row is left alone for a while, then gets one call to prove itself.
"""

from __future__ import annotations

import math
from urllib.parse import urlsplit

import xxhash

from gateway.core.clock import Clock
from gateway.pools.known import Known
from gateway.pools.reading import Reading

FAILURES = 5
FIRST_REST = 2.0
LONGEST_REST = 60.0
"""Seconds; a rest doubles each time the proving call fails."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
"""Seconds for which others are asked first after an endpoint said that it is at its limit: where it does not say how long,
and at most."""
SHARE = 0.3
"""Of the newest wait in the mean of them, at least; more when the others are old."""
HALF_LIFE = 10.0
"""Seconds in which a measured wait comes to count half. So an endpoint that was slow is asked again some time, which is
the only way to learn that it is not slow any more."""


class Endpoint:
    """One base URL. `in_flight` counts calls that were begun and not yet ended, whatever ended them."""

    __slots__ = (
        "_measured",
        "_wait",
        "draining",
        "failures",
        "full_until",
        "healthy",
        "in_flight",
        "known",
        "label",
        "probing",
        "reading",
        "rest",
        "resting_until",
        "seed",
        "unanswered",
        "unread",
        "url",
        "used",
    )

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        self.label = parts.netloc.rpartition("@")[2]
        """`host:port`, for records."""
        self.seed = xxhash.xxh3_64_intdigest(self.url.encode())
        """The same in every process, so that all of them rank endpoints alike."""
        self.in_flight = 0
        self.unanswered = 0
        """Of those in flight, the calls whose prompts are still to be read, as far as we know."""
        self.unread = 0.0
        """Tokens of their prompts that are not in its cache, by our estimates."""
        self.used = 0
        """When it was last picked; nanoseconds of the clock."""
        self.known = Known()
        self.healthy = True
        """What the last probe said; true where nobody probes."""
        self.draining = False
        """It gets no new call while another can take it: it is about to go, or an operator said so."""
        self.reading: Reading | None = None
        self.failures = 0
        self.rest = 0.0
        self.resting_until = 0
        """Nanoseconds of the clock; 0 when the breaker is closed."""
        self.full_until = 0
        """It said that it is at its limit; nanoseconds of the clock."""
        self.probing = False
        self._wait = 0.0
        self._measured: int | None = None

    def begin(self, fresh: float = 0.0) -> None:
        """A call whose prompt has `fresh` tokens to be read. Exactly one `read` and one `end` follow."""
        self.in_flight += 1
        self.unanswered += 1
        self.unread += fresh
        if self.resting_until:
            self.probing = True

    def read(self, fresh: float) -> None:
        """The prompt of a call was read, or will not be."""
        self.unanswered -= 1
        self.unread = max(0.0, self.unread - fresh) if self.unanswered else 0.0

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
                self.known.restarted()  # whoever fails so often has most likely gone, and its cache with it

    def ready(self, now: int) -> bool:
        """Whether it should be asked, if there is a choice."""
        return self.healthy and not self.draining and now >= self.full_until and self.rested(now)

    def rested(self, now: int) -> bool:
        """Whether its breaker lets a call through."""
        return not self.resting_until or (now >= self.resting_until and not self.probing)

    def full(self, now: int, seconds: float | None) -> None:
        """It is at its limit, and may be asked again after `seconds`, if it said so."""
        pause = FIRST_PAUSE if seconds is None else min(LONGEST_PAUSE, max(0.0, seconds))
        self.full_until = max(self.full_until, now + int(pause * 1e9))

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
