"""The fitted classifier: a linear layer over the text's vector, and the examples themselves beside it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from routing.calibration import Calibration, Signals

Array = np.ndarray[Any, Any]

_BEST = 3
"""Intents looked at closely, and nearest examples averaged. Looking at all examples instead gave no better scores on
CLINC150 and takes 2 ms for 15,000 of them; three intents take 0.05 ms."""


class Layer(msgspec.Struct, frozen=True):
    """Weights (intents, dim) and biases (intents,), float32; and the example vectors, by intent.

    `bank[starts[k]:starts[k + 1]]` are the examples of intent k. `outside` (rows, dim) are the out-of-scope ones. `pull`:
    what the cosine of an intent's nearest example adds to its logit, among the best few.
    """

    weights: Array
    biases: Array
    bank: Array
    starts: Array
    outside: Array
    pull: float = 0.0

    def signals(self, vector: Array) -> Signals:
        """`vector`: (dim,), float32, length 1."""
        logits = self.weights @ vector + self.biases
        order = np.argsort(-logits, kind="stable")[:_BEST].tolist()
        starts = self.starts
        near = [self.bank[starts[k] : starts[k + 1]] @ vector for k in order]
        peak = float(logits[order[0]])
        ranked = sorted(
            (
                (float(logits[k]) + self.pull * float(own.max()), -at, k)
                for at, (k, own) in enumerate(zip(order, near, strict=True))
            ),
            reverse=True,
        )
        first, then = ranked[0], ranked[min(1, len(ranked) - 1)]
        return Signals(
            best=first[2],
            second=then[2],
            peak=peak,
            near=_top_mean(np.concatenate(near)),
            away=_top_mean(self.outside @ vector) if len(self.outside) else 0.0,
            gap=first[0] - then[0] if len(ranked) > 1 else float("inf"),
        )


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One text, read. `confidence` and `margin` are 0..1, as `calibration` says."""

    best: str
    second: str
    confidence: float
    margin: float


class Head(msgspec.Struct, frozen=True):
    """Reads vectors of one encoder (`encoder`: its id). `kind`: `logistic` or `centroid`."""

    encoder: str
    kind: str
    intents: tuple[str, ...]
    layer: Layer
    calibration: Calibration

    def read(self, vector: Array) -> Reading:
        signals = self.layer.signals(vector)
        return Reading(
            self.intents[signals.best],
            self.intents[signals.second],
            self.calibration.confidence(signals),
            self.calibration.margin(signals),
        )


def _top_mean(values: Array) -> float:
    if len(values) > _BEST:
        values = np.partition(values, len(values) - _BEST)[-_BEST:]
    return float(values.mean())
