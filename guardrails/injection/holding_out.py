"""Scores of rows by a head that never saw them, both tiers, as `check.py` would put them together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from guardrails.injection.check import LENGTH, WORST, bonus
from guardrails.injection.logistic import fit_grams, logit
from guardrails.injection.perceptron import fit_network
from guardrails.injection.rules import Rules
from guardrails.injection.samples import Example, Sample
from guardrails.injection.windows import begins

Vectors = Callable[[Sequence[str]], np.ndarray[Any, np.dtype[np.float32]]]
"""Texts to sentence vectors; remembers those it was asked for."""


class Held(msgspec.Struct):
    """Of one held-out row: the first tier's logit, and the network's for the worst windows (0 without an encoder)."""

    grams: float
    model: float


def hold_out(
    examples: Sequence[Example],
    windows: Sequence[Sample],
    folds: Sequence[Callable[[Example], bool]],
    vectors: Vectors | None,
) -> dict[int, Held]:
    """By the example's number. Each of `folds` says which examples it holds out."""
    rules = Rules()
    found: dict[int, Held] = {}
    for holds in folds:
        out = [holds(example) for example in examples]
        if not any(out):
            continue
        learn = [sample for sample in windows if sample.learn and not out[sample.example]]
        weights = fit_grams(learn)
        judged: dict[int, list[tuple[float, str]]] = {}
        for sample in windows:
            if sample.judge and out[sample.example] and examples[sample.example].learnable:
                judged.setdefault(sample.example, []).append((logit(weights, sample), sample.text))
        worst = {at: sorted(scored, reverse=True)[:WORST] for at, scored in judged.items()}
        model = _by_network(learn, worst, vectors) if vectors is not None else {}
        for at, scored in worst.items():
            found[at] = Held(scored[0][0] + _extra(rules, examples[at]), model.get(at, 0.0))
    return found


def _by_network(
    learn: Sequence[Sample], worst: dict[int, list[tuple[float, str]]], vectors: Vectors
) -> dict[int, float]:
    network = network_of(learn, vectors)
    logits = network.logits(vectors([text for scored in worst.values() for _, text in scored]))
    found: dict[int, float] = {}
    place = 0
    for at, scored in worst.items():
        found[at] = float(logits[place : place + len(scored)].max())
        place += len(scored)
    return found


def network_of(learn: Sequence[Sample], vectors: Vectors) -> Any:
    labels = np.array([float(sample.label) for sample in learn])
    return fit_network(vectors([sample.text for sample in learn]), labels)


def _extra(rules: Rules, example: Example) -> float:
    hits = [rules.hits(piece) for piece in example.pieces]
    strong = next((name for name, _ in hits if name), "")
    count = sum(len(begins(len(piece))) for piece in example.pieces)
    return bonus(strong, max(votes for _, votes in hits)) - LENGTH * math.log2(count)
