"""The router's quality on labelled rows: what `tidegate eval router` prints.

A row is `{"text", "intent"}`; the intent `oos` or `out_of_scope` marks texts that are about none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from gateway.core.intervals import Z, wilson
from routing.examples import OUT_OF_SCOPE, Examples, ExamplesError
from routing.head import Head

Array = np.ndarray[Any, Any]
OOS = "oos"


class Share(msgspec.Struct, frozen=True):
    """`hits` of `of`, with the Wilson 95 % interval."""

    hits: int
    of: int
    value: float | None
    low: float | None
    high: float | None


class RowResult(msgspec.Struct, frozen=True):
    """`intent`: the best, or `oos`; `score`: confidence that the text is in scope; `micros`: time taken; `margin`: between
    the best two."""

    intent: str
    score: float
    best: str
    micros: float
    margin: float = 1.0


class RouterReport(msgspec.Struct, frozen=True, kw_only=True):
    """`accuracy`: in-scope rows whose best intent is right, refused or not. `accuracy_refusing`: the same, refused rows
    counted wrong. `oos_recall`: out-of-scope rows refused. `false_refusals`: in-scope rows refused. `auroc`: of the
    score, in scope against out of scope, with its interval after Hanley and McNeil (1982); None without both kinds."""

    rows: int
    intents: int
    kind: str
    encoder: str
    accuracy: Share
    accuracy_refusing: Share
    oos_recall: Share
    false_refusals: Share
    auroc: tuple[float, float, float] | None
    latency_micros: dict[str, float]


def training_rows(rows: Iterable[Mapping[str, Any]]) -> Examples:
    """Labelled rows as examples. Raises `ExamplesError` naming the row."""
    texts: list[str] = []
    labels: list[str] = []
    outside: list[str] = []
    for at, row in enumerate(rows):
        text, intent = row.get("text"), row.get("intent")
        if not isinstance(text, str) or not isinstance(intent, str):
            raise ExamplesError(f"row {at + 1}: expected `text` and `intent`")
        if intent in (OOS, OUT_OF_SCOPE):
            outside.append(text)
        else:
            texts.append(text)
            labels.append(intent)
    if not texts:
        raise ExamplesError("no row has an intent that is in scope")
    return Examples(texts, labels, outside)


def predict(
    head: Head, encode: Callable[[Sequence[str]], Array], texts: Sequence[str], *, below: float = 0.5
) -> list[RowResult]:
    """One result a text, in order. Texts are encoded one at a time, so that the times are those of a request."""
    results = []
    for text in texts:
        started = time.perf_counter()
        reading = head.read(encode([text])[0], text)
        micros = (time.perf_counter() - started) * 1e6
        intent = OOS if reading.confidence < below else reading.best
        results.append(RowResult(intent, reading.confidence, reading.best, micros, reading.margin))
    return results


def report(head: Head, results: Sequence[RowResult], truth: Sequence[str]) -> RouterReport:
    """`truth`: each row's intent."""
    inside = [(r, t) for r, t in zip(results, truth, strict=True) if t not in (OOS, OUT_OF_SCOPE)]
    outside = [r for r, t in zip(results, truth, strict=True) if t in (OOS, OUT_OF_SCOPE)]
    micros = [result.micros for result in results] or [0.0]
    return RouterReport(
        rows=len(results),
        intents=len(head.intents),
        kind=head.kind,
        encoder=head.encoder,
        accuracy=share(sum(r.best == t for r, t in inside), len(inside)),
        accuracy_refusing=share(sum(r.intent == t for r, t in inside), len(inside)),
        oos_recall=share(sum(r.intent == OOS for r in outside), len(outside)),
        false_refusals=share(sum(r.intent == OOS for r, _ in inside), len(inside)),
        auroc=auroc([r.score for r, _ in inside], [r.score for r in outside]),
        latency_micros={f"p{p}": round(float(np.percentile(micros, p)), 1) for p in (50, 95, 99)},
    )


def share(hits: int, of: int) -> Share:
    """Wilson (1927); empty for no rows."""
    if not of:
        return Share(0, 0, None, None, None)
    return Share(hits, of, hits / of, *wilson(hits, of))


def auroc(above: Sequence[float], under: Sequence[float]) -> tuple[float, float, float] | None:
    """How often a value of `above` exceeds one of `under` (ties count half), with its 95 % interval."""
    m, n = len(above), len(under)
    if not m or not n:
        return None
    values = np.concatenate([np.asarray(above, np.float64), np.asarray(under, np.float64)])
    _, back, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[back]  # ties share their mean rank
    area = (float(ranks[:m].sum()) - m * (m + 1) / 2) / (m * n)
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    variance = (area * (1 - area) + (m - 1) * (q1 - area * area) + (n - 1) * (q2 - area * area)) / (m * n)
    half = Z * math.sqrt(max(0.0, variance))
    return area, max(0.0, area - half), min(1.0, area + half)
