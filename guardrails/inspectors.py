"""Checks as the input side sees them: a scanner over texts, or a score."""

from __future__ import annotations

import time
from collections.abc import Sequence

from guardrails.injection.check import Injection
from guardrails.scanner import Scanner
from guardrails.screen import Finding
from guardrails.spans import Span
from guardrails.window import Window

_CLEAN = Finding()

BLOCK = 32_768
"""Characters looked at between two looks at the clock."""


class Scanning:
    """Patterns: the spans of each text. All texts at once are asked first whether there is anything at all: one
    pass over a long conversation instead of one for each of its parts."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        if self._scanner.quiet("\n".join(texts) if len(texts) > 1 else texts[0]):
            return [_CLEAN] * len(texts)
        return [Finding(self._find(text, until)) for text in texts]

    def _find(self, text: str, until: float) -> Sequence[Span]:
        """The spans of one text. A long one goes through a window, block by block, which by the scanner's law finds the
        same; so a text made to be slow is given up at the deadline, instead of keeping a thread for minutes."""
        if len(text) <= BLOCK:
            give_up(until)
            return self._scanner.find(text)
        window = Window(self._scanner)
        spans: list[Span] = []
        at = 0
        for start in range(0, len(text) + BLOCK, BLOCK):
            give_up(until)
            for piece in window.push(text[start : start + BLOCK]) if start < len(text) else window.finish():
                if piece.span is not None:
                    spans.append(Span(piece.span.kind, at, at + piece.length, piece.span.score))
                at += piece.length
        return spans


def give_up(until: float) -> None:
    """Raises TimeoutError once `until` (on the monotonic clock) has passed."""
    if time.monotonic() > until:
        raise TimeoutError


class Scoring:
    """Injection: each text's score; at the threshold or above, the whole text is the span."""

    def __init__(self, injection: Injection, threshold: float) -> None:
        self._injection = injection
        self._threshold = threshold

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        return [self._one(text, until) for text in texts]

    def _one(self, text: str, until: float) -> Finding:
        give_up(until)
        scored = self._injection.score(text)
        spans = [Span("PROMPT_INJECTION", 0, len(text), scored.score)] if scored.score >= self._threshold else []
        return Finding(spans, round(scored.score, 4), scored.rule)
