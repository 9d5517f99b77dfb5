"""The trained head as it is shipped: weights of the n-grams, the small network over sentence vectors, and how to read a
score off their sum.

The file is a line of JSON, then the n-gram weights (eight bits each), then the network (float16): no timestamps, so
training again on the same data gives the same bytes."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from guardrails.injection.features import BITS, VERSION, Grams, grams
from guardrails.injection.network import Network
from guardrails.injection.windows import WINDOW, begins

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Calibration(msgspec.Struct, frozen=True):
    """`score = sigmoid(slope * (logit - cut))`: 0.5 is the threshold chosen in training."""

    cut: float
    slope: float

    def score(self, logit: float) -> float:
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, self.slope * (logit - self.cut)))))


class ModelPart(msgspec.Struct, frozen=True):
    """The second tier. `encoder`: the id of the only encoder whose vectors the network understands."""

    encoder: str
    dim: int
    units: int
    share: float
    """What the network's logit counts for beside the n-grams'."""
    low: float
    high: float
    """Logits of the first tier between which the second is asked. Outside of them its word would change next to nothing."""
    calibration: Calibration


class Header(msgspec.Struct, frozen=True):
    version: int
    bits: int
    scale: float
    """Weight of one step of the eight bits."""
    bias: float
    grams: Calibration
    """For rules and n-grams alone."""
    model: ModelPart | None
    data: str
    """SHA-256 of the training rows, our own included."""
    figures: dict[str, dict[str, float]]
    """How the thresholds were chosen: rates over held-out sources, for each tier."""


class Head:
    """Scores windows. Read-only, so one serves all."""

    def __init__(
        self, header: Header, weights: np.ndarray[Any, np.dtype[np.int8]], network: Network | None = None
    ) -> None:
        if header.version != VERSION or header.bits != BITS or len(weights) != 1 << BITS:
            raise ValueError(
                f"the injection head was made for other features (version {header.version}); train it again"
            )
        self.header = header
        self.network = network
        self._weights = weights

    def logits(self, text: str) -> Floats:
        """One logit for each window of a normalised text."""
        return window_sums(grams(text), len(text), self._weights, self.header.scale) + self.header.bias


def window_sums(found: Grams, length: int, weights: np.ndarray[Any, np.dtype[np.int8]], scale: float) -> Floats:
    """Sum of weights over the n-grams that begin in each window, over the square root of how many those are."""
    if length <= WINDOW:
        whole = sum(int(weights[part].sum(dtype=np.int64)) for part in found.buckets)
        return np.array([whole * scale / math.sqrt(max(found.count, 1))])
    starts_at = np.array(begins(length))
    ends = starts_at + WINDOW
    total = np.zeros(len(starts_at))
    count = np.zeros(len(starts_at))
    for buckets, starts in zip(found.buckets, found.starts, strict=True):
        running = np.concatenate(([0], np.cumsum(weights[buckets], dtype=np.int64)))
        low, high = np.searchsorted(starts, starts_at), np.searchsorted(starts, ends)
        total += running[high] - running[low]
        count += high - low
    sums: Floats = total * scale / np.sqrt(np.maximum(count, 1))
    return sums


def dump(header: Header, weights: np.ndarray[Any, np.dtype[np.int8]], network: Network | None) -> bytes:
    parts = [msgspec.json.encode(header), b"\n", weights.tobytes()]
    return b"".join([*parts, network.dump()] if network is not None else parts)


def parse(data: bytes) -> Head:
    """Raises ValueError if the file does not fit the features or is cut short."""
    line, _, rest = data.partition(b"\n")
    header = msgspec.json.decode(line, type=Header)
    size = 1 << BITS
    model = header.model
    network = Network.parse(rest[size:], model.dim, model.units) if model is not None else None
    return Head(header, np.frombuffer(rest[:size], dtype=np.int8), network)


def load(path: Path | None = None) -> Head:
    """The head at `path`, or the one shipped with this package. Raises ValueError if it does not fit the features."""
    if path is not None:
        return parse(path.read_bytes())
    return parse(resources.files("guardrails.injection").joinpath("head.bin").read_bytes())
