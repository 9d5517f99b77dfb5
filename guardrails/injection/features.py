"""Hashed n-grams of a text, all at once in numpy: characters 2 to 5 and words 1 to 3.

Every n-gram is one bucket of 2^BITS; a sample's value is count / sqrt(number of n-grams), which for texts without
much repetition is L2 normalisation, and which lets the score of any window be read off running sums. Measured: 60 µs
for 1 KB, against 1.3 ms for the same in a Python loop."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

BITS = 18
CHARS = (2, 3, 4, 5)
WORDS = (1, 2, 3)
VERSION = 2
"""Changes with anything that changes a bucket, or a text on its way there; a head of another version is refused."""

U64 = np.ndarray[Any, np.dtype[np.uint64]]
I32 = np.ndarray[Any, np.dtype[np.int32]]

_P = np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_POWERS = np.multiply.accumulate(np.full(64, _P, dtype=np.uint64))
_WORD_CAP = np.int64(63)


class Grams(msgspec.Struct, frozen=True):
    """Buckets of all n-grams of a text, and the character each begins at; families one after the other, each in
    order."""

    buckets: tuple[I32, ...]
    starts: tuple[np.ndarray[Any, np.dtype[np.int64]], ...]

    @property
    def count(self) -> int:
        return sum(len(part) for part in self.buckets)


def grams(text: str) -> Grams:
    """`text` is already normalised (`guardrails.reading.text.normalised`)."""
    codes = np.frombuffer((" " + text + " ").encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    buckets: list[I32] = []
    starts: list[np.ndarray[Any, np.dtype[np.int64]]] = []
    rolling = codes
    for n in range(2, max(CHARS) + 1):
        if len(codes) < n:
            break
        rolling = rolling[:-1] * _P + codes[n - 1 :]
        buckets.append(_bucket(rolling, n))
        starts.append(np.arange(len(rolling), dtype=np.int64))
    words, places = _words(codes)
    rolling = words
    for n in WORDS:
        if len(words) < n:
            break
        if n > 1:
            rolling = rolling[:-1] * _MIX + words[n - 1 :]
        buckets.append(_bucket(rolling, 16 + n))
        starts.append(places[: len(rolling)])
    return Grams(tuple(buckets), tuple(starts))


def _bucket(hashes: U64, salt: int) -> I32:
    mixed = (hashes + np.uint64(salt)) * _MIX
    mixed ^= mixed >> np.uint64(29)
    mixed *= _MIX
    return (mixed >> np.uint64(64 - BITS)).astype(np.int32)


def _words(codes: U64) -> tuple[U64, np.ndarray[Any, np.dtype[np.int64]]]:
    """Hash of each word (a run of ASCII letters and digits, or of anything beyond ASCII) and where it begins."""
    lower = (codes >= 97) & (codes <= 122)
    digit = (codes >= 48) & (codes <= 57)
    inside = lower | digit | (codes > 127) | (codes == 39)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], inside.view(np.int8), [0]))))
    begins, ends = edges[::2], edges[1::2]
    if not len(begins):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    lengths = ends - begins
    latest = np.zeros(len(codes), dtype=np.int64)
    latest[begins] = begins
    within = np.minimum(np.arange(len(codes)) - np.maximum.accumulate(latest), _WORD_CAP)
    weighted = np.where(inside, codes * _POWERS[within], np.uint64(0))
    hashes = np.add.reduceat(weighted, begins) + lengths.astype(np.uint64)
    return hashes, begins.astype(np.int64)
