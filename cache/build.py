"""From configuration to the parts of each route's caches, and their life: started, swept, emptied, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cache.config import CacheConfig, SemanticConfig
from cache.eligible import Limits
from cache.exact import ExactCache
from cache.forget import Forgetting, Known
from cache.key import Keyer
from cache.policy import OnlyIfCached
from cache.semantic import SemanticCache
from cache.shadow import Shadow
from cache.shadow_build import shadow_of
from cache.singleflight import Coalesce, Flights
from cache.store_build import Purged, Stores
from cache.stores import ALL, ExactStore, VectorStore, Which
from cache.tap import CacheTap, Shelf
from cache.tool_config import ToolCacheConfig, owner_name
from cache.tools import Embedding, ExactTool, SemanticTool, ToolCache
from cache.verifier import verifier_for
from cache.writer import Writer
from gateway.core.breaker import Breaker
from gateway.core.clock import Clock
from gateway.core.ports import Decider, Embed, Transform

if TYPE_CHECKING:
    from cache.backends.redis_link import RedisLink

_SWEEP_EVERY = 30.0
EMBED_BUDGET = 0.15
"""Seconds for a question to be embedded on this machine; after it, it is a miss."""


class RouteCache(msgspec.Struct, frozen=True):
    """One route's parts, for the pipeline's list. `exact` is set on every route: without caches it only keeps the
    promise of `only-if-cached`."""

    exact: Decider | None
    semantic: Decider | None
    tap: Transform | None
    coalesce: Decider | None = None


class Caches:
    """All caches of one process."""

    def __init__(
        self,
        secret: bytes,
        clock: Clock,
        *,
        redis: str | None,
        qdrant: str,
        embed: Embed | None,
        embed_budget: float,
        base: Path,
    ) -> None:
        self._secret = secret
        self._base = base
        self._clock = clock
        self._qdrant = qdrant
        self._embed = embed
        self._embed_budget = embed_budget
        self._embed_breaker = Breaker(clock)
        self.routes: dict[str, RouteCache] = {}
        self.tools: dict[str, ToolCache] = {}
        """By namespace."""
        self.writer = Writer()
        self.redis: RedisLink | None = _link(redis, clock) if redis else None
        """The multiplexed connection, for others who need one; None without Redis."""
        self._stores = Stores(clock, self.redis, qdrant)
        self._flights: dict[str, Flights] = {}
        self._shadows: dict[str, Shadow] = {}
        self._forgetting = Forgetting(self._stores, self._shadows, self.redis, secret)
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens what is kept on disk. Raises OSError if that cannot be used; Redis and Qdrant may be down."""
        await self._stores.start()
        await self._forgetting.start()
        await self.writer.start()
        self._sweeper = asyncio.create_task(self._sweep(), name="cache-sweeper")

    async def close(self) -> None:
        """Writes what is queued, for at most five seconds, then closes all."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self._forgetting.close()
        await self.writer.close()
        for shadow in self._shadows.values():
            await shadow.close()
        for flights in self._flights.values():
            if flights.elsewhere is not None:
                await flights.elsewhere.close()
        await self._stores.close()
        if self.redis is not None:
            await self.redis.close()

    async def purge(
        self, route: str | None = None, which: Which = ALL, *, dry_run: bool = False, namespace: str | None = None
    ) -> dict[str, Purged]:
        """Forgets the entries of one route, one namespace, or of all, that fit; by store (`default.exact`). A store that is
        down is told as such, and the others are purged all the same. Raises KeyError for an unknown name."""
        if namespace is not None:
            self.tools[namespace]
            route = owner_name(namespace)
        elif route is not None:
            self.routes[route]
        return await self._forgetting.purge(route, which, dry_run=dry_run)

    async def evict(self, id: str) -> bool:
        """Forgets the entry that a client saw as `x-tidegate-cache-id`; whether there was one. Raises StoreDown."""
        return await self._forgetting.evict(id)

    async def verdict(self, id: str, right: bool) -> bool:
        """As `judge`: whether this process knew of the hit."""
        return await self.judge(id, right) == "known"

    async def judge(self, id: str, right: bool) -> Known:
        """A person's word on a semantic hit, served or in shadow: `id` is the exchange's or the entry's. Raises
        StoreDown."""
        return await self._forgetting.judge(id, right)

    def stats(self) -> dict[str, Mapping[str, float]]:
        """Gauges and counters: `{"default.exact": {"entries": ...}, "writer": {...}, "redis": {...}}`."""
        stats: dict[str, Mapping[str, float]] = {"writer": self.writer.stats()}
        stats |= self._stores.stats()
        stats |= {f"{name}.coalescing": flights.stats() for name, flights in self._flights.items()}
        stats |= {f"{name}.evidence": shadow.evidence.stats() for name, shadow in self._shadows.items()}
        if self.redis is not None:
            stats["redis"] = self.redis.stats()
        return stats

    def add(self, name: str, config: CacheConfig) -> None:
        """Makes one route's parts."""
        keyer = Keyer(self._secret, config.partition)
        exact: Decider | None = None
        semantic: Decider | None = None
        shelved: ExactStore | None = None
        vectors: VectorStore | None = None
        if config.exact is not None:
            shelved, elsewhere = self._stores.exact(name, config.exact, name)
            exact = ExactCache(keyer, shelved)
            self._flights[name] = Flights(elsewhere)
        if config.semantic is not None:
            vectors, semantic = self._semantic(name, config, config.semantic, keyer)
            semantic = OnlyIfCached(semantic)
        else:
            exact = OnlyIfCached(exact)
        shelf = Shelf(
            shelved,
            config.exact.ttl if config.exact is not None else 0.0,
            vectors,
            config.semantic.ttl if config.semantic is not None else 0.0,
            self._flights.get(name),
            config.tags,
            self._shadows.get(name),
        )
        tap = CacheTap(shelf, self.writer) if config.used else None
        coalesce = Coalesce(self._flights[name]) if name in self._flights else None
        self.routes[name] = RouteCache(exact, semantic, tap, coalesce)

    def add_tool(self, namespace: str, config: ToolCacheConfig, secrets: Callable[[str], bool]) -> None:
        """Makes one namespace. Its place in what is shared has a character that no route's name can have."""
        keyer, place = Keyer(self._secret, config.partition), f"tool\0{namespace}"
        if config.kind == "exact":
            store, _ = self._stores.exact(owner_name(namespace), config.exact(), place)
            self.tools[namespace] = ExactTool(namespace, config, keyer, store, secrets)
            return
        if self._embed is None:
            raise ValueError(f"tool_caches.{namespace}: needs the embedding model, and none is there")
        vectors = self._stores.vectors(owner_name(namespace), config.semantic(), self._embed, place)
        embed = Embedding(self._embed, self._embed_breaker, self._embed_budget)
        self.tools[namespace] = SemanticTool(namespace, config, keyer, vectors, embed, secrets)

    def _semantic(
        self, name: str, config: CacheConfig, semantic: SemanticConfig, keyer: Keyer
    ) -> tuple[VectorStore, Decider]:
        embed = self._embed
        if embed is None:
            raise ValueError(f"routes.{name}.cache.semantic: needs the embedding model, and none is there")
        store = self._stores.vectors(name, semantic, embed, name)
        shadow = self._shadows[name] = shadow_of(
            name, semantic, embed, store, redis=self.redis, qdrant=self._qdrant, base=self._base
        )
        return store, SemanticCache(
            keyer,
            store,
            embed,
            self._embed_breaker,
            shadow,
            threshold=semantic.threshold,
            sample=semantic.verify_sample,
            verifier=verifier_for(embed.id),
            limits=Limits(scope=config.partition, max_temperature=semantic.max_temperature),
            embed_budget=self._embed_budget,
        )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            await self._stores.sweep()
            await self._forgetting.refresh()


def build(
    routes: Mapping[str, CacheConfig | None],
    *,
    secret: bytes,
    clock: Clock,
    redis: str | None = None,
    qdrant: str = ":memory:",
    embed: Embed | None = None,
    embed_budget: float = EMBED_BUDGET,
    base: Path = Path(),
    tools: Mapping[str, ToolCacheConfig] = {},
    secrets: Callable[[str], bool] = lambda _text: False,
) -> Caches:
    """The caches of all routes; `caches.routes[name]` has the parts of one. `tools`: namespaces for applications' own
    values; `secrets`: whether a text holds a credential.

    `secret`: at least 16 bytes; the same in every process that shares Redis or Qdrant, or they share nothing.
    `base`: the folder that evidence files are named from.
    `embed_budget`: seconds after which a question that is not embedded yet is a miss. Raises
    ValueError for a URL that cannot be read, and for a semantic cache without `embed`.
    """
    caches = Caches(secret, clock, redis=redis, qdrant=qdrant, embed=embed, embed_budget=embed_budget, base=base)
    for name, config in routes.items():
        caches.add(name, config or CacheConfig())
    for namespace, tool in tools.items():
        caches.add_tool(namespace, tool, secrets)
    return caches


def _link(url: str, clock: Clock) -> RedisLink:
    from cache.backends.redis_link import RedisLink

    return RedisLink(url, clock)
