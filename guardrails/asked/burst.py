"""Bursts: one caller sends nearly the same prompt again and again. So do scripts that look for a way past the checks by
varying one, and clients caught in a loop; and so do batch jobs that fill in a form, which need a higher limit.

A prompt is known by a signature, from which nothing of it can be read back: the least hash in each of `BINS` ranges over
its pieces of four characters, under a key of this process. How many entries of two are equal tells how many of their
pieces are the same. Counted in this process only: with several workers each allows the limit.

Not seen: the same wish in other words, and a burst spread over many keys or users."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Any

import numpy as np

from gateway.core.clock import Clock

BINS = 128
MOST_CHARS = 4096
"""Of a longer prompt the beginning and the end are compared."""
MOST_PROMPTS = 32
"""Different prompts that are told apart for one caller."""
MOST_CALLERS = 2048
"""Each takes at most 16 KiB."""

_BITS = 25
_EMPTY = np.uint32(0xFFFFFFFF)
_STARTS = (np.arange(BINS, dtype=np.uint64) << _BITS).astype(np.uint32)
_FACTORS = [np.uint32(secrets.randbits(31) * 2 + 1) for _ in range(5)]

Signature = Any
"""uint32, shape (BINS,)."""


def signature(text: str) -> Signature:
    """Case and white space make no difference."""
    if len(text) > MOST_CHARS:
        text = text[: MOST_CHARS // 2] + text[-MOST_CHARS // 2 :]
    plain = " ".join(text.lower().split()).ljust(4)
    codes = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32)
    pieces = [codes[at : len(codes) - 3 + at] * factor for at, factor in enumerate(_FACTORS[:4])]
    hashes = np.add.reduce(pieces, dtype=np.uint32)
    hashes ^= hashes >> np.uint32(15)
    hashes *= _FACTORS[4]
    hashes ^= hashes >> np.uint32(13)
    hashes.sort()
    first = np.searchsorted(hashes, _STARTS)
    least = hashes[np.minimum(first, len(hashes) - 1)]
    inside = (first < len(hashes)) & (least >> np.uint32(_BITS) == np.arange(BINS, dtype=np.uint32))
    return np.where(inside, least, _EMPTY)


class _Caller:
    """The prompts of one caller, and until when each is paid for."""

    __slots__ = ("signatures", "until")

    def __init__(self) -> None:
        self.signatures = np.empty((0, BINS), np.uint32)
        self.until = np.empty(0, np.int64)

    def nearest(self, one: Signature, similarity: float) -> int | None:
        """The prompt most like `one`, if any is like it."""
        if not len(self.until):
            return None
        same = ((self.signatures == one) & (one != _EMPTY)).sum(1)
        either = ((self.signatures != _EMPTY) | (one != _EMPTY)).sum(1)
        share = 2 * same / (same + either)  # of the pieces of both, those that the other has as well
        best = int(share.argmax())
        return best if share[best] >= similarity else None

    def add(self, one: Signature, now: int) -> int:
        """A prompt not seen before. What is over is forgotten, and if that gives no room, the quietest."""
        keep = self.until > now
        if keep.sum() >= MOST_PROMPTS:
            keep[self.until.argmin()] = False
        self.signatures = np.vstack((self.signatures[keep], one))
        self.until = np.append(self.until[keep], now)
        return len(self.until) - 1


class Bursts:
    """Counts for each caller how often nearly the same prompt comes: `limit` at once are free, and then as many as fit
    evenly into `within` seconds."""

    def __init__(self, clock: Clock, *, limit: int, within: float, similarity: float) -> None:
        self._now = clock.now
        self._span = int(within * 1e9)
        self._each = self._span // limit
        self._similarity = similarity
        self._callers: OrderedDict[str, _Caller] = OrderedDict()

    def __len__(self) -> int:
        """Callers known now."""
        return len(self._callers)

    def take(self, caller: str, text: str, *, anyway: bool = False) -> float:
        """Counts one. Seconds until there is room for it; 0 if there is, and only then, or with `anyway`, it counts."""
        now = self._now()
        known = self._callers.get(caller)
        if known is None:
            known = self._callers[caller] = _Caller()
            if len(self._callers) > MOST_CALLERS:
                self._callers.popitem(last=False)
        else:
            self._callers.move_to_end(caller)
        one = signature(text)
        at = known.nearest(one, self._similarity)
        if at is None:
            at = known.add(one, now)
        until = max(now, int(known.until[at])) + self._each
        over = until - now - self._span
        if over > 0 and not anyway:
            return over / 1e9
        known.until[at] = min(until, now + 2 * self._span)
        return 0.0
