"""All stores of one process: made as the configuration says, named, swept, emptied, closed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from cache.backends.memory import MemoryStore
from cache.backends.near import NearStore
from cache.config import ExactConfig, SemanticConfig, is_server, kept_on_disk
from cache.shared import Elsewhere
from cache.stores import ALL, ExactStore, StoreDown, VectorStore, Which
from cache.tap import JITTER
from gateway.core.clock import Clock
from gateway.core.fingerprint import digest
from gateway.core.ports import Embed

if TYPE_CHECKING:
    from cache.backends.qdrant_server import QdrantLink
    from cache.backends.redis_link import RedisLink


class Purged(msgspec.Struct, frozen=True):
    """What a purge did to one store. `failed`: why it could not be asked, or empty."""

    count: int
    shared: bool
    """By all processes, or they are told over Redis; else it is this process's own, and the others keep what they have."""
    failed: str = ""


class Owned(msgspec.Struct, frozen=True):
    """One store. `owner`: the route, or `tool:NAME`. `here`: the part that this process alone holds, None if there is none;
    `labelled`: what fits a purge can be told in that part, else all of it is forgotten."""

    owner: str
    kind: Literal["exact", "semantic"]
    store: ExactStore | VectorStore
    shared: bool
    here: ExactStore | VectorStore | None
    labelled: bool = True

    @property
    def name(self) -> str:
        return f"{self.owner}.{self.kind}"


class Stores:
    """Made once for a process. numpy and the Qdrant client are loaded only where a route needs them: 25 and 54 MB."""

    def __init__(self, clock: Clock, redis: RedisLink | None, qdrant: str) -> None:
        self._clock = clock
        self._redis = redis
        self._qdrant = qdrant
        self._link: QdrantLink | None = None
        self.all: list[Owned] = []

    def exact(self, owner: str, config: ExactConfig, place: str) -> tuple[ExactStore, Elsewhere | None]:
        """The store, and the other processes that share it. `place` names it in what is shared."""
        if self._redis is None:
            memory = MemoryStore(
                self._clock,
                max_entries=config.max_entries,
                max_bytes=config.max_bytes,
                evict=config.evict,
                max_bytes_per_tenant=config.max_bytes_per_tenant,
            )
            self.all.append(Owned(owner, "exact", memory, False, memory))
            return memory, None
        from cache.backends.redis_lease import RedisLeases
        from cache.backends.redis_store import RedisStore

        store = RedisStore(self._redis, place, longest=config.ttl * (1 + JITTER) + 1)
        elsewhere = Elsewhere(RedisLeases(self._redis, store.prefix))
        if config.near is None:
            self.all.append(Owned(owner, "exact", store, True, None))
            return store, elsewhere
        near = MemoryStore(self._clock, max_entries=config.near.max_entries, max_bytes=config.max_bytes)
        both = NearStore(near, store, config.near.ttl)
        self.all.append(Owned(owner, "exact", both, True, near, labelled=False))
        return both, elsewhere

    def vectors(self, owner: str, config: SemanticConfig, embed: Embed, place: str) -> VectorStore:
        """As `exact`. Each encoder has a place of its own."""
        shared = is_server(self._qdrant)
        store = self._vectors(config, embed, place)
        self.all.append(Owned(owner, "semantic", store, shared, None if shared else store))
        return store

    def _vectors(self, config: SemanticConfig, embed: Embed, place: str) -> VectorStore:
        entries = config.max_entries
        if is_server(self._qdrant):
            from cache.backends.qdrant_server import QdrantLink, QdrantServer

            if self._link is None:
                self._link = QdrantLink(self._qdrant)
            client = self._link.client
            return QdrantServer(client, self._clock, route=place, encoder=embed.id, dim=embed.dim, max_entries=entries)
        sizes: dict[str, Any] = {"dim": embed.dim, "max_entries": entries, "max_bytes": config.max_bytes}
        if kept_on_disk(self._qdrant):
            from cache.backends.vector_disk import VectorDisk

            file = Path(self._qdrant) / f"semantic-{digest(place)[:12]}.sqlite"
            return VectorDisk(file, self._clock, encoder=embed.id, **sizes)
        from cache.backends.vector_memory import VectorMemory

        return VectorMemory(self._clock, **sizes)

    async def start(self) -> None:
        """Raises OSError if what is kept on disk cannot be used."""
        for owned in self.all:
            if owned.kind == "semantic":
                await owned.store.start()  # type: ignore[union-attr]

    async def close(self) -> None:
        for owned in self.all:
            await owned.store.close()
        if self._link is not None:
            await self._link.close()

    async def sweep(self) -> None:
        for owned in self.all:
            with contextlib.suppress(StoreDown):
                await owned.store.sweep()

    async def purge(self, owner: str | None, which: Which, *, dry_run: bool, told: bool) -> dict[str, Purged]:
        """By store. One that is down is told as such, and the others are purged all the same. `told`: other processes will
        hear of it."""
        found = {}
        for owned in self.all:
            if owner is None or owned.owner == owner:
                try:
                    count = await owned.store.purge(which, dry_run=dry_run)
                    found[owned.name] = Purged(count, owned.shared or told)
                except StoreDown as error:
                    found[owned.name] = Purged(0, owned.shared or told, error.why)
        return found

    async def evict(self, id: str) -> bool:
        """Whether there was such an entry. Raises StoreDown."""
        return any([await owned.store.delete(id) for owned in self._of(id)])

    async def purge_here(self, owner: str | None, which: Which) -> None:
        """Of what this process alone holds."""
        for owned in self.all:
            if owned.here is not None and (owner is None or owned.owner == owner):
                await owned.here.purge(which if owned.labelled else ALL)

    async def evict_here(self, id: str) -> None:
        for owned in self._of(id):
            if owned.here is not None:
                await owned.here.delete(id)

    def stats(self) -> dict[str, Mapping[str, float]]:
        return {owned.name: owned.store.stats() for owned in self.all}

    def _of(self, id: str) -> list[Owned]:
        """The stores that entries of such an id are in."""
        kinds = {"e-": "exact", "s-": "semantic"}
        if len(id) != 34 or not set(id[2:]) <= set("0123456789abcdef"):
            return []
        return [owned for owned in self.all if owned.kind == kinds.get(id[:2])]
