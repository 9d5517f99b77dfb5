"""Spans: where something was found. Offsets are characters of the text as it came, never of a normalised copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec


class Span(msgspec.Struct, frozen=True, gc=False):
    """`text[start:end]` is of the type `kind` (`EMAIL_ADDRESS`, `API_KEY`, `prompt_injection`). Never holds the
    text."""

    kind: str
    start: int
    end: int
    score: float = 1.0

    def moved(self, by: int) -> Span:
        return Span(self.kind, self.start + by, self.end + by, self.score)


def resolve(spans: Iterable[Span]) -> list[Span]:
    """Disjoint spans in order of place that together cover every character any of the given ones covers.

    Where spans overlap the longer gives the kind, then the surer, then the alphabet; the result is their union, so
    that a contested character is never left standing. (Dropping the loser instead, as Presidio's own conflict
    resolution does, shows the part of it that stuck out.)
    """
    ordered = sorted(spans, key=lambda s: (s.start, -s.end))
    if len(ordered) < 2:
        return ordered
    out: list[Span] = []
    best = ordered[0]
    start, end = best.start, best.end
    for span in ordered[1:]:
        if span.start < end:
            end = max(end, span.end)
            if _rank(span) < _rank(best):
                best = span
        else:
            out.append(best if (best.start, best.end) == (start, end) else Span(best.kind, start, end, best.score))
            best, start, end = span, span.start, span.end
    out.append(best if (best.start, best.end) == (start, end) else Span(best.kind, start, end, best.score))
    return out


def _rank(span: Span) -> tuple[int, float, str]:
    return (span.start - span.end, -span.score, span.kind)


def rewrite(text: str, spans: Iterable[Span], replacement: Callable[[str, str], str]) -> str:
    """`text` with each span replaced by `replacement(kind, original)`. Spans must be disjoint and in order."""
    out: list[str] = []
    at = 0
    for span in spans:
        out.append(text[at : span.start])
        out.append(replacement(span.kind, text[span.start : span.end]))
        at = span.end
    out.append(text[at:])
    return "".join(out)
