"""Vetoes: when a near question is another question all the same.

Cheap, explainable, and one-sided: a veto that is wrong costs a call of the model, a veto that is missing serves a
wrong answer. None of this is learned; the rule that fired is named.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from cache.text import Reading, read, stem
from cache.words import NEGATING_PREFIX, OPPOSITES, SAME

if TYPE_CHECKING:
    from cache.verifier import Verifier

_ANTONYMS = frozenset(frozenset(stem(word) for word in pair) for pair in OPPOSITES)
_ALIKE = tuple(frozenset(stem(word) for word in group) for group in SAME)


class Judgement(msgspec.Struct, frozen=True):
    """Whether a cached answer may be served to a near question, and if not, why: `similarity` or the veto's name."""

    served: bool
    reason: str = ""
    score: float = 0.0
    """How sure, where no veto decides."""


FLOOR = 0.70
"""Cosine from which on the verifier is asked. Below it hardly any of its training rows scored 0.9."""


def floor_of(threshold: float, verifier: Verifier | None) -> float:
    """The least cosine of a candidate."""
    return threshold if verifier is None else min(threshold, FLOOR)


def judge(cached: str, asked: str, similarity: float, threshold: float, verifier: Verifier | None = None) -> Judgement:
    """The whole decision on one candidate pair: both questions as asked, and their cosine after `normalise`. Without a
    verifier the cosine is the score."""
    one, other = read(cached), read(asked)
    reason = veto(one, other)
    if reason is not None:
        return Judgement(False, reason)
    score = max(0.0, similarity) if verifier is None else verifier.score(one, other, similarity)
    if similarity < floor_of(threshold, verifier) or score < threshold:
        return Judgement(False, "similarity", score)
    return Judgement(True, "", score)


def veto(a: Reading, b: Reading) -> str | None:
    """The name of the first rule that tells the two questions apart, or None. Symmetric."""
    if a.numbers != b.numbers or a.signs != b.signs:
        return "number"
    if a.negations % 2 != b.negations % 2:
        return "negation"
    if a.times != b.times:
        return "time"
    if a.asks and b.asks and a.asks != b.asks:
        return "question_word"
    only_a, only_b = Counter(a.words) - Counter(b.words), Counter(b.words) - Counter(a.words)
    if _opposed(a, b):
        return "antonym"
    if a.names - b.every or b.names - a.every:
        return "name"
    if not only_a and not only_b:
        return "order" if a.words != b.words else None
    if not (a.english and b.english):
        return "language"  # no list says which of the differing words matter: any may
    if _turned(a, b):
        return "order"
    if _substituted(a.words, b.words):
        return "substitution"
    return None


def _opposed(a: Reading, b: Reading) -> bool:
    for word in a.every - b.every:
        for other in b.every - a.every:
            if frozenset((stem(word), stem(other))) in _ANTONYMS:
                return True
            short, long = sorted((word, other), key=len)
            if len(short) > 2 and long.endswith(short) and long.removesuffix(short) in NEGATING_PREFIX:
                return True
    return False


def _turned(a: Reading, b: Reading) -> bool:
    """What one goes from, the other goes to."""
    other = {"from": "to", "to": "from"}
    turned = {(other[side], word) for side, word in a.ends}
    return bool(turned & b.ends) and not (a.ends & b.ends)


def _substituted(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """The same frame with another filling: between equal neighbours, one or two words stand for as many others that
    are not known to mean the same. Catches names that nobody wrote with a capital."""
    head = 0
    while head < min(len(a), len(b)) and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    ours, theirs = a[head : len(a) - tail], b[head : len(b) - tail]
    if not ours or len(ours) > 2 or len(ours) != len(theirs) or head + tail == 0:
        return False
    return not any(group >= {*ours, *theirs} for group in _ALIKE)
