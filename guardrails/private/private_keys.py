"""Private keys in PEM form: from BEGIN to END. Where there is no END, to the first mark that no key has (a quote, a
bracket), or as far as a key can go: so that one in a JSON string does not take the rest of the JSON with it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardrails.finding.spans import Span

LIMIT = 12_288
"""Characters after the BEGIN line; an RSA key of 8,192 bits has about 6,500. In a stream this much can be held."""

_HEADER = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,60}-----")
_STOP = re.compile(r"[\"'`<>{}\[\]]")
_HEADER_START = "-----BEGIN "
_LIVE = re.compile(r"-----BEGIN [A-Z0-9 ]{0,64}-{0,4}\Z")


class PrivateKeys:
    """PRIVATE_KEY."""

    def quiet(self, text: str) -> bool:
        return _HEADER_START not in text

    def find(self, text: str, begin: int = 0) -> list[Span]:
        if _HEADER_START not in text:
            return []
        return [Span("PRIVATE_KEY", start, end) for start, end, _ in self._blocks(text, begin)]

    def settle(self, text: str, limit: int) -> int:
        """Down to the start of an unfinished block, or of what may still become a BEGIN line."""
        if "-" not in text:
            return limit
        for start, end, unfinished in self._blocks(text, 0):
            if start < limit and (limit < end or unfinished):
                return start
        return min(limit, self._live(text))

    def _live(self, text: str) -> int:
        match = _LIVE.search(text, max(0, len(text) - 96))
        if match:
            return match.start()
        for length in range(min(len(_HEADER_START) - 1, len(text)), 0, -1):
            if text.endswith(_HEADER_START[:length]):
                return len(text) - length
        return len(text)

    @staticmethod
    def _blocks(text: str, begin: int) -> Iterator[tuple[int, int, bool]]:
        """(start, end, unfinished) of each block in order. Unfinished: its END may still come."""
        at = begin
        last: re.Match[str] | None = None
        searched = False
        """Whether `last` is the next END, or None because there is none: looked for once, not for every header."""
        while header := _HEADER.search(text, at):
            inside, stop = header.end(), header.end() + LIMIT
            if not searched or (last is not None and last.start() < inside):
                last, searched = _END.search(text, inside), True
            if last is not None and last.end() <= stop:
                at = last.end()
                yield header.start(), at, False
                continue
            mark = _STOP.search(text, inside, stop)
            at = mark.start() if mark is not None else min(stop, len(text))
            yield header.start(), at, stop > len(text)
