"""The trained head: one weight a bucket, eight bits each, and how to read a score off it.

The file is a line of JSON and then the raw weights: no timestamps, so training again on the same data gives the same
bytes."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from guardrails.injection.features import BITS, VERSION, Grams, grams

WINDOW = 1000
STRIDE = 800
"""Characters. A text is as bad as its worst window, so that a payload in a long document is not averaged away."""


class Header(msgspec.Struct, frozen=True):
    """`score = sigmoid(slope * (logit - cut))`, so that 0.5 is the threshold chosen in training."""

    version: int
    bits: int
    scale: float
    """Weight of one step of the eight bits."""
    bias: float
    cut: float
    slope: float
    data: str
    """SHA-256 of the training rows."""
    figures: dict[str, float]
    """How the threshold was chosen: rates over held-out sources."""


class Head:
    """Scores texts. Read-only, so one serves all."""

    def __init__(self, header: Header, weights: np.ndarray[Any, np.dtype[np.int8]]) -> None:
        if header.version != VERSION or header.bits != BITS or len(weights) != 1 << BITS:
            raise ValueError(
                f"the injection head was made for other features (version {header.version}); train it again"
            )
        self.header = header
        self._weights = weights

    def logits(self, text: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """One logit for each window of a normalised text."""
        found = grams(text)
        return window_sums(found, len(text), self._weights, self.header.scale) + self.header.bias

    def score(self, text: str) -> float:
        """0 to 1 for a normalised text; 0.5 is the threshold chosen in training. Empty text scores 0."""
        if not text:
            return 0.0
        return self.calibrated(float(self.logits(text).max()))

    def calibrated(self, logit: float) -> float:
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, self.header.slope * (logit - self.header.cut)))))


def window_sums(
    found: Grams, length: int, weights: np.ndarray[Any, np.dtype[np.int8]], scale: float
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Sum of weights over the n-grams that begin in each window, over the square root of how many those are."""
    if length <= WINDOW:
        whole = sum(int(weights[part].sum(dtype=np.int64)) for part in found.buckets)
        return np.array([whole * scale / math.sqrt(max(found.count, 1))])
    begins = np.arange(0, length - WINDOW + STRIDE, STRIDE)
    ends = begins + WINDOW
    total = np.zeros(len(begins))
    count = np.zeros(len(begins))
    for buckets, starts in zip(found.buckets, found.starts, strict=True):
        running = np.concatenate(([0], np.cumsum(weights[buckets], dtype=np.int64)))
        low, high = np.searchsorted(starts, begins), np.searchsorted(starts, ends)
        total += running[high] - running[low]
        count += high - low
    sums: np.ndarray[Any, np.dtype[np.float64]] = total * scale / np.sqrt(np.maximum(count, 1))
    return sums


def dump(header: Header, weights: np.ndarray[Any, np.dtype[np.int8]]) -> bytes:
    return msgspec.json.encode(header) + b"\n" + weights.tobytes()


def parse(data: bytes) -> Head:
    line, _, rest = data.partition(b"\n")
    return Head(msgspec.json.decode(line, type=Header), np.frombuffer(rest, dtype=np.int8))


def load(path: Path | None = None) -> Head:
    """The head at `path`, or the one shipped with this package. Raises ValueError if it does not fit the features."""
    if path is not None:
        return parse(path.read_bytes())
    return parse(resources.files("guardrails.injection").joinpath("head.bin").read_bytes())
