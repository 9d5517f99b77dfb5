"""The exact store of one process: bytes in a dict, bounded by count, by bytes and by time, and shared fairly.

When it is full, the tenant that holds the most gives way, by its own order (`evict`); so a tenant that holds at most its
equal share of the store loses nothing to what the others do, and one that is alone may use all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from cache.backends.evict import Order, Policy, order_of
from cache.backends.largest import Largest
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
        self._entries: dict[str, _Kept] = {}
        self._orders: dict[str, Order] = {}
        self._bytes_of: dict[str, int] = {}
        self._count_of: dict[str, int] = {}
        """Of each tenant that holds something, all three."""
        self._most_bytes = Largest(self._bytes_of)
        self._most_entries = Largest(self._count_of)
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
        self._orders[kept.labels.tenant].touch(id)
        return kept.value

    async def put(self, id: str, value: bytes, ttl: float, labels: Labels = UNLABELLED) -> None:
        if id in self._entries:
            self._drop(id)
        tenant, size = labels.tenant, len(value) + _OVERHEAD
        if not self._has_room(tenant, size):
            return
        now = self._clock.wall()
        self._entries[id] = _Kept(value, now, now + int(ttl * 1e9), labels)
        if tenant not in self._orders:
            self._orders[tenant] = order_of(self._policy)
        self._orders[tenant].add(id)
        self._bytes_of[tenant] = self._bytes_of.get(tenant, 0) + size
        self._count_of[tenant] = self._count_of.get(tenant, 0) + 1
        self._most_bytes.grew(tenant)
        self._most_entries.grew(tenant)
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
        for held in (self._entries, self._orders, self._bytes_of, self._count_of):
            held.clear()
        self._bytes = 0

    def stats(self) -> Mapping[str, float]:
        return {
            "entries": len(self._entries),
            "tenants": len(self._orders),
            "bytes": self._bytes,
            "evicted": self._evicted,
            "expired": self._expired,
        }

    def _has_room(self, tenant: str, size: int) -> bool:
        """Makes room for one more entry of `tenant`; false if that would take from a tenant that holds no more than it."""
        if size > self._most_of_one:
            return False
        while self._bytes_of.get(tenant, 0) + size > self._most_of_one:
            self._evict(tenant)
        while self._bytes + size > self._max_bytes:
            name, own = self._most_bytes.name(), self._bytes_of.get(tenant, 0)
            if not own and self._bytes_of[name] < size:
                return False
            self._evict(tenant if own and own + size >= self._bytes_of[name] else name)
        while len(self._entries) >= self._max_entries:
            name, own = self._most_entries.name(), self._count_of.get(tenant, 0)
            self._evict(tenant if own and own + 1 >= self._count_of[name] else name)
        return True

    def _evict(self, tenant: str) -> None:
        self._drop(self._orders[tenant].victim())
        self._evicted += 1

    def _drop(self, id: str) -> None:
        kept = self._entries.pop(id)
        tenant, size = kept.labels.tenant, len(kept.value) + _OVERHEAD
        self._bytes -= size
        self._orders[tenant].remove(id)
        self._bytes_of[tenant] -= size
        self._count_of[tenant] -= 1
        if not self._count_of[tenant]:
            for held in (self._orders, self._bytes_of, self._count_of):
                del held[tenant]
