"""The semantic cache: a question that asks the same in other words.

Nothing crosses a partition: the store filters by it, and it is compared again here, whatever the store said. Within
one, a candidate must be near enough and pass every veto. The threshold is the configured one; it is not yet learned
from verified hits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cache.breaker import guarded
from cache.eligible import Limits, question_of
from cache.key import Keyer
from cache.notes import SEMANTIC, SemanticNote
from cache.policy import bypassed, control_of, down, missed
from cache.record import unpack
from cache.stores import Near, StoreDown, VectorStore
from cache.text import normalise, read
from cache.verify import veto
from gateway.core.answer import Answer
from gateway.core.breaker import Breaker
from gateway.core.exchange import CacheNote, Exchange
from gateway.core.facts import Key
from gateway.core.ports import Embed

if TYPE_CHECKING:
    import numpy as np

_CANDIDATES = 3


class SemanticCache:
    """Decider. Leaves a note for the tap unless the answer must not be stored."""

    name = "semantic_cache"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (SEMANTIC,)

    def __init__(
        self,
        keyer: Keyer,
        store: VectorStore,
        embed: Embed,
        breaker: Breaker,
        *,
        threshold: float,
        limits: Limits,
        embed_budget: float,
    ) -> None:
        self._keyer = keyer
        self._store = store
        self._embed = embed
        self._breaker = breaker
        self._threshold = threshold
        self._limits = limits
        self._embed_budget = embed_budget
        """Seconds. A question that cannot be embedded in that time is a miss."""

    async def decide(self, exchange: Exchange) -> Answer | None:
        control = control_of(exchange)
        if "no-store" in control:
            bypassed(exchange, "no-store")
            return None
        slot = question_of(exchange, self._limits)
        if isinstance(slot, str):
            bypassed(exchange, f"semantic:{slot}")
            return None
        partition = self._keyer.partition(exchange, slot, self._embed.id)
        if partition is None:
            bypassed(exchange, "semantic:no_key")
            return None
        text = slot.text
        try:
            vector = await self._vector(normalise(text))
            near: list[Near] = []
            if "no-cache" not in control:
                near = await self._store.search(partition, vector, _CANDIDATES, self._threshold)
        except StoreDown as error:
            down(exchange, self.name, error)
            return None
        note = SemanticNote(self._keyer.entry_id(partition, text), partition, text, vector)
        exchange.facts.put(SEMANTIC, note)
        if "no-cache" in control:
            bypassed(exchange, "no-cache")
            return None
        return self._choose(exchange, note, near)

    async def _vector(self, text: str) -> np.ndarray[Any, Any]:
        """Shape (dim,). Raises StoreDown if the encoder is overloaded, slow or broken."""
        vectors = await guarded(self._breaker, self._embed_budget, lambda: self._embed.embed([text]))
        vector: np.ndarray[Any, Any] = vectors[0]
        return vector

    def _choose(self, exchange: Exchange, note: SemanticNote, near: list[Near]) -> Answer | None:
        """The best candidate that no veto tells apart."""
        reason = ""
        for candidate in near:
            entry = unpack(candidate.payload)
            if entry is None or entry.key != note.partition or candidate.score < self._threshold:
                continue
            found = veto(read(entry.text), read(note.text))
            if found is None:
                exchange.cache = CacheNote(
                    result="semantic",
                    id=candidate.id,
                    similarity=round(candidate.score, 4),
                    age=max(0.0, exchange.clock.wall() / 1e9 - entry.created),
                    saved=entry.response.usage,
                )
                return Answer("semantic", response=entry.response)
            reason = f"semantic:veto_{found}"
        missed(exchange, reason)
        return None
