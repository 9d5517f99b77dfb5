"""The exact store in Redis, shared by all workers and replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cache.backends.redis_link import RedisLink
from gateway.core.fingerprint import digest

_ADMIN_BUDGET = 2.0


class RedisStore:
    """An `ExactStore`. Redis itself ends entries (PX) and, when full, evicts by its own `maxmemory-policy`: a route's
    `max_entries` and `evict` hold for memory stores only. Raises `StoreDown`."""

    def __init__(self, link: RedisLink, route: str, *, prefix: str = "tidegate") -> None:
        """The route's name is hashed, so that no character in it has a meaning in a pattern."""
        self._link = link
        self.prefix = f"{prefix}:exact:{digest(route)[:12]}:"
        self._reads = 0

    async def get(self, id: str) -> bytes | None:
        self._reads += 1
        value = await self._link.call(b"GET", self.prefix + id)
        return value if isinstance(value, bytes) else None

    async def put(self, id: str, value: bytes, ttl: float) -> None:
        await self._link.call(b"SET", self.prefix + id, value, b"PX", max(1, round(ttl * 1000)))

    async def delete(self, id: str) -> bool:
        return await self._link.call(b"UNLINK", self.prefix + id, budget=_ADMIN_BUDGET) == 1

    async def purge(self) -> int:
        """In steps, so that Redis serves others between them. An entry written meanwhile may stay."""
        cursor: bytes | None = None
        count = 0
        while cursor != b"0":
            reply = await self._link.call(
                b"SCAN", cursor or b"0", b"MATCH", self.prefix + "*", b"COUNT", 500, budget=_ADMIN_BUDGET
            )
            assert isinstance(reply, list), "SCAN answers with a cursor and keys"
            cursor, keys = _scanned(reply)
            if keys:
                gone = await self._link.call(b"UNLINK", *keys, budget=_ADMIN_BUDGET)
                count += gone if isinstance(gone, int) else 0
        return count

    async def sweep(self) -> None:
        """Redis does it."""

    async def close(self) -> None:
        """The link is shared; whoever made it closes it."""

    def stats(self) -> Mapping[str, float]:
        return {"reads": self._reads}


def _scanned(reply: Sequence[object]) -> tuple[bytes, list[bytes]]:
    cursor, keys = reply
    assert isinstance(cursor, bytes)
    assert isinstance(keys, list)
    return cursor, [key for key in keys if isinstance(key, bytes)]
