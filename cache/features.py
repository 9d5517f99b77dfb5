"""How alike two questions are, in the respects that decide whether one answer does for both: what the verifier sees.

Every value is oriented so that more of it speaks for the same question; that is what lets the verifier be monotone: a pair
that is nearer in every respect never scores lower. What the vetoes look at (numbers, negation, names, times) is not here:
those decide by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from cache.text import Reading, stem
from cache.words import SAME

NAMES = (
    "cosine",
    "words_shared",
    "content_shared",
    "weight_shared_share",
    "weight_of_lesser_rest",
    "weight_of_greater_rest",
    "heaviest_only_cached",
    "heaviest_only_asked",
    "trigrams_shared",
    "order_kept",
    "length_difference",
    "content_of_lesser_rest",
    "weight_shared",
    "length_of_shorter",
)
"""In the order of `pair_features`."""

_FOLDED = {stem(word): stem(group[0]) for group in SAME for word in group}
_CAP = 40
"""Words of a question that the order is compared of: it costs their square."""


def pair_features(
    cached: Reading, asked: Reading, cosine: float, weights: Mapping[str, float], rare: float
) -> list[float]:
    """One value for each of `NAMES`. `weights`: how much a stemmed word says (its inverse document frequency); `rare`
    for words that are not in it."""
    ours, theirs = _content(cached), _content(asked)
    shared, only_cached, only_asked = ours & theirs, ours - theirs, theirs - ours
    w_shared = sum(weights.get(word, rare) for word in shared)
    w_cached = [weights.get(word, rare) for word in only_cached]
    w_asked = [weights.get(word, rare) for word in only_asked]
    total, rest = w_shared + sum(w_cached) + sum(w_asked), sorted((sum(w_cached), sum(w_asked)))
    return [
        cosine,
        _share(set(cached.spread), set(asked.spread)),
        _share(ours, theirs),
        w_shared / total if total else 1.0,
        -rest[0],
        -rest[1],
        -max(w_cached, default=0.0),
        -max(w_asked, default=0.0),
        _dice(_trigrams(cached.plain), _trigrams(asked.plain)),
        _order_kept(cached.spread[:_CAP], asked.spread[:_CAP]),
        -float(abs(len(cached.spread) - len(asked.spread))),
        -float(min(len(only_cached), len(only_asked))),
        w_shared,
        float(min(len(cached.spread), len(asked.spread))),
    ]


def _content(reading: Reading) -> set[str]:
    """Content words, those that may stand for each other made one."""
    return {_FOLDED.get(word, word) for word in reading.words}


def _share(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0


def _trigrams(text: str) -> Counter[str]:
    return Counter([text[at : at + 3] for at in range(len(text) - 2)])


def _dice(a: Counter[str], b: Counter[str]) -> float:
    total = a.total() + b.total()
    return 2 * sum(min(count, b[piece]) for piece, count in a.items() if piece in b) / total if total else 1.0


def _order_kept(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    """The longest common subsequence of the words, as a share of both: 1 for the same words in the same order."""
    if not a or not b:
        return float(a == b)
    return 2 * _common(a, b) / (len(a) + len(b))


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """The length of the longest common subsequence: one bit for each word of `a`, one step for each of `b` (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for at, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << at
    every = (1 << len(a)) - 1
    open_ = every
    for word in b:
        met = open_ & places.get(word, 0)
        open_ = ((open_ + met) | (open_ - met)) & every
    return len(a) - open_.bit_count()
