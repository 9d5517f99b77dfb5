"""Leaks of the system prompt: eight of its words in a row, whatever the case and punctuation between them.

A scanner is made from one exchange's own system text. It holds back only words that are, right now, part of a run that
stands in the prompt too; each run of eight is a span. The same is looked for in other readings of the answer: rot13,
written backwards, letter by letter, byte by byte. What is packed into one token
`guardrails.answered.leak_packed` unpacks."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from functools import lru_cache

from gateway.core.request import Request
from guardrails.finding.spans import Span

SHINGLE = 8
SPELT = 24
"""Letters in a row, one by one, that make a leak: some five words."""
MAX_WORDS = 2_000
"""Words of system text that are looked at; what comes after is not protected. Bounds memory to about 1 MB a prompt."""
MAX_BYTES = 16_384
"""Characters of each system text whose bytes are looked for."""
KIND = "SYSTEM_PROMPT"

_WORD_LIMIT = 64
_LETTERS = re.compile(r"[^\W_]*")
_WORD = re.compile(r"[^\W_]+")
_PAIRS = frozenset(f"{byte:02x}" for byte in range(256))


class Runs:
    """The runs of up to `SHINGLE` words that some texts have, as hashes, and their letters."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._runs: set[int] = set()
        self.words: set[str] = set()
        self.protects = False
        """There is a run to be found: some text has enough words."""
        letters: list[str] = []
        bytes_: list[str] = []
        left = MAX_WORDS
        for text in texts:
            prompt = words_of(text, left)
            left -= len(prompt)
            self.protects = self.protects or len(prompt) >= SHINGLE
            self.words.update(prompt)
            letters.append("".join(prompt))
            bytes_.append(text[:MAX_BYTES].encode("utf-8", "replace").hex())
            for start in range(len(prompt)):
                for length in range(1, min(SHINGLE, len(prompt) - start) + 1):
                    self._runs.add(hash(tuple(prompt[start : start + length])))
        self._letters = "\n".join(letters)
        self._bytes = "\n".join(bytes_)

    def has(self, words: Sequence[str]) -> bool:
        """Whether some text has these words, at most `SHINGLE`, in a row."""
        return hash(tuple(words)) in self._runs

    def mirrors(self, words: Sequence[str]) -> bool:
        """The same, from the last to the first."""
        return hash(tuple(words[::-1])) in self._runs

    def spells(self, letters: Sequence[str]) -> bool:
        """Whether the letters of some text go on like this somewhere."""
        return "".join(letters) in self._letters

    def has_bytes(self, pairs: Sequence[str]) -> bool:
        """The same for its bytes, each two hexadecimal digits."""
        return "".join(pairs) in self._bytes

    def readings(self) -> list[Leak]:
        """Scanners for the ways in which an answer may say the prompt's words one by one."""
        return [
            Leak(self.has, self.words),
            Leak(self.has, self.words, read=_turned),
            Leak(self.mirrors, self.words, read=_mirrored),
            Leak(self.spells, frozenset(self._letters), SPELT),
            Leak(self.has_bytes, _PAIRS, SPELT, read=_pair),
        ]


class Leak:
    """SYSTEM_PROMPT: `full` words in a row that are `known`, each read by `read` first.

    A run of letters too long for a word breaks every run, so a text may be cut anywhere in it."""

    def __init__(
        self,
        known: Callable[[Sequence[str]], bool],
        vocabulary: Set[str],
        full: int = SHINGLE,
        read: Callable[[str], str] | None = None,
    ) -> None:
        """`known` of a run implies `known` of every part of it; a run has words of `vocabulary` only."""
        self._known = known
        self._vocabulary = vocabulary
        self._full = full
        self._read = read or fold

    def quiet(self, text: str) -> bool:
        vocabulary, read = self._vocabulary, self._read
        return not any(read(word) in vocabulary for word in _WORD.findall(text) if len(word) <= _WORD_LIMIT)

    def find(self, text: str, begin: int = 0) -> list[Span]:
        runs = self._live(text, begin, len(text))
        return [Span(KIND, run[0][0], run[-1][1]) for run in runs if len(run) == self._full]

    def settle(self, text: str, limit: int) -> int:
        """Down to the first word of the run that is live at the limit. An unfinished word is always held."""
        boundary = limit
        if limit and (limit == len(text) or text[limit].isalnum()):
            tail = text[max(0, limit - _WORD_LIMIT - 1) : limit]
            word = _LETTERS.match(tail[::-1])  # backwards: a search would be quadratic
            length = word.end() if word is not None else 0
            if length > _WORD_LIMIT:
                return limit
            boundary -= length
        run: list[tuple[int, int]] = []
        for run in self._live(text, 0, boundary):  # noqa: B007
            pass
        return run[0][0] if run and len(run) < self._full else boundary

    def _live(self, text: str, begin: int, end: int) -> Iterator[list[tuple[int, int]]]:
        """After each word: the longest run of words ending there that the prompt has too, as places in `text`. A run
        that is full is not continued: the next word begins a new one."""
        places: list[tuple[int, int]] = []
        words: list[str] = []
        known, vocabulary, read, full = self._known, self._vocabulary, self._read, self._full
        if begin and text[begin - 1].isalnum():  # the rest of what is too long to be a word
            rest = _LETTERS.match(text, begin, end)
            begin = rest.end() if rest is not None else begin
        for match in _WORD.finditer(text, begin, end):
            said = match[0]
            word = read(said) if len(said) <= _WORD_LIMIT else ""
            if word not in vocabulary:
                if words:
                    places, words = [], []
                yield places
                continue
            places.append(match.span())
            words.append(word)
            while words and not known(words):
                del words[0], places[0]
            yield places
            if len(words) == full:
                places, words = [], []


def words_of(text: str, most: int) -> list[str]:
    """The first words as they are compared; in the place of one that is too long, something that no word is."""
    found = (match[0] for match, _ in zip(_WORD.finditer(text), range(most), strict=False))
    return [fold(word) if len(word) <= _WORD_LIMIT else "\0" for word in found]


@lru_cache(maxsize=8192)
def fold(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()


@lru_cache(maxsize=8192)
def _turned(word: str) -> str:
    return codecs.encode(fold(word), "rot13")


@lru_cache(maxsize=8192)
def _mirrored(word: str) -> str:
    return fold(word)[::-1]


@lru_cache(maxsize=8192)
def _pair(word: str) -> str:
    return fold(word).removeprefix("0x")


def system_texts(request: Request) -> tuple[str, ...]:
    """What the client's system prompt says, piece by piece."""
    return tuple(slot.text for slot in request.slots if slot.role == "system")
