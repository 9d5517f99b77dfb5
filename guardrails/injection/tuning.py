"""From held-out scores to thresholds, and the figures that say how good they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gateway.core.intervals import wilson
from guardrails.injection.head import Calibration
from guardrails.injection.samples import Example

FALSE_ALARMS = 0.007
"""Of all held-out harmless rows, at score 0.5: about 1 % of the hard negatives among them, half that of ordinary ones."""
ORDINARY = 0.02
"""At most, of any source of ordinary prompts with `ENOUGH` rows."""
ENOUGH = 400
WIDER = 2.5
"""Score 0.4, where tool results are stopped, lets this many times as many false alarms through."""

Logits = Mapping[int, float]


def calibration(examples: Sequence[Example], logits: Logits) -> Calibration:
    """The lowest cut that keeps both promises, on sources that were held out."""
    harmless = _logits(examples, logits, 0)
    cut = float(np.quantile(harmless, 1 - FALSE_ALARMS))
    wide = float(np.quantile(harmless, 1 - WIDER * FALSE_ALARMS))
    for source in {example.row.src for example in examples if example.row.kind.startswith("user")}:
        own = _logits(examples, logits, 0, source)
        if len(own) >= ENOUGH:
            cut = max(cut, float(np.quantile(own, 1 - ORDINARY)))
    slope = math.log(0.6 / 0.4) / max(cut - wide, 0.05)
    return Calibration(cut=round(cut, 4), slope=round(slope, 4))


def figures(examples: Sequence[Example], logits: Logits, cut: float) -> dict[str, float]:
    good, bad = _logits(examples, logits, 0), _logits(examples, logits, 1)
    ranks = np.concatenate([bad, good]).argsort(kind="stable").argsort(kind="stable")
    auc = (ranks[: len(bad)].sum() - len(bad) * (len(bad) - 1) / 2) / (len(bad) * len(good))
    return {
        "auc": round(float(auc), 4),
        "recall": round(float((bad > cut).mean()), 4),
        "false_alarms": round(float((good > cut).mean()), 4),
        "recall_at_2_percent": round(float((bad > np.quantile(good, 0.98)).mean()), 4),
        "attacks": float(len(bad)),
        "harmless": float(len(good)),
    }


def table(examples: Sequence[Example], logits: Logits, cut: float) -> Iterator[str]:
    """A line for each label and source, and for each kind where a source has several."""
    groups: dict[tuple[int, str, str], list[bool]] = {}
    for at, logit in logits.items():
        row = examples[at].row
        for kind in {"", row.kind}:
            groups.setdefault((row.label, row.src, kind), []).append(logit > cut)
    for (label, source, kind), hits in sorted(groups.items()):
        if kind and len(hits) == len(groups[(label, source, "")]):
            continue
        low, high = wilson(sum(hits), len(hits))
        name = f"{source} / {kind}" if kind else source
        share = 100 * sum(hits) / len(hits)
        what = "attack  " if label else "harmless"
        yield f"{what} {name:66} {sum(hits):5} of {len(hits):5} = {share:5.1f} % ({100 * low:.1f} .. {100 * high:.1f})"


def _logits(
    examples: Sequence[Example], logits: Logits, label: int, source: str = ""
) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(
        [
            logit
            for at, logit in logits.items()
            if examples[at].row.label == label and source in ("", examples[at].row.src)
        ]
    )
