"""The n-gram tier's fit: penalised logistic regression over hashed n-grams, by L-BFGS in plain numpy.

No randomness. Sums use numpy's own loops and not BLAS, whose order of summing depends on threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from guardrails.injection.features import BITS
from guardrails.injection.samples import Sample

C = 3.0
"""Inverse strength of the L2 penalty; 0.3, 1, 3 and 10 were tried: AUC .790, .819, .827, .831 (10 is slow and less
stable)."""

F64 = np.ndarray[Any, np.dtype[np.float64]]
Loss = Callable[[F64], tuple[float, F64]]


def balanced(labels: F64) -> F64:
    """Weights that make both classes count the same."""
    positive = labels.sum()
    weights: F64 = 0.5 * len(labels) / np.where(labels == 1, positive, len(labels) - positive)
    return weights


class Problem:
    """The penalised, class-balanced logistic loss over some samples."""

    def __init__(self, chosen: Sequence[Sample], labels: F64) -> None:
        self._bucket = np.concatenate([sample.buckets for sample in chosen])
        self._value = np.concatenate([sample.values for sample in chosen])
        self._row = np.repeat(np.arange(len(chosen)), [len(sample.buckets) for sample in chosen])
        self._sign = 2 * labels - 1
        self._weight = balanced(labels)
        self._n = len(chosen)

    def __call__(self, x: F64) -> tuple[float, F64]:
        w, b = x[:-1], x[-1]
        z = np.bincount(self._row, weights=w[self._bucket] * self._value, minlength=self._n) + b
        margin = z * self._sign
        loss = float((self._weight * np.logaddexp(0, -margin)).sum() + 0.5 / C * np.square(w).sum())
        pull = -self._weight * self._sign / (1 + np.exp(np.clip(margin, -50, 50)))
        gradient = np.bincount(self._bucket, weights=pull[self._row] * self._value, minlength=len(w)) + w / C
        return loss, np.append(gradient, pull.sum())


def fit_grams(chosen: Sequence[Sample]) -> F64:
    """Weights, and the bias last."""
    labels = np.array([float(sample.label) for sample in chosen])
    return minimise(Problem(chosen, labels), np.zeros((1 << BITS) + 1))


def logit(x: F64, sample: Sample) -> float:
    return float((x[sample.buckets] * sample.values).sum() + x[-1])


def minimise(loss: Loss, x: F64, steps: int = 60, memory: int = 8, settled: float = 1e-5) -> F64:
    """L-BFGS with backtracking."""
    value, gradient = loss(x)
    pairs: list[tuple[F64, F64]] = []
    for _ in range(steps):
        direction = _direction(gradient, pairs)
        slope = _dot(gradient, direction)
        step = 1.0
        while True:
            candidate = x + step * direction
            new_value, new_gradient = loss(candidate)
            if new_value <= value + 1e-4 * step * slope or step < 1e-8:
                break
            step *= 0.5
        moved, turned = candidate - x, new_gradient - gradient
        if _dot(moved, turned) > 0:
            pairs = [*pairs[-memory + 1 :], (moved, turned)]
        done = abs(value - new_value) < settled * abs(value)
        x, value, gradient = candidate, new_value, new_gradient
        if done:
            break
    return x


def _dot(a: F64, b: F64) -> float:
    return float((a * b).sum())


def _direction(gradient: F64, pairs: Sequence[tuple[F64, F64]]) -> F64:
    out = -gradient
    if not pairs:
        start: F64 = out / (np.abs(gradient).sum() / 100)
        return start
    factors = []
    for s, y in reversed(pairs):
        factor = _dot(s, out) / _dot(y, s)
        factors.append(factor)
        out = out - factor * y
    s, y = pairs[-1]
    out = out * (_dot(s, y) / _dot(y, y))
    for (s, y), factor in zip(pairs, reversed(factors), strict=True):
        out = out + (factor - _dot(y, out) / _dot(y, s)) * s
    return out
