"""From configuration to the parts of each route's caches, and their life: started, swept, emptied, closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cache.backends.memory import MemoryStore
from cache.config import CacheConfig, ExactConfig, SemanticConfig, is_server, kept_on_disk
from cache.eligible import Limits
from cache.exact import ExactCache
from cache.key import Keyer
from cache.policy import OnlyIfCached
from cache.semantic import SemanticCache
from cache.shared import Elsewhere
from cache.singleflight import Coalesce, Flights
from cache.stores import ExactStore, StoreDown, VectorStore
from cache.tap import CacheTap, Shelf
from cache.writer import Writer
from gateway.core.breaker import Breaker
from gateway.core.clock import Clock
from gateway.core.fingerprint import digest
from gateway.core.ports import Decider, Embed, Transform

if TYPE_CHECKING:
    from cache.backends.qdrant_server import QdrantLink
    from cache.backends.redis_link import RedisLink

_SWEEP_EVERY = 30.0


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
    ) -> None:
        self._secret = secret
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
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens what is kept on disk. Raises OSError if that cannot be used; Redis and Qdrant may be down."""
        for store in self._vectors.values():
            await store.start()
        await self.writer.start()
        self._sweeper = asyncio.create_task(self._sweep(), name="cache-sweeper")

    async def close(self) -> None:
        """Writes what is queued, for at most five seconds, then closes all."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self.writer.close()
        for flights in self._flights.values():
            if flights.elsewhere is not None:
                await flights.elsewhere.close()
        for store in self._stores():
            await store.close()
        if self._server is not None:
            await self._server.close()
        if self.redis is not None:
            await self.redis.close()

    async def purge(self, route: str | None = None) -> int:
        """Forgets all entries of one route, or of all; how many. Raises KeyError for an unknown route, StoreDown."""
        names = list(self.routes) if route is None else [route]
        if route is not None and route not in self.routes:
            raise KeyError(route)
        count = 0
        for name in names:
            for store in self._stores_of(name):
                count += await store.purge()
        return count

    async def evict(self, id: str) -> bool:
        """Forgets the entry that a client saw as `x-tidegate-cache-id`; whether there was one. Raises StoreDown."""
        stores: dict[str, Mapping[str, ExactStore | VectorStore]] = {"e-": self._exact, "s-": self._vectors}
        held = stores.get(id[:2], {})
        if len(id) != 34 or not set(id[2:]) <= set("0123456789abcdef"):
            return False
        return any([await store.delete(id) for store in held.values()])

    def stats(self) -> dict[str, Mapping[str, float]]:
        """Gauges and counters: `{"default.exact": {"entries": ...}, "writer": {...}, "redis": {...}}`."""
        stats: dict[str, Mapping[str, float]] = {"writer": self.writer.stats()}
        stats |= {f"{name}.exact": store.stats() for name, store in self._exact.items()}
        stats |= {f"{name}.semantic": store.stats() for name, store in self._vectors.items()}
        stats |= {f"{name}.coalescing": flights.stats() for name, flights in self._flights.items()}
        if self.redis is not None:
            stats["redis"] = self.redis.stats()
        return stats

    def add(self, name: str, config: CacheConfig) -> None:
        """Makes one route's parts."""
        keyer = Keyer(self._secret, config.partition)
        exact: Decider | None = None
        semantic: Decider | None = None
        if config.exact is not None:
            store = self._exact[name] = self._exact_store(name, config.exact)
            exact = ExactCache(keyer, store)
            self._flights[name] = Flights(self._elsewhere(store))
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
        )
        tap = CacheTap(shelf, self.writer) if config.used else None
        coalesce = Coalesce(self._flights[name]) if name in self._flights else None
        self.routes[name] = RouteCache(exact, semantic, tap, coalesce)

    def _semantic(self, name: str, config: CacheConfig, semantic: SemanticConfig, keyer: Keyer) -> Decider:
        embed = self._embed
        if embed is None:
            raise ValueError(f"routes.{name}.cache.semantic: needs the embedding model, and none is there")
        store = self._vectors[name] = self._vector_store(name, semantic, embed)
        return SemanticCache(
            keyer,
            store,
            embed,
            self._embed_breaker,
            threshold=semantic.threshold,
            limits=Limits(scope=config.partition, max_temperature=semantic.max_temperature),
            embed_budget=self._embed_budget,
        )

    def _exact_store(self, route: str, config: ExactConfig) -> ExactStore:
        if self.redis is None:
            return MemoryStore(
                self._clock, max_entries=config.max_entries, max_bytes=config.max_bytes, evict=config.evict
            )
        from cache.backends.redis_store import RedisStore

        return RedisStore(self.redis, route)

    def _elsewhere(self, store: ExactStore) -> Elsewhere | None:
        """The other processes that share this store."""
        if self.redis is None:
            return None
        from cache.backends.redis_lease import RedisLeases
        from cache.backends.redis_store import RedisStore

        assert isinstance(store, RedisStore), "with Redis every exact cache is there"
        return Elsewhere(RedisLeases(self.redis, store.prefix))

    def _vector_store(self, route: str, config: SemanticConfig, embed: Embed) -> VectorStore:
        """numpy and the Qdrant client are loaded only where a route needs them: 25 and 54 MB."""
        entries = config.max_entries
        if is_server(self._qdrant):
            from cache.backends.qdrant_server import QdrantLink, QdrantServer

            if self._server is None:
                self._server = QdrantLink(self._qdrant)
            return QdrantServer(
                self._server.client, self._clock, route=route, encoder=embed.id, dim=embed.dim, max_entries=entries
            )
        sizes: dict[str, Any] = {"dim": embed.dim, "max_entries": entries, "max_bytes": config.max_bytes}
        if kept_on_disk(self._qdrant):
            from cache.backends.vector_disk import VectorDisk

            file = Path(self._qdrant) / f"semantic-{digest(route)[:12]}.sqlite"
            return VectorDisk(file, self._clock, encoder=embed.id, **sizes)
        from cache.backends.vector_memory import VectorMemory

        return VectorMemory(self._clock, **sizes)

    def _stores(self) -> list[ExactStore | VectorStore]:
        return [*self._exact.values(), *self._vectors.values()]

    def _stores_of(self, route: str) -> list[ExactStore | VectorStore]:
        stores: list[ExactStore | VectorStore | None] = [self._exact.get(route), self._vectors.get(route)]
        return [store for store in stores if store is not None]

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            for store in self._stores():
                with contextlib.suppress(StoreDown):
                    await store.sweep()


def build(
    routes: Mapping[str, CacheConfig | None],
    *,
    secret: bytes,
    clock: Clock,
    redis: str | None = None,
    qdrant: str = ":memory:",
    embed: Embed | None = None,
    embed_budget: float = 0.15,
) -> Caches:
    """The caches of all routes; `caches.routes[name]` has the parts of one.

    `secret`: at least 16 bytes; the same in every process that shares Redis or Qdrant, or they share nothing.
    `embed_budget`: seconds after which a question that is not embedded yet is a miss. Raises
    ValueError for a URL that cannot be read, and for a semantic cache without `embed`.
    """
    caches = Caches(secret, clock, redis=redis, qdrant=qdrant, embed=embed, embed_budget=embed_budget)
    for name, config in routes.items():
        caches.add(name, config or CacheConfig())
    return caches


def _link(url: str, clock: Clock) -> RedisLink:
    from cache.backends.redis_link import RedisLink

    return RedisLink(url, clock)
