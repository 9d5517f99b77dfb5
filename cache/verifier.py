"""The learned part of the decision: how sure one can be that a cached answer does for a near question.

A monotone additive model: for each feature of `features` a rising broken line, their sum through a sigmoid. It was fitted
(`training`) on questions whose right answer is known, near-misses counted several times, so that a score of 0.93, the
default threshold, is stricter than a chance of 93 % on that traffic. **A score is not a promise about other traffic**: how
often a route's hits are wrong is measured by `evidence`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from cache.features import NAMES, pair_features
from cache.text import Reading

FILE = Path(__file__).with_name("verifier.json")
FORMAT = 1


class Line(msgspec.Struct, frozen=True):
    """One feature's broken line: between `knots[i]` and `knots[i+1]` it rises by `rises[i]`, never negative."""

    name: str
    knots: tuple[float, ...]
    rises: tuple[float, ...]

    def at(self, value: float) -> float:
        height = 0.0
        for low, high, rise in zip(self.knots, self.knots[1:], self.rises, strict=False):
            if value <= low:
                break
            height += rise if value >= high else rise * (value - low) / (high - low)
        return height


class Verifier(msgspec.Struct, frozen=True, kw_only=True):
    """As it lies in the file. `encoder`: the `Embed.id` whose cosines it knows; those of another mean something else."""

    format: int
    encoder: str
    bias: float
    lines: tuple[Line, ...]
    rare: float
    words: Mapping[str, float]
    """How much each stemmed word says; `rare` for any other."""

    def score(self, cached: Reading, asked: Reading, cosine: float) -> float:
        """0 to 1. 1 only for questions that differ in nothing but dress."""
        if cached.plain == asked.plain:
            return 1.0
        values = pair_features(cached, asked, cosine, self.words, self.rare)
        return self.of(values)

    def of(self, values: list[float]) -> float:
        total = self.bias
        for line, value in zip(self.lines, values, strict=True):
            total += line.at(value)
        return 1.0 / (1.0 + math.exp(-total)) if total > -700 else 0.0


@cache
def shipped() -> Verifier:
    """The model that comes with the gateway. Raises ValueError for a file of another format."""
    verifier = msgspec.json.decode(FILE.read_bytes(), type=Verifier)
    if verifier.format != FORMAT or tuple(line.name for line in verifier.lines) != NAMES:
        raise ValueError(f"{FILE.name} is not of this version: run `python -m cache.training` or reinstall")
    return verifier


def verifier_for(encoder: str) -> Verifier | None:
    """None for an encoder it was not fitted with: then the cosine itself is the score, and the vetoes all there is."""
    verifier = shipped()
    return verifier if verifier.encoder == encoder else None
