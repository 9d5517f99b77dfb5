"""From example vectors to a head: a logistic layer where there are examples enough, else centroids; then calibration
on examples held out. Deterministic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from routing.calibration import Signals, calibrate
from routing.clarify import title
from routing.head import Head, Layer
from routing.logistic import fit_logistic
from routing.pieces import count_pieces, pieces_of

Array = np.ndarray[Any, Any]

ENOUGH = 3
"""Examples of every intent from which the logistic layer is used. With names and letters it beats centroids from there on:
CLINC150's 150 intents, 3 and 5 examples each: 87.1 against 85.0 %, 89.6 against 87.2 %; BANKING77: 76.9 against 73.6 %,
79.5 against 76.5 %. Draws of 5 to 15 intents with 3 to 7 examples: AUROC of out of scope .978 against .969. With one or two
examples there is too little to hold out, and it refuses too much or too little."""
_C = 30.0
"""Inverse regularisation. 3 to 100 tried: accuracy within 0.5 %."""
_PULLS = (3.0, 6.0)
"""Weights tried for the nearest example's cosine. On BANKING77, whose intents lie close, 6 helps (dev, 10 examples each:
+0.6 points, 30: +0.7, all: +0.4); on CLINC150's it costs (10 each: -0.5): so the examples decide."""
_FOLDS = 5
_MOST_ROWS_FOR_ALL_FOLDS = 2000
"""Above this one fold is held out, not five in turn: its fifth is sample enough, and fitting takes seconds."""
_MOST_ROWS_FOR_ONE_OUT = 200
_MOST_ROWS_FOR_NAMES = 5000
"""With more, one example each adds nothing, and trying takes seconds. BANKING77 dev, 10 examples each: 84.9 -> 85.4 %, 30:
89.9 -> 90.2 %, all: 93.0 -> 93.1 %; CLINC150, 10: 92.3 -> 92.4 %."""

Fold = tuple[Layer, Array]
"""A layer, and the rows that it did not see."""


class Rows(msgspec.Struct, frozen=True):
    """What a layer is fitted on. `x` (rows, dim), `pieces` and `y` by row, `y` ascending with every value 0..max present;
    `outside`: out-of-scope rows; `names` (intents, dim) and `name_pieces`: one more example of each intent, its own name,
    which is never held out; no rows where names are not used."""

    x: Array
    pieces: Sequence[Array]
    y: Array
    outside: Array
    names: Array
    name_pieces: Sequence[Array]

    def without(self, mask: Array) -> Rows:
        seen = [self.pieces[at] for at in np.flatnonzero(~mask).tolist()]
        return msgspec.structs.replace(self, x=self.x[~mask], pieces=seen, y=self.y[~mask])

    def nameless(self) -> Rows:
        return msgspec.structs.replace(self, names=self.names[:0], name_pieces=())


def fit_head(
    vectors: Array,
    labels: list[str],
    outside: Array,
    *,
    encoder: str,
    texts: Sequence[str] | None = None,
    names: Array | None = None,
) -> Head:
    """`vectors`: (rows, dim), unit rows; `labels`: the intent of each; `outside`: out-of-scope rows, maybe none; `texts`:
    what the vectors are of, or None for a head that reads vectors alone; `names`: vectors of the intents' names (`title`),
    in the order of the names, or None where they say nothing.

    15,000 rows of 150 intents take about 10 s on one core, 500 rows of ten about 0.1 s.
    """
    intents = tuple(sorted(set(labels)))
    number = {name: at for at, name in enumerate(intents)}
    y = np.array([number[label] for label in labels])
    order = np.argsort(y, kind="stable")
    x, y = np.ascontiguousarray(vectors[order], dtype=np.float32), y[order]
    rows = Rows(
        x,
        [pieces_of(texts[at] if texts is not None else "") for at in order.tolist()],
        y,
        np.ascontiguousarray(outside, dtype=np.float32).reshape(-1, x.shape[1]),
        names if names is not None else x[:0],
        [pieces_of(title(intent)) for intent in intents] if names is not None and texts is not None else (),
    )
    logistic = bool(np.bincount(y).min() >= ENOUGH and len(intents) > 1)
    rows, folds = _named_or_not(rows, logistic=logistic)
    pull = _best_pull(folds, rows) if logistic else 0.0
    near = folds[0][0] if logistic and folds else None
    layer = msgspec.structs.replace(_layer(rows, logistic=logistic, near=near), pull=pull)
    held, at = _signals(folds, rows, pull)
    calibration = calibrate(held, y[at].tolist(), prior=5.0 if logistic else 0.6)
    return Head(encoder, "logistic" if logistic else "centroid", intents, layer, calibration)


def _named_or_not(rows: Rows, *, logistic: bool) -> tuple[Rows, list[Fold]]:
    """With the names as examples unless more held-out examples are read right without: names may be `intent_7`."""
    plain = rows.nameless()
    folds = list(_held_layers(plain, logistic=logistic))
    if not len(rows.names) or len(rows.y) > _MOST_ROWS_FOR_NAMES:
        return plain, folds
    named = list(_held_layers(rows, logistic=logistic))
    return (rows, named) if _right(named, rows, 0.0).sum() >= _right(folds, plain, 0.0).sum() else (plain, folds)


def _layer(rows: Rows, *, logistic: bool, near: Layer | None = None) -> Layer:
    """Letters only beside a logistic layer: few examples have few of them. `near`: of most of the same rows; beginning there
    took 54 looks at all rows instead of 87, and read CLINC150's validation set as well."""
    x, y = rows.x, rows.y
    classes = int(y[-1]) + 1
    starts = np.searchsorted(y, np.arange(classes + 1))
    pieces = None
    if logistic:
        all_y = np.concatenate([y, np.arange(len(rows.names))])
        start = (near.weights, near.biases) if near is not None else None
        weights, biases = fit_logistic(np.concatenate([x, rows.names]), all_y, classes, c=_C, start=start)
        pieces = count_pieces([*rows.pieces, *rows.name_pieces], all_y[: len(x) + len(rows.name_pieces)], classes)
    else:
        sums = np.add.reduceat(x, starts[:-1], axis=0)
        sums[: len(rows.names)] += rows.names
        weights = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
        biases = np.zeros(classes, np.float32)
    return Layer(weights, biases, x, starts, rows.outside, pieces=pieces, names=rows.names)


def held_out(rows: Rows, *, logistic: bool, pull: float) -> tuple[list[Signals], list[int]]:
    """The signals of examples under layers that did not see them, and which rows they are."""
    return _signals(_held_layers(rows, logistic=logistic), rows, pull)


def _held_layers(rows: Rows, *, logistic: bool) -> Iterator[Fold]:
    for fold in _folds(rows.y, logistic=logistic):
        yield _layer(rows.without(fold), logistic=logistic), np.flatnonzero(fold)


def _signals(folds: Iterable[Fold], rows: Rows, pull: float) -> tuple[list[Signals], list[int]]:
    held: list[Signals] = []
    seen: list[int] = []
    for layer, own in folds:
        pulled = msgspec.structs.replace(layer, pull=pull)
        held += [pulled.signals(rows.x[row], rows.pieces[row]) for row in own.tolist()]
        seen += own.tolist()
    return held, seen


def _right(folds: list[Fold], rows: Rows, pull: float) -> Array:
    """Which held-out examples are read right."""
    held, seen = _signals(folds, rows, pull)
    right: Array = np.array([signals.best for signals in held]) == rows.y[seen]
    return right


def _best_pull(folds: list[Fold], rows: Rows) -> float:
    """The pull under which most held-out examples are read right. It must beat none by more than chance plays with: one
    standard deviation of the examples on which the two differ."""
    if not folds:
        return 0.0
    plain = _right(folds, rows, 0.0)
    right = {pull: _right(folds, rows, pull) for pull in _PULLS}
    best = max(right, key=lambda pull: (int(right[pull].sum()), -pull))
    won, lost = int((right[best] & ~plain).sum()), int((plain & ~right[best]).sum())
    return best if won - lost > math.sqrt(won + lost) else 0.0


def _folds(y: Array, *, logistic: bool) -> Iterator[Array]:
    """Masks of rows to hold out. An intent's only example is never held out, so no fold lacks an intent."""
    counts = np.bincount(y)
    rank = np.arange(len(y)) - np.searchsorted(y, y)
    alone = counts[y] < 2
    if not logistic and len(y) <= _MOST_ROWS_FOR_ONE_OUT:
        for at in np.flatnonzero(~alone):
            yield np.arange(len(y)) == at
        return
    for fold in range(_FOLDS if len(y) <= _MOST_ROWS_FOR_ALL_FOLDS else 1):
        mask = (rank % _FOLDS == fold) & ~alone
        if mask.any():
            yield mask
