"""The vector store in a Qdrant server, shared by all workers and replicas. One collection a route and encoder.

Import this module only where it is used: qdrant_client costs 54 MB of memory.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import numpy as np
from qdrant_client import AsyncQdrantClient, models

from cache.breaker import guarded
from cache.stores import ALL, UNLABELLED, Labels, Near, StoreDown, Which
from gateway.core.breaker import Breaker
from gateway.core.clock import Clock
from gateway.core.fingerprint import digest

T = TypeVar("T")

_WRITE_BUDGET = 2.0
_AT_ONCE = 1000
"""Most entries evicted by one sweep."""


class QdrantLink:
    """The client of one process, shared by its routes. Connects on first use."""

    def __init__(self, url: str) -> None:
        """`url`: `http(s)://[:api-key@]host[:port]`."""
        parts = urlsplit(url)
        key = unquote(parts.password) if parts.password else None
        host = parts.hostname or "localhost"
        bare = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or 6333}{parts.path}"
        self.client = AsyncQdrantClient(url=bare, api_key=key, timeout=5, check_compatibility=False)

    async def close(self) -> None:
        await self.client.close()


class QdrantServer:
    """A `VectorStore`. The filter runs in Qdrant; the caller compares the partition again. Raises `StoreDown`.

    `max_entries` is kept by `sweep`, oldest first, so the collection may be above it by a tenth between two sweeps.
    """

    def __init__(
        self,
        client: AsyncQdrantClient,
        clock: Clock,
        *,
        route: str,
        encoder: str,
        dim: int,
        max_entries: int,
        budget: float = 0.05,
    ) -> None:
        self._client = client
        self._clock = clock
        self._name = f"tidegate-{digest([route, encoder])[:16]}"
        self._dim = dim
        self._max_entries = max_entries
        self._budget = budget
        self._breaker = Breaker(clock)
        self._ready = False
        self._making: asyncio.Task[None] | None = None
        self._entries = 0
        self._since_sweep = 0
        self._evicted = 0

    async def start(self) -> None:
        """Nothing yet: the collection is made on first use, since the server may be down when we start."""

    async def search(self, partition: str, vector: np.ndarray[Any, Any], limit: int, floor: float) -> list[Near]:
        async def ask() -> list[Near]:
            reply = await self._client.query_points(
                self._name,
                query=vector.tolist(),
                query_filter=_live(partition, self._now()),
                limit=limit,
                score_threshold=floor,
                with_payload=True,
            )
            return [_near(point) for point in reply.points if (point.payload or {}).get("partition") == partition]

        return await self._guarded(self._budget, ask)

    async def put(
        self,
        partition: str,
        id: str,
        vector: np.ndarray[Any, Any],
        payload: bytes,
        ttl: float,
        labels: Labels = UNLABELLED,
    ) -> None:
        now = self._now()
        point = models.PointStruct(
            id=_uuid(id),
            vector=vector.tolist(),
            payload={
                "partition": partition,
                "created": now,
                "expires": now + ttl,
                "tenant": labels.tenant,
                "tags": list(labels.tags),
                "entry": base64.b64encode(payload).decode(),
            },
        )
        await self._guarded(_WRITE_BUDGET, lambda: self._client.upsert(self._name, [point]))
        self._since_sweep += 1
        if self._since_sweep * 10 > self._max_entries:
            await self.sweep()

    async def delete(self, id: str) -> bool:
        async def ask() -> bool:
            there = await self._client.retrieve(self._name, [_uuid(id)], with_payload=False)
            await self._client.delete(self._name, models.PointIdsList(points=[_uuid(id)]))
            return bool(there)

        return await self._guarded(_WRITE_BUDGET, ask)

    async def purge(self, which: Which = ALL, *, dry_run: bool = False) -> int:
        now = self._now()

        async def ask() -> int:
            fitting = _fitting(which, now)
            live = models.Filter(must=[*_listed(fitting), *_listed(_unexpired(now))])
            count = (await self._client.count(self._name, count_filter=live)).count
            if not dry_run:
                await self._client.delete(self._name, models.FilterSelector(filter=fitting))
                self._entries = max(0, self._entries - count)
            return count

        return await self._guarded(_WRITE_BUDGET, ask)

    async def sweep(self) -> None:
        async def ask() -> None:
            await self._client.delete(self._name, models.FilterSelector(filter=_expired(self._now())))
            self._entries = (await self._client.count(self._name)).count
            over = min(self._entries - self._max_entries, _AT_ONCE)
            if over > 0:
                oldest, _ = await self._client.scroll(
                    self._name, limit=over, order_by="created", with_payload=False, with_vectors=False
                )
                ids = [point.id for point in oldest]
                await self._client.delete(self._name, models.PointIdsList(points=ids))
                self._entries -= len(ids)
                self._evicted += len(ids)

        self._since_sweep = 0
        await self._guarded(_WRITE_BUDGET, ask)

    async def close(self) -> None:
        """The client is shared; whoever made it closes it."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    def stats(self) -> Mapping[str, float]:
        """`entries` as of the last sweep."""
        return {"entries": self._entries, "evicted": self._evicted, "breaker_open": float(self._breaker.open)}

    def _now(self) -> float:
        return self._clock.wall() / 1e9

    async def _guarded(self, budget: float, call: Callable[[], Awaitable[T]]) -> T:
        async def ready_then() -> T:
            if not self._ready:
                await self._made()
            return await call()

        try:
            return await guarded(self._breaker, budget, ready_then)
        except StoreDown as error:
            if error.__cause__ is not None:
                self._ready = False  # the collection may be gone with the server that had it
            raise

    async def _made(self) -> None:
        """Waits for the collection. Making it goes on when the caller's budget is spent, or it might never be made."""
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(), name="qdrant-collection")
        await asyncio.shield(self._making)

    async def _make(self) -> None:
        client, name = self._client, self._name
        if not await client.collection_exists(name):
            await client.create_collection(
                name, vectors_config=models.VectorParams(size=self._dim, distance=models.Distance.COSINE)
            )
        tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        await client.create_payload_index(name, "partition", tenant)
        for field in ("tenant", "tags"):
            await client.create_payload_index(name, field, models.PayloadSchemaType.KEYWORD)
        for field in ("created", "expires"):
            await client.create_payload_index(name, field, models.PayloadSchemaType.FLOAT)
        self._ready = True


def _live(partition: str, now: float) -> models.Filter:
    return models.Filter(
        must=[
            models.FieldCondition(key="partition", match=models.MatchValue(value=partition)),
            models.FieldCondition(key="expires", range=models.Range(gt=now)),
        ]
    )


def _expired(now: float) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="expires", range=models.Range(lte=now))])


def _unexpired(now: float) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="expires", range=models.Range(gt=now))])


def _fitting(which: Which, now: float) -> models.Filter:
    must: list[models.Condition] = []
    if which.tag is not None:
        must.append(models.FieldCondition(key="tags", match=models.MatchValue(value=which.tag)))
    if which.tenant is not None:
        must.append(models.FieldCondition(key="tenant", match=models.MatchValue(value=which.tenant)))
    if which.older_than is not None:
        must.append(models.FieldCondition(key="created", range=models.Range(lt=now - which.older_than)))
    return models.Filter(must=must)


def _listed(filter: models.Filter) -> list[models.Condition]:
    return filter.must if isinstance(filter.must, list) else []


def _near(point: models.ScoredPoint) -> Near:
    payload = point.payload or {}
    return Near(_id(point.id), point.score, base64.b64decode(payload.get("entry", "")))


def _uuid(id: str) -> str:
    """Qdrant takes UUIDs only; ours are 32 hex digits behind a kind."""
    return str(uuid.UUID(hex=id.removeprefix("s-")))


def _id(point: object) -> str:
    return "s-" + uuid.UUID(str(point)).hex
