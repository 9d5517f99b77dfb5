"""Two ways to hold rows out: whole sources, and groups of near-duplicates.

Only the first says what to expect of text that nobody trained on, so thresholds are chosen on it. The second says what is
reached on text like that of the sources. Our own written rows are in neither: they are part of the method, so every fold
trains on them and none is judged on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

SOURCES: Sequence[Sequence[str]] = (
    ("purplellama/prompt_injection", "purplellama/instruct", "self-instruct/"),
    ("garak/", "garak+", "arena-hard"),
    ("own", "bipia/", "clinc150"),
    ("purplellama/crwd_meta", "banking77"),
    ("purplellama/mitre_frr",),
)
"""Prefixes of the sources that are held out together."""
GROUPED = 5

_SHINGLE = 12
"""Characters."""
_BANDS, _ROWS = 10, 3
"""Two texts that share half of their shingles meet in one of the bands in three of four cases, at 70 % nearly always."""
_U64 = np.ndarray[Any, np.dtype[np.uint64]]


def grouped_folds(texts: Sequence[str]) -> list[int]:
    """A fold, 0 to 4, for each text; near-duplicates, found by MinHash, get the same."""
    parent = list(range(len(texts)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    seen: dict[tuple[int, bytes], int] = {}
    for at, text in enumerate(texts):
        signature = _signature(text)
        for band in range(_BANDS):
            key = (band, signature[band * _ROWS : (band + 1) * _ROWS].tobytes())
            other = seen.setdefault(key, at)
            if other != at:
                parent[root(at)] = root(other)
    return [_mixed(root(at)) % GROUPED for at in range(len(texts))]


def _signature(text: str) -> _U64:
    codes = np.frombuffer(text[:4000].encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    rolling = codes[: max(1, len(codes) - _SHINGLE + 1)].copy()
    for step in range(1, min(_SHINGLE, len(codes))):
        rolling = rolling * np.uint64(0x100000001B3) + codes[step : step + len(rolling)]
    return np.array([(((rolling ^ salt) * _MIX) >> np.uint64(20)).min() for salt in _SALTS], dtype=np.uint64)


def _mixed(number: int) -> int:
    return (number * 0x9E3779B97F4A7C15 >> 20) & 0xFFFFFFFF


_MIX = np.uint64(0x9E3779B97F4A7C15)
_SALTS = [np.uint64((number + 1) * 0xD6E8FEB86659FD93 & 0xFFFFFFFFFFFFFFFF) for number in range(_BANDS * _ROWS)]
