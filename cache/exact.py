"""The exact cache: the same question, by the same asker, under the same rules."""

from __future__ import annotations

from typing import Any

from cache.key import Keyer, exact_id
from cache.notes import EXACT, ExactNote
from cache.policy import bypassed, control_of, down, missed, too_old
from cache.record import unpack
from cache.stores import ExactStore, StoreDown
from gateway.core.answer import Answer
from gateway.core.exchange import CacheNote, Exchange
from gateway.core.facts import Key

_CACHEABLE = frozenset({"chat", "completions", "embeddings", "rerank"})
"""Each has a namespace of its own: the operation is part of the key."""


class ExactCache:
    """Decider. Leaves a note for the tap unless the answer must not be stored."""

    name = "exact_cache"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (EXACT,)

    def __init__(self, keyer: Keyer, store: ExactStore) -> None:
        self._keyer = keyer
        self._store = store

    async def decide(self, exchange: Exchange) -> Answer | None:
        control = control_of(exchange)
        if "no-store" in control:
            bypassed(exchange, "no-store")
            return None
        if exchange.operation not in _CACHEABLE:
            bypassed(exchange, "operation")
            return None
        key = self._keyer.exact(exchange)
        if key is None:
            bypassed(exchange, "no_key")
            return None
        note = ExactNote(exact_id(key), key)
        if "no-cache" in control:
            exchange.facts.put(EXACT, ExactNote(note.id, key, refresh=True))
            bypassed(exchange, "no-cache")
            return None
        try:
            data = await self._store.get(note.id)
        except StoreDown as error:
            exchange.facts.put(EXACT, ExactNote(note.id, key, down=True))
            down(exchange, self.name, error)
            return None
        exchange.facts.put(EXACT, note)
        return self._answer(exchange, note, data)

    def _answer(self, exchange: Exchange, note: ExactNote, data: bytes | None) -> Answer | None:
        entry = unpack(data) if data is not None else None
        if entry is None or entry.key != note.key:
            missed(exchange, "" if data is None else "unreadable")
            return None
        age = max(0.0, exchange.clock.wall() / 1e9 - entry.created)
        if too_old(exchange, age):
            exchange.facts.put(EXACT, ExactNote(note.id, note.key, refresh=True))
            missed(exchange, "max-age")
            return None
        exchange.cache = CacheNote(result="hit", id=note.id, age=age, saved=entry.response.usage)
        return Answer("cached", response=entry.response)
