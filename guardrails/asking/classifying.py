"""A local ONNX classifier's word about texts, in threads of its own: it takes long, and pattern checks need theirs."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.core.exchange import Exchange
from guardrails.asked.screen import Finding
from guardrails.asking.tiers import Band, resolved, unsure
from guardrails.finding.spans import Span
from guardrails.reading.text import decoded

if TYPE_CHECKING:
    from guardrails.asking.onnx_classifier import OnnxClassifier

RULE = "classifier"


class Classifying:
    """Asking. `band`: only texts whose score so far lies in it are looked at; None: every text. `attacks`: what Base64 in
    a text says is looked at too, because the model that the text is for can read it. `kind`: of the spans of hits; without
    one only scores are given, and whoever asked knows what is a hit."""

    def __init__(
        self,
        classifier: OnnxClassifier,
        threshold: float,
        kind: str = "",
        *,
        band: Band | None = None,
        attacks: bool = False,
        pool: Executor | None = None,
    ) -> None:
        self._classifier = classifier
        self._kind = kind
        self._threshold = threshold
        self._band = band
        self._attacks = attacks
        self._pool = pool or threads()

    async def ask(
        self, exchange: Exchange, texts: Sequence[str], findings: Sequence[Finding], seconds: float
    ) -> Sequence[Finding]:
        until = time.monotonic() + seconds
        loop = asyncio.get_running_loop()

        async def one(text: str) -> Finding:
            score = await loop.run_in_executor(self._pool, self._score, text, until)
            spans = [Span(self._kind, 0, len(text), score)] if self._kind and score >= self._threshold else []
            return Finding(spans, round(score, 4), RULE)

        return await resolved(texts, findings, self._band, one, self._threshold)

    def word(self, text: str, before: float | None = None) -> float:
        """The final score of a text that scored `before`, on the calling thread and without a deadline: for evaluation."""
        if before is not None and not unsure(Finding((), before), self._band):
            return before
        return self._score(text, math.inf)

    def _score(self, text: str, until: float) -> float:
        score = self._classifier.score(text, until)
        hidden = " ".join(decoded(text)) if self._attacks else ""
        return max(score, self._classifier.score(hidden, until)) if hidden else score


@lru_cache(maxsize=1)
def threads() -> Executor:
    """For all classifiers of the process. Who waits in line for one of them gives up with its deadline."""
    return ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="classifier")
