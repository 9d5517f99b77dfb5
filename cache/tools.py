"""Caches for what applications compute themselves: results of tools, by arguments, and retrievals, by query.

The same stores as for answers, and nothing in common with them: the namespace is part of every key, of every partition,
and of the place where entries stand. The gateway runs no tools: an application asks before it does, and stores after.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from cache.breaker import guarded
from cache.eligible import unfit
from cache.key import Keyer, owner_of
from cache.stores import ExactStore, Labels, Near, VectorStore
from cache.tap import JITTER
from cache.text import normalise, read
from cache.tool_config import ToolCacheConfig
from cache.verifier import verifier_for
from cache.verify import floor_of, veto
from gateway.core.breaker import Breaker
from gateway.core.exchange import Exchange
from gateway.core.ports import Embed

if TYPE_CHECKING:
    import numpy as np

_CANDIDATES = 3
_AT_ONCE = 16 * 1024
"""Characters that are looked at for credentials on the event loop."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a value belongs to. `arguments` for an exact namespace, `query` for a semantic one; `context`: whatever else the
    value depends on (a corpus' version, filters, how many results)."""

    tool: str = ""
    arguments: Any = None
    query: str = ""
    context: Any = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A value that may be used. `age` in seconds; `value` is JSON, as it was stored."""

    id: str
    value: bytes
    age: float
    similarity: float | None = None
    score: float | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `key`: the whole key or the partition, compared again on reading."""

    key: str
    value: bytes
    created: float
    text: str = ""


class ToolCache(Protocol):
    """One namespace. Strings that are returned say why there is no value, or why it was not stored: rules' names. May raise
    `StoreDown`."""

    namespace: str
    config: ToolCacheConfig

    async def look(self, exchange: Exchange, asked: Asked, max_age: float | None) -> Found | str: ...

    async def keep(
        self, exchange: Exchange, asked: Asked, value: bytes, ttl: float, tags: tuple[str, ...]
    ) -> str | None:
        """None when it was stored."""
        ...


class Embedding(msgspec.Struct, frozen=True):
    """An encoder, behind the breaker that all caches share. `budget` in seconds."""

    embed: Embed
    breaker: Breaker
    budget: float

    async def of(self, text: str) -> np.ndarray[Any, Any]:
        """Shape (dim,). Raises StoreDown."""
        vectors = await guarded(self.breaker, self.budget, lambda: self.embed.embed([text]))
        vector: np.ndarray[Any, Any] = vectors[0]
        return vector


Secrets = Callable[[str], bool]
"""Whether a text holds a credential of a known form."""


class _Namespace:
    """What both kinds share."""

    def __init__(self, namespace: str, config: ToolCacheConfig, keyer: Keyer, secrets: Secrets) -> None:
        self.namespace = namespace
        self.config = config
        self._keyer = keyer
        self._secrets = secrets
        self._rng = random.Random()  # noqa: S311 - spreads expiry, guards nothing

    def _key(self, exchange: Exchange, **material: Any) -> str | None:
        """None where nobody known asks, or for arguments that canonical JSON cannot say."""
        owner = owner_of(exchange, self.config.partition)
        if owner is None:
            return None
        return self._keyer.of({"kind": "tool", "namespace": self.namespace, "owner": owner, **material})

    async def _unkept(self, asked: Asked, value: bytes) -> str | None:
        if len(value) > self.config.max_value:
            return "too_large"
        if self.config.refuse_secrets:
            text = f"{asked.query}\n{value.decode('utf-8')}"
            far = len(text) > _AT_ONCE  # 20 MB/s: nobody else waits for a large one
            if await asyncio.to_thread(self._secrets, text) if far else self._secrets(text):
                return "secrets"
        return None

    def _ttl(self, ttl: float) -> float:
        return min(ttl, self.config.ttl) * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def _labels(self, exchange: Exchange, tags: tuple[str, ...]) -> Labels:
        return Labels(exchange.principal.tenant, tuple(dict.fromkeys((*self.config.tags, *tags))))


class ExactTool(_Namespace):
    """A `ToolCache`: the same tool, the same arguments, whatever the order of their fields."""

    def __init__(
        self, namespace: str, config: ToolCacheConfig, keyer: Keyer, store: ExactStore, secrets: Secrets
    ) -> None:
        super().__init__(namespace, config, keyer, secrets)
        self._store = store

    async def look(self, exchange: Exchange, asked: Asked, max_age: float | None) -> Found | str:
        key = self._exact(exchange, asked)
        if key is None:
            return "no_key"
        id = "e-" + key[:32]
        data = await self._store.get(id)
        if data is None:
            return "miss"
        kept = unpack(data)
        if kept is None or kept.key != key:
            return "unreadable"
        age = _age(exchange, kept)
        return "max_age" if max_age is not None and age > max_age else Found(id=id, value=kept.value, age=age)

    async def keep(
        self, exchange: Exchange, asked: Asked, value: bytes, ttl: float, tags: tuple[str, ...]
    ) -> str | None:
        key = self._exact(exchange, asked)
        unkept = "no_key" if key is None else await self._unkept(asked, value)
        if key is None or unkept is not None:
            return unkept
        data = pack(Kept(key=key, value=value, created=exchange.clock.wall() / 1e9))
        await self._store.put("e-" + key[:32], data, self._ttl(ttl), self._labels(exchange, tags))
        return None

    def _exact(self, exchange: Exchange, asked: Asked) -> str | None:
        return self._key(exchange, form="exact", tool=asked.tool, arguments=asked.arguments, context=asked.context)


class SemanticTool(_Namespace):
    """A `ToolCache`: a query that asks the same in other words. The same vetoes and verifier as for answers."""

    def __init__(
        self,
        namespace: str,
        config: ToolCacheConfig,
        keyer: Keyer,
        store: VectorStore,
        embedding: Embedding,
        secrets: Secrets,
    ) -> None:
        super().__init__(namespace, config, keyer, secrets)
        self._store = store
        self._embedding = embedding
        self._verifier = verifier_for(embedding.embed.id)
        self._floor = floor_of(config.threshold, self._verifier)

    async def look(self, exchange: Exchange, asked: Asked, max_age: float | None) -> Found | str:
        why = unfit(asked.query, self.config.partition)
        partition = self._partition(exchange, asked)
        if why or partition is None:
            return why or "no_key"
        vector = await self._embedding.of(normalise(asked.query))
        near = await self._store.search(partition, vector, _CANDIDATES, self._floor)
        return self._best(exchange, asked.query, partition, near, max_age)

    async def keep(
        self, exchange: Exchange, asked: Asked, value: bytes, ttl: float, tags: tuple[str, ...]
    ) -> str | None:
        partition = self._partition(exchange, asked)
        why = unfit(asked.query, self.config.partition)
        unkept = "no_key" if partition is None else why or await self._unkept(asked, value)
        if partition is None or unkept:
            return unkept
        vector = await self._embedding.of(normalise(asked.query))
        kept = Kept(key=partition, value=value, created=exchange.clock.wall() / 1e9, text=asked.query)
        id = self._keyer.entry_id(partition, asked.query)
        await self._store.put(partition, id, vector, pack(kept), self._ttl(ttl), self._labels(exchange, tags))
        return None

    def _best(
        self, exchange: Exchange, query: str, partition: str, near: list[Near], max_age: float | None
    ) -> Found | str:
        """The surest candidate that no veto tells apart, or why there is none."""
        asked, best, reason = read(query), None, "miss"
        for one in near:
            kept = unpack(one.payload)
            if kept is None or kept.key != partition or one.score < self._floor:
                continue
            cached = read(kept.text)
            told = veto(cached, asked)
            if told is not None:
                reason = f"veto_{told}" if one.score >= self.config.threshold else reason
                continue
            score = one.score if self._verifier is None else self._verifier.score(cached, asked, one.score)
            if score < self.config.threshold or (best is not None and best.score is not None and score <= best.score):
                continue
            age = _age(exchange, kept)
            if max_age is not None and age > max_age:
                reason = "max_age"
                continue
            best = Found(id=one.id, value=kept.value, age=age, similarity=round(one.score, 4), score=round(score, 4))
        return best if best is not None else reason

    def _partition(self, exchange: Exchange, asked: Asked) -> str | None:
        encoder = self._embedding.embed.id
        return self._key(exchange, form="semantic", encoder=encoder, tool=asked.tool, context=asked.context)


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Kept).decode
pack = _ENCODE


def unpack(data: bytes) -> Kept | None:
    """None for bytes that are no entry of this version."""
    try:
        return _DECODE(data)
    except msgspec.MsgspecError:
        return None


def _age(exchange: Exchange, kept: Kept) -> float:
    return max(0.0, exchange.clock.wall() / 1e9 - kept.created)
