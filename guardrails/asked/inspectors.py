"""Checks as the input side sees them: a scanner over texts, or a score."""

from __future__ import annotations

import time
from collections.abc import Sequence

from guardrails.asked.screen import CLEAN, INLINE, Finding
from guardrails.asking.not_scanned import NotScanned
from guardrails.finding.scanner import Scanner
from guardrails.finding.spans import Span
from guardrails.finding.window import Window
from guardrails.injection.check import MAX_CHARS, Injection

BLOCK = 32_768
"""Characters looked at between two looks at the clock."""

SCORED_INLINE = 1024
"""Characters that are scored on the event loop: 0.4 ms."""


class Scanning:
    """Patterns: the spans of each text. All texts at once are asked first whether there is anything at all: one
    pass over a long conversation instead of one for each of its parts.

    Spans of one scanner are disjoint; those of different ones may overlap."""

    def __init__(self, scanners: Sequence[Scanner], *, inline: int = INLINE) -> None:
        self._scanners = tuple(scanners)
        self.inline = inline

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        together = "\n".join(texts) if len(texts) > 1 else texts[0]
        loud = [scanner for scanner in self._scanners if not scanner.quiet(together)]
        if not loud:
            return [CLEAN] * len(texts)
        return [Finding([span for scanner in loud for span in self._find(scanner, text, until)]) for text in texts]

    @staticmethod
    def _find(scanner: Scanner, text: str, until: float) -> Sequence[Span]:
        """The spans of one text. A long one goes through a window, block by block, which by the scanner's law finds the
        same; so a text made to be slow is given up at the deadline, instead of keeping a thread for minutes."""
        if len(text) <= BLOCK:
            give_up(until)
            return scanner.find(text)
        window = Window(scanner)
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
    """Injection: each text's score. From which on it is a hit depends on who wrote the text, so the screen says it."""

    def __init__(self, injection: Injection, *, inline: int = SCORED_INLINE) -> None:
        self._injection = injection
        self.inline = inline

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        return [self._one(text, until) for text in texts]

    def _one(self, text: str, until: float) -> Finding:
        give_up(until)
        if len(text) > MAX_CHARS:
            raise NotScanned("too_long")
        scored = self._injection.score(text, until)
        return Finding((), scored.score, scored.rule, "timeout" if scored.model == "skipped" else "")
