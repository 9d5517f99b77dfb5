"""From configuration to the parts of each route's caches, and their life: started, swept, emptied, closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cache.backends.memory import MemoryStore
from cache.backends.near import NearStore
from cache.config import CacheConfig, ExactConfig, SemanticConfig, is_server
from cache.eligible import Limits
from cache.exact import ExactCache
from cache.key import Keyer
from cache.policy import OnlyIfCached
from cache.semantic import SemanticCache
from cache.shadow import Shadow
from cache.shadow_build import shadow_of
from cache.shared import Elsewhere
from cache.singleflight import Coalesce, Flights
from cache.stores import ALL, ExactStore, StoreDown, VectorStore, Which
from cache.tap import JITTER, CacheTap, Shelf
from cache.vector_build import vector_store
from cache.verifier import verifier_for
from cache.writer import Writer
from gateway.core.breaker import Breaker
from gateway.core.clock import Clock
from gateway.core.ports import Decider, Embed, Transform

if TYPE_CHECKING:
    from cache.backends.qdrant_server import QdrantLink
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


class Purged(msgspec.Struct, frozen=True):
    """What a purge did to one store. `failed`: why it could not be asked, or empty."""

    count: int
    shared: bool
    """By all processes; else it is this process's own, and the others keep what they have."""
    failed: str = ""


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
        self.writer = Writer()
        self.redis: RedisLink | None = _link(redis, clock) if redis else None
        """The multiplexed connection, for others who need one; None without Redis."""
        self._server: QdrantLink | None = None
        self._exact: dict[str, ExactStore] = {}
        self._flights: dict[str, Flights] = {}
        self._vectors: dict[str, VectorStore] = {}
        self._shadows: dict[str, Shadow] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens what is kept on disk. Raises OSError if that cannot be used; Redis and Qdrant may be down."""
        for store in self._vectors.values():
            await store.start()
        await self._refresh()
        await self.writer.start()
        self._sweeper = asyncio.create_task(self._sweep(), name="cache-sweeper")

    async def close(self) -> None:
        """Writes what is queued, for at most five seconds, then closes all."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self.writer.close()
        for shadow in self._shadows.values():
            await shadow.close()
        for flights in self._flights.values():
            if flights.elsewhere is not None:
                await flights.elsewhere.close()
        for store in self._stores():
            await store.close()
        if self._server is not None:
            await self._server.close()
        if self.redis is not None:
            await self.redis.close()

    async def purge(self, route: str | None = None, which: Which = ALL, *, dry_run: bool = False) -> dict[str, Purged]:
        """Forgets the entries of one route, or of all, that fit; by store (`default.exact`). A store that is down is told
        as such, and the others are purged all the same. Raises KeyError for an unknown route."""
        if route is not None and route not in self.routes:
            raise KeyError(route)
        told = {}
        for name, store, shared in self._named():
            if route is None or name.rpartition(".")[0] == route:
                try:
                    told[name] = Purged(await store.purge(which, dry_run=dry_run), shared)
                except StoreDown as error:
                    told[name] = Purged(0, shared, error.why)
        return told

    async def evict(self, id: str) -> bool:
        """Forgets the entry that a client saw as `x-tidegate-cache-id`; whether there was one. Raises StoreDown."""
        stores: dict[str, Mapping[str, ExactStore | VectorStore]] = {"e-": self._exact, "s-": self._vectors}
        held = stores.get(id[:2], {})
        if len(id) != 34 or not set(id[2:]) <= set("0123456789abcdef"):
            return False
        return any([await store.delete(id) for store in held.values()])

    async def verdict(self, id: str, right: bool) -> bool:
        """A person's word on a semantic hit, served or in shadow: `id` is the exchange's or the entry's. False if this
        process knows of no such hit (any more). Raises StoreDown."""
        return any([await shadow.verdict(id, right) for shadow in self._shadows.values()])

    def stats(self) -> dict[str, Mapping[str, float]]:
        """Gauges and counters: `{"default.exact": {"entries": ...}, "writer": {...}, "redis": {...}}`."""
        stats: dict[str, Mapping[str, float]] = {"writer": self.writer.stats()}
        stats |= {f"{name}.exact": store.stats() for name, store in self._exact.items()}
        stats |= {f"{name}.semantic": store.stats() for name, store in self._vectors.items()}
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
        if config.exact is not None:
            store, elsewhere = self._exact_store(name, config.exact)
            self._exact[name] = store
            exact = ExactCache(keyer, store)
            self._flights[name] = Flights(elsewhere)
        if config.semantic is not None:
            semantic = self._semantic(name, config, config.semantic, keyer)
        if semantic is not None:
            semantic = OnlyIfCached(semantic)
        else:
            exact = OnlyIfCached(exact)
        shelf = Shelf(
            self._exact.get(name),
            config.exact.ttl if config.exact is not None else 0.0,
            self._vectors.get(name),
            config.semantic.ttl if config.semantic is not None else 0.0,
            self._flights.get(name),
            config.tags,
            self._shadows.get(name),
        )
        tap = CacheTap(shelf, self.writer) if config.used else None
        coalesce = Coalesce(self._flights[name]) if name in self._flights else None
        self.routes[name] = RouteCache(exact, semantic, tap, coalesce)

    def _semantic(self, name: str, config: CacheConfig, semantic: SemanticConfig, keyer: Keyer) -> Decider:
        embed = self._embed
        if embed is None:
            raise ValueError(f"routes.{name}.cache.semantic: needs the embedding model, and none is there")
        store = self._vectors[name] = vector_store(name, semantic, embed, self._clock, self._qdrant, self._link)
        shadow = self._shadows[name] = shadow_of(
            name, semantic, embed, store, redis=self.redis, qdrant=self._qdrant, base=self._base
        )
        return SemanticCache(
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

    def _exact_store(self, route: str, config: ExactConfig) -> tuple[ExactStore, Elsewhere | None]:
        """The store, and the other processes that share it."""
        if self.redis is None:
            memory = MemoryStore(
                self._clock,
                max_entries=config.max_entries,
                max_bytes=config.max_bytes,
                evict=config.evict,
                max_bytes_per_tenant=config.max_bytes_per_tenant,
            )
            return memory, None
        from cache.backends.redis_lease import RedisLeases
        from cache.backends.redis_store import RedisStore

        store = RedisStore(self.redis, route, longest=config.ttl * (1 + JITTER) + 1)
        elsewhere = Elsewhere(RedisLeases(self.redis, store.prefix))
        if config.near is None:
            return store, elsewhere
        near = MemoryStore(self._clock, max_entries=config.near.max_entries, max_bytes=config.max_bytes)
        return NearStore(near, store, config.near.ttl), elsewhere

    def _link(self) -> QdrantLink:
        from cache.backends.qdrant_server import QdrantLink

        if self._server is None:
            self._server = QdrantLink(self._qdrant)
        return self._server

    def _stores(self) -> list[ExactStore | VectorStore]:
        return [*self._exact.values(), *self._vectors.values()]

    def _named(self) -> list[tuple[str, ExactStore | VectorStore, bool]]:
        """Every store, its name, and whether other processes share it."""
        exact: list[tuple[str, ExactStore | VectorStore, bool]] = [
            (f"{route}.exact", store, self.redis is not None) for route, store in self._exact.items()
        ]
        return exact + [(f"{route}.semantic", store, is_server(self._qdrant)) for route, store in self._vectors.items()]

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            for store in self._stores():
                with contextlib.suppress(StoreDown):
                    await store.sweep()
            await self._refresh()

    async def _refresh(self) -> None:
        """Evidence that is kept somewhere is read again: other processes add to it. Without, what is known here stays."""
        await asyncio.gather(*(shadow.refresh() for shadow in self._shadows.values()), return_exceptions=True)


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
) -> Caches:
    """The caches of all routes; `caches.routes[name]` has the parts of one.

    `secret`: at least 16 bytes; the same in every process that shares Redis or Qdrant, or they share nothing.
    `base`: the folder that evidence files are named from.
    `embed_budget`: seconds after which a question that is not embedded yet is a miss. Raises
    ValueError for a URL that cannot be read, and for a semantic cache without `embed`.
    """
    caches = Caches(secret, clock, redis=redis, qdrant=qdrant, embed=embed, embed_budget=embed_budget, base=base)
    for name, config in routes.items():
        caches.add(name, config or CacheConfig())
    return caches


def _link(url: str, clock: Clock) -> RedisLink:
    from cache.backends.redis_link import RedisLink

    return RedisLink(url, clock)
