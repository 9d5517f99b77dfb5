"""Checks as the input side sees them: a scanner over texts, or a score."""

from __future__ import annotations

from collections.abc import Sequence

from guardrails.injection.check import Injection
from guardrails.scanner import Scanner
from guardrails.screen import Finding
from guardrails.spans import Span

_CLEAN = Finding()


class Scanning:
    """Patterns: the spans of each text. All texts at once are asked first whether there is anything at all: one
    pass over a long conversation instead of one for each of its parts."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner

    def inspect(self, texts: Sequence[str]) -> Sequence[Finding]:
        if self._scanner.quiet("\n".join(texts) if len(texts) > 1 else texts[0]):
            return [_CLEAN] * len(texts)
        return [Finding(self._scanner.find(text)) for text in texts]


class Scoring:
    """Injection: each text's score; at the threshold or above, the whole text is the span."""

    def __init__(self, injection: Injection, threshold: float) -> None:
        self._injection = injection
        self._threshold = threshold

    def inspect(self, texts: Sequence[str]) -> Sequence[Finding]:
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Finding:
        scored = self._injection.score(text)
        spans = [Span("PROMPT_INJECTION", 0, len(text), scored.score)] if scored.score >= self._threshold else []
        return Finding(spans, round(scored.score, 4), scored.rule)
