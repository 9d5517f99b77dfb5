"""Leaks of the system prompt: eight of its words in a row, whatever the case and punctuation between them.

The scanner is made from one exchange's own system text. It holds back only words that are, right now, part of a run
that stands in the prompt too; each run of eight is a span. Paraphrase, translation, encodings and scripts without
spaces are not seen; the answer to those is not to put secrets in prompts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

from gateway.core.request import Request
from guardrails.spans import Span

SHINGLE = 8
MAX_WORDS = 2_000
"""Words of system text that are looked at; what comes after is not protected. Bounds memory to about 1 MB a prompt."""

_WORD_LIMIT = 64
_WORD = re.compile(rf"[^\W_]{{1,{_WORD_LIMIT}}}")


class Leak:
    """SYSTEM_PROMPT: `SHINGLE` words in a row that one of the given texts has in a row."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._runs: set[int] = set()
        words = 0
        self.protects = False
        for text in texts:
            prompt = [_fold(match[0]) for match in _WORD.finditer(text)][: MAX_WORDS - words]
            words += len(prompt)
            self.protects = self.protects or len(prompt) >= SHINGLE
            for start in range(len(prompt)):
                for length in range(1, min(SHINGLE, len(prompt) - start) + 1):
                    self._runs.add(hash(tuple(prompt[start : start + length])))

    def quiet(self, text: str) -> bool:
        return not self.protects

    def find(self, text: str, begin: int = 0) -> list[Span]:
        runs = self._live(text, begin, len(text))
        return [Span("SYSTEM_PROMPT", run[0][0], run[-1][1]) for run in runs if len(run) == SHINGLE]

    def settle(self, text: str, limit: int) -> int:
        """Down to the first word of the run that is live at the limit. An unfinished word is always held."""
        boundary = limit
        if limit == len(text) or text[limit].isalnum():
            while boundary and text[boundary - 1].isalnum():
                boundary -= 1
            if boundary < limit:
                boundary += (limit - boundary - 1) // _WORD_LIMIT * _WORD_LIMIT
        run: list[tuple[int, int]] = []
        for run in self._live(text, 0, boundary):  # noqa: B007
            pass
        return run[0][0] if run and len(run) < SHINGLE else boundary

    def _live(self, text: str, begin: int, end: int) -> Iterator[list[tuple[int, int]]]:
        """After each word: the longest run of words ending there that the prompt has too, as places in `text`. A run
        that is full is not continued: the next word begins a new one."""
        places: list[tuple[int, int]] = []
        words: list[str] = []
        for match in _WORD.finditer(text, begin, end):
            places.append(match.span())
            words.append(_fold(match[0]))
            while words and hash(tuple(words)) not in self._runs:
                del words[0], places[0]
            yield places
            if len(words) == SHINGLE:
                places, words = [], []


@lru_cache(maxsize=8192)
def _fold(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()


def system_texts(request: Request) -> tuple[str, ...]:
    """What the client's system prompt says, piece by piece."""
    return tuple(slot.text for slot in request.slots if slot.role == "system")
