"""Entities that the operator describes: a name and an RE2 pattern (linear time, whatever the pattern and the text)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import re2

from guardrails.finding.scanner import Scanner
from guardrails.finding.spans import Span, resolve
from guardrails.finding.zones import Left, Zones

LINE_LIMIT = 1024
"""A line longer than this is cut at every multiple of it. What lies across such a cut is missed."""

_CROSSES = re.compile(r"""[\s.<>{}|`"]|\\[sSWDPpXxtnrfvCQ]|\[\^|\[:""")
_ANCHOR = re.compile(r"(?<!\\)(?<!\[)\^|(?<!\\)\$|\\[Azb]?(?<=\\[Az])")


def crosses(pattern: str) -> bool:
    """May the pattern match something that separates tokens? Errs on the side of yes."""
    bare = re.sub(r"\\[.\-/+*?()\[\]]|\(\?[imsU:]+|\{\d+(?:,\d*)?\}|\\[dwb]", "", pattern)
    return bool(_CROSSES.search(bare))


def compile_pattern(pattern: str) -> re2._Regexp:
    """Raises ValueError with RE2's own words, or for an anchor, which has no meaning in a stream."""
    if _ANCHOR.search(pattern):
        raise ValueError(
            "anchors (^ $ \\A \\z) have no meaning here, because a stream has no lines to begin with; use \\b"
        )
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        words = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"not a pattern that RE2 takes: {words}") from None
    if compiled.search("") is not None:
        raise ValueError("matches the empty string, so it would match everywhere")
    return compiled


class Custom:
    """One pattern as a zone recogniser."""

    def __init__(self, kind: str, pattern: str) -> None:
        self.kind = kind
        self.gates: Sequence[str] = (pattern,)
        self._regex = compile_pattern(pattern)

    def quiet(self, text: str) -> bool:
        return self._regex.search(text) is None

    def find(self, zones: str, left: Left) -> list[Span]:
        return self.spans(zones)

    def spans(self, line: str) -> list[Span]:
        return [Span(self.kind, m.start(), m.end()) for m in self._regex.finditer(line) if m.end() > m.start()]


class LineFinder(Protocol):
    """Finds spans in one line, without its surroundings."""

    def quiet(self, text: str) -> bool: ...

    def spans(self, line: str) -> list[Span]: ...


class Lines:
    """Whole lines: for patterns that may match spaces, about which nothing else is known, and for models. In a
    stream this holds each line until it ends."""

    def __init__(self, recogniser: LineFinder) -> None:
        self._recogniser = recogniser

    def quiet(self, text: str) -> bool:
        return self._recogniser.quiet(text)

    def find(self, text: str, begin: int = 0) -> list[Span]:
        spans: list[Span] = []
        for start, end in self._pieces(text, begin):
            spans += [span.moved(start) for span in self._recogniser.spans(text[start:end])]
        return resolve(spans)

    def settle(self, text: str, limit: int) -> int:
        cut = 0
        for start, _ in self._pieces(text, 0):
            if start > limit:
                break
            cut = start
        return cut

    @staticmethod
    def _pieces(text: str, begin: int) -> Iterator[tuple[int, int]]:
        """Lines with their line feed, and long lines in parts. The last one may be unfinished, or empty."""
        start = begin
        while True:
            newline = text.find("\n", start)
            end = len(text) if newline < 0 else newline + 1
            while end - start > LINE_LIMIT:
                yield start, start + LINE_LIMIT
                start += LINE_LIMIT
            yield start, end
            if newline < 0:
                return
            start = end


def custom_scanner(kind: str, pattern: str, separator: str) -> Scanner:
    """The scanner for one custom entity: token by token where the pattern allows, line by line where it may cross."""
    recogniser = Custom(kind, pattern)
    if crosses(pattern):
        return Lines(recogniser)
    return Zones(separator, f"(?<![^{separator}])[^{separator}]+", "(?!)", [recogniser])
