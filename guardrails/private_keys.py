"""Private keys in PEM form: from BEGIN to END, or as far as a key can go when there is no END."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardrails.spans import Span

LIMIT = 12_288
"""Characters after the BEGIN line; an RSA key of 8,192 bits has about 6,500. In a stream this much can be held."""

_HEADER = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,60}-----")
_HEADER_START = "-----BEGIN "
_LIVE = re.compile(r"-----BEGIN [A-Z0-9 ]{0,64}-{0,4}\Z")


class PrivateKeys:
    """PRIVATE_KEY."""

    def quiet(self, text: str) -> bool:
        return _HEADER_START not in text

    def find(self, text: str, begin: int = 0) -> list[Span]:
        if _HEADER_START not in text:
            return []
        return [Span("PRIVATE_KEY", start, min(end, len(text))) for start, end in self._blocks(text, begin)]

    def settle(self, text: str, limit: int) -> int:
        """Down to the start of an unfinished block, or of what may still become a BEGIN line."""
        if "-" not in text:
            return limit
        for start, end in self._blocks(text, 0):
            if start < limit < end or (start < limit and end > len(text)):
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
    def _blocks(text: str, begin: int) -> Iterator[tuple[int, int]]:
        """(start, end) of each block in order. An end beyond the text means that the block is not finished."""
        at = begin
        while header := _HEADER.search(text, at):
            stop = header.end() + LIMIT
            end = _END.search(text, header.end(), stop)
            at = end.end() if end else stop
            yield header.start(), at if end or stop <= len(text) else len(text) + 1
            if at > len(text):
                return
