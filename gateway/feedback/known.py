"""Which exchanges may still be rated, and by whom. Bounded; the newest are kept, in this process and, where processes share
a Redis, for a while in there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from gateway.core.exchange import Principal
from gateway.core.receipt import OWN_ROUTES, CacheResult, Receipt
from gateway.feedback.rating import Rating

MOST = 20_000
_BUDGET = 0.05
"""Seconds that a shared store may take."""
_PREFIX = "tidegate:rated:"

Call = Callable[..., Awaitable[object]]
"""One Redis command: `await call("GET", key, budget=0.05)`. Raises whatever its client raises."""


class Known(msgspec.Struct, frozen=True):
    """What a rating needs to know of an exchange. No text."""

    key_id: str
    tenant: str
    route: str
    cache: CacheResult = "bypass"
    cache_id: str = ""

    def of(self, principal: Principal) -> bool:
        """Whether it may rate this."""
        return principal.admin or (self.key_id == principal.key_id and self.tenant == principal.tenant)


class Remembered:
    """Recorder `feedback`."""

    name = "feedback"
    essential = False

    def __init__(self, call: Call | None = None, *, keep: float = 3600.0, most: int = MOST) -> None:
        """`keep`: seconds in Redis; 0: not there."""
        self._call = call if keep > 0 else None
        self._keep = max(1, int(keep))
        self._most = most
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._ratings: OrderedDict[str, Rating] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    async def record(self, receipt: Receipt) -> None:
        """Answers only; a question that a check puts to a model is nobody's."""
        if receipt.outcome != "ok" or (not receipt.route or receipt.route in OWN_ROUTES):
            return
        known = Known(receipt.key_id, receipt.tenant, receipt.route, receipt.cache, receipt.cache_id)
        self._known[receipt.id] = known
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        if self._call is not None:
            words = ("SET", _PREFIX + receipt.id, msgspec.json.encode(known), "EX", self._keep)
            try:
                await self._call(*words, budget=_BUDGET)
            except Exception:  # other processes will not know of it, which a rating there is told
                return

    async def find(self, id: str) -> Known | None:
        known = self._known.get(id)
        if known is not None or self._call is None:
            return known
        try:
            found = await self._call("GET", _PREFIX + id, budget=_BUDGET)
            return msgspec.json.decode(found, type=Known) if isinstance(found, bytes) else None
        except Exception:
            return None

    def rate(self, id: str, rating: Rating) -> bool:
        """Keeps it; False if the same was said before."""
        before = self._ratings.get(id)
        self._ratings[id] = rating
        if len(self._ratings) > self._most:
            self._ratings.popitem(last=False)
        return before is None or before.rating != rating.rating

    def rating(self, id: str) -> Rating | None:
        return self._ratings.get(id)
