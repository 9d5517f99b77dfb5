"""How annoyed a message sounds, 0 to 1: a list of wordings, and how it is typed. No model.

Knows what `anger_words.txt` spells out (English, and some of German, French, Spanish, Italian, Portuguese and Dutch),
capitals and rows of exclamation marks. Irony and politely put anger it does not hear."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from guardrails.finding.automaton import Phrases, fold_text

MOST = 4_000
"""Characters that are looked at, from the end: what is said last is what is meant."""
_TYPED = {"shout": 0.25, "marks": 0.2}
_MARKS = re.compile(r"[!?]{3,}|(?:![ \t]*){3,}")
_WORD = re.compile(r"[^\W\d_]{3,}")


@lru_cache(maxsize=1)
def _list() -> tuple[Phrases, dict[str, float]]:
    """The wordings, and each one's weight. A line of the file is a weight and a wording."""
    weights: dict[str, float] = {}
    text = resources.files("guardrails.asked").joinpath("anger_words.txt").read_text(encoding="utf-8")
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        weight, _, phrase = line.partition(" ")
        if not phrase.strip():
            raise ValueError(f"anger list, line {number}: expected a weight and a wording")
        weights[fold_text(phrase.strip())] = float(weight)
    return Phrases(list(weights), kind="ANGER"), weights


def anger(text: str) -> float:
    """Wordings add up, each counted once: 1 - product of (1 - weight). Shouting and rows of marks add a little, and make
    nothing alone."""
    text = text[-MOST:]
    finder, weights = _list()
    found = {fold_text(text[span.start : span.end]) for span in finder.found(text)}
    calm = 1.0
    for phrase in found:
        calm *= 1 - weights.get(phrase, 0.0)
    typed = _TYPED["shout"] * _shouts(text) + _TYPED["marks"] * bool(_MARKS.search(text))
    return round(1 - calm * (1 - typed), 4)


def _shouts(text: str) -> bool:
    """Most of at least four words in capitals."""
    words = _WORD.findall(text)
    loud = sum(word.isupper() for word in words)
    return len(words) >= 4 and loud >= 0.6 * len(words)
