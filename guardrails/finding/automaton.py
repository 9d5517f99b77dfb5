"""Literal phrases: Aho-Corasick over folded characters, with the longest live prefix as the hold-back.

Folding is character by character (NFKC, then case), so it does not depend on how a text is cut: full-width and
capital forms, runs of white space, zero-width characters and soft hyphens between letters all read as the plain
phrase."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from guardrails.finding.spans import Span, resolve
from guardrails.reading.invisible import Visible, has_invisible, is_invisible, seen_through


@lru_cache(maxsize=4096)
def fold(ch: str) -> str:
    """One character as it is compared: "" if it does not count, " " for any white space."""
    if ch.isspace():
        return " "
    if is_invisible(ch):
        return ""
    folded = unicodedata.normalize("NFKC", ch).casefold()
    return " " if folded.isspace() else folded


_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


def fold_text(text: str) -> str:
    """The whole text as it is compared: folded, white space runs as one space, none at the ends."""
    if text.isascii():
        lowered = text.lower()
    elif len(text.encode("ascii", "ignore")) > 0.9 * len(text):
        lowered = _NOT_ASCII.sub(lambda run: "".join(map(fold, run[0])), text.lower())
    else:
        lowered = "".join(map(fold, text))
    return " ".join(lowered.split())


def _beginning(phrase: str) -> str:
    """A pattern for any place in ASCII text where the folded phrase may begin, be it with its first letter only."""
    first, second = re.escape(phrase[0]), phrase[1:2]
    if not second or second == " " or not phrase[:2].isascii():
        return first
    return rf"{first}(?:{re.escape(second)}|\Z)"


class Phrases:
    """Finds any of `phrases` in any case and spacing. With `words`, only as whole words at both ends."""

    def __init__(self, phrases: Iterable[str], *, kind: str, words: bool = True) -> None:
        self._kind = kind
        self._words = words
        self._folded = sorted({folded for phrase in phrases if (folded := fold_text(phrase))})
        self._goto: list[dict[str, int]] = [{}]
        self._depth = [0]
        self._lengths: list[tuple[int, ...]] = [()]
        for phrase in self._folded:
            self._add(phrase)
        self._fail = self._links()
        self._begin = re.compile(
            "|".join(sorted({_beginning(phrase) for phrase in self._folded})) or "(?!)", re.IGNORECASE
        )
        self._longest = max(self._depth) + 4

    def _add(self, phrase: str) -> None:
        state = 0
        for ch in phrase:
            following = self._goto[state].get(ch)
            if following is None:
                following = self._goto[state][ch] = len(self._goto)
                self._goto.append({})
                self._depth.append(self._depth[state] + 1)
                self._lengths.append(())
            state = following
        self._lengths[state] = (len(phrase),)

    def _links(self) -> list[int]:
        """Failure links, breadth first. `_lengths` of a state becomes those of all phrases that end there."""
        fail = [0] * len(self._goto)
        queue = deque(self._goto[0].values())
        while queue:
            state = queue.popleft()
            for ch, following in self._goto[state].items():
                back = fail[state]
                while back and ch not in self._goto[back]:
                    back = fail[back]
                fail[following] = self._goto[back].get(ch, 0) if state else 0
                self._lengths[following] += self._lengths[fail[following]]
                queue.append(following)
        return fail

    def quiet(self, text: str) -> bool:
        return not self._may_have(text)

    def find(self, text: str, begin: int = 0) -> list[Span]:
        return resolve(self.found(text, begin))

    def found(self, text: str, begin: int = 0) -> list[Span]:
        """Every phrase by itself, in order of their ends; unlike those of `find` they may overlap."""
        return seen_through(self._found, text, begin)

    def _found(self, text: str, begin: int) -> list[Span]:
        if self._surely_not(text, begin):
            return []
        return [
            Span(self._kind, start, end) for start, end in self._matches(text, begin) if self._whole(text, start, end)
        ]

    def _surely_not(self, text: str, begin: int) -> bool:
        """A quick no. For pieces of a stream: plain ASCII in which no phrase even begins."""
        if not begin:
            return not self._may_have(text)
        return text.isascii() and self._begin.search(text, begin) is None

    def _may_have(self, text: str) -> bool:
        """A quick no for clean text: `str` methods run at memory speed, the automaton at a character in 0.3 µs."""
        folded = fold_text(text)
        return any(phrase in folded for phrase in self._folded)

    def settle(self, text: str, limit: int) -> int:
        """Down to the start of the longest prefix of a phrase that is live at the limit, and of any match across it.
        A match that touches the end is held too: whether it is a whole word is seen from the next character."""
        if has_invisible(text):
            return Visible(self).settle(text, limit)
        if limit <= 512 and text.isascii() and self._begin.search(text, 0, limit) is None:
            return limit
        cut = 0
        matches: list[tuple[int, int]] = []
        for end, live, starts in self._run(text, 0, limit):
            cut = live
            matches += [(start, end) for start in starts]
        for start, end in reversed(matches):
            if start < cut <= end:  # at `end` too: whether it ends a word is seen from the character after it
                cut = start
        return cut

    def _matches(self, text: str, begin: int) -> Iterator[tuple[int, int]]:
        for end, _, starts in self._run(text, begin, len(text)):
            for start in starts:
                yield start, end

    def _run(self, text: str, begin: int, limit: int) -> Iterator[tuple[int, int, Sequence[int]]]:
        """After each character: (place after it, start of the live prefix, starts of the matches that end here)."""
        state = 0
        seen: deque[int] = deque(maxlen=self._longest)
        goto, fail, depth = self._goto, self._fail, self._depth
        space = False
        for at in range(begin, limit):
            folded = fold(text[at])
            if not folded or (folded == " " and space):
                yield at + 1, seen[-depth[state]] if depth[state] else at + 1, ()
                continue
            space = folded == " "
            for ch in folded:
                while state and ch not in goto[state]:
                    state = fail[state]
                state = goto[state].get(ch, 0)
                seen.append(at)
            lengths = self._lengths[state]
            live = seen[-depth[state]] if depth[state] else at + 1
            yield at + 1, live, [seen[-n] for n in lengths] if lengths else ()

    def _whole(self, text: str, start: int, end: int) -> bool:
        if not self._words:
            return True
        before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
        after = end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
        return not before and not after
