"""How sure a share of wrong answers is known: exact (Clopper-Pearson) one-sided bounds on a binomial share."""

from __future__ import annotations

import math
from collections.abc import Callable

CONFIDENCE = 0.95


def upper(wrong: int, of: int, confidence: float = CONFIDENCE) -> float:
    """The share that the true one lies below with `confidence`: 0 wrong of 299 gives 0.00997. 1 when nothing is known."""
    if wrong >= of:
        return 1.0
    return _solve(lambda share: _at_most(wrong, of, share) > 1 - confidence)


def lower(wrong: int, of: int, confidence: float = CONFIDENCE) -> float:
    """The share that the true one lies above with `confidence`. 0 when nothing is known."""
    if wrong <= 0:
        return 0.0
    return _solve(lambda share: 1 - _at_most(wrong - 1, of, share) < 1 - confidence)


def surely_within(wrong: int, of: int, rate: float, confidence: float = CONFIDENCE) -> bool:
    """Whether `upper` is at most `rate`, without looking for it."""
    return wrong < of and _at_most(wrong, of, rate) <= 1 - confidence


def surely_above(wrong: int, of: int, rate: float, confidence: float = CONFIDENCE) -> bool:
    """Whether `lower` is above `rate`, without looking for it."""
    return wrong > 0 and 1 - _at_most(wrong - 1, of, rate) < 1 - confidence


NEVER = 1 << 62


def needed(rate: float, wrong: int = 0) -> int:
    """The fewest outcomes, `wrong` of them wrong, for which `upper` is at most `rate`: 299 for 1 %, 473 with one wrong;
    none for 100 %, and `NEVER` for a rate that no evidence shows."""
    if rate >= 1:
        return 0
    if not surely_within(wrong, NEVER - 1, rate):
        return NEVER
    few, enough = wrong, NEVER - 1
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if surely_within(wrong, middle, rate) else (middle, enough)
    return enough


def _solve(below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return high


def _at_most(wrong: int, of: int, share: float) -> float:
    """The chance of `wrong` or fewer of `of`, each with the chance `share`. Summed from the first term, in logarithms."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return float(wrong >= of)
    step = math.log(share) - math.log1p(-share)
    term = of * math.log1p(-share)
    total = math.exp(term)
    for k in range(1, wrong + 1):
        term += math.log(of - k + 1) - math.log(k) + step
        total += math.exp(term)
    return min(1.0, total)
