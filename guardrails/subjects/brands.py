"""Names that must not be said: in the plural, with or without hyphens and blanks, in camel case, with digits for letters,
or letter by letter. Possessives need no form of their own: an apostrophe ends a word."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from guardrails.finding.scanner import Several
from guardrails.finding.spans import Span, resolve
from guardrails.finding.word_phrases import WordPhrases
from guardrails.subjects.toxicity import spellings

KIND = "BRAND"
LEAST_SPELT = 4
"""Letters of a name that is also looked for letter by letter, and with digits for letters; shorter ones are everywhere."""
_PARTS = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])")
_GLUE = (" ", "", "-", "_", ".", " - ")


class Brands:
    """BRAND: any of `deny` as a whole word or words, in any of its forms, unless it is part of one of the phrases of
    `allow`. A scanner."""

    def __init__(self, deny: Iterable[str], allow: Iterable[str] = ()) -> None:
        self._denied = WordPhrases([form for name in deny for form in forms(name)], kind=KIND)
        self._allowed = WordPhrases(allow, kind=KIND)
        self._both = Several([self._denied, self._allowed])

    def quiet(self, text: str) -> bool:
        return self._denied.quiet(text)

    def find(self, text: str, begin: int = 0) -> list[Span]:
        found = self._denied.found(text, begin)
        if not found:
            return []
        allowed = self._allowed.found(text, begin)
        return resolve(
            span for span in found if not any(one.start <= span.start and span.end <= one.end for one in allowed)
        )

    def settle(self, text: str, limit: int) -> int:
        return self._both.settle(text, limit)


def forms(name: str) -> list[str]:
    """The ways in which a name is written: at most some hundreds."""
    parts = [part for word in _PARTS.findall(name) for part in _CAMEL.split(word)]
    if not parts:
        return [name]
    joined = "".join(parts)
    bases = {name, *(glue.join(parts) for glue in _GLUE)}
    made = {base + ending for base, ending in itertools.product(bases, _endings(joined))}
    if len(joined) >= LEAST_SPELT:
        made |= {form + ending for form in spellings(joined.lower()) for ending in _endings(joined)}
        made |= {glue.join(joined) for glue in (" ", "-", ".", "_")}
    return sorted(made)


def _endings(name: str) -> tuple[str, ...]:
    return ("", "es") if name.lower().endswith(("s", "x", "z", "ch", "sh")) else ("", "s")
