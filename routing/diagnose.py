"""What is wrong with a route's examples, told by the examples themselves: what `tidegate router calibrate` and
`explain` print.

All of it is measured on examples held out in turn, so it says how well the examples tell each other apart, not how well
they cover the traffic: for that, `tidegate eval router` with labelled traffic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from routing.calibration import Signals
from routing.clarify import title
from routing.evaluate import Share, share
from routing.examples import OUT_OF_SCOPE, Examples
from routing.fit import Rows, held_out
from routing.head import Head
from routing.pieces import pieces_of

Array = np.ndarray[Any, Any]

ALIKE = 0.95
"""Cosine from which two examples of different intents are told as near-duplicates."""
_MOST_TOLD = 50
_ROWS_AT_ONCE = 512


class Confusion(msgspec.Struct, frozen=True):
    """Held-out examples of `intent` whose best intent was `read_as`. `example`: one of them."""

    intent: str
    read_as: str
    rows: int
    example: str


class Unreachable(msgspec.Struct, frozen=True):
    """A threshold that an intent's own examples mostly fail: `passed` of `rows` held-out examples get over it."""

    intent: str
    threshold: str
    value: float
    passed: int
    rows: int
    best: float
    """The highest value among them."""


class Alike(msgspec.Struct, frozen=True):
    """Two examples of different intents that the encoder can hardly tell apart."""

    cosine: float
    intent: str
    text: str
    other: str
    other_text: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    accuracy: Share
    false_refusals: Share
    unclear: Share
    """Held-out examples that are not refused but too close between two intents."""
    confusions: list[Confusion]
    unreachable: list[Unreachable]
    alike: list[Alike]
    alike_in_all: int
    """`alike` is cut at the fifty nearest."""


class Nearest(msgspec.Struct, frozen=True):
    cosine: float
    intent: str
    text: str


def diagnose(head: Head, examples: Examples, *, below: float, margin: float) -> Diagnosis:
    """`examples`: those that `head` was fitted on. Fits again for each fold: as slow as fitting."""
    layer = head.layer
    y = np.repeat(np.arange(len(head.intents)), np.diff(layer.starts))
    texts = _in_bank_order(examples)
    pieces = [pieces_of(text) for text in texts]
    name_pieces = [pieces_of(title(intent)) for intent in head.intents] if len(layer.names) else []
    fitted = Rows(layer.bank, pieces, y, layer.outside, layer.names, name_pieces)
    held, rows = held_out(fitted, logistic=head.kind == "logistic", pull=layer.pull)
    truth = y[rows].tolist()
    sure = [head.calibration.confidence(signals) for signals in held]
    apart = [head.calibration.margin(signals) for signals in held]
    refused = sum(value < below for value in sure)
    unclear = sum(c >= below and m < margin for c, m in zip(sure, apart, strict=True))
    found = list(_alike(head, examples, texts))
    found.sort(key=lambda pair: -pair.cosine)
    return Diagnosis(
        rows=len(rows),
        accuracy=share(sum(s.best == t for s, t in zip(held, truth, strict=True)), len(rows)),
        false_refusals=share(refused, len(rows)),
        unclear=share(unclear, len(rows)),
        confusions=_confusions(head, held, truth, [texts[row] for row in rows]),
        unreachable=[
            *_unreachable(head, truth, sure, "below", below),
            *_unreachable(head, truth, apart, "margin", margin),
        ],
        alike=found[:_MOST_TOLD],
        alike_in_all=len(found),
    )


def nearest(head: Head, examples: Examples, vector: Array, count: int) -> list[Nearest]:
    """The examples nearest to `vector`, best first, those of what is out of scope among them."""
    bank, texts, labels = _everything(head, examples, _in_bank_order(examples))
    scores = bank @ vector
    order = np.argsort(-scores, kind="stable")[:count].tolist()
    return [Nearest(float(scores[at]), labels[at], texts[at]) for at in order]


def likeliest(head: Head, vector: Array, text: str, count: int) -> list[tuple[str, float]]:
    """Intents by the layer's raw score, best first."""
    logits = head.layer.logits(vector, pieces_of(text))
    order = np.argsort(-logits, kind="stable")[:count].tolist()
    return [(head.intents[at], float(logits[at])) for at in order]


def _in_bank_order(examples: Examples) -> list[str]:
    """The texts as the head keeps their vectors: by intent name, and within one as they were given."""
    return [text for _, text in sorted(zip(examples.labels, examples.texts, strict=True), key=lambda pair: pair[0])]


def _everything(head: Head, examples: Examples, texts: list[str]) -> tuple[Array, list[str], list[str]]:
    """All vectors, with their texts and intents."""
    layer = head.layer
    bank = np.concatenate([layer.bank, layer.outside]) if len(layer.outside) else layer.bank
    labels = [*sorted(examples.labels), *[OUT_OF_SCOPE] * len(examples.outside)]
    return bank, [*texts, *examples.outside], labels


def _alike(head: Head, examples: Examples, texts: list[str]) -> Iterator[Alike]:
    bank, texts, labels = _everything(head, examples, texts)
    number = {label: at for at, label in enumerate(dict.fromkeys(labels))}
    of = np.array([number[label] for label in labels])
    for start in range(0, len(bank), _ROWS_AT_ONCE):
        block = bank[start : start + _ROWS_AT_ONCE]
        near = block @ bank[start:].T
        near[of[start : start + len(block), None] == of[None, start:]] = -1.0
        for row, column in np.argwhere(near >= ALIKE).tolist():
            if column > row:
                a, b = start + row, start + column
                yield Alike(round(float(near[row, column]), 4), labels[a], texts[a], labels[b], texts[b])


def _confusions(head: Head, held: list[Signals], truth: list[int], texts: list[str]) -> list[Confusion]:
    counts: Counter[tuple[int, int]] = Counter()
    first: dict[tuple[int, int], str] = {}
    for signals, label, text in zip(held, truth, texts, strict=True):
        if signals.best != label:
            counts[label, signals.best] += 1
            first.setdefault((label, signals.best), text)
    return [
        Confusion(head.intents[label], head.intents[best], rows, first[label, best])
        for (label, best), rows in counts.most_common(_MOST_TOLD)
    ]


def _unreachable(head: Head, truth: list[int], values: list[float], name: str, least: float) -> list[Unreachable]:
    """Intents of which fewer than half of the held-out examples get over the threshold."""
    told = []
    for at, intent in enumerate(head.intents):
        own = [value for value, label in zip(values, truth, strict=True) if label == at]
        passed = sum(value >= least for value in own)
        if own and 2 * passed < len(own):
            told.append(Unreachable(intent, name, least, passed, len(own), round(max(own), 4)))
    return told
