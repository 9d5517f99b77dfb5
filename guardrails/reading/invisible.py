"""Characters that nobody sees, between the letters of a value: `bob@exa<zero-width space>mple.com`.

A model reads over them and so does a person, so a scanner must. `Visible` shows it the text without them and says
where in the real text its spans are. Each belongs to the character before it, also at the end of a span, so that a
span may end in some. Text that has none (all ASCII, nearly all other text) pays one look.

At most `DROPPED` of them in a row are read over. What comes after that is as good as a line feed, or a stream that
ends in them would have to be held for ever; a value with more inside it is missed, and no reader takes that for one
value either."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

from guardrails.finding.scanner import Scanner
from guardrails.finding.spans import Span

DROPPED = 32
_RANGES = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Soft hyphen, joiners, zero-width and direction marks, fillers, variation selectors, annotation marks, tags."""

_CLASS = "[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _RANGES) + "]"
_ONE = re.compile(_CLASS)
_RUN = re.compile(_CLASS + "+")
_LONG = re.compile(f"{_CLASS}{{{DROPPED + 1}}}")


def is_invisible(ch: str) -> bool:
    """One character."""
    return _ONE.match(ch) is not None


def has_invisible(text: str) -> bool:
    return not text.isascii() and _ONE.search(text) is not None


def visible(text: str) -> str:
    """`text` as `Visible` shows it. The same again if applied again."""
    if not has_invisible(text):
        return text
    if _LONG.search(text) is None:
        return _RUN.sub("", text)
    return _RUN.sub(lambda run: "\n" * (len(run[0]) - DROPPED), text)


class View:
    """A text without its invisible characters, and which place in the one is which in the other."""

    __slots__ = ("_raw", "_runs", "_seen", "size", "text")

    def __init__(self, text: str) -> None:
        self.size = len(text)
        self._runs = [run.span() for run in _RUN.finditer(text)]
        self._raw: list[int] = []
        """Where each stretch that is shown begins in the real text, and `_seen`, where in the shown one."""
        self._seen: list[int] = []
        parts: list[str] = []
        at = seen = 0
        for start, end in [*self._runs, (len(text), len(text))]:
            for first, last, shown in ((at, start, text[at:start]), (start + DROPPED, end, "")):
                if last > first:
                    self._raw.append(first)
                    self._seen.append(seen)
                    parts.append(shown or "\n" * (last - first))
                    seen += last - first
            at = end
        self.text = "".join(parts)

    def place(self, seen: int) -> int:
        """The real place of the shown character at `seen`; past the end where there is none."""
        if seen >= len(self.text):
            return self.size
        at = bisect_right(self._seen, seen) - 1
        return self._raw[at] + seen - self._seen[at]

    def shown(self, place: int) -> int:
        """How many characters are shown of those before `place`."""
        at = bisect_right(self._raw, place) - 1
        if at < 0:
            return 0
        end = self._seen[at + 1] if at + 1 < len(self._seen) else len(self.text)
        return min(self._seen[at] + place - self._raw[at], end)

    def floor(self, place: int) -> int:
        """The greatest cut <= `place` that parts no invisible character from the one before it, which it belongs to. Far
        inside a long run there is no such tie; what is before the cut then shows already that the run is a long one."""
        at = bisect_right(self._runs, (place, self.size)) - 1
        if at < 0:
            return place
        start, end = self._runs[at]
        inside = place < end or place == self.size
        if not inside or place > start + DROPPED:
            return place
        before = self.shown(start) - 1
        return self.place(before) if before >= 0 else 0


def seen_through(find: Callable[[str, int], list[Span]], text: str, begin: int) -> list[Span]:
    """What `find` finds in the text that is shown, at its places in the real one."""
    if not has_invisible(text):
        return find(text, begin)
    found = find(visible(text), len(visible(text[:begin])))
    if not found:
        return []
    view = View(text)
    return [Span(s.kind, view.place(s.start), view.place(s.end), s.score) for s in found]


class Visible:
    """A scanner that reads over invisible characters. Its spans are of the real text, invisible characters within."""

    def __init__(self, inner: Scanner) -> None:
        self.inner = inner

    def quiet(self, text: str) -> bool:
        return self.inner.quiet(visible(text))

    def find(self, text: str, begin: int = 0) -> list[Span]:
        return seen_through(self.inner.find, text, begin)

    def settle(self, text: str, limit: int) -> int:
        if not has_invisible(text):
            return self.inner.settle(text, limit)
        view = View(text)
        limit = view.floor(limit)
        while limit:
            most = view.shown(limit)
            cut = self.inner.settle(view.text, most)
            if cut == most:
                return limit
            place = view.place(cut)
            limit = view.floor(place)
            if limit == place:
                return limit
        return 0
