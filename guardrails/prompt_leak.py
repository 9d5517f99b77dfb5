"""Leaks of the system prompt: eight of its words in a row, whatever the case and punctuation between them.

A scanner is made from one exchange's own system text. It holds back only words that are, right now, part of a run that
stands in the prompt too; each run of eight is a span. The same is looked for in other readings of the answer: rot13,
written backwards, letter by letter. What is packed into one token (Base64, hex) `guardrails.leak_packed` unpacks."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from gateway.core.request import Request
from guardrails.spans import Span

SHINGLE = 8
SPELT = 24
"""Letters in a row, one by one, that make a leak: some five words."""
MAX_WORDS = 2_000
"""Words of system text that are looked at; what comes after is not protected. Bounds memory to about 1 MB a prompt."""
KIND = "SYSTEM_PROMPT"

_WORD_LIMIT = 64
_WORD = re.compile(rf"[^\W_]{{1,{_WORD_LIMIT}}}")


class Runs:
    """The runs of up to `SHINGLE` words that some texts have, as hashes, and their letters."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._runs: set[int] = set()
        self.protects = False
        """There is a run to be found: some text has enough words."""
        letters: list[str] = []
        left = MAX_WORDS
        for text in texts:
            prompt = words_of(text, left)
            left -= len(prompt)
            self.protects = self.protects or len(prompt) >= SHINGLE
            letters.append("".join(prompt))
            for start in range(len(prompt)):
                for length in range(1, min(SHINGLE, len(prompt) - start) + 1):
                    self._runs.add(hash(tuple(prompt[start : start + length])))
        self._letters = "\n".join(letters)

    def has(self, words: Sequence[str]) -> bool:
        """Whether some text has these words, at most `SHINGLE`, in a row."""
        return hash(tuple(words)) in self._runs

    def spells(self, letters: Sequence[str]) -> bool:
        """Whether the letters of some text go on like this somewhere."""
        return all(len(letter) == 1 for letter in letters) and "".join(letters) in self._letters


class Leak:
    """SYSTEM_PROMPT: `full` words in a row that are `known`, each read by `read` first."""

    def __init__(
        self, known: Callable[[Sequence[str]], bool], full: int = SHINGLE, read: Callable[[str], str] | None = None
    ) -> None:
        """`known` of a run implies `known` of every part of it."""
        self._known = known
        self._full = full
        self._read = read or fold

    def quiet(self, text: str) -> bool:
        return False

    def find(self, text: str, begin: int = 0) -> list[Span]:
        runs = self._live(text, begin, len(text))
        return [Span(KIND, run[0][0], run[-1][1]) for run in runs if len(run) == self._full]

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
        return run[0][0] if run and len(run) < self._full else boundary

    def _live(self, text: str, begin: int, end: int) -> Iterator[list[tuple[int, int]]]:
        """After each word: the longest run of words ending there that the prompt has too, as places in `text`. A run
        that is full is not continued: the next word begins a new one."""
        places: list[tuple[int, int]] = []
        words: list[str] = []
        known, read, full = self._known, self._read, self._full
        for match in _WORD.finditer(text, begin, end):
            places.append(match.span())
            words.append(read(match[0]))
            while words and not known(words):
                del words[0], places[0]
            yield places
            if len(words) == full:
                places, words = [], []


def readings(runs: Runs) -> list[Leak]:
    """Scanners for the ways in which an answer may say the prompt's words and still be read at a glance."""

    def backwards(words: Sequence[str]) -> bool:
        return runs.has(words[::-1])

    return [Leak(runs.has), Leak(runs.has, read=_turned), Leak(backwards, read=_mirrored), Leak(runs.spells, SPELT)]


def words_of(text: str, most: int) -> list[str]:
    """The first words as they are compared."""
    return [fold(match[0]) for match, _ in zip(_WORD.finditer(text), range(most), strict=False)]


@lru_cache(maxsize=8192)
def fold(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()


@lru_cache(maxsize=8192)
def _turned(word: str) -> str:
    return codecs.encode(fold(word), "rot13")


@lru_cache(maxsize=8192)
def _mirrored(word: str) -> str:
    return fold(word)[::-1]


def system_texts(request: Request) -> tuple[str, ...]:
    """What the client's system prompt says, piece by piece."""
    return tuple(slot.text for slot in request.slots if slot.role == "system")
