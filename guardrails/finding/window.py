"""The hold-back: feeds a growing text through a scanner and lets go of what is settled. Pure, no I/O, no clock.

Law: for every chunking of every text, what is released is the same, and no character of a span is ever released.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from guardrails.finding.scanner import CONTEXT, Scanner
from guardrails.finding.spans import Span
from guardrails.reading.invisible import visible


class Piece(msgspec.Struct, frozen=True, gc=False):
    """The next `length` characters of the text: clean if `span` is None, else the span they are."""

    length: int
    span: Span | None = None


class Window:
    """One text on its way through one scanner."""

    __slots__ = ("_context", "_free", "_held", "_scanner")

    def __init__(self, scanner: Scanner, free: Callable[[str], int] | None = None) -> None:
        """`free`: a quick way to see that a beginning of what is held settles and holds nothing; -1 where it cannot."""
        self._scanner = scanner
        self._free = free
        self._held = ""
        self._context = ""

    @property
    def held(self) -> int:
        """Characters kept back now."""
        return len(self._held)

    def push(self, chunk: str) -> list[Piece]:
        """What `chunk` lets go, in order of the text. Pieces never overlap what was given before."""
        self._held += chunk
        if self._free is not None:
            cut = self._free(self._held)
            if cut >= 0:
                return [Piece(self._cut(cut))] if cut else []
        cut = self._scanner.settle(self._held, len(self._held))
        return self._release(cut) if cut else []

    def finish(self) -> list[Piece]:
        """Everything still held, now that nothing more will come."""
        return self._release(len(self._held)) if self._held else []

    def _cut(self, cut: int) -> int:
        """Lets go of so many characters, of which some stay as context."""
        released = self._held[:cut]
        text = self._context + released
        self._held = self._held[cut:]
        self._context = (text if released.isascii() else visible(text))[-CONTEXT:]
        return cut

    def _release(self, cut: int) -> list[Piece]:
        text = self._context + self._held[:cut]
        begin = len(self._context)
        self._cut(cut)
        spans = self._scanner.find(text, begin)
        if not spans:
            return [Piece(cut)]
        pieces: list[Piece] = []
        at = begin
        for span in spans:
            if span.start > at:
                pieces.append(Piece(span.start - at))
            pieces.append(Piece(span.end - span.start, span))
            at = span.end
        if at < len(text):
            pieces.append(Piece(len(text) - at))
        return pieces
