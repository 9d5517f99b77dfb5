"""Finds the values of one exchange's vault in a text, as they stand there and in any letter case.

A scanner like any other (`guardrails.finding.scanner`), made for one exchange. The kind of a span is the placeholder of
the value it found."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping

from guardrails.finding.spans import Span

_HEAD = 4
"""First characters by which values are looked up."""
_WORD = 4
"""Shorter values are found as whole words only: a name such as Al must not be seen in every "also"."""


class OwnValues:
    """`values`: placeholder -> original. Where two are found at one place the longer counts."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._placeholder: dict[str, str] = {}
        for placeholder, value in values.items():
            if value:
                self._placeholder.setdefault(folded(value), placeholder)
        self._sorted = sorted(self._placeholder)
        self._longest = max(map(len, self._sorted), default=0)
        self._head = min((_HEAD, *map(len, self._sorted)))
        self._by_head: dict[str, list[str]] = {}
        for value in sorted(self._sorted, key=len, reverse=True):
            self._by_head.setdefault(value[: self._head], []).append(value)
        first = "".join(sorted({re.escape(value[0]) for value in self._sorted}))
        self._begin = re.compile(f"[{first}]" if first else "(?!)")

    def quiet(self, text: str) -> bool:
        return self._begin.search(folded(text)) is None

    def find(self, text: str, begin: int = 0) -> list[Span]:
        low = folded(text)
        spans: list[Span] = []
        at = begin
        while (match := self._begin.search(low, at)) is not None:
            value = self._at(low, match.start())
            at = match.start() + (len(value) or 1)
            if value:
                spans.append(Span(self._placeholder[value], match.start(), at))
        return spans

    def settle(self, text: str, limit: int) -> int:
        low = folded(text)
        at = 0
        word = (0, 0)
        """The last short value that is part of a longer word. A cut behind it would make it look whole."""
        while at < limit and (match := self._begin.search(low, at)) is not None:
            start = match.start()
            end = start + (len(self._at(low, start)) or 1)
            if start >= limit:
                break
            if end > limit or self._open(low, start):
                limit = start
                break
            if (length := self._cut_short(low, start)) and start >= word[1]:
                word = (start, start + length)
            at = end
        return word[0] if word[0] < limit <= word[1] else limit

    def _at(self, low: str, start: int) -> str:
        """The longest value that stands at `start`; "" if none does."""
        for value in self._by_head.get(low[start : start + self._head], ()):
            if low.startswith(value, start) and (len(value) >= _WORD or _alone(low, start, start + len(value))):
                return value
        return ""

    def _cut_short(self, low: str, start: int) -> int:
        """The length of a short value that would stand here alone, did no letter follow; 0 if there is none."""
        if start and low[start - 1].isalnum():
            return 0
        for value in self._by_head.get(low[start : start + self._head], ()):
            end = start + len(value)
            if len(value) < _WORD and low.startswith(value, start) and low[end : end + 1].isalnum():
                return len(value)
        return 0

    def _open(self, low: str, start: int) -> bool:
        """Whether what stands at `start` depends on what is still to come."""
        tail = len(low) - start
        if tail > self._longest:
            return False
        rest = low[start:]
        at = bisect_left(self._sorted, rest)
        if at < len(self._sorted) and self._sorted[at] == rest:
            if tail < _WORD:  # whole so far, but only if no letter follows
                return True
            at += 1
        return at < len(self._sorted) and self._sorted[at].startswith(rest)


def _alone(low: str, start: int, end: int) -> bool:
    """No letter or digit beside it that would make it part of a longer word."""
    return not (start and low[start - 1].isalnum()) and not (end < len(low) and low[end].isalnum())


class _Folding(dict[int, str]):
    """Lower case, one character for one. (`str.lower` makes two of some, and looks at what stands beside a sigma.)"""

    def __missing__(self, code: int) -> str:
        ch = chr(code)
        folds = ch.casefold()
        lower = folds if len(folds) == 1 else ch.lower()
        self[code] = lower = lower if len(lower) == 1 else ch
        return lower


_FOLDING = _Folding()
"""At most as many entries as there are characters."""


def folded(text: str) -> str:
    """As long as `text`."""
    return text.lower() if text.isascii() else text.translate(_FOLDING)
