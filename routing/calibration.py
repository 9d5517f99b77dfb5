"""Raw signals into two numbers that mean the same on every set of intents: confidence and margin.

**Confidence** (0..1): is this text about any of the intents at all? The score is
`z(peak) + z(near) - 0.25 z(away)`: the highest logit, the mean cosine of the three nearest examples of the three best
intents, and that of the nearest examples of what is out of scope, when there are any. Each is standardised by examples
the head was not fitted on. A logistic curve maps the score so that

- 0.5 lies where 3.5 % of held-out in-scope examples fall below: `below: 0.5` refuses 3 to 5 % of good questions;
- 0.95 is the median held-out in-scope example.

It is a rank with two anchors, not the probability of being right. On traffic unlike the examples, the share refused
differs: measure it with `tidegate eval router`.

**Margin** (0..1): how much likelier the best intent is than the second, were it one of the two: `2p - 1`, where `p` comes
from the gap of their logits through one temperature fitted on held-out examples. `margin: 0.1` is 55 to 45. It does not
depend on how many intents there are, as a difference of softmax values does.

Why these: on CLINC150 (facts measured on validation data) softmax confidence is the worst score for out of scope
(AUROC .966), the highest logit better (.979), its sum with the cosine best (.986); with 251 examples of the outside,
.988. An intent of its own for them was worse than none.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]

FALSE_REFUSALS = 0.035
"""Share of held-out in-scope examples under confidence 0.5. Held-out examples look like the others more than traffic
does: at 0.05 CLINC150's validation set lost 6.3 %, at 0.04 5.1 %."""
MEDIAN_CONFIDENCE = 0.95
AWAY_WEIGHT = 0.25
"""Tried 0 to 1.5 with 20 and 251 outside examples: 0.25 to 0.5 helps a little with 20 and well with 251; 1 hurts."""
_PRIOR_ROWS = 5.0
"""How many examples the priors below count for: they matter only where there are hardly any examples."""
_PRIOR_NEAR, _PRIOR_AWAY, _PRIOR_SPREAD = 0.45, 0.25, 1.8
_FEW_CUT = 1.5
"""Spreads under the mean, with few examples. Draws of 5 to 15 CLINC150 intents with 3 to 7 examples each then refuse
6 % of good questions on average, 2 to 12 %: so few examples place no threshold exactly."""
_ENOUGH_FOR_A_QUANTILE = 100


class Signals(msgspec.Struct, frozen=True, gc=False):
    """What a head says of one text. `best` and `second` are intent numbers; `gap` is between their logits, `inf` when
    there is one intent only."""

    best: int
    second: int
    peak: float
    near: float
    away: float
    gap: float


class Calibration(msgspec.Struct, frozen=True):
    """Means and spreads of peak, near and away; where confidence 0.5 lies and how steep it is; the pair temperature."""

    mean: tuple[float, float, float]
    spread: tuple[float, float, float]
    cut: float
    slope: float
    pair: float

    def score(self, signals: Signals) -> float:
        values = (signals.peak, signals.near, signals.away)
        peak, near, away = ((v - m) / s for v, m, s in zip(values, self.mean, self.spread, strict=True))
        return peak + near - AWAY_WEIGHT * away

    def confidence(self, signals: Signals) -> float:
        return _logistic(self.slope * (self.score(signals) - self.cut))

    def margin(self, signals: Signals) -> float:
        return math.tanh(self.pair * signals.gap / 2)


def calibrate(held: list[Signals], labels: list[int], *, prior: float) -> Calibration:
    """`held`: signals of examples that the head did not see, `labels` their intents. `prior`: peak of a typical in-scope
    text, for when `held` is nearly empty."""
    means, spreads = [], []
    for name, guess, width in (("peak", prior, 0.25 * prior), ("near", _PRIOR_NEAR, 0.15), ("away", _PRIOR_AWAY, 0.12)):
        mean, spread = _standard(np.array([getattr(signals, name) for signals in held]), guess, width)
        means.append(mean)
        spreads.append(spread)
    plain = Calibration((means[0], means[1], means[2]), (spreads[0], spreads[1], spreads[2]), 0.0, 1.0, 1.0)
    scores = np.array([plain.score(signals) for signals in held])
    if len(scores) >= _ENOUGH_FOR_A_QUANTILE:
        cut, middle = (float(value) for value in np.quantile(scores, [FALSE_REFUSALS, 0.5]))
    else:
        rows = len(scores)
        spread = math.sqrt((float((scores**2).sum()) + _PRIOR_ROWS * _PRIOR_SPREAD**2) / (rows + _PRIOR_ROWS))
        cut, middle = -_FEW_CUT * spread, 0.0
    slope = math.log(MEDIAN_CONFIDENCE / (1 - MEDIAN_CONFIDENCE)) / max(1e-6, middle - cut)
    return Calibration(plain.mean, plain.spread, cut, slope, _pair_temperature(held, labels))


def _standard(values: Array, guess: float, width: float) -> tuple[float, float]:
    """Mean and spread, drawn towards `guess` and `width` when there are few values."""
    rows = len(values)
    mean = (float(values.sum()) + _PRIOR_ROWS * guess) / (rows + _PRIOR_ROWS)
    squares = float(((values - mean) ** 2).sum()) + _PRIOR_ROWS * width**2
    return mean, max(1e-6, math.sqrt(squares / (rows + _PRIOR_ROWS)))


def _pair_temperature(held: list[Signals], labels: list[int]) -> float:
    """The factor on logit gaps under which the best of two is right as often as it says. A grid is enough: the
    likelihood is flat around its top. Two made-up mistakes keep it finite where there were none."""
    won: list[float] = []
    lost: list[float] = []
    for signals, label in zip(held, labels, strict=True):
        if math.isfinite(signals.gap) and label in (signals.best, signals.second):
            (won if label == signals.best else lost).append(signals.gap)
    gaps = np.array(won + lost)
    if not len(gaps):
        return 10.0
    typical = float(np.median(gaps))
    signed = np.concatenate([np.array(won), -np.array(lost), [-typical, -typical]])
    grid = np.logspace(-2, 2, 81)
    likelihood = [-np.logaddexp(0, -factor * signed).sum() for factor in grid]
    return float(grid[int(np.argmax(likelihood))])


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
