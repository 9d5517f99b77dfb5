"""The base URLs of one provider, and the rule by which one is picked.

The breaker of an endpoint is a preference and not a gate: when every endpoint is broken, the one that has been left
alone longest is tried, so the last one is never taken away. So is what probes say (`healthy`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence, Set
from heapq import heappop, heappush
from itertools import count

from gateway.core.clock import Clock
from gateway.pools.asked import NOTHING, Asked
from gateway.pools.balance import RULES, Balance, round_robin
from gateway.pools.by_prefix import ByPrefix
from gateway.pools.cost import Estimate
from gateway.pools.endpoint import Endpoint
from gateway.pools.filter import preferred
from gateway.pools.lease import Lease
from gateway.pools.sharing import News, Sharing, marks_of

LONGEST_CALL = 3600.0
"""Seconds after which a lease is taken for forgotten, where its caller does not say."""
SWEEP_EVERY = 10.0


class Endpoints:
    """All endpoints of one provider, and the rule by which one is picked. Picking and counting are one step: there is
    no `await` in between, so a burst does not all go to the same place."""

    def __init__(
        self, urls: Sequence[str], balance: Balance, clock: Clock, *, rng: random.Random | None = None
    ) -> None:
        self.all = tuple(Endpoint(url) for url in urls)
        self.balance = balance
        self.forgotten = 0
        """Leases that nobody ended and that were ended here, since the start: anything but 0 is a bug of a caller."""
        self._rule = RULES.get(balance, round_robin)
        self._by_prefix = ByPrefix() if balance == "prefix" else None
        self.common = self._by_prefix.common if self._by_prefix is not None else None
        self._open: set[Lease] = set()
        self._due: list[tuple[int, int, Lease]] = []
        self._order = count()
        self._sharing: Sharing | None = None
        self._next_sweep = 0
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

    def lease(
        self,
        asked: Asked = NOTHING,
        tried: Set[Endpoint] = frozenset(),
        *,
        lasts: float = LONGEST_CALL,
        whole: bool = False,
    ) -> Lease | None:
        """Picks an endpoint and counts the call, until the lease is ended. None when all were tried already. `lasts`:
        seconds that the call may take; a lease that is still open after that is ended here. `whole`: see `Lease`."""
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            heappop(self._due)[2].was_read()
        if now >= self._next_sweep:
            self._sweep(now)
        left = [endpoint for endpoint in self._in_turn() if endpoint not in tried]
        if not left:
            return None
        expires = now + int(lasts * 1e9)
        if len(self.all) == 1:
            return Lease(left[0], self._clock, self._open, expires, "only")
        ready = preferred(left, now, asked)
        expected = None
        if self._by_prefix is None:
            chosen = self._rule(ready, now, asked, self._rng)
        else:
            expected = self._expected(ready, now, asked, self._by_prefix)
            chosen = expected.endpoint
        self._next = (self.all.index(chosen) + 1) % len(self.all)
        chosen.used = now
        lease = Lease(
            chosen, self._clock, self._open, expires, self.balance, expected, self.common, asked.prefix, whole
        )
        if whole and expected is not None:
            heappush(self._due, (lease.due, next(self._order), lease))
        return lease

    def another(self, than: Endpoint) -> bool:
        """Whether there is one that should be asked."""
        now = self._clock.now()
        return any(endpoint.ready(now) for endpoint in self.all if endpoint is not than)

    def blocks(self) -> dict[str, int]:
        """Blocks that each endpoint is thought to hold, by its label. For a gauge."""
        return {endpoint.label: len(endpoint.known.held) for endpoint in self.all}

    def share(self, by: int) -> bool:
        """From now on there is news for other gateways, by this number. False where the rule has no use for any."""
        if self._by_prefix is None:
            return False
        self._sharing = Sharing(by)
        self._by_prefix.shared = True
        return True

    def news(self) -> News | None:
        return self._sharing.news(self.all, self._clock.now()) if self._sharing is not None else None

    def hear(self, news: News) -> None:
        if self._sharing is not None:
            self._sharing.hear(news, {endpoint.seed: endpoint for endpoint in self.all}, self._clock.now())

    def _in_turn(self) -> list[Endpoint]:
        return [*self.all[self._next :], *self.all[: self._next]]

    def _expected(self, ready: Sequence[Endpoint], now: int, asked: Asked, rule: ByPrefix) -> Estimate:
        """Picks, and notes at once that the prompt will be there: the next of a burst is picked knowing it."""
        for endpoint in self.all:
            endpoint.known.look(endpoint.reading, rule.common, len(self.all))
        expected = rule.pick(ready, now, asked, self._rng)
        if asked.prefix is not None:
            expected.endpoint.known.held.use(asked.prefix.blocks, expected.own)
            if self._sharing is not None:
                self._sharing.placed(expected.endpoint, marks_of(asked.prefix.blocks))
            rule.common.asked(expected.fresh, expected.prompt)
        return expected

    def _sweep(self, now: int) -> None:
        self._next_sweep = now + int(SWEEP_EVERY * 1e9)
        for lease in [lease for lease in self._open if now >= lease.expires]:
            self.forgotten += 1
            lease.end(None)
