"""The exact store in Redis, shared by all workers and replicas.

Beside the entries stand indices: sorted sets of entry ids by when they were stored, one of all entries of the route, one for
each tenant and one for each tag. They make a purge by tag a walk over one set, and they bound the store: what leaves an
index because it is old or too many leaves the store too, so no living entry is missing from its indices. (A Redis that
evicts keys on its own, `maxmemory-policy allkeys-*`, may evict an index; then only a purge of everything, which walks
over all keys, or their TTL, ends its entries.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cache.backends.redis_link import RedisLink
from cache.backends.redis_script import Script
from cache.stores import ALL, UNLABELLED, Labels, Which
from gateway.core.fingerprint import digest

_ADMIN_BUDGET = 2.0
MOST_ENTRIES = 1_000_000
"""Of one route."""
_BATCH = 500
"""Entries to a step of a purge: Redis serves others between two."""

# The index keys follow the entry's. An index lives as long as its longest-lived entry.
_PUT = """
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 2, #KEYS do
  local index = KEYS[at]
  redis.call('ZADD', index, now, ARGV[1])
  if redis.call('PTTL', index) < tonumber(ARGV[3]) then redis.call('PEXPIRE', index, ARGV[3]) end
  local gone = redis.call('ZRANGEBYSCORE', index, '-inf', now - ARGV[4], 'LIMIT', 0, 20)
  local over = redis.call('ZCARD', index) - #gone - tonumber(ARGV[5])
  if #gone == 0 and over > 0 then gone = redis.call('ZRANGE', index, 0, math.min(over, 20) - 1) end
  for _, id in ipairs(gone) do
    redis.call('UNLINK', ARGV[6] .. id)
    redis.call('ZREM', index, id)
  end
end
"""

# One step. Of entries in the first index (and the second, if there is one), stored `older` ms ago or longer.
_PURGE = """
local until_ = '+inf'
if ARGV[2] ~= '' then
  local time = redis.call('TIME')
  until_ = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2]
end
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', until_, 'LIMIT', ARGV[3], ARGV[4])
local there, removed = 0, 0
for _, id in ipairs(ids) do
  if #KEYS == 1 or redis.call('ZSCORE', KEYS[2], id) then
    if ARGV[5] == '1' then
      there = there + redis.call('EXISTS', ARGV[1] .. id)
    else
      there = there + redis.call('UNLINK', ARGV[1] .. id)
      for at = 1, #KEYS do redis.call('ZREM', KEYS[at], id) end
      removed = removed + 1
    end
  end
end
return {#ids, removed, there}
"""


class RedisStore:
    """An `ExactStore`. Raises `StoreDown`. Beyond `MOST_ENTRIES` the oldest go; when Redis itself is full, its own
    `maxmemory-policy` holds. A route's `max_entries`, `max_bytes` and `evict` are for memory stores."""

    def __init__(
        self,
        link: RedisLink,
        route: str,
        *,
        prefix: str = "tidegate",
        max_entries: int = MOST_ENTRIES,
        longest: float = 366 * 86400.0,
    ) -> None:
        """The route's name is hashed, so that no character in it has a meaning in a pattern. `longest`: seconds that any
        entry lives; older ones are ended, whatever TTL they were given."""
        self._link = link
        self.prefix = f"{prefix}:exact:{digest(route)[:12]}:"
        self._bounds = (round(longest * 1000), max_entries, self.prefix)
        self._put = Script(link, _PUT)
        self._purge = Script(link, _PURGE)
        self._reads = 0

    async def get(self, id: str) -> bytes | None:
        self._reads += 1
        value = await self._link.call(b"GET", self.prefix + id)
        return value if isinstance(value, bytes) else None

    async def put(self, id: str, value: bytes, ttl: float, labels: Labels = UNLABELLED) -> None:
        keys = [self.prefix + id, self._index(), self._index(tenant=labels.tenant)]
        keys += [self._index(tag=tag) for tag in labels.tags]
        await self._put(keys, (id, value, max(1, round(ttl * 1000)), *self._bounds))

    async def delete(self, id: str) -> bool:
        """Its place in the indices goes with its age."""
        return await self._link.call(b"UNLINK", self.prefix + id, budget=_ADMIN_BUDGET) == 1

    async def purge(self, which: Which = ALL, *, dry_run: bool = False) -> int:
        """In steps, so that Redis serves others between them. An entry written meanwhile may stay."""
        if which.all:
            return await self._purge_all(dry_run)
        indices = [self._index(tag=which.tag)] if which.tag is not None else []
        indices += [self._index(tenant=which.tenant)] if which.tenant is not None else []
        indices = indices or [self._index()]
        older = "" if which.older_than is None else round(which.older_than * 1000)
        at, count, steps = 0, 0, MOST_ENTRIES // _BATCH
        for _ in range(steps):
            reply = await self._purge(indices, (self.prefix, older, at, _BATCH, int(dry_run)), budget=_ADMIN_BUDGET)
            seen, removed, there = reply if isinstance(reply, list) else (0, 0, 0)
            assert isinstance(seen, int) and isinstance(removed, int) and isinstance(there, int)  # noqa: PT018
            count += there
            at += seen - removed
            if seen < _BATCH:
                break
        return count

    async def _purge_all(self, dry_run: bool) -> int:
        """Over all keys and not over an index, so that nothing is left whatever happened to the indices. (While Redis
        grows its table, SCAN may tell a key twice; then a dry run counts it twice.)"""
        cursor: bytes | None = None
        count = 0
        while cursor != b"0":
            reply = await self._link.call(
                b"SCAN", cursor or b"0", b"MATCH", self.prefix + "[ei]*", b"COUNT", _BATCH, budget=_ADMIN_BUDGET
            )
            assert isinstance(reply, list), "SCAN answers with a cursor and keys"
            cursor, keys = _scanned(reply)
            entries = [key for key in keys if not key.startswith(self._index().encode())]
            if dry_run:
                count += len(entries)
                continue
            if entries:
                gone = await self._link.call(b"UNLINK", *entries, budget=_ADMIN_BUDGET)
                count += gone if isinstance(gone, int) else 0
            if len(keys) > len(entries):
                await self._link.call(b"UNLINK", *(set(keys) - set(entries)), budget=_ADMIN_BUDGET)
        return count

    async def sweep(self) -> None:
        """Redis does it."""

    async def close(self) -> None:
        """The link is shared; whoever made it closes it."""

    def stats(self) -> Mapping[str, float]:
        return {"reads": self._reads}

    def _index(self, *, tenant: str | None = None, tag: str | None = None) -> str:
        """Names are hashed: whatever a client calls its tags, no key looks like another's."""
        if tenant is not None:
            return f"{self.prefix}index:tenant:{digest(tenant)[:24]}"
        return f"{self.prefix}index:tag:{digest(tag)[:24]}" if tag is not None else f"{self.prefix}index"


def _scanned(reply: Sequence[object]) -> tuple[bytes, list[bytes]]:
    cursor, keys = reply
    assert isinstance(cursor, bytes)
    assert isinstance(keys, list)
    return cursor, [key for key in keys if isinstance(key, bytes)]
