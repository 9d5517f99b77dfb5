"""Making the caches forget, and telling them what was wrong: here, in what is shared, and in the other processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from cache.news import News, Told
from cache.shadow import Shadow
from cache.store_build import Purged, Stores
from cache.stores import ALL, StoreDown, Which
from gateway.core.fingerprint import keyed

if TYPE_CHECKING:
    from cache.backends.redis_link import RedisLink
    from cache.backends.redis_news import RedisBoard

Known = Literal["known", "passed_on", "unknown"]
"""Of a verdict: this process has seen that hit; the others are asked, over Redis; nobody can be asked."""


class Forgetting:
    """One process's. `shadows` by route."""

    def __init__(self, stores: Stores, shadows: Mapping[str, Shadow], redis: RedisLink | None, secret: bytes) -> None:
        self._stores = stores
        self._shadows = shadows
        self._news = News(_board(redis, secret), self._heard) if redis is not None else None

    async def start(self) -> None:
        await self.refresh()
        if self._news is not None:
            await self._news.start()

    async def close(self) -> None:
        if self._news is not None:
            await self._news.close()

    async def purge(self, owner: str | None, which: Which, *, dry_run: bool) -> dict[str, Purged]:
        """`owner`: a route, `tool:NAME`, or None for all."""
        told = self._news is not None
        if self._news is not None and not dry_run:
            fields = {"tag": which.tag, "tenant": which.tenant, "older_than": which.older_than}
            told = await self._news.tell("purge", owner=owner, **fields)
        return await self._stores.purge(owner, which, dry_run=dry_run, told=told)

    async def evict(self, id: str) -> bool:
        """Whether there was such an entry here or in what is shared. Raises StoreDown."""
        if self._news is not None:
            await self._news.tell("evict", id=id[:64])
        return await self._stores.evict(id)

    async def judge(self, id: str, right: bool) -> Known:
        """A person's word on a semantic hit, served or in shadow: `id` is the exchange's or the entry's. Raises
        StoreDown."""
        if await self._judged(id, right):
            return "known"
        told = (
            bool(self._shadows) and self._news is not None and await self._news.tell("verdict", id=id[:64], right=right)
        )
        return "passed_on" if told else "unknown"

    async def refresh(self) -> None:
        """Evidence that is kept somewhere is read again: other processes add to it. Without, what is known here stays."""
        await asyncio.gather(*(shadow.refresh() for shadow in self._shadows.values()), return_exceptions=True)
        for shadow in self._shadows.values():
            for id in shadow.evidence.struck():
                await self._stores.evict_here(id)

    async def _judged(self, id: str, right: bool) -> bool:
        known = False
        for route, shadow in self._shadows.items():
            if await shadow.verdict(id, right):
                known = True
                if self._news is not None:
                    await self._news.tell("judged", owner=route)
        return known

    async def _heard(self, told: Told | None) -> None:
        """Another process's news, for what this process alone holds or knows; None: some were missed."""
        with contextlib.suppress(StoreDown):
            if told is None:
                await self._stores.purge_here(None, ALL)
                await self.refresh()
            elif told.what == "purge":
                await self._stores.purge_here(told.owner, told.which)
            elif told.what == "evict":
                await self._stores.evict_here(told.id)
            elif told.what == "verdict":
                await self._judged(told.id, told.right)
            else:
                await self.refresh()


def _board(redis: RedisLink, secret: bytes) -> RedisBoard:
    """Of all processes that share Redis and the secret."""
    from cache.backends.redis_news import RedisBoard

    return RedisBoard(redis, keyed(secret, "news")[:16])
