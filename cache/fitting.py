"""The verifier's fit: a logistic model over broken lines, none of which may fall. Plain numpy, no randomness."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

F64 = np.ndarray[Any, np.dtype[np.float64]]

PENALTY = 1.0
"""Of the squares of the rises; 0.3 to 10 gave hit rates within a point of each other."""
_STEPS = 60


def knots_of(values: F64) -> list[float]:
    """Five points of a feature between which its line may bend: its quantiles, and for one that piles up at the top (a
    cosine does) the upper ones closer together."""
    found = np.quantile(values, (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 1.0), method="lower")
    knots = sorted({round(float(value), 3) for value in found})
    return knots if len(knots) > 1 else [knots[0], knots[0] + 1.0]


def bent(x: F64, knots: Sequence[Sequence[float]]) -> F64:
    """(n, features) to (n, pieces): how much of each piece of each line lies below the value, 0 to 1."""
    pieces = [
        np.clip((x[:, at] - low) / (high - low), 0.0, 1.0)
        for at, points in enumerate(knots)
        for low, high in pairwise(points)
    ]
    return np.stack(pieces, axis=1)


def fit(x: F64, y: F64, counts: F64) -> F64:
    """The bias, and a weight of 0 or more for each column: projected Newton steps on the penalised logistic loss."""
    n, width = x.shape
    full = np.hstack([np.ones((n, 1)), x])
    weights = np.zeros(width + 1)
    ridge = np.full(width + 1, PENALTY)
    ridge[0] = 1e-6
    loss = _loss(full, y, counts, ridge, weights)
    for _ in range(_STEPS):
        chance = _sigmoid(full @ weights)
        gradient = full.T @ (counts * (chance - y)) + ridge * weights
        free = (weights > 0) | (gradient < 0)
        free[0] = True
        at = np.flatnonzero(free)
        curve = (full[:, at] * (counts * chance * (1 - chance))[:, None]).T @ full[:, at] + np.diag(ridge[at])
        step = np.zeros(width + 1)
        step[at] = np.linalg.solve(curve, gradient[at])
        size = 1.0
        while size > 1e-6:
            tried = weights - size * step
            tried[1:] = np.maximum(tried[1:], 0.0)
            new = _loss(full, y, counts, ridge, tried)
            if new < loss:
                break
            size /= 2
        else:
            break
        done = loss - new < 1e-9 * loss
        weights, loss = tried, new
        if done:
            break
    return weights


def _loss(x: F64, y: F64, counts: F64, ridge: F64, weights: F64) -> float:
    margin = (2 * y - 1) * (x @ weights)
    return float((counts * np.logaddexp(0, -margin)).sum() + 0.5 * (ridge * np.square(weights)).sum())


def _sigmoid(z: F64) -> F64:
    out: F64 = 1 / (1 + np.exp(-np.clip(z, -60, 60)))
    return out
