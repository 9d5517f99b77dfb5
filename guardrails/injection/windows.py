"""What is looked at: windows over what a text says openly, and over each piece that it hides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guardrails.reading.text import both, normalised

WINDOW = 500
STRIDE = 400
"""Characters. A text is as bad as its worst window, so that a payload in a long document is not averaged away. 300 and
1,000 were tried: the same recall, and with 1,000 half as many again false alarms on long texts; and 500 characters are
what fits into the 128 tokens of the sentence encoder."""


def reading(text: str) -> list[str]:
    """`text` normalised, and then each decoded piece of it, normalised. Empty for blank text."""
    plain, hidden = both(text)
    return [piece for piece in (plain, *map(normalised, hidden)) if piece]


def begins(length: int) -> range:
    """Where the windows of a text of `length` characters begin."""
    return range(0, length - WINDOW + STRIDE, STRIDE) if length > WINDOW else range(1)


def windows(texts: Sequence[str]) -> Iterator[str]:
    """All windows of a reading, in order: those of the plain text first."""
    for text in texts:
        for begin in begins(len(text)):
            yield text[begin : begin + WINDOW]
