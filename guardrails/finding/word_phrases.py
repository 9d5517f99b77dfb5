"""Whole-word phrases, found from where words begin.

The automaton (`guardrails.finding.automaton`) takes a step for every character and knows at each of them what may still
become a phrase. That is right for text that must be found inside words; whole words can begin at a few places only, and
almost every word of almost every text begins none of the phrases. So here the text is cut into tokens (runs of letters and
digits, white space, and any other character by itself) and each token is looked up once: some 25 times faster on clean
text, and it finds the very same spans.

The automaton stays for what this cannot do: characters that fold to none or to several (their offsets would shift),
and text made to begin the same phrases over and over, which would cost the square of its length."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable

from guardrails.finding.automaton import Phrases, fold, fold_text
from guardrails.finding.spans import Span, resolve

_TOKEN = re.compile(r"[^\W_]+|\s+|[\W_]")
_VISIBLE = re.compile(r"[^\W_]+|[^\w\s]|_")
"""The same without white space, which no phrase begins with."""
_STEPS = 4
"""Steps a token, at most, over the whole text; beyond them the automaton takes over."""
_KEPT = 1 << 14
"""Folded characters that are remembered."""


class _Folds(dict[int, str]):
    """Code of a character -> the character folded, for phrases of the letters `used`. Two for one that folds to none or
    several, so that the length tells; but one that is no letter, and folds to nothing that is in any phrase ("\u2026"),
    only parts what is around it."""

    def __init__(self, used: frozenset[str]) -> None:
        self._used = used

    def __missing__(self, code: int) -> str:
        ch = chr(code)
        folded = fold(ch)
        one = folded
        if len(folded) != 1:
            one = "\0" if folded and not ch.isalnum() and self._used.isdisjoint(folded) else "  "
        if len(self) < _KEPT:
            self[code] = one
        return one


class WordPhrases:
    """Finds any of `phrases` in any case and spacing, as whole words at both ends. Spans are of the kind `kind`."""

    def __init__(self, phrases: Iterable[str], *, kind: str) -> None:
        listed = list(phrases)
        self._kind = kind
        self._automaton = Phrases(listed, kind=kind)
        self._full = frozenset(folded for phrase in listed if (folded := fold_text(phrase)))
        self._folds = _Folds(frozenset("\0").union(*self._full))
        following: dict[str, set[str]] = {"": set()}
        for phrase in self._full:
            said = ""
            for token in _TOKEN.findall(phrase):
                following.setdefault(said, set()).add(token)
                said += token
        self._following = {said: tuple(sorted(tokens)) for said, tokens in following.items()}
        """Beginning of a phrase -> the tokens that go on with it, in order."""
        self._firsts = frozenset(following[""])

    def quiet(self, text: str) -> bool:
        folded = self._folded(text)
        return self._automaton.quiet(text) if folded is None else self._firsts.isdisjoint(_VISIBLE.findall(folded))

    def find(self, text: str, begin: int = 0) -> list[Span]:
        return resolve(self.found(text, begin))

    def found(self, text: str, begin: int = 0) -> list[Span]:
        """Every phrase by itself; unlike those of `find` they may overlap."""
        walked = self._walk(text, begin, len(text))
        if walked is None:
            return self._automaton.found(text, begin)
        return [Span(self._kind, start, end) for start, end in walked[0]]

    def settle(self, text: str, limit: int) -> int:
        """Down to the first word of a phrase that is still being said at the limit, and of any phrase across that."""
        walked = self._walk(text, 0, limit)
        if walked is None:
            return self._automaton.settle(text, limit)
        matches, cut = walked
        for start, end in sorted(matches, reverse=True):
            if start < cut < end:
                cut = start
        return cut

    def _walk(self, text: str, begin: int, limit: int) -> tuple[list[tuple[int, int]], int] | None:
        """The phrases in `text[begin:limit]`, and where the first begins that is not over at `limit` (else `limit`). None:
        this way does not suit the text."""
        tokens = self._tokens(text[:limit] if limit < len(text) else text, begin)
        if tokens is None:
            return None
        full, following = self._full, self._following
        matches: list[tuple[int, int]] = []
        live = limit
        left = _STEPS * len(tokens) + 64
        if begin and tokens and text[begin - 1].isalnum() and tokens[0][0].isalnum():
            tokens = tokens[1:]  # the rest of a word that began before
        count = len(tokens)
        for at, (first, start, end) in enumerate(tokens):
            if first not in following and first not in full and (end < limit or not self._goes_on("", first)):
                continue
            said = ""
            for further in range(at, count):
                token, _, end = tokens[further]
                left -= 1
                if end == limit and token.isalnum() and self._goes_on(said, token):  # the word may not be over
                    live = min(live, start)
                said += token
                if said in full:
                    matches.append((start, end))
                if said not in following:
                    break
            else:
                live = min(live, start)
            if left < 0:
                return None
        return matches, live

    def _goes_on(self, said: str, token: str) -> bool:
        """Whether a phrase begins with `said` and then a word that begins with `token`."""
        tokens = self._following.get(said, ())
        at = bisect_left(tokens, token)
        return at < len(tokens) and tokens[at].startswith(token)

    def _folded(self, text: str) -> str | None:
        """Each character folded to one; None where that cannot be."""
        folded = text.lower() if text.isascii() else text.translate(self._folds)
        return folded if len(folded) == len(text) else None

    def _tokens(self, text: str, begin: int) -> list[tuple[str, int, int]] | None:
        """(token, start, end), white space as one space. None where folding shifts offsets."""
        folded = self._folded(text)
        if folded is None:
            return None
        return [
            (" " if (token := m[0]).isspace() else token, m.start(), m.end()) for m in _TOKEN.finditer(folded, begin)
        ]
