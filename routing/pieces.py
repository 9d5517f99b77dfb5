"""Which pieces of words the examples of each intent have: what an encoder of meanings blurs.

`block` and `unblock`, `top up` and `top-up limit`: their vectors lie close, their letters do not. A naive Bayes model over
the set of five-letter pieces, blanks included; counted, not fitted, and added to a layer's logits at a low weight. By itself
it is far worse than the vectors: on CLINC150 with ten examples each 74 % against 91 %; together 92 %.

Tried on the validation sets: whole words and word pairs (as good where examples are many, less so with ten each), pieces of
3, 4, 5 and mixtures (all within 0.2 points).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]

SMOOTHING = 1.0
PIECE = 5
"""Characters."""
_MOST_CHARS = 600
"""Of a text: an utterance is shorter, and the encoder sees no more."""
_WORD = re.compile(r"[^\W_]+")
_FACTORS = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1], np.uint64)
_MASK = np.uint64(0xFFFFFFFF)
_NONE = np.zeros(0, np.uint32)
_INTENT_BITS = np.uint64(16)


class Pieces(msgspec.Struct, frozen=True):
    """Log-odds of pieces by intent, sparse: what is not listed is `base` of its intent.

    `keys` (pieces,) ascending; the gains of piece p are `gains[starts[p]:starts[p + 1]]`, for the intents in `owners` there.
    """

    keys: Array
    starts: Array
    owners: Array
    gains: Array
    base: Array

    def scores(self, pieces: Array) -> Array:
        """(intents,), float32: the sum over the pieces that any example has, over the root of how many these are. Zeros
        for a text of which no example has a piece."""
        if len(self.keys) and len(pieces):
            at = np.minimum(np.searchsorted(self.keys, pieces), len(self.keys) - 1)
            at = at[self.keys[at] == pieces]
            if len(at):
                sizes = self.starts[at + 1] - self.starts[at]
                spots = np.repeat(self.starts[at] - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
                gained = np.bincount(self.owners[spots], weights=self.gains[spots], minlength=len(self.base))
                made: Array = ((gained + len(at) * self.base) / np.sqrt(len(at))).astype(np.float32)
                return made
        return np.zeros(len(self.base), np.float32)


def pieces_of(text: str) -> Array:
    """A text's distinct pieces, as ascending 32-bit hashes. Case and punctuation do not count."""
    words = _WORD.findall(text[:_MOST_CHARS].casefold())
    joined = f" {' '.join(words)} "
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    if not words or len(points) < PIECE:
        return _NONE
    windows = np.lib.stride_tricks.sliding_window_view(points, PIECE)
    mixed = (windows * _FACTORS).sum(axis=1) & _MASK  # wraps at 2^64, which a hash may
    return np.unique(mixed.astype(np.uint32))


def count_pieces(pieces: Sequence[Array], y: Array, intents: int) -> Pieces:
    """`pieces`: those of each example; `y`: its intent, 0..intents-1, at most 65,536 of them."""
    rows = np.bincount(y, minlength=intents).astype(np.float64)
    base = np.log(SMOOTHING / (rows + SMOOTHING))
    sizes = np.array([len(own) for own in pieces])
    if not sizes.sum():
        return Pieces(_NONE, np.zeros(1, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float32), base * 0)
    found = np.concatenate(pieces).astype(np.uint64)
    pairs, seen = np.unique(found << _INTENT_BITS | np.repeat(y, sizes).astype(np.uint64), return_counts=True)
    owners = (pairs & np.uint64(0xFFFF)).astype(np.int64)
    keys, starts = np.unique(pairs >> _INTENT_BITS, return_index=True)
    bounds = np.append(starts, len(pairs))
    prior = np.repeat((np.add.reduceat(seen, starts) + 1) / (rows.sum() + 1), np.diff(bounds))
    odds = np.log((seen + SMOOTHING * prior) / (rows[owners] + SMOOTHING) / prior)
    return Pieces(
        keys.astype(np.uint32),
        bounds.astype(np.int64),
        owners.astype(np.uint16),
        (odds - base[owners]).astype(np.float32),
        base.astype(np.float32),
    )
