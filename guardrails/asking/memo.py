"""What was found out about texts, without the texts: a bounded memory of scores under keyed hashes.

The key is made anew with each start, so that a dump of this memory says nothing about what was asked. Whoever asks says
what belongs into the key: the tenant too, or one could learn from the time an answer takes what another asked."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence

from gateway.core.fingerprint import keyed

KEPT = 4096


class Memo:
    """The latest scores. One event loop; about 200 bytes an entry."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._secret = secrets.token_bytes(32)
        self._scores: OrderedDict[str, float] = OrderedDict()

    def key(self, parts: Sequence[str]) -> str:
        return keyed(self._secret, list(parts))

    def get(self, key: str) -> float | None:
        score = self._scores.get(key)
        if score is not None:
            self._scores.move_to_end(key)
        return score

    def put(self, key: str, score: float) -> None:
        self._scores[key] = score
        if len(self._scores) > self._kept:
            self._scores.popitem(last=False)

    def __len__(self) -> int:
        return len(self._scores)
