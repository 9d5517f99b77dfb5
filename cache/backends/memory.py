"""The exact store of one process: bytes in a dict, bounded by count, by bytes and by time, and shared fairly.

When it is full, the tenant that holds the most gives way, by its own order (`evict`); so a tenant that holds at most its
equal share of the store loses nothing to what the others do, and one that is alone may use all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from cache.backends.evict import Order, Policy, order_of
from cache.stores import ALL, UNLABELLED, Labels, Which
from gateway.core.clock import Clock

_OVERHEAD = 512
"""Bytes an entry costs beside its value: id, dict slots, objects. 275 to 295 by tracemalloc at 10,000 entries on CPython
3.11; rounded up, because dicts grow in steps."""
_AT_ONCE = 2000
"""Entries looked at in one turn of the event loop by a purge."""


class _Kept(msgspec.Struct, frozen=True, gc=False):
    value: bytes
    stored: int
    expires: int
    """Unix nanoseconds, both."""
    labels: Labels


class _Share:
    """What one tenant holds."""

    __slots__ = ("bytes", "count", "order")

    def __init__(self, policy: Policy) -> None:
        self.order: Order = order_of(policy)
        self.bytes = 0
        self.count = 0


class MemoryStore:
    """An `ExactStore`. Never raises `StoreDown`."""

    def __init__(
        self,
        clock: Clock,
        *,
        max_entries: int,
        max_bytes: int,
        evict: Policy = "lru",
        max_bytes_per_tenant: int | None = None,
    ) -> None:
        """`max_bytes_per_tenant`: what one tenant may hold, however much room there is; None: all of it."""
        self._clock = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._most_of_one = min(max_bytes, max_bytes_per_tenant or max_bytes)
        self._policy: Policy = evict
        self._shares: dict[str, _Share] = {}
        self._entries: dict[str, _Kept] = {}
        self._bytes = 0
        self._evicted = 0
        self._expired = 0

    async def get(self, id: str) -> bytes | None:
        kept = self._entries.get(id)
        if kept is None:
            return None
        if kept.expires <= self._clock.wall():
            self._drop(id)
            self._expired += 1
            return None
        self._shares[kept.labels.tenant].order.touch(id)
        return kept.value

    async def put(self, id: str, value: bytes, ttl: float, labels: Labels = UNLABELLED) -> None:
        if id in self._entries:
            self._drop(id)
        size = len(value) + _OVERHEAD
        if not self._has_room(labels.tenant, size):
            return
        now = self._clock.wall()
        self._entries[id] = _Kept(value, now, now + int(ttl * 1e9), labels)
        share = self._shares.get(labels.tenant)
        if share is None:
            share = self._shares[labels.tenant] = _Share(self._policy)
        share.order.add(id)
        share.bytes += size
        share.count += 1
        self._bytes += size

    async def delete(self, id: str) -> bool:
        if id not in self._entries:
            return False
        self._drop(id)
        return True

    async def purge(self, which: Which = ALL, *, dry_run: bool = False) -> int:
        """In steps, so that requests are served between them. An entry written meanwhile may stay."""
        now = self._clock.wall()
        count = 0
        for at, (id, kept) in enumerate(list(self._entries.items())):
            if at % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            if self._entries.get(id) is kept and which.fits(kept.labels, (now - kept.stored) / 1e9):
                count += kept.expires > now
                if not dry_run:
                    self._drop(id)
        return count

    async def sweep(self) -> None:
        """Forgets what is past its time, so that an answer nobody asks for does not outlive its TTL by long."""
        now = self._clock.wall()
        for id in [id for id, kept in self._entries.items() if kept.expires <= now]:
            self._drop(id)
            self._expired += 1

    async def close(self) -> None:
        self._entries.clear()
        self._shares.clear()
        self._bytes = 0

    def stats(self) -> Mapping[str, float]:
        return {
            "entries": len(self._entries),
            "tenants": len(self._shares),
            "bytes": self._bytes,
            "evicted": self._evicted,
            "expired": self._expired,
        }

    def _has_room(self, tenant: str, size: int) -> bool:
        """Makes room for one more entry of `tenant`; false if that would take from a tenant that holds no more than it."""
        if size > self._most_of_one:
            return False
        share = self._shares.get(tenant)
        while share is not None and share.count and share.bytes + size > self._most_of_one:
            self._evict(share)
        while self._bytes + size > self._max_bytes:
            name = max(self._shares, key=lambda name: self._shares[name].bytes + size * (name == tenant))
            if self._shares[name].bytes < size and tenant not in self._shares:
                return False  # what would come in is more than what any other holds
            self._evict(self._shares[name])
        while len(self._entries) >= self._max_entries:
            name = max(self._shares, key=lambda name: self._shares[name].count + (name == tenant))
            self._evict(self._shares[name])
        return True

    def _evict(self, share: _Share) -> None:
        self._drop(share.order.victim())
        self._evicted += 1

    def _drop(self, id: str) -> None:
        kept = self._entries.pop(id)
        size = len(kept.value) + _OVERHEAD
        self._bytes -= size
        share = self._shares[kept.labels.tenant]
        share.order.remove(id)
        share.bytes -= size
        share.count -= 1
        if not share.count:
            del self._shares[kept.labels.tenant]
