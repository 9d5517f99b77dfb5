"""Shadow comparisons: what a near question's cached answer would have been, beside the model's fresh one.

The comparator is conservative and knows nothing of the subject: equal text is right; else two answers are right when
they are near by embedding, share half of their content words and contradict each other in no number, negation or name;
wrong when they are short and contradict each other, or are far apart; **unclear** in all other cases, and the evidence
counts unclear as wrong. A route whose model says the same thing in very different words will therefore stay in shadow
until a person gives verdicts, an evidence file is given, or its evidence is assumed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from cache.evidence import Evidence, Label, Outcome
from cache.stores import StoreDown, VectorStore
from cache.text import Reading, normalise, read
from gateway.core.facts import Key
from gateway.core.ports import Embed
from gateway.core.response import Response

if TYPE_CHECKING:
    import numpy as np

NEAR, FAR = 0.85, 0.60
"""Cosines of two answers: from which on they may be the same, below which they are not."""
SHARED = 0.5
"""Least share of content words of two answers that say the same."""
SHORT = 64
"""Characters up to which an answer is short: then a contradiction is the answer's, not an aside's."""
_MOST = 600
"""Characters of an answer that are compared: about what the encoder hears."""
RECENT = 4096


class Pairing(msgspec.Struct, frozen=True):
    """A would-be hit: which entry for which question, by their keyed hashes, and how sure."""

    entry: str
    question: str
    score: float


class ShadowNote(msgspec.Struct, frozen=True):
    """Left by the lookup for the tap. `cached`: the answer that was not served, of the asker's own partition."""

    pairing: Pairing
    cached: Response


SHADOW: Key[ShadowNote] = Key("semantic cache shadow")


class Log(Protocol):
    """Where outcomes are kept beyond this process. May raise `StoreDown`. Bounded."""

    async def load(self) -> list[Outcome] | None:
        """All of them; None if they are those of the last time."""
        ...

    async def append(self, outcome: Outcome) -> None: ...

    async def close(self) -> None: ...


class Shadow:
    """One route's comparisons and verdicts."""

    def __init__(
        self,
        evidence: Evidence,
        embed: Embed,
        store: VectorStore,
        log: Log | None = None,
        given: Sequence[Outcome] = (),
    ) -> None:
        """`given`: outcomes from elsewhere, older than all that are seen here."""
        self.evidence = evidence
        self._given = given
        self._embed = embed
        self._store = store
        self._log = log
        self._recent: OrderedDict[str, Pairing] = OrderedDict()
        """By the exchange that asked, and by the entry: what a verdict may be about."""
        evidence.load(given)

    def seen(self, exchange_id: str, pairing: Pairing) -> None:
        """Remembers a would-be hit, served or not, for a verdict to come."""
        for name in (exchange_id, pairing.entry):
            self._recent[name] = pairing
            self._recent.move_to_end(name)
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def job(self, note: ShadowNote, fresh: Response) -> Callable[[], Awaitable[None]]:
        """The comparison, to be run off the request path."""

        async def compare() -> None:
            label, confirmed = await self._compare(_said(note.cached), _said(fresh))
            pairing = note.pairing
            await self._add(Outcome(pairing.score, label, pairing.entry, pairing.question, confirmed))

        return compare

    async def verdict(self, id: str, right: bool) -> bool:
        """A person's word on a would-be hit: `id` is that of the exchange, or of the entry (then its latest question).
        It takes the place of the comparison's. False if nothing is known of it here."""
        pairing = self._recent.get(id)
        if pairing is None:
            return False
        label: Label = "right" if right else "wrong"
        outcome = Outcome(pairing.score, label, pairing.entry, pairing.question, confirmed=True, voids=True)
        await self._add(outcome)
        return True

    async def refresh(self) -> None:
        """Takes over what all processes know. Raises `StoreDown`."""
        kept = await self._log.load() if self._log is not None else None
        if kept is not None:
            self.evidence.load([*self._given, *kept])

    async def close(self) -> None:
        if self._log is not None:
            await self._log.close()

    async def _add(self, outcome: Outcome) -> None:
        if self.evidence.add(outcome):
            await self._store.delete(outcome.entry)
        if self._log is not None:
            await self._log.append(outcome)

    async def _compare(self, cached: str, fresh: str) -> tuple[Label, bool]:
        """The label, and whether the answers contradict each other."""
        ours, theirs = normalise(cached[:_MOST]), normalise(fresh[:_MOST])
        if normalise(cached) == normalise(fresh):
            return "right", False
        one, other = read(cached[:_MOST]), read(fresh[:_MOST])
        if max(len(ours), len(theirs)) <= SHORT and contradicts(one, other):
            return "wrong", True
        try:
            vectors = await self._embed.embed([ours, theirs])
        except Exception as error:
            raise StoreDown(type(error).__name__) from error
        return judged(one, other, _cosine(vectors)), False


def judged(cached: Reading, fresh: Reading, cosine: float) -> Label:
    """Two answers that are not equal."""
    if cosine < FAR:
        return "wrong"
    words, others = set(cached.words), set(fresh.words)
    shared = len(words & others) / max(1, len(words | others))
    if cosine >= NEAR and shared >= SHARED and not contradicts(cached, fresh):
        return "right"
    return "unclear"


def contradicts(cached: Reading, fresh: Reading) -> bool:
    """They say different numbers, or one denies. Names are looked for in the other's every word."""
    return (
        cached.numbers != fresh.numbers
        or cached.negations % 2 != fresh.negations % 2
        or bool(cached.names - fresh.every and fresh.names - cached.every)
    )


def _cosine(vectors: np.ndarray[Any, Any]) -> float:
    return float(vectors[0] @ vectors[1])


def _said(response: Response) -> str:
    return "\n".join(choice.text or "" for choice in response.choices.values())
