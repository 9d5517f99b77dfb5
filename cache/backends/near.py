"""A small store in this process's memory in front of a shared one: what was asked a moment ago costs no round trip.

Off unless configured, because it has a price: what is refreshed in another process is served here for up to `ttl` seconds
more, what is purged or evicted until the news is heard. So `ttl` is a few seconds at most. What is done through this process
shows here at once. While
the shared store is out of reach, what is near is still served.
"""

from __future__ import annotations

from collections.abc import Mapping

from cache.backends.memory import MemoryStore
from cache.stores import ALL, UNLABELLED, ExactStore, Labels, Which

LONGEST = 5.0
"""Seconds."""


class NearStore:
    """An `ExactStore` over another."""

    def __init__(self, near: MemoryStore, far: ExactStore, ttl: float) -> None:
        if not 0 < ttl <= LONGEST:
            raise ValueError(f"a near tier may keep entries for {LONGEST:g} s at most")
        self._near = near
        self._far = far
        self._ttl = ttl
        self._hits = 0

    async def get(self, id: str) -> bytes | None:
        value = await self._near.get(id)
        if value is not None:
            self._hits += 1
            return value
        value = await self._far.get(id)
        if value is not None:
            await self._near.put(id, value, self._ttl)
        return value

    async def put(self, id: str, value: bytes, ttl: float, labels: Labels = UNLABELLED) -> None:
        await self._near.delete(id)
        await self._far.put(id, value, ttl, labels)
        await self._near.put(id, value, min(ttl, self._ttl))

    async def delete(self, id: str) -> bool:
        await self._near.delete(id)
        return await self._far.delete(id)

    async def purge(self, which: Which = ALL, *, dry_run: bool = False) -> int:
        """Of the shared store; what is near is all forgotten, since its labels are not known here."""
        if not dry_run:
            await self._near.purge()
        count = await self._far.purge(which, dry_run=dry_run)
        if not dry_run:
            await self._near.purge()  # what was read from there meanwhile
        return count

    async def sweep(self) -> None:
        await self._near.sweep()
        await self._far.sweep()

    async def close(self) -> None:
        await self._near.close()
        await self._far.close()

    def stats(self) -> Mapping[str, float]:
        near = {f"near_{name}": value for name, value in self._near.stats().items()}
        return {**self._far.stats(), **near, "near_hits": self._hits}
