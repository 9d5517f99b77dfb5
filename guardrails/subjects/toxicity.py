"""The toxicity check: a list of wordings with a category and a severity each. No model: it knows what it spells out, and
nothing of context. What a list cannot see `guardrails.describe` says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import resources

import msgspec

from guardrails.finding.automaton import fold_text
from guardrails.finding.spans import Span
from guardrails.finding.word_phrases import WordPhrases

THRESHOLD = 0.5
CATEGORIES = ("hate", "harassment", "sexual", "violence", "self-harm")
STAND_INS = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "u": "*", "l": "1"}
"""Characters that are written for letters. All of a letter's places at once, at most two letters in a word."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One wording of the list."""

    category: str
    severity: float
    phrase: str


def read_entries(text: str) -> list[Entry]:
    """The entries of a list file, combinations written out. Raises ValueError for a line it cannot read."""
    lists: dict[str, list[str]] = {}
    found: list[Entry] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        first, _, rest = line.partition(" ")
        if first.startswith("@"):
            lists[first] = [word.strip() for word in rest.split("|")]
            continue
        severity, _, phrase = rest.partition(" ")
        if first not in CATEGORIES or not phrase.strip():
            raise ValueError(f"toxicity list, line {number}: expected a category, a severity and a phrase")
        found += [Entry(first, float(severity), made) for made in _written_out(phrase, lists)]
    return found


def _written_out(phrase: str, lists: Mapping[str, Sequence[str]]) -> Iterator[str]:
    parts = [lists[word] if word.startswith("@") else [word] for word in phrase.split()]
    return map(" ".join, itertools.product(*parts))


def spellings(phrase: str) -> list[str]:
    """The phrase, and for one word its forms with stand-ins for up to two of its letters."""
    if " " in phrase:
        return [phrase]
    swaps = [(letter, other) for letter in STAND_INS if letter in phrase for other in STAND_INS[letter]]
    made = {phrase}
    for one, two in itertools.combinations_with_replacement(swaps, 2):
        made.add(phrase.replace(*one).replace(*two))
    return sorted(made)


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """The list shipped with this package."""
    return tuple(
        read_entries(resources.files("guardrails.subjects").joinpath("toxicity_words.txt").read_text(encoding="utf-8"))
    )


@lru_cache(maxsize=16)
def scanner(threshold: float) -> WordPhrases:
    """Finds every wording whose severity is at least `threshold`. Spans are of the kind TOXICITY."""
    chosen = [entry.phrase for entry in entries() if entry.severity >= threshold]
    return WordPhrases([form for phrase in chosen for form in spellings(phrase)], kind="TOXICITY")


class Rated(msgspec.Struct, frozen=True):
    """What a text says: the highest severity found in each category, 0 where nothing was."""

    scores: dict[str, float]
    spans: Sequence[Span] = ()
    """Every wording found; they may overlap."""

    @property
    def score(self) -> float:
        return max(self.scores.values())


def rate(text: str) -> Rated:
    """Scores `text` by the whole list, whatever its severity."""
    scores = dict.fromkeys(CATEGORIES, 0.0)
    finder, known = _all()
    spans = finder.found(text)
    for span in spans:
        for category, severity in known.get(fold_text(text[span.start : span.end]), ()):
            scores[category] = max(scores[category], severity)
    return Rated(scores, spans)


@lru_cache(maxsize=1)
def _all() -> tuple[WordPhrases, dict[str, list[tuple[str, float]]]]:
    known: dict[str, list[tuple[str, float]]] = {}
    for entry in entries():
        for form in spellings(entry.phrase):
            known.setdefault(fold_text(form), []).append((entry.category, entry.severity))
    return WordPhrases(known, kind="TOXICITY"), known
