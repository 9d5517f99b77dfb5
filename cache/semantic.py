"""The semantic cache: a question that asks the same in other words.

Nothing crosses a partition: the store filters by it, and it is compared again here, whatever the store said. Within one, a
candidate must pass every veto and be sure enough. How sure is the verifier's score where there is one for the encoder, else
the cosine; `threshold` is compared with that. Whether such a hit is then *served* is the evidence's decision: without it the
model is called, and its answer compared with the one that would have been served (`shadow`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from cache.breaker import guarded
from cache.eligible import Limits, question_of
from cache.key import Keyer
from cache.notes import SEMANTIC, SemanticNote
from cache.policy import bypassed, control_of, down, missed, too_old
from cache.record import Entry, unpack
from cache.shadow import SHADOW, Pairing, Shadow, ShadowNote
from cache.stores import Near, StoreDown, VectorStore
from cache.text import Reading, normalise, read
from cache.verifier import Verifier
from cache.verify import floor_of, veto
from gateway.core.answer import Answer
from gateway.core.breaker import Breaker
from gateway.core.exchange import CacheNote, Exchange
from gateway.core.facts import Key
from gateway.core.ports import Embed

if TYPE_CHECKING:
    import numpy as np

_CANDIDATES = 3


class Candidate(msgspec.Struct, frozen=True):
    """An entry that no veto stops. `score`: how sure, 0 to 1."""

    id: str
    similarity: float
    score: float
    entry: Entry


class SemanticCache:
    """Decider. Leaves a note for the tap unless the answer must not be stored."""

    name = "semantic_cache"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (SEMANTIC, SHADOW)

    def __init__(
        self,
        keyer: Keyer,
        store: VectorStore,
        embed: Embed,
        breaker: Breaker,
        shadow: Shadow,
        *,
        threshold: float,
        sample: float,
        limits: Limits,
        embed_budget: float,
        verifier: Verifier | None = None,
    ) -> None:
        """`sample`: the share of hits that are not served but compared: every `1 / sample`th."""
        self._keyer = keyer
        self._store = store
        self._embed = embed
        self._breaker = breaker
        self._shadow = shadow
        self._threshold = threshold
        self._floor = floor_of(threshold, verifier)
        self._verifier = verifier
        self._sample = sample
        self._due = 0.0
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
                near = await self._store.search(partition, vector, _CANDIDATES, self._floor)
        except StoreDown as error:
            down(exchange, self.name, error)
            return None
        note = SemanticNote(self._keyer.entry_id(partition, text), partition, text, vector)
        exchange.facts.put(SEMANTIC, note)
        if "no-cache" in control:
            bypassed(exchange, "no-cache")
            return None
        found = self._choose(exchange, note, near)
        return self._serve(exchange, note, found, must="only-if-cached" in control) if found is not None else None

    async def _vector(self, text: str) -> np.ndarray[Any, Any]:
        """Shape (dim,). Raises StoreDown if the encoder is overloaded, slow or broken."""
        vectors = await guarded(self._breaker, self._embed_budget, lambda: self._embed.embed([text]))
        vector: np.ndarray[Any, Any] = vectors[0]
        return vector

    def _choose(self, exchange: Exchange, note: SemanticNote, near: list[Near]) -> Candidate | None:
        """The surest candidate that no veto tells apart. None is a miss that says why."""
        asked = read(note.text)
        best: Candidate | None = None
        reason = ""
        for one in near:
            entry = unpack(one.payload)
            if entry is None or entry.key != note.partition or one.score < self._floor:
                continue
            cached = read(entry.text)
            found = veto(cached, asked)
            if found is None and self._shadow.evidence.bad(one.id, self._question(note)):
                found = "known_pair"
            if found is not None:
                reason = f"semantic:veto_{found}" if one.score >= self._threshold else reason
                continue
            score = self._score(cached, asked, one.score)
            if score < self._threshold or (best is not None and score <= best.score):
                continue
            if too_old(exchange, exchange.clock.wall() / 1e9 - entry.created):
                reason = "max-age"
            else:
                best = Candidate(one.id, one.score, score, entry)
        if best is None:
            missed(exchange, reason)
        return best

    def _score(self, cached: Reading, asked: Reading, cosine: float) -> float:
        return cosine if self._verifier is None else self._verifier.score(cached, asked, cosine)

    def _serve(self, exchange: Exchange, note: SemanticNote, found: Candidate, *, must: bool) -> Answer | None:
        """`must`: the client wants a cached answer or none, so there is no sampling."""
        pairing = Pairing(found.id, self._question(note), found.score)
        self._shadow.seen(exchange.id, pairing)
        opened = self._shadow.evidence.threshold
        shadowed = opened is None or found.score < opened
        if shadowed or (not must and self._sampled()):
            exchange.facts.put(SHADOW, ShadowNote(pairing, found.entry.response))
            missed(exchange, "shadow" if shadowed else "shadow_sample")
            return None
        exchange.cache = CacheNote(
            result="semantic",
            id=found.id,
            similarity=round(found.similarity, 4),
            age=max(0.0, exchange.clock.wall() / 1e9 - found.entry.created),
            saved=found.entry.response.usage,
        )
        return Answer("semantic", response=found.entry.response)

    def _sampled(self) -> bool:
        self._due += self._sample
        if self._due < 1:
            return False
        self._due -= 1
        return True

    def _question(self, note: SemanticNote) -> str:
        """A name for the question in this partition, dress taken off; says nothing to who lacks the key."""
        return self._keyer.entry_id(note.partition, normalise(note.text))
