"""What every pattern check is inside: a pure scanner that finds spans and knows where a growing text may be cut.

The law that makes hold-back possible (tested in tests/properties/test_guard_window.py): for every text and every
cut `n = settle(text, len(text))`, whatever comes after,

    find(text + more) == find(text[:n]) + [the spans of find(text + more, begin=n)]

so text before a cut can be released and forgotten, but for a little context to its left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from guardrails.finding.spans import Span, resolve

CONTEXT = 48
"""Characters of already released text that `find` may look at to its left (cue words such as "call me at")."""


class Scanner(Protocol):
    """Finds spans. Holds no state between calls, so one scanner serves every exchange at once."""

    def quiet(self, text: str) -> bool:
        """True only if `find` would surely give nothing for this text or any part of it. Much cheaper than `find`."""
        ...

    def find(self, text: str, begin: int = 0) -> list[Span]:
        """The spans that start at or after `begin`, disjoint and in order. `text[:begin]` is context; what lies more
        than `CONTEXT` characters before `begin` must make no difference. `begin` is 0 or a cut of `settle`."""
        ...

    def settle(self, text: str, limit: int) -> int:
        """The greatest cut <= `limit` that no span crosses, whatever text is still to come after `text`. `text` starts
        at a cut. 0 means that all of it is still in play."""
        ...


class Several:
    """Many scanners as one. Cuts are those that all of them allow."""

    def __init__(self, parts: Sequence[Scanner]) -> None:
        self.parts = tuple(parts)

    def quiet(self, text: str) -> bool:
        return all(part.quiet(text) for part in self.parts)

    def find(self, text: str, begin: int = 0) -> list[Span]:
        if len(self.parts) == 1:
            return self.parts[0].find(text, begin)
        return resolve(span for part in self.parts for span in part.find(text, begin))

    def settle(self, text: str, limit: int) -> int:
        """Each part lowers the cut until none objects; a cut only ever moves down, so this ends."""
        agreed = 0
        at = 0
        while agreed < len(self.parts) and limit > 0:
            lower = self.parts[at].settle(text, limit)
            agreed = agreed + 1 if lower == limit else 1
            limit = lower
            at = (at + 1) % len(self.parts)
        return limit


class Whole:
    """Any scanner, but nothing is settled before the end: the `full` stream mode."""

    def __init__(self, inner: Scanner) -> None:
        self.inner = inner

    def quiet(self, text: str) -> bool:
        return self.inner.quiet(text)

    def find(self, text: str, begin: int = 0) -> list[Span]:
        return self.inner.find(text, begin)

    def settle(self, text: str, limit: int) -> int:
        return 0
